"""What must hold on disk and on the server's bill, after any crash and after the run that follows it.

The ledger is read here from its bytes, by nothing of the package's own.

1. A picture under a final name decodes, and its sha256 is the ledger's for that name.
2. What the ledger calls succeeded or reused is on disk: under a final name, among the parts, or set aside.
3. Every request on the bill has its `sent` line, with its key; none was served while the ledger's sync that makes that
   line durable had not begun, and no picture has its name before its own line's has.
4. Possibly billed attempts in the ledger are as many as were billed, or more; usage in the ledger and the worst case of
   each possibly billed attempt without usage cover the bill, and are the bill where no usage is missing.
5. The ledger is sound up to a torn last write, and only grows.
6. The server never saw more requests at once than the concurrency.
7. What was bought twice was in flight at a crash, and its picture had not arrived whole.
8. Files that are not ours are as they were, and nothing is written beside the output folder and the user's state.
9. At the end every task has one result, every attempt an end, and no part and no spilled result is left. The run that
   came there exits with 0, and its summary and its `end` line are what its own lines come to.
10. A further run sends nothing, changes no file but the ledger, and appends no line about a task.
11. Possibly billed attempts of a request stay within `retries.max_attempts` between two reopenings.
12. The key is in no file.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from tests.e2e.endpoint import Bill
from tests.faults.forge import KEY

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
    home: dict[str, bytes] = field(default_factory=dict)
    """The user's files: results that were spilled, and what else a run may leave outside the output folder."""
    lines: list[Line] = field(init=False)
    """The whole lines of all ledgers."""

    def __post_init__(self) -> None:
        lines = [line for data in self.ledgers.values() for line in sound(data).lines]
        object.__setattr__(self, "lines", lines)  # the class is frozen

    def below(self, prefix: str) -> dict[str, bytes]:
        """The files whose path begins so, by the rest of it."""
        return {path.removeprefix(prefix): data for path, data in self.files.items() if path.startswith(prefix)}

    @property
    def pictures(self) -> dict[str, bytes]:
        """The files under final names that are not foreign."""
        ours = (path for path in self.files if path.endswith(".png") and path[0] != "." and "foreign" not in path)
        return {path: self.files[path] for path in ours}

    @property
    def spilled(self) -> list[Line]:
        """The lines of results that wait in the spill folder."""
        return [json.loads(data) for path, data in self.home.items() if path.endswith("/line")]


def look(out: Path, bill: Bill, home: Path | None = None) -> Seen:
    """Read everything there is."""
    files = read_all(out)
    ledgers = {name: data for name, data in files.items() if name.startswith("ledger") and name.endswith(".jsonl")}
    times = {name: (out / name).stat().st_mtime_ns for name in files}
    return Seen(ledgers, files, times, bill, read_all(home) if home else {})


def read_all(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its path there."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


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
        assert decodes(data), f"{path} does not decode"


@lru_cache
def decodes(data: bytes) -> bool:
    """Whether a picture is whole."""
    try:
        with Image.open(BytesIO(data)) as picture:
            picture.load()
    except (OSError, SyntaxError):
        return False
    return True


def check_kept(seen: Seen) -> None:
    """The bytes of every result have a final name, are a part, or were set aside."""
    placed = {digest(data) for data in seen.pictures.values()}
    placed |= {digest(data) for data in seen.below(".retouch/parts/").values()}
    for path, data in seen.below(".retouch/replaced/").items():
        assert digest(data) == path.partition(".")[0], f"{path}, which was set aside, is damaged"
        placed.add(digest(data))
    for line in seen.lines:
        for output in line.get("outputs") or ():
            assert output["sha256"] in placed, f"{line['task']}: a paid result is nowhere on disk"


def check_secret(seen: Seen) -> None:
    """The key is in no file."""
    secret = KEY.encode()
    found = [path for files in (seen.files, seen.home) for path, data in files.items() if secret in data]
    assert found == [], "the key was written to a file"


def check_bill(seen: Seen) -> None:
    """Every request that the server saw is in the ledger, and so is what it may have cost."""
    keys = Counter(line["idempotency_key"] for line in seen.lines if line["type"] == "sent")
    assert Counter(seen.bill.idempotency_keys) <= keys, "a request left before its `sent` was durable"
    ends = [line for line in settled(seen.lines) if line["outcome"] in BILLED]
    waiting = open_attempts(seen.lines)
    assert seen.bill.billed <= len(ends) + len(waiting), "more was billed than the ledger says may have been"
    known = sum(line["usage"]["total_tokens"] for line in ends if line["usage"])
    unknown = sum(not line["usage"] for line in ends) + len(waiting)
    worst = max(1000, -(-seen.bill.usage.total_tokens // max(1, seen.bill.billed)))
    assert known + worst * unknown >= seen.bill.usage.total_tokens, "the bill is above the ledger"
    assert unknown or known == seen.bill.usage.total_tokens, "no usage is missing, and yet it is not the bill"


def check_unsynced(seen: Seen, before: Sequence[Line]) -> None:
    """What a run added to the ledger in its last write, whose sync was never made, led to no request and to no name."""
    added = seen.lines[len(before) :]
    last = [line for line in added if line["group"] == added[-1]["group"]]
    keys = {line["idempotency_key"] for line in last if line["type"] == "sent"}
    older = {line["idempotency_key"] for line in seen.lines[: -len(last) or None] if line["type"] == "sent"}
    assert not (keys - older) & seen.bill.idempotency_keys.keys(), "a request left before its line was durable"
    named = {output["sha256"]: output["part"] for line in last for output in line.get("outputs") or ()}
    for path, data in seen.pictures.items():
        assert not named.get(digest(data)), f"{path} got its name before its line was durable"


def check_attempts(lines: Sequence[Line], most: int = 3) -> None:
    """Attempts are numbered once each, end once each, and stay below `retries.max_attempts` between reopenings."""
    sent = Counter((line["fingerprint"], line["attempt"]) for line in lines if line["type"] == "sent")
    ends = Counter((line["fingerprint"], line["attempt"]) for line in settled(lines))
    assert max(sent.values(), default=0) <= 1
    assert sent == ends
    billed: Counter[str] = Counter()
    for line in lines:
        if line["type"] == "reopened":
            billed[line["fingerprint"]] = 0
        elif settled([line]) and line["outcome"] in BILLED and line["code"] not in OURS:
            billed[line["fingerprint"]] += 1
            assert billed[line["fingerprint"]] <= most
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
    assert tasks["done"] == len({line["task"] for line in ends if line["outcome"] == "succeeded"})
    complete = tasks["done"] + tasks["skipped"] + tasks["reused"] == tasks["total"]
    assert (summary["exit"] == 0) == complete
    end = own[-1]
    assert end["type"] == "end"
    assert (end["counts"], end["exit"], end["images"]) == (tasks, summary["exit"], summary["images"])
    assert (end["attempts"], end["usage"]) == (summary["attempts"], summary["usage"])


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
