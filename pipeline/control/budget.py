"""A cap on the images that are bought, reserved at admission and corrected when an attempt is settled."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.outcome import BILLED, Outcome


@dataclass(slots=True)
class ImageBudget:
    """Images bought or possibly bought over the whole ledger, and those of the attempts in flight.

    `spent + reserved` never exceeds `limit` by an admission, at any concurrency.
    """

    limit: int | None
    spent: int = 0
    reserved: int = 0

    def reserve(self, images: int) -> bool:
        """Take `images` out of what is left; False, and nothing is taken, when that is too little."""
        if self.limit is not None and self.spent + self.reserved + images > self.limit:
            return False
        self.reserved += images
        return True

    def settle(self, images: int, outcome: Outcome | None) -> None:
        """Turn a reservation into what it came to: spent when it may have been billed, else given back."""
        self.reserved -= images
        if outcome in BILLED:
            self.spent += images
