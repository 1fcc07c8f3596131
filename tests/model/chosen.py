"""What the options of a run choose: tasks, those of them that may be sent, and the requests that are opened anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any

from tests.model.oracle import Fate, Want


@dataclass(frozen=True, slots=True)
class Flags:
    """The options of one run, as the oracle reads them."""

    named: dict[str, Any]

    def takes(self, want: Want) -> bool:
        """Whether a run is about a task."""
        only, shard = self.named.get("only"), self.named.get("shard")
        if only is not None and not fnmatchcase(want.id, only):
            return False
        if shard is None:
            return True
        number = int.from_bytes(sha256("/".join(want.item).encode()).digest(), "big")
        return bool(number % shard[1] + 1 == shard[0])


def within(limit: int | None, fates: Sequence[Fate]) -> Iterator[Fate]:
    """The fates that `--limit` lets happen: of those that send, the ones of the first items."""
    items: list[tuple[str, str]] = []
    for fate in fates:
        if fate.sends and fate.want.item not in items:
            if limit is not None and len(items) >= limit:
                continue
            items.append(fate.want.item)
        yield fate


def reopenings(fates: Sequence[Fate], flags: Flags) -> dict[str, Fate]:
    """The requests that `--retry` and `--redo` open, by the fingerprint that is wanted from then on."""
    opened: dict[str, Fate] = {}
    items: list[tuple[str, str]] = []
    limit, redo, retry = (flags.named.get(name) for name in ("limit", "redo", "retry"))
    for fate in fates:
        full = limit is not None and len(items) >= limit and fate.want.item not in items
        if not fate.had and (not retry or full):
            continue
        wanted = None
        if fate.kind in (retry or ()):
            wanted = fate.fingerprint
        elif redo is not None and fnmatchcase(fate.want.id, redo) and fate.kind in ("done", "reused", "missing"):
            wanted = "next"
        if wanted is None:
            continue
        name = f"{fate.base} {fate.generation + (wanted == 'next')}"
        if name in opened or full:
            continue
        items += [fate.want.item] * (fate.want.item not in items)
        opened[name] = fate
    return opened
