"""From an answer to images that decode, and to what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import anyio

from pipeline.endpoint.collect import collect
from pipeline.endpoint.judge import Verdict, kept_body
from pipeline.endpoint.reply import Failure, Reply
from pipeline.outcome import Outcome
from pipeline.outputs.check import Checked, Mismatch, check, mismatches
from pipeline.run.context import Context
from pipeline.run.examine import Examined
from pipeline.run.lane import Lane

FETCH_WAITS = (0.5, 2.0, 0.0)
"""Seconds after each of the tries to fetch a picture; fetching costs nothing, losing it does."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that decodes whole, with its bytes."""

    data: bytes
    checked: Checked


@dataclass(frozen=True, slots=True)
class Received:
    """A verdict with the images that it came with; `mismatch` says in what they differ from what was asked for."""

    verdict: Verdict
    images: tuple[Image, ...] = ()
    mismatch: tuple[Mismatch, ...] = ()


async def receive(context: Context, lane: Lane, work: Examined, verdict: Verdict, reply: Reply) -> Received:
    """Fetch and check what the answer holds; of more usable images than asked for the first ones are kept.

    An answer without one image that decodes was paid for and is unusable.
    """
    if verdict.outcome is Outcome.SUCCEEDED:
        verdict = await collect(verdict, partial(_fetch, context, lane))
    if verdict.outcome is not Outcome.SUCCEEDED:
        return Received(verdict)
    images: list[Image] = []
    faults: list[str] = []
    for data in (entry.data for entry in verdict.images if entry.data is not None):
        found = await context.in_thread(partial(check, data))
        if isinstance(found, Checked):
            images.append(Image(data, found))
        else:
            faults.append(found.reason)
    if not images:
        return Received(_undecodable(verdict, faults[0], kept_body(reply, lane.key)))
    wanted = work.task.images
    return Received(verdict, tuple(images[:wanted]), _mismatch(work, verdict, [image.checked for image in images]))


async def _fetch(context: Context, lane: Lane, url: str) -> Reply:
    """What lies at a URL of a paid answer: asked for more than once, and given up only when the run is cancelled."""
    reply = Reply(failure=Failure.TIMEOUT, detail="the run was interrupted")
    with context.halt.cancellable():
        for wait in FETCH_WAITS:
            reply = await lane.transport.fetch(url)
            if (reply.status == 200 and reply.failure is None) or reply.failure is Failure.URL_NOT_ALLOWED:
                break
            await anyio.sleep(wait)
    return reply


def _mismatch(work: Examined, verdict: Verdict, images: Sequence[Checked]) -> tuple[Mismatch, ...]:
    fields, wanted = work.task.fields, work.task.images
    differs = mismatches(images[:wanted], fields.get("size"), fields.get("output_format"), wanted)
    if len(verdict.images) > wanted and "count" not in differs:
        differs.append("count")
    return tuple(differs)


def _undecodable(verdict: Verdict, reason: str, body: bytes) -> Verdict:
    return replace(verdict, outcome=Outcome.UNUSABLE, code="undecodable", message=reason, body_kept=body)
