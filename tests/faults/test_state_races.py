"""Threads that look at tasks while the loop takes in lines: what they see is from before a line or from after it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from pipeline.ledger.places import NOWHERE, Where
from pipeline.ledger.state import State
from tests.ledger.lines import sent, settled

ROUNDS = 1500


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads are switched between as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_task_that_is_looked_at_while_its_twin_settles_is_seen_whole(hasty_threads: None) -> None:
    """A reader of the very fingerprints and tasks that are taken in meets no half-written row."""
    state, faults, over = State(), [], threading.Event()
    current = [0]

    def read() -> None:
        while not over.is_set():
            number = current[0]
            try:
                history = state.history(f"{number:064x}")
                assert all(place.length == 7 for place in history.sources), history.sources
                place = state.task(f"set/{number}/p")
                assert place is None or (place != NOWHERE and place.length == 7)
            except Exception as error:
                faults.append(repr(error))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(ROUNDS):
        current[0] = number
        name, fingerprint = f"set/{number}/p", f"{number:064x}"
        state.apply(sent(name, fingerprint=fingerprint), Where(3, 1 + number * 20, 5))
        for again in range(4):
            state.apply(settled(name, "succeeded", fingerprint=fingerprint), Where(3, 6 + number * 20 + again, 7))
    over.set()
    reader.join()
    assert faults == []
