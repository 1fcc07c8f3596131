"""Which lines of a ledger a state was folded from, told without keeping their places.

1. Lines may be taken in another order than they stand in: what counts is that each was taken, and once.
2. It is compared with the lines as they stand in the file, so that a line that is durable and was never folded is
   found.
"""

from __future__ import annotations

from msgspec import Struct

from pipeline.ledger.places import Where

_MASK = 2**64 - 1


class Covered(Struct):
    """The lines of one ledger from `start` to `end`; `latest` is the highest `at` from the ledger's beginning on."""

    start: int = 0
    end: int = 0
    latest: str = ""
    sum: int = 0

    def take(self, where: Where, at: str) -> None:
        """Count a line."""
        self.sum = self.sum + hash(where) & _MASK
        end = where.offset + where.length
        if end > self.end:
            self.end = end
        if at > self.latest:
            self.latest = at
