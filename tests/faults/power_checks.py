"""What must hold of every state that a loss of power leaves, and of what the next run makes of it.

As it stands:
- UNRECORDED: every request of which a byte left has its `sent` line
- PICTURE: a final name holds, whole, what the ledger says of it
- LOST: the bytes of every result in the ledger are on disk; a result that was durable in the ledger or in the spill
  folder, or told to the user, still is
- LEDGER: it is sound up to a torn last write

After the next run:
- STUCK: it does the job to its end
- UNFINISHED: every attempt has an end, every task its pictures, and no part is left
- BOUGHT_TWICE: nothing is bought again but what was in flight, and of that nothing that had arrived whole
- KEY: what is sent again has the key that it had
- LEDGER: it begins with all the whole lines that were there
- RESTLESS: a further run does nothing
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from io import BytesIO
from typing import Any

from PIL import Image

from tests.e2e.endpoint import Bill, Tokens
from tests.faults.invariants import (
    Line,
    Seen,
    check_attempts,
    check_kept,
    check_pictures,
    check_summary,
    digest,
    open_attempts,
    settled,
    sound,
)
from tests.faults.power_disk import Tree


class Kind(StrEnum):
    """The promises, by what it means that one was broken."""

    UNRECORDED = "a request left that the ledger does not know"
    PICTURE = "a final name holds what the ledger does not know"
    LOST = "a paid result is lost"
    LEDGER = "the ledger is damaged"
    STUCK = "the next run did not do the job"
    UNFINISHED = "the next run left something undone"
    BOUGHT_TWICE = "a result was bought twice that was not in flight"
    KEY = "a request was sent again under another key"
    RESTLESS = "a further run did something"


class ViolationError(AssertionError):
    """A promise that did not hold; `kind` says which."""

    def __init__(self, kind: Kind, words: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {words}")


@dataclass(frozen=True, slots=True)
class Account:
    """What the world outside knows at a moment: keys of requests that left, in order, and results that are safe."""

    left: tuple[str, ...]
    safe: frozenset[str]


@contextmanager
def promise(kind: Kind) -> Iterator[None]:
    """Turn a failed assertion into the breach of a promise."""
    try:
        yield
    except AssertionError as error:
        raise ViolationError(kind, str(error)) from error


def seen_in(tree: Tree, account: Account, posted: Sequence[str] = ()) -> Seen:
    """A tree as the checks of other crashes see it, with the least bill that the account can mean."""
    files = {path.removeprefix("out/"): data for path, data in tree.items() if data is not None and path[:4] == "out/"}
    ledgers = {name: data for name, data in files.items() if name.startswith("ledger") and name.endswith(".jsonl")}
    keys = Counter([*account.left, *posted])
    none = Tokens(0, 0, 0)
    bill = Bill(keys.total(), keys.total(), 0, none, {}, dict(keys), {}, 0, 0)
    with promise(Kind.LEDGER):
        return Seen(ledgers, files, {}, bill)


def check_at_rest(seen: Seen, spilled: Sequence[Spilled], account: Account) -> None:
    """Check a state as it stands. Raises ViolationError."""
    with promise(Kind.LEDGER):
        lines = seen.lines
    with promise(Kind.UNRECORDED):
        check_recorded(seen)
    with promise(Kind.PICTURE):
        check_pictures(seen)
    with promise(Kind.LOST):
        check_kept(seen)
        assert account.safe <= results(lines) | {spill.fingerprint for spill in spilled}, (
            "a result that was safe is gone"
        )


def check_recorded(seen: Seen) -> None:
    """Every request has its line. (What it cost is known to no prefix of a client's calls.)"""
    sent = Counter(line["idempotency_key"] for line in seen.lines if line["type"] == "sent")
    assert Counter(seen.bill.idempotency_keys) <= sent, "a request left before its line was durable"


@dataclass(frozen=True, slots=True)
class Spilled:
    """A result in the spill folder."""

    fingerprint: str


def spilled_in(tree: Tree) -> list[Spilled]:
    """The results in the spill folder. Raises ViolationError where one is not whole."""
    return [spilled_at(tree, path) for path in sorted(tree) if path.startswith("spill/") and path.endswith("/line")]


def spilled_at(tree: Tree, path: str) -> Spilled:
    """The result whose line is at a path."""
    home = path.removesuffix("line")
    there = {digest(data) for name, data in tree.items() if data is not None and name.startswith(home)}
    with promise(Kind.LOST):
        lines = sound(tree[path] or b"").lines
        assert lines, "the line of a spilled result is torn"
        assert {output["sha256"] for output in lines[0]["outputs"]} <= there, "a spilled result lacks a picture"
    return Spilled(lines[0]["fingerprint"])


def results(lines: Sequence[Line]) -> frozenset[str]:
    """The fingerprints of results."""
    return frozenset(line["fingerprint"] for line in settled(lines) if line["outcome"] == "succeeded")


def fingerprints(lines: Sequence[Line]) -> dict[str, str]:
    """What was asked for, by key."""
    return {line["idempotency_key"]: line["fingerprint"] for line in lines if line["type"] == "sent"}


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the next run made of a state: its posts' keys, its summary (None: it did not begin), what is there then."""

    posted: tuple[str, ...]
    summary: Mapping[str, Any] | None
    error: str
    tree: Tree
    restless: str


def check_recovered(before: Seen, after: Seen, recovered: Recovered) -> None:
    """Check what the next run made of a state, whoever knows what of it. Raises ViolationError."""
    if recovered.summary is None or recovered.summary["exit"] != 0:
        raise ViolationError(Kind.STUCK, recovered.error or json.dumps(recovered.summary))
    summary = dict(recovered.summary)
    with promise(Kind.LEDGER):
        lines = after.lines
        for name, data in before.ledgers.items():
            assert after.ledgers[name].startswith(data[: sound(data).end]), f"{name}: whole lines are gone"
    with promise(Kind.PICTURE):
        check_pictures(after)
    with promise(Kind.LOST):
        check_kept(after)
    with promise(Kind.UNRECORDED):
        check_recorded(after)
    with promise(Kind.UNFINISHED):
        assert open_attempts(lines) == [], "an attempt has no end"
        assert not after.below(".retouch/parts/"), "parts are left"
        check_names(after, lines)
        check_attempts(lines)
        check_summary(lines, summary)
    with promise(Kind.RESTLESS):
        assert not recovered.restless, recovered.restless


def check_names(seen: Seen, lines: Sequence[Line]) -> None:
    """Every task's last result is under its names, and nothing else is."""
    last = {line["task"]: line for line in lines if line.get("outputs")}
    named = {output["path"]: output["sha256"] for line in last.values() for output in line["outputs"]}
    there = {path: digest(data) for path, data in seen.pictures.items()}
    wrong = sorted(path for path in named.keys() | there.keys() if named.get(path) != there.get(path))
    assert not wrong, f"the ledger's last word and what is under these names differ: {wrong}"


def check_bought(before: Seen, after: Seen, account: Account, asked: Mapping[str, str], most: int) -> None:
    """Check what the next run bought: `asked` are the fingerprints by key that ever left. Raises ViolationError."""
    known = len(before.lines)
    sent = [line for line in after.lines[known:] if line["type"] == "sent"]
    left: dict[str, set[str]] = {}
    for key in account.left:
        left.setdefault(asked[key], set()).add(key)
    again = [line for line in sent if line["fingerprint"] in left]
    whole = {line["fingerprint"] for line in open_attempts(before.lines) if arrived(line, before)}
    with promise(Kind.BOUGHT_TWICE):
        for line in again:
            assert line["fingerprint"] not in account.safe, f"{line['task']} was safe"
            assert line["fingerprint"] not in whole, f"{line['task']} had arrived whole"
        assert len(again) <= most, f"{len(again)} results are bought again, and {most} requests were in flight"
    with promise(Kind.KEY):
        for line in again:
            assert line["idempotency_key"] in left[line["fingerprint"]], f"{line['task']} is sent under another key"


def arrived(sent: Line, seen: Seen) -> bool:
    """Whether all pictures of an attempt lie whole among the parts."""
    stem = f"{sent['run']}-{sent['fingerprint'][:16]}-{sent['attempt']}-"
    parts = seen.below(".retouch/parts/").items()
    whole = {name.removeprefix(stem) for name, data in parts if name.startswith(stem) and decodes(data)}
    return len(whole) >= len(sent["paths"])


@cache
def decodes(data: bytes) -> bool:
    """Whether a picture decodes to its last byte."""
    try:
        with Image.open(BytesIO(data)) as picture:
            picture.load()
    except (OSError, SyntaxError):
        return False
    return True
