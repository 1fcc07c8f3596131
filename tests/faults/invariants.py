"""What must hold on disk and on the server's bill, after any crash and after the run that follows it.

The ledger is read here from its bytes, by nothing of the package's own.

1. A picture under a final name decodes, and its sha256 is the ledger's for that name.
2. What the ledger calls succeeded or reused is on disk: under its name, a part's, or set aside.
3. Every request on the bill has its `sent` line, with its key.
4. Usage in the ledger and the worst case of each possibly billed attempt without usage cover the bill.
5. The ledger is sound up to a torn last write, and only grows.
6. The server never saw more requests at once than the concurrency.
7. What was bought twice was in flight at a crash, and its picture had not arrived whole.
8. Files that are not ours are as they were.
9. At the end every task has one result, every attempt an end, and no part and no spilled result is left.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from tests.e2e.endpoint import Bill

Line = dict[str, Any]

BILLED = ("succeeded", "in_doubt", "unusable")
OURS = ("interrupted", "cancelled")
TOKENS = ("input_tokens", "output_tokens", "total_tokens")


@dataclass(frozen=True, slots=True)
class Sound:
    """The whole lines of a ledger, and where they end."""

    lines: list[Line]
    end: int


def sound(data: bytes) -> Sound:
    """The whole lines before the torn tail. Fails where a damaged line was durable before another write began."""
    lines: list[Line] = []
    end = offset = 0
    torn = False
    for raw in data.split(b"\n")[:-1]:
        head, comma, check = raw.rpartition(b',"crc":"')
        whole = bool(comma) and check == b'%08x"}' % zlib.crc32(head)
        if torn and whole:
            assert json.loads(raw)["group"] <= end, f"a line before a later write is damaged, at byte {end}"
        torn = torn or not whole
        offset += len(raw) + 1
        if not torn:
            lines.append(json.loads(raw))
            end = offset
    return Sound(lines, end)


@dataclass(frozen=True, slots=True)
class Seen:
    """Files and bill at one moment at which nothing runs."""

    ledgers: dict[str, bytes]
    files: dict[str, bytes]
    times: dict[str, int]
    bill: Bill

    @property
    def lines(self) -> list[Line]:
        """The whole lines of all ledgers."""
        return [line for data in self.ledgers.values() for line in sound(data).lines]

    def below(self, prefix: str) -> dict[str, bytes]:
        """The files whose path begins so, by the rest of it."""
        return {path.removeprefix(prefix): data for path, data in self.files.items() if path.startswith(prefix)}

    @property
    def pictures(self) -> dict[str, bytes]:
        """The files under final names that are not foreign."""
        ours = (path for path in self.files if path.endswith(".png") and path[0] != "." and "foreign" not in path)
        return {path: self.files[path] for path in ours}


def look(out: Path, bill: Bill) -> Seen:
    """Read everything there is."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and not path.is_symlink()]
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}
    ledgers = {name: data for name, data in files.items() if name.startswith("ledger") and name.endswith(".jsonl")}
    return Seen(ledgers, files, {path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in paths}, bill)


@dataclass(slots=True)
class Watch:
    """Follows one job through its crashes; `allowed` counts the requests that they may have cost twice."""

    concurrency: int
    tasks: int
    foreign: dict[str, bytes] = field(default_factory=dict)
    before: dict[str, bytes] = field(default_factory=dict)
    allowed: int = 0
    crashes: int = 0

    def crashed(self, seen: Seen) -> None:
        """Check what a crash left."""
        self.crashes += 1
        self._check_always(seen)
        lost = [sent for sent in open_attempts(seen.lines) if not arrived(sent, seen)]
        ours = Counter(sent["run"] for sent in lost)
        assert max(ours.values(), default=0) <= self.concurrency
        self.allowed += len(lost)

    def finished(self, seen: Seen, summary: Line) -> None:
        """Check a run that ended with everything done."""
        self._check_always(seen)
        lines = seen.lines
        assert open_attempts(lines) == [], "an attempt has no end"
        assert seen.below(".retouch/parts/").keys() <= {"foreign.txt"}, "parts are left"
        last = {line["task"]: line for line in lines if line.get("outputs")}
        assert len(last) == self.tasks
        named = {output["path"]: output["sha256"] for line in last.values() for output in line["outputs"]}
        assert {path: digest(data) for path, data in seen.pictures.items()} == named
        check_attempts(lines)
        check_summary(lines, summary)
        assert seen.bill.billed - len(seen.bill.edits) <= self.allowed, "more was bought twice than was in flight"

    def same(self, seen: Seen, again: Seen, summary: Line) -> None:
        """Check that a rerun of the finished job did nothing."""
        assert again.bill.requests == seen.bill.requests
        assert summary["tasks"]["skipped"] == self.tasks
        assert again.pictures == seen.pictures
        assert {path: again.times[path] for path in again.pictures} == {p: seen.times[p] for p in seen.pictures}
        assert [line["type"] for line in again.lines[len(seen.lines) :]] == ["run", "end"]

    def _check_always(self, seen: Seen) -> None:
        for name, old in self.before.items():
            kept = old[: sound(old).end]
            assert seen.ledgers[name].startswith(kept), f"{name}: lines that were durable are gone"
        self.before = seen.ledgers
        check_pictures(seen)
        check_kept(seen)
        check_bill(seen)
        assert seen.bill.max_in_flight <= self.concurrency
        assert {path: seen.files.get(path) for path in self.foreign} == self.foreign, "a foreign file was touched"


