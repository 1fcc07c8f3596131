"""One attempt's life: `sent`, the request, the answer, its images, `settled`, and their names.

1. `sent` is durable before the first byte of the request can leave.
2. Whatever ends the request, a `settled` line follows, or a crash leaves `sent` alone for the next start to settle.
3. From the answer on nothing can be cancelled: what was paid for is stored, or spilled, or told in the ledger.
4. Nothing here raises but for a bug: how an attempt ended is its value.
"""

from __future__ import annotations

import logging
from typing import Any

import anyio
from msgspec import Struct
from msgspec.structs import replace

from pipeline.endpoint.judge import Verdict, clean, kept_body
from pipeline.endpoint.key import mask
from pipeline.endpoint.pricing import cost_of
from pipeline.endpoint.reply import Flight, Reply
from pipeline.errors import StorageError
from pipeline.ledger.records import Output, Sent, Settled
from pipeline.ledger.standing import CANCELLED, STORAGE
from pipeline.outcome import Outcome
from pipeline.run.admission import Ask, Ticket
from pipeline.run.context import Context
from pipeline.run.examine import Examined
from pipeline.run.exits import Exit
from pipeline.run.inputs import Sizes, edit_of, sizes_of
from pipeline.run.lane import Lane
from pipeline.run.receive import Received, receive
from pipeline.run.store import store
from pipeline.run.watch import heed, slow_down
from pipeline.run.worth import Worths, model_of, needs_sizes, spent, taken

_log = logging.getLogger(__name__)
"""Tells each request and answer at the level of debugging; nothing in it holds the key, whoever listens."""


class Ended(Struct, frozen=True):
    """How an attempt ended for its task: the ledger's line, or None where none was sent or it could not be stored.

    `outputs` are a success's images under the names that they have now; none where the next start has to name them.
    """

    settled: Settled | None
    retry_after: float | None = None
    outputs: tuple[Output, ...] = ()

    @property
    def outcome(self) -> Outcome | None:
        """The outcome, where there is one."""
        return self.settled.outcome if self.settled else None


NOT_SENT = Ended(None)
UNKNOWN = Ended(None, retry_after=None)
"""The end of an attempt that nothing is known of, but that it may have been sent."""


async def attempt(context: Context, work: Examined) -> Ended:
    """Make one attempt, holding its place and its worst cost from before its `sent` line until its end is durable."""
    model = model_of(work)
    worths = Worths(work, await _sizes(context, work))
    ticket = await context.admission.enter(Ask(work.task.id, model, worths.at))
    if ticket is None:
        return NOT_SENT
    ended = UNKNOWN
    context.gauge.in_flight += 1
    try:
        ended = await _sent_and_settled(context, work, ticket)
    finally:
        context.gauge.in_flight -= 1
        _leave(context, ticket, ended)
    return ended


async def _sizes(context: Context, work: Examined) -> Sizes:
    """Of tasks that were examined in their turn nothing is awaited here: they enter in their order."""
    if work.sizes is not None or not needs_sizes(work, context.lanes):
        return work.sizes or ()
    return await context.in_thread(lambda: sizes_of(work.inputs))


def _leave(context: Context, ticket: Ticket, ended: Ended) -> None:
    """Give back what the attempt held; one that may have been sent and has no end in the ledger counts as in doubt."""
    settled = ended.settled
    outcome = None if ended is NOT_SENT else ended.outcome or Outcome.IN_DOUBT
    cost = settled.cost if settled else None
    context.admission.leave(ticket, outcome, taken(settled, outcome, ticket.worth.charge), cost)
    context.tally.cost = spent(context.admission.budget.run)


async def _sent_and_settled(context: Context, work: Examined, ticket: Ticket) -> Ended:
    ended = NOT_SENT
    with anyio.CancelScope(shield=True):
        sent = _sent(context, work, ticket)
        try:
            await context.append(sent, shielded=True)
        except StorageError as error:
            context.halt.drain(Exit.STORAGE, str(error))
        else:
            ended = await _settle(context, work, ticket, sent, await _post(context, work, ticket.lane, sent))
    return ended


