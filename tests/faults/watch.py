"""Follows one job through its crashes: what each may have cost, and what must hold after it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.faults.invariants import (
    Line,
    Seen,
    arrived,
    check_attempts,
    check_bill,
    check_kept,
    check_pictures,
    check_secret,
    check_summary,
    check_unsynced,
    digest,
    open_attempts,
    sound,
)
from tests.faults.strokes import Stroke

RESTLESS = (".lock", ".reserve", "ledger", ".retouch/inputs.cache")
"""How the names of files begin that a run may change which has nothing to do."""


@dataclass(slots=True)
class Watch:
    """The job has `tasks`, and `earlier` ones that an older manifest named; `shards` runs go on at once.

    `lost` are the attempts that crashes may have cost; `allowed` counts further ones that a test knows of.
    """

    concurrency: int
    tasks: int
    foreign: dict[str, bytes] = field(default_factory=dict)
    before: dict[str, bytes] = field(default_factory=dict)
    lost: set[tuple[str, int]] = field(default_factory=set)
    allowed: int = 0
    crashes: int = 0
    earlier: int = 0
    shards: int = 1

    def crashed(self, seen: Seen, struck: Stroke | None = None) -> None:
        """Check what a crash left; where it is known, the call that it struck."""
        self.crashes += 1
        before = [line for data in self.before.values() for line in sound(data).lines]
        self.check(seen)
        if struck and (struck.call, struck.about) == ("fdatasync", "the ledger") and len(seen.ledgers) == 1:
            check_unsynced(seen, before)
        spilled = {(line["fingerprint"], line["attempt"]) for line in seen.spilled}
        open_ones = {(sent["fingerprint"], sent["attempt"]): sent for sent in open_attempts(seen.lines)}
        lost = {key for key, sent in open_ones.items() if not arrived(sent, seen)} - spilled
        runs = Counter(open_ones[key]["run"] for key in lost - self.lost)
        assert max(runs.values(), default=0) <= self.concurrency, "more was in flight than the concurrency"
        self.lost |= lost

    def finished(self, seen: Seen, summary: Line) -> None:
        """Check a run that ended with everything done."""
        self.check(seen)
        lines = seen.lines
        assert open_attempts(lines) == [], "an attempt has no end"
        assert seen.below(".retouch/parts/").keys() <= {"foreign.txt"}, "parts are left"
        last = {line["task"]: line for line in lines if line.get("outputs")}
        assert len(last) == self.tasks + self.earlier
        named = {output["path"]: output["sha256"] for line in last.values() for output in line["outputs"]}
        assert {path: digest(data) for path, data in seen.pictures.items()} == named
        check_attempts(lines)
        check_summary(lines, summary)
        redone = len({line["fingerprint"] for line in lines if line["type"] == "sent" and line["generation"]})
        twice = seen.bill.billed - len(seen.bill.edits) - redone
        assert twice <= self.allowed + len(self.lost), "more was bought twice than was in flight"

    def same(self, seen: Seen, again: Seen, summary: Line) -> None:
        """Check that a rerun of the finished job did nothing."""
        assert again.bill.requests == seen.bill.requests
        assert summary["tasks"]["skipped"] == self.tasks
        assert _lasting(again) == _lasting(seen), "a run that had nothing to do changed files"
        assert {path: again.times[path] for path in again.pictures} == {p: seen.times[p] for p in seen.pictures}
        assert [line["type"] for line in again.lines[len(seen.lines) :]] == ["run", "end"]

    def check(self, seen: Seen) -> None:
        """What holds at any moment at which nothing runs."""
        for name, old in self.before.items():
            kept = old[: sound(old).end]
            assert seen.ledgers[name].startswith(kept), f"{name}: lines that were durable are gone"
        self.before = seen.ledgers
        check_pictures(seen)
        check_kept(seen)
        check_bill(seen)
        check_secret(seen)
        assert seen.bill.max_in_flight <= self.concurrency * self.shards, "the server saw too many requests at once"
        assert all(path.startswith("state") for path in seen.home), "something was written to the user's home"
        assert {path: seen.files.get(path) for path in self.foreign} == self.foreign, "a foreign file was touched"


def _lasting(seen: Seen) -> dict[str, bytes]:
    return {path: data for path, data in seen.files.items() if not path.startswith(RESTLESS)}
