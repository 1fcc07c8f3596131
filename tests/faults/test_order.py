"""The order of system calls: what must be on the medium before what leaves or gets its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.trial import Trial

CALL = re.compile(r"^(?P<thread>\d+) +(?P<text>\w+\(.*)$")
RESUMED = re.compile(r"^(?P<thread>\d+) +<\.\.\. \w+ resumed>")


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was traced; `began` and `ended` are lines of the trace."""

    text: str
    began: int
    ended: int


def calls_of(trace: Path) -> list[Call]:
    """The calls of a trace; one that was interrupted by another thread's ended where it was resumed."""
    calls: list[Call] = []
    open_calls: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(trace.read_text().splitlines()):
        if resumed := RESUMED.match(line):
            text, began = open_calls.pop(resumed["thread"])
            calls.append(Call(text, began, number))
        elif call := CALL.match(line):
            if line.endswith("<unfinished ...>"):
                open_calls[call["thread"]] = (call["text"], number)
            else:
                calls.append(Call(call["text"], number, number))
    return calls


def first(calls: list[Call], *words: str, after: int = -1) -> Call:
    """The call that ends first of those that began after a line and hold all these words."""
    found = [call for call in calls if call.began > after and all(word in call.text for word in words)]
    assert found, f"no call with {words}"
    return min(found, key=lambda call: call.ended)


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
def test_no_request_byte_leaves_before_its_sent_line_is_durable(trial: Trial, strace: None, uvloop: bool) -> None:
    """For each request: its line written, the ledger synced, then the first byte on the socket."""
    trial.uvloop = uvloop
    calls = traced_calls(trial)
    for line in trial.lines():
        if line["type"] == "sent":
            written = first(calls, "write(", "ledger.jsonl", line["idempotency_key"])
            synced = first(calls, "fdatasync(", "ledger.jsonl", after=written.ended)
            left = first(calls, "write" if uvloop else "sendto", "POST /v1", line["idempotency_key"])
            assert left.began > synced.ended


def test_a_result_gets_its_name_after_its_bytes_and_its_line_are_durable(trial: Trial, strace: None) -> None:
    """For each result: part written and synced, its folder synced, its line written and synced, then linked."""
    calls = traced_calls(trial)
    settled = [line for line in trial.lines() if line["type"] == "settled"]
    assert len(settled) == trial.tasks
    for line in settled:
        part = line["outputs"][0]["part"]
        filled = first(calls, "write(", part)
        synced = first(calls, "fdatasync(", part, after=filled.ended)
        named = first(calls, "fsync(", "/parts>", after=synced.ended)
        written = first(calls, "write(", "ledger.jsonl", part, after=named.ended)
        durable = first(calls, "fdatasync(", "ledger.jsonl", after=written.ended)
        linked = first(calls, "linkat(", part)
        assert linked.began > durable.ended
        folder = first(calls, "fsync(", "/photos>", after=linked.ended)
        assert first(calls, "unlinkat(", part).began > folder.ended


def traced_calls(trial: Trial) -> list[Call]:
    """The calls of a whole run."""
    trial.struck("trace=write,writev,sendto,sendmsg,fdatasync,fsync,linkat,unlinkat", "-y", "-s=4000").with_exit(0)
    return calls_of(trial.folder / "trace")
