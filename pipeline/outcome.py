"""How an attempt ends: what each outcome means for money and for retrying."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How an attempt ended; the values are the ledger's."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    THROTTLED = "throttled"
    UNSENT = "unsent"
    IN_DOUBT = "in_doubt"
    UNUSABLE = "unusable"
    STOPPED = "stopped"
    INVALID = "invalid"

    # That of its text, to which it is equal. `Enum`'s, of the name, is Python code, and each attempt needs many.
    __hash__ = str.__hash__


BILLED = frozenset({Outcome.SUCCEEDED, Outcome.IN_DOUBT, Outcome.UNUSABLE})
"""Outcomes of attempts that were, or may have been, billed."""

FREE_RETRY = frozenset({Outcome.THROTTLED, Outcome.UNSENT})
"""Outcomes that are tried again without using up `retries.max_attempts`."""
