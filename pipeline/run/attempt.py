"""One attempt's life: `sent`, the request, the answer, its images, `settled`, and their names.

1. `sent` is durable before the first byte of the request can leave.
2. Whatever ends the request, a `settled` line follows, or a crash leaves `sent` alone for the next start to settle.
3. From the answer on nothing can be cancelled: what was paid for is stored, or spilled, or told in the ledger.
4. Nothing here raises but for a bug: how an attempt ended is its value.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import anyio

from pipeline.control.pause import LONGEST_PAUSE, Pause, judge_pause
from pipeline.endpoint.judge import Verdict, clean, judge, kept_body
from pipeline.endpoint.key import mask
from pipeline.endpoint.reply import Failure, Flight, Reply
from pipeline.errors import StorageError
from pipeline.ledger.records import Output, Sent, Settled
from pipeline.ledger.standing import BILLED_IN_VAIN, CANCELLED, STORAGE
from pipeline.outcome import FREE_RETRY, Outcome
from pipeline.run.context import Context
from pipeline.run.examine import Examined
from pipeline.run.exits import Exit
from pipeline.run.inputs import edit_of
from pipeline.run.receive import Received, receive
from pipeline.run.store import store

_log = logging.getLogger(__name__)
"""Tells each request and answer at the level of debugging; nothing in it holds the key, whoever listens."""


@dataclass(frozen=True, slots=True)
class Ended:
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


async def attempt(context: Context, work: Examined) -> Ended:
    """Make one attempt, holding a slot from before its `sent` line until its end is durable."""
    while True:
        await context.gate.wait()
        async with context.slots:
            if context.halt.draining or not context.gate.closed:
                return await _admitted_attempt(context, work)


async def _admitted_attempt(context: Context, work: Examined) -> Ended:
    if not _admitted(context, work):
        return NOT_SENT
    ended = NOT_SENT
    context.gauge.in_flight += 1
    try:
        ended = await _sent_and_settled(context, work)
    finally:
        context.gauge.in_flight -= 1
        context.budget.settle(work.task.images, ended.outcome)
    return ended


def _admitted(context: Context, work: Examined) -> bool:
    if context.halt.draining:
        return False
    if context.budget.reserve(work.task.images):
        return True
    limit = context.budget.limit
    context.halt.drain(
        Exit.BUDGET, f"budget.max_images: {limit} images are bought or on their way; raise it to go on with the rest"
    )
    return False


async def _sent_and_settled(context: Context, work: Examined) -> Ended:
    ended = NOT_SENT
    with anyio.CancelScope(shield=True):
        sent = _sent(context, work)
        try:
            await context.append(sent)
        except StorageError as error:
            context.halt.drain(Exit.STORAGE, str(error))
        else:
            ended = await _settle(context, work, sent, await _post(context, work, sent))
    return ended


def _sent(context: Context, work: Examined) -> Sent:
    history = context.state.history(work.fingerprint)
    return Sent(
        task=work.task.id,
        fingerprint=work.fingerprint,
        attempt=history.attempts + 1,
        generation=work.generation,
        endpoint=context.endpoint,
        idempotency_key=history.open_key or context.chance.token(),
        estimated_cost=None,
        request=dict(work.task.fields),
        paths=list(work.task.paths),
    )


async def _post(context: Context, work: Examined, sent: Sent) -> Reply:
    """The reply, also where the request is cut off: then in doubt if a byte may have left."""
    flight, began = Flight(), context.chance.clock()
    edit = edit_of(work.task, work.inputs, sent.idempotency_key)
    _log.debug(
        "%s: attempt %d goes to %s: %d files, Idempotency-Key %s",
        sent.task,
        sent.attempt,
        context.endpoint,
        len(edit.uploads),
        sent.idempotency_key,
    )
    with context.halt.cancellable() as scope:
        reply = await context.transport.post(edit, flight)
    if not scope.cancelled_caught:
        return reply
    return Reply(detail="the run was interrupted", began=flight.began, seconds=context.chance.clock() - began)


async def _settle(context: Context, work: Examined, sent: Sent, reply: Reply) -> Ended:
    try:
        now = context.chance.now().timestamp()
        verdict = await context.in_thread(lambda: judge(reply, context.key, now))
        received = await receive(context, work, verdict, reply)
    except Exception as error:
        received = Received(_unread(context, reply, error))
    _tell(context, sent, reply, received.verdict)
    stored = await store(context, work, settled_line(context, work, sent, reply, received), received)
    ended = Ended(stored.line, received.verdict.retry_after, stored.outputs)
    _watch(context, ended)
    return ended


def _tell(context: Context, sent: Sent, reply: Reply, verdict: Verdict) -> None:
    _log.debug(
        "%s: attempt %d is %s (%s): status %s, %d bytes, %.3f s, headers %s, request id %s, failure %s, %s",
        sent.task,
        sent.attempt,
        verdict.outcome,
        verdict.code,
        reply.status,
        len(reply.body),
        reply.seconds,
        {name: clean(value, context.key) for name, value in reply.headers.items()},
        verdict.request_id,
        reply.failure,
        verdict.message,
    )


def _unread(context: Context, reply: Reply, error: Exception) -> Verdict:
    """The verdict on an answer that this machine failed to read: held, so that no run buys it again by itself."""
    words = f"the answer could not be read here: {type(error).__name__}: {error}"
    if isinstance(error, MemoryError):
        context.halt.drain(Exit.STORAGE, f"{words}; this machine has too little memory")
    else:
        context.halt.bug(error)
    body = kept_body(reply, context.key)
    return Verdict(Outcome.UNUSABLE, reply.status, STORAGE, mask(words, context.key), body_kept=body)


def settled_line(context: Context, work: Examined, sent: Sent, reply: Reply, received: Received) -> Settled:
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
        endpoint=context.endpoint,
        model=_text(fields.get("model")),
        n=work.task.images,
        size=_text(fields.get("size")),
        quality=_text(fields.get("quality")),
        usage=verdict.usage,
        mismatch=list(received.mismatch),
        inputs=work.recorded_inputs,
        set=item.set,
        key=item.key,
        prompt=work.task.prompt,
        variant=work.task.variant_text,
        row=dict(item.row) if item.row is not None else None,
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _watch(context: Context, ended: Ended) -> None:
    """Stop or pause the run where this end asks for it; one that was of our own making says nothing of the endpoint."""
    settled = ended.settled
    if settled is None:
        return
    if settled.code in (Failure.INPUT_CHANGED, CANCELLED):
        return
    if settled.outcome is Outcome.STOPPED:
        context.halt.drain(Exit.REJECTED, rejected_words(settled))
    if settled.outcome is Outcome.UNSENT and context.outage.since is None:
        context.halt.note(f"{context.endpoint} cannot be reached: {settled.message or settled.code}; trying again")
    if context.outage.observe(settled.outcome, settled.status, context.chance.clock()):
        minutes = round(context.outage.limit / 60)
        context.halt.drain(
            Exit.OUTAGE,
            f"{context.endpoint} has not worked for {minutes} minutes (last: {settled.code}); run again when it does",
        )
    if settled.outcome in FREE_RETRY | BILLED_IN_VAIN:
        _pause(context, ended.retry_after)


def _pause(context: Context, retry_after: float | None) -> None:
    pause = judge_pause(retry_after, context.job.manifest.retries.max_wait, context.time_left())
    if pause is Pause.STOP:
        context.halt.drain(
            Exit.OUTAGE,
            f"{context.endpoint} asks to wait {retry_after:g} s, longer than {LONGEST_PAUSE:.0f} s or than the run's "
            "time; run again later",
        )
    elif pause is Pause.PAUSE and retry_after is not None:
        context.gate.pause_until(context.chance.clock() + retry_after)
        context.outage.restart()


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
