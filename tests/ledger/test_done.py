"""What the state tells of a finished task without reading its line."""

from __future__ import annotations

from array import array

import msgspec
import pytest

from pipeline.ledger.digests import fingerprint_digest
from pipeline.ledger.done import Done, stems_digest
from pipeline.ledger.places import Where
from pipeline.ledger.records import Output
from pipeline.ledger.state import State
from tests.ledger.lines import fp, output, reused, sent, settled


def at(number: int) -> Where:
    return Where(0, 100 * number, 100)


def outputs(*named: tuple[str, int]) -> list[Output]:
    return [msgspec.structs.replace(output(path), bytes=size) for path, size in named]


def done(*named: tuple[str, int]) -> Done | None:
    line = settled("a", "succeeded", paths=["x"])
    line.outputs = outputs(*named)
    state = State()
    state.apply(line, at(1))
    return state.done_as("a")


def test_a_usual_result_is_told_in_full() -> None:
    """Its fingerprint's digest, and its files as stems, one extension and sizes."""
    expected = Done(
        fingerprint_digest(fp("a")), True, stems_digest(["p.d/a-1", "p.d/a-2"]), "png", array("I", (7, 2**32 - 1))
    )
    assert done(("p.d/a-1.png", 7), ("p.d/a-2.png", 2**32 - 1)) == expected


@pytest.mark.parametrize(
    "named",
    [
        [],
        [("a-1.png", 1), ("a-2.webp", 1)],
        [("a-1.png", 2**32)],
        [("nodot", 1)],
        [(f"a-{number}.png", 1) for number in range(256)],
    ],
    ids=["none", "two-kinds", "four-GiB", "no-extension", "256"],
)
def test_of_an_unusual_result_only_the_fingerprint_is_told(named: list[tuple[str, int]]) -> None:
    """Its line must be read."""
    assert done(*named) == Done(fingerprint_digest(fp("a")))


def test_stems_tell_order_and_number() -> None:
    """Other paths, another order, one more: another digest."""
    lists = [["a", "b"], ["b", "a"], ["a"], ["ab"], ["a", "b", ""], []]
    assert len({stems_digest(stems) for stems in lists}) == len(lists)
    assert stems_digest(["a\udc80"]) == stems_digest(["a\\udc80"])


def test_the_last_line_that_made_a_task_done_counts() -> None:
    """Of results of other numbers and kinds of files, one after the other, the last is told."""
    state = State()
    state.apply(sent("a"), at(0))
    assert state.done_as("a") is None
    for number, named in enumerate(
        [[("a.png", 1)], [("a.png", 2)], [("a.jpg", 3), ("b.jpg", 4)], [("a.png", 2**40)], [("b.png", 5), ("c.png", 6)]]
    ):
        line = reused("a", "x", fingerprint=fp(number))
        line.outputs = outputs(*named)
        state.apply(line, at(number))
        found = state.done_as("a")
        assert found is not None
        assert (state.task("a"), found.fingerprint) == (at(number), fingerprint_digest(fp(number)))
        assert tuple(found.sizes) == (tuple(size for _, size in named) if found.usual else ())
        assert found.usual is (named[0][1] < 2**32)
    assert (state.done, state.done_as("b")) == (1, None)


def test_a_later_failure_changes_nothing() -> None:
    """What made the task done stands, whatever came of another request under its name."""
    state = State()
    state.apply(settled("a", "succeeded"), at(0))
    before = state.done_as("a")
    state.apply(settled("a", "refused", fingerprint=fp("other")), at(1))
    assert state.done_as("a") == before
