"""The one retry loop: tenacity's, around attempts that say themselves whether they may be made again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from pipeline.control.retry import wait_seconds
from pipeline.endpoint.reply import Failure
from pipeline.ledger.standing import Standing, standing_of
from pipeline.outcome import FREE_RETRY, Outcome
from pipeline.run.attempt import Ended, attempt
from pipeline.run.context import Context
from pipeline.run.examine import Examined
from pipeline.run.stops import sleep_spread


async def attempts(context: Context, work: Examined, heard: Callable[[Ended], None]) -> Ended:
    """Make attempts until one settles the task, none may follow, or the run drains; `heard` hears of each end.

    Backoff sleeps hold no slot and end when a drain starts. Whether another attempt may follow is read from the
    replayed counts, so that an earlier run's attempts count too. The loop is entered only with an end that asks for it.
    """

    async def once() -> Ended:
        ended = await attempt(context, work)
        heard(ended)
        return ended

    try:
        first = await once()
        return await _loop(context, work, first, once) if may_be_made_again(first) else first
    finally:
        context.admission.release(work.task.id)


async def _loop(context: Context, work: Examined, first: Ended, once: Callable[[], Awaitable[Ended]]) -> Ended:
    """Go on from the end of the first attempt."""
    retries = context.job.manifest.retries
    made = [first]

    async def each() -> Ended:
        return made.pop() if made else await once()

    def exhausted(_state: RetryCallState) -> bool:
        standing = standing_of(context.state.history(work.fingerprint), retries)
        return context.halt.draining or standing is not Standing.PENDING

    def wait(state: RetryCallState) -> float:
        if context.admission.is_probe(work.task.id):
            return 0.0  # the breaker sets the intervals of its probes
        # Of several endpoints one rests for its Retry-After, and the task may go to another.
        retry_after = _ended(state).retry_after if len(context.lanes) == 1 else None
        return wait_seconds(state.attempt_number, retry_after, retries.max_wait, context.chance.random)

    async def sleep(seconds: float) -> None:
        context.gauge.waiting += 1
        try:
            await sleep_spread(context, seconds)
        finally:
            context.gauge.waiting -= 1

    loop = AsyncRetrying(
        retry=retry_if_result(may_be_made_again),
        stop=exhausted,
        wait=wait,
        sleep=sleep,
        retry_error_callback=_ended,
    )
    ended: Ended = await loop(each)
    return ended


AGAIN = FREE_RETRY | {Outcome.IN_DOUBT, Outcome.UNUSABLE}
"""Outcomes after which another attempt may follow, where the counts allow it."""


def may_be_made_again(ended: Ended) -> bool:
    """Whether an attempt's end is of a kind that is tried again as it is; a changed input makes another request."""
    changed = ended.settled is not None and ended.settled.code == Failure.INPUT_CHANGED
    return ended.outcome in AGAIN and not changed


def _ended(state: RetryCallState) -> Ended:
    assert state.outcome is not None
    ended: Ended = state.outcome.result()
    return ended
