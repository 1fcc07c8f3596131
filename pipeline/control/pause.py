"""What a Retry-After means for the whole run: nothing, a pause of admission, or its end."""

from __future__ import annotations

from enum import Enum

LONGEST_PAUSE = 3600.0
"""Seconds; a server that asks for more is treated as down."""


class Pause(Enum):
    """What a Retry-After asks of the run, beyond the wait of the task that received it."""

    NONE = "none"
    PAUSE = "pause"
    STOP = "stop"


def judge_pause(retry_after: float | None, max_wait: float, time_left: float | None) -> Pause:
    """Whether to go on, to pause admission until the Retry-After has passed, or to drain.

    `time_left` is what `stop_on.duration` still allows, in seconds, or None without such a limit.
    """
    if retry_after is None or retry_after <= max_wait:
        return Pause.NONE
    if retry_after > LONGEST_PAUSE or (time_left is not None and retry_after > time_left):
        return Pause.STOP
    return Pause.PAUSE
