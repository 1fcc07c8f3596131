"""What the end of an attempt means for the endpoint and for the run: its limits, a pause, its breaker, a stop."""

from __future__ import annotations

from pipeline.control.breaker import Position
from pipeline.control.pause import LONGEST_PAUSE, Pause, judge_pause
from pipeline.endpoint.ratelimits import read_rate_limits
from pipeline.endpoint.reply import Failure, Reply
from pipeline.ledger.records import Settled
from pipeline.ledger.standing import BILLED_IN_VAIN, CANCELLED
from pipeline.outcome import FREE_RETRY, Outcome
from pipeline.run.admission import Ticket
from pipeline.run.context import Context
from pipeline.run.exits import Exit
from pipeline.run.lane import Lane

OWN_ENDS = (Failure.INPUT_CHANGED, CANCELLED)
"""Codes of ends of our own making."""

_WAITED_AFTER = FREE_RETRY | BILLED_IN_VAIN
"""Outcomes after which a Retry-After counts."""


def heed(context: Context, ticket: Ticket, settled: Settled, retry_after: float | None) -> None:
    """Stop or pause where this end asks for it; one of our own making says nothing of the endpoint."""
    lane, now = ticket.lane, context.chance.clock()
    if settled.code in OWN_ENDS:
        lane.breaker.end_probe(now)
        return
    if settled.outcome is Outcome.STOPPED:
        context.halt.drain(Exit.REJECTED, rejected_words(settled))
    _watch_breaker(context, ticket, settled, now)
    if settled.outcome in _WAITED_AFTER:
        _pause(context, lane, retry_after, now)


def slow_down(context: Context, ticket: Ticket, settled: Settled, retry_after: float | None, reply: Reply) -> None:
    """Fit the rates and the live limit to what the answer says and how it came."""
    if settled.code in OWN_ENDS:
        return
    lane, began, now = ticket.lane, ticket.admitted, context.chance.clock()
    lane.rates.heed(read_rate_limits(reply.headers), now, began)
    if settled.outcome is Outcome.THROTTLED:
        lane.rates.throttled()
    seconds = settled.seconds if settled.seconds is not None else now - began
    lane.limit.on_end(settled.outcome, settled.status, seconds, began, now, lane.in_flight, retry_after)


def _watch_breaker(context: Context, ticket: Ticket, settled: Settled, now: float) -> None:
    """Tell when an endpoint seems broken, and give it up after ten minutes."""
    lane = ticket.lane
    before = lane.breaker.position
    if settled.outcome is Outcome.UNSENT and lane.breaker.since is None:
        context.halt.note(f"{lane.name} cannot be reached: {settled.message or settled.code}; trying again")
    lane.breaker.on_end(settled.outcome, settled.status, now, ticket.probe)
    after = lane.breaker.position
    if before is Position.CLOSED and after is not Position.CLOSED:
        context.halt.note(f"{lane.name} seems to be down ({settled.code}): one request at a time tries until it works")
    if before is not Position.CLOSED and after is Position.CLOSED:
        context.halt.note(f"{lane.name} works again")
    if lane.breaker.down(now):
        minutes = round(lane.breaker.outage / 60)
        _close(context, lane, f"{lane.name} has not worked for {minutes} minutes (last: {settled.code})")


def _close(context: Context, lane: Lane, why: str) -> None:
    """Give an endpoint up for this run; without another one the run ends."""
    if lane.closed:
        return
    lane.closed = True
    if all(each.closed for each in context.lanes):
        context.halt.drain(Exit.OUTAGE, f"{why}; run again when it does")
    else:
        context.halt.note(f"{why}; the rest of this run goes on without it; what only it serves stays as it is")


def _pause(context: Context, lane: Lane, retry_after: float | None, now: float) -> None:
    max_wait = context.job.manifest.retries.max_wait
    if retry_after and context.admission.others(lane):
        lane.gate.pause_until(now + min(retry_after, LONGEST_PAUSE), tell=retry_after > max_wait)
        return
    pause = judge_pause(retry_after, max_wait, context.time_left())
    if pause is Pause.STOP:
        most = f"longer than {LONGEST_PAUSE:.0f} s or than the run's time"
        _close(context, lane, f"{lane.name} asks to wait {retry_after:g} s, {most}")
    elif pause is Pause.PAUSE and retry_after is not None:
        lane.gate.pause_until(now + retry_after)
        lane.breaker.pause(retry_after)


def rejected_words(settled: Settled) -> str:
    """Why the endpoint turned the whole run away, and what a person can do."""
    said = f": {settled.message}" if settled.message else ""
    doing = {
        401: "check the key",
        402: "check the account's balance",
        403: "check the key's permissions",
        404: "check endpoint.base_url, endpoint.path and the model",
        405: "check endpoint.base_url and endpoint.path",
    }.get(settled.status or 0, "check the account's quota and endpoint.base_url")
    return f"{settled.endpoint} answers {settled.status} {settled.code}{said}; {doing}, then run again"


def failure_words(failed: int, done: int, last: str = "") -> str:
    """Why a run of which too many tasks fail stops; `last` says how the last one did."""
    return (
        f"{failed} of {failed + done} finished tasks failed{last}, more than stop_on.failures allows; "
        "`retouch status JOB --failed` lists them"
    )


def doubt_words(doubts: int, settled: int, cut: float | None) -> str:
    """Why a run with many attempts in doubt stops, with a hint where they were all cut at the same time."""
    words = (
        f"{doubts} of {settled} requests ended without an answer and may have been billed, more than stop_on.in_doubt"
    )
    if cut is None:
        return f"{words} allows; check the connection and the endpoint before you run again"
    return (
        f"{words} allows\nhint: they were cut after {cut:.0f} s each: a gateway on the way gives up before the picture "
        "is ready; ask for a longer time-out there, or for a lower quality or size"
    )
