"""Which of the states that a loss of power may leave are looked at: a bounded choice, the same for the same seed.

Of the pending changes: none, all, each one lost alone, each one kept alone, of each write several pieces (with all
others kept, and with all others lost), and some random choices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from tests.faults.power_disk import Change, Choice, Landing, Write

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Thoroughness:
    """How many random choices at each prefix, and how many pieces of each write."""

    random: int = 3
    pieces: int = 1


def choices(pending: Sequence[Change], dull: frozenset[int], chance: Random, how: Thoroughness) -> Iterator[Choice]:
    """The choices for these changes; those of the inodes in `dull` are lost or kept with others only."""
    everything: dict[Change, Landing | None] = dict.fromkeys(pending)
    yield {}
    yield everything
    for change in pending:
        if change.inode in dull:
            continue
        yield {change: None}
        yield {one: None for one in pending if one is not change}
        for piece in pieces(change, chance, how.pieces):
            yield everything | {change: piece}
            yield {one: None for one in pending if not isinstance(one, Write)} | {change: piece}
    for _ in range(how.random if len(pending) > 1 else 0):
        yield {change: chance.choice([None, *pieces(change, chance, 1)]) for change in pending if chance.random() < 0.6}


def pieces(change: Change, chance: Random, count: int) -> list[Landing]:
    """What may land of a write but all of it: a first piece, a last piece behind a hole, the length alone."""
    if not isinstance(change, Write) or len(change.data) < 2:
        return []
    length = len(change.data)
    cuts = {length // 2, *(chance.randrange(1, length) for _ in range(count - 1))}
    if length > SECTOR:
        cuts.add(SECTOR)
    found = [Landing(0, 0, length)]
    for cut in sorted(cuts)[:count]:
        found += [Landing(0, cut, cut), Landing(cut, length, length)]
    return found