def check_pictures(seen: Seen) -> None:
    """Every final name holds what the ledger says, whole."""
    known: dict[str, set[str]] = {}
    for line in seen.lines:
        for output in line.get("outputs") or ():
            known.setdefault(output["path"], set()).add(output["sha256"])
            # A foreign file may have the name: then the result lies beside it, before the line that says so.
            beside = f"{output['path'].removesuffix('.png')}~{line['fingerprint'][:8]}.png"
            known.setdefault(beside, set()).add(output["sha256"])
    for path, data in seen.pictures.items():
        assert digest(data) in known.get(path, set()), f"{path} is not what the ledger says"
        with Image.open(BytesIO(data)) as picture:
            picture.load()


def check_kept(seen: Seen) -> None:
    """The bytes of every result are somewhere."""
    there = {digest(data) for path, data in seen.files.items() if path not in seen.ledgers}
    for line in seen.lines:
        for output in line.get("outputs") or ():
            assert output["sha256"] in there, f"{line['task']}: a paid result is nowhere on disk"


def check_bill(seen: Seen) -> None:
    """Every request that the server saw is in the ledger, and so is what it may have cost."""
    keys = Counter(line["idempotency_key"] for line in seen.lines if line["type"] == "sent")
    assert Counter(seen.bill.idempotency_keys) <= keys, "a request left before its `sent` was durable"
    ends = settled(seen.lines)
    known = sum(line["usage"]["total_tokens"] for line in ends if line["usage"])
    unknown = sum(line["outcome"] in BILLED and not line["usage"] for line in ends) + len(open_attempts(seen.lines))
    worst = 1000
    assert known + worst * unknown >= seen.bill.usage.total_tokens, "the bill is above the ledger"


def check_attempts(lines: Sequence[Line], most: int = 3) -> None:
    """Attempts are numbered once each, end once each, and stay below `retries.max_attempts`."""
    sent = Counter((line["fingerprint"], line["attempt"]) for line in lines if line["type"] == "sent")
    ends = Counter((line["fingerprint"], line["attempt"]) for line in settled(lines))
    assert max(sent.values(), default=0) <= 1
    assert sent == ends
    billed = Counter(x["fingerprint"] for x in settled(lines) if x["outcome"] in BILLED and x["code"] not in OURS)
    assert max(billed.values(), default=0) <= most
    won = Counter(line["fingerprint"] for line in settled(lines) if line["outcome"] == "succeeded")
    assert max(won.values(), default=0) <= 1


def check_summary(lines: Sequence[Line], summary: Line) -> None:
    """A run's summary is what its own lines come to."""
    own = [line for line in lines if line["run"] == summary["run"]]
    ends = settled(own)
    # What its start settled for a run that was killed was sent by that run.
    mine = {(line["fingerprint"], line["attempt"]) for line in own if line["type"] == "sent"}
    ends = [line for line in ends if (line["fingerprint"], line["attempt"]) in mine]
    counts = Counter(line["outcome"] for line in ends)
    assert {name: count for name, count in summary["attempts"].items() if count} == counts
    assert summary["images"] == sum(len(line["outputs"]) for line in ends)
    for name in TOKENS:
        assert summary["usage"][name] == sum(line["usage"][name] for line in ends if line["usage"])
    tasks = summary["tasks"]
    assert tasks["total"] == sum(count for end, count in tasks.items() if end != "total")
    complete = tasks["done"] + tasks["skipped"] + tasks["reused"] == tasks["total"]
    assert (summary["exit"] == 0) == complete


def settled(lines: Sequence[Line]) -> list[Line]:
    """The ends of attempts."""
    return [line for line in lines if line["type"] == "settled" and line["outcome"] != "invalid"]


def open_attempts(lines: Sequence[Line]) -> list[Line]:
    """The `sent` lines of attempts without an end."""
    ends = {(line["fingerprint"], line["attempt"]) for line in settled(lines)}
    return [x for x in lines if x["type"] == "sent" and (x["fingerprint"], x["attempt"]) not in ends]


def arrived(sent: Line, seen: Seen) -> bool:
    """Whether an attempt's picture lies whole among the parts."""
    stem = f"{sent['run']}-{sent['fingerprint'][:16]}-{sent['attempt']}-"
    return any(name.startswith(stem) and is_whole(data) for name, data in seen.below(".retouch/parts/").items())


def is_whole(data: bytes) -> bool:
    """Whether a PNG is complete to its last chunk."""
    return data.endswith(b"IEND\xaeB`\x82")


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()