def _sent(context: Context, work: Examined, ticket: Ticket) -> Sent:
    history = context.state.history(work.fingerprint)
    return Sent(
        task=work.task.id,
        fingerprint=work.fingerprint,
        attempt=history.attempts + 1,
        generation=work.generation,
        endpoint=ticket.lane.name,
        idempotency_key=history.open_key or context.chance.token(),
        estimated_cost=ticket.worth.cost,
        request=dict(work.task.fields),
        paths=list(work.task.paths),
    )


async def _post(context: Context, work: Examined, lane: Lane, sent: Sent) -> Reply:
    """The reply, also where the request is cut off: then in doubt if a byte may have left."""
    flight, began = Flight(), context.chance.clock()
    edit = edit_of(work.task, work.inputs, sent.idempotency_key)
    if (served := lane.offer.served(model_of(work))) != model_of(work):
        edit = replace(edit, fields={**edit.fields, "model": served})
    _log.debug(
        "%s: attempt %d goes to %s: %d files, Idempotency-Key %s",
        sent.task,
        sent.attempt,
        lane.name,
        len(edit.uploads),
        sent.idempotency_key,
    )
    with context.halt.cancellable() as scope:
        reply = await lane.transport.post(edit, flight)
    if not scope.cancelled_caught:
        return reply
    return Reply(detail="the run was interrupted", began=flight.began, seconds=context.chance.clock() - began)


async def _settle(context: Context, work: Examined, ticket: Ticket, sent: Sent, reply: Reply) -> Ended:
    lane = ticket.lane
    try:
        received = await receive(context, lane, work, reply)
    except Exception as error:
        received = Received(_unread(context, lane, reply, error))
    _tell(lane, sent, reply, received.verdict)
    line = settled_line(work, ticket, sent, reply, received)
    # Before the line is durable: until then others would be sent into the same refusal.
    slow_down(context, ticket, line, received.verdict.retry_after, reply)
    stored = await store(context, work, line, received)
    if stored.line is not None:
        heed(context, ticket, stored.line, received.verdict.retry_after)
    return Ended(stored.line, received.verdict.retry_after, stored.outputs)


def _tell(lane: Lane, sent: Sent, reply: Reply, verdict: Verdict) -> None:
    if not _log.isEnabledFor(logging.DEBUG):
        return
    _log.debug(
        "%s: attempt %d is %s (%s): status %s, %d bytes, %.3f s, headers %s, request id %s, failure %s, %s",
        sent.task,
        sent.attempt,
        verdict.outcome,
        verdict.code,
        reply.status,
        len(reply.body),
        reply.seconds,
        {name: clean(value, lane.key) for name, value in reply.headers.items()},
        verdict.request_id,
        reply.failure,
        verdict.message,
    )


def _unread(context: Context, lane: Lane, reply: Reply, error: Exception) -> Verdict:
    """The verdict on an answer that this machine failed to read: held, so that no run buys it again by itself."""
    words = f"the answer could not be read here: {type(error).__name__}: {error}"
    if isinstance(error, MemoryError):
        context.halt.drain(Exit.STORAGE, f"{words}; this machine has too little memory")
    else:
        context.halt.bug(error)
    body = kept_body(reply, lane.key)
    return Verdict(Outcome.UNUSABLE, reply.status, STORAGE, mask(words, lane.key), body_kept=body)


def settled_line(work: Examined, ticket: Ticket, sent: Sent, reply: Reply, received: Received) -> Settled:
    """The line that says how the attempt ended; its outputs are named when they are stored."""
    verdict, fields, item = received.verdict, work.task.fields, work.task.item
    interrupted = reply.status is None and reply.failure is None
    return Settled(
        task=work.task.id,
        fingerprint=work.fingerprint,
        attempt=sent.attempt,
        outcome=verdict.outcome,
        status=verdict.status,
        code=CANCELLED if interrupted else verdict.code,
        message=verdict.message,
        request_id=verdict.request_id,
        seconds=round(reply.seconds, 3),
        endpoint=ticket.lane.name,
        model=_text(fields.get("model")),
        n=work.task.images,
        size=_text(fields.get("size")),
        quality=_text(fields.get("quality")),
        usage=verdict.usage,
        cost=cost_of(verdict.usage, ticket.lane.offer.price(model_of(work))),
        mismatch=list(received.mismatch),
        inputs=work.recorded_inputs,
        set=item.set,
        key=item.key,
        prompt=work.task.prompt,
        variant=work.task.variant_text,
        row=dict(item.row) if item.row is not None else None,
        probe=ticket.probe,
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
