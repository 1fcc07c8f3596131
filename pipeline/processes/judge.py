"""Whether a run in several processes gives up: its failures and doubts are counted over all of them, as one run's."""

from __future__ import annotations

from typing import Final

from pipeline.control.stop_on import too_many_failures, too_many_in_doubt
from pipeline.manifest.models import StopOn
from pipeline.run.progress import Snapshot
from pipeline.run.watch import doubt_words, failure_words

BETWEEN_LOOKS: Final = 0.2
"""Seconds between two judgements; a process tells how far it is as often."""


def too_many(now: Snapshot, limits: StopOn) -> str | None:
    """Why the run stops, where too much failed or ended in doubt; None where it goes on."""
    if too_many_failures(now.failed_now, now.sent_now, limits.failures):
        return failure_words(now.failed_now, now.sent_now)
    if too_many_in_doubt(now.in_doubt, now.settled, limits.in_doubt):
        return doubt_words(now.in_doubt, now.settled, None)
    return None
