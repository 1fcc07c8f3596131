"""What holds at every moment at which nothing runs, whatever happened before.

1. Every line of a ledger is whole but for a torn tail, which only a crash leaves; what was whole stays as it was.
2. A file under a final name is whole and what the ledger says of that name, or what a user put there; a file that is
   not ours is as it was.
3. Each picture that the ledger names is on disk, unless the user took it away; so is what a user put there.
4. Each request on the bill has its `sent` line, with its key; the ledger's usage covers the bill.
5. No attempt has the number of another one of its ledger, none ends twice, and none ends that was not sent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.faults.invariants import BILLED, Line, settled
from tests.model.oracle import Oracle
from tests.model.recovery import WHOLE
from tests.model.world import View, Wish, World, whole

WORST = 1000
"""Tokens; more than the server charges for any request."""


def check_world(world: World, view: View, *, crashed: bool) -> None:
    """What holds at every moment at which nothing runs."""
    bill = [line for line in world.bill() if "key" in line]
    WHOLE.update((sha, extension) for line in bill for sha, extension in line["pictures"])
    _check_ledgers(world, view, crashed=crashed)
    _check_names(world, view)
    _check_kept(world, view)
    _check_bill(view, bill)
    _check_attempts(view)


def _check_ledgers(world: World, view: View, *, crashed: bool) -> None:
    for name, old in world.durable.items():
        assert view.ledgers.get(name, b"").startswith(old), f"{name}: lines that were whole are gone"
    for name, data in view.ledgers.items():
        end = whole(data).end
        torn_before = data == world.ledgers.get(name)
        assert crashed or torn_before or end == len(data), f"{name} has a torn tail, though no run was killed"
        world.durable[name] = data[:end]
    world.ledgers = view.ledgers


def _check_names(world: World, view: View) -> None:
    named: dict[str, set[str]] = defaultdict(set)
    for line in view.lines:
        for output in line.get("outputs") or ():
            stem, _, extension = output["path"].rpartition(".")
            named[output["path"]].add(output["sha256"])
            named[f"{stem}~{line['fingerprint'][:8]}.{extension}"].add(output["sha256"])
    for path, file in view.results().items():
        ours = file.sha256 in named[path] and file.sha256 in WHOLE
        assert ours or file.sha256 in world.put.get(path, ()), f"{path} is neither a result nor the user's"
    for path, sha in world.foreign.items():
        there = view.files.get(path)
        assert there is not None, f"{path}, which is not ours, was touched"
        assert there.sha256 == sha, f"{path}, which is not ours, was touched"


def _check_kept(world: World, view: View) -> None:
    kept = view.everywhere | world.destroyed
    for line in view.lines:
        for output in line.get("outputs") or ():
            assert output["sha256"] in kept, f"{line['task']}: a paid picture is nowhere on disk"
    for path, shas in world.put.items():
        assert shas <= kept, f"{path}: what a user put there is nowhere on disk"


def _check_bill(view: View, bill: Sequence[Line]) -> None:
    keys = Counter(line["idempotency_key"] for line in view.lines if line["type"] == "sent")
    assert Counter(line["key"] for line in bill) <= keys, "a request left before its `sent` was durable"
    ends = settled(view.lines)
    known = sum(line["usage"]["total_tokens"] for line in ends if line["usage"])
    unknown = sum(line["outcome"] in BILLED and not line["usage"] for line in ends)
    unknown += len(Oracle(Wish([]), view).open_sent())
    assert known + WORST * unknown >= sum(line["tokens"] for line in bill), "the bill is above the ledger"


def _check_attempts(view: View) -> None:
    numbers = Counter((x["fingerprint"], x["attempt"], x["ledger"]) for x in view.lines if x["type"] == "sent")
    assert max(numbers.values(), default=0) <= 1, "two attempts have one number"
    ends = Counter((line["fingerprint"], line["attempt"]) for line in settled(view.lines))
    sent = Counter((line["fingerprint"], line["attempt"]) for line in view.lines if line["type"] == "sent")
    assert ends <= sent, "an attempt ended twice, or was never sent"
