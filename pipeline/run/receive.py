"""From an answer to images that decode, and to what is wrong with them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import anyio
from msgspec import Struct
from msgspec.structs import replace

from pipeline.endpoint.collect import collect
from pipeline.endpoint.judge import Verdict, judge, kept_body
from pipeline.endpoint.key import Key
from pipeline.endpoint.reply import Failure, Reply
from pipeline.mime import HEAD, mime_of
from pipeline.outcome import Outcome
from pipeline.outputs.check import Bad, Checked, How, Mismatch, check, mismatches
from pipeline.run.context import Context
from pipeline.run.examine import Examined
from pipeline.run.lane import Lane

LIGHT = 1 << 16
"""Bytes of an answer, or pixels of its picture, up to which it is read where it arrives, without a thread."""

_SIZE = slice(16, 24)
"""Where a png's header tells its width and height."""

FETCH_WAITS = (0.5, 2.0, 0.0)
"""Seconds after each of the tries to fetch a picture; fetching costs nothing, losing it does."""


class Image(Struct, frozen=True):
    """An image that decodes whole, with its bytes."""

    data: bytes
    checked: Checked


class Received(Struct, frozen=True):
    """A verdict with the images that it came with; `mismatch` says in what they differ from what was asked for."""

    verdict: Verdict
    images: tuple[Image, ...] = ()
    mismatch: tuple[Mismatch, ...] = ()


async def receive(context: Context, lane: Lane, work: Examined, reply: Reply) -> Received:
    """Judge an answer, then fetch and check what it holds until there are as many usable images as were asked for; what
    is behind them is counted and left.

    An answer without one image that decodes was paid for and is unusable.
    """
    found, how, wanted = None, context.job.manifest.output.check, work.task.images
    now = context.chance.now().timestamp()
    if len(reply.body) <= LIGHT:
        verdict = judge(reply, lane.key, now)
    else:
        verdict, found = await context.in_thread(partial(_read, reply, lane.key, now, how, wanted))
    if verdict.outcome is Outcome.SUCCEEDED and any(image.url is not None for image in verdict.images):
        verdict, found = await _collected(context, lane, verdict, how, wanted)
    if verdict.outcome is not Outcome.SUCCEEDED:
        return Received(verdict)
    if found is None:
        found = await _examined(context, tuple(_pictures(verdict)), how, wanted)
    images = [image for image in found if isinstance(image, Image)]
    if not images:
        fault = next(each for each in found if isinstance(each, Bad))
        return Received(_undecodable(verdict, fault.reason, kept_body(reply, lane.key)))
    return Received(verdict, tuple(images), _mismatch(work, verdict, [image.checked for image in images]))


def _read(reply: Reply, key: Key | None, now: float, how: How, wanted: int) -> tuple[Verdict, list[Image | Bad] | None]:
    """The verdict on an answer with its images checked, where it holds them all itself."""
    verdict = judge(reply, key, now)
    whole = verdict.outcome is Outcome.SUCCEEDED and all(image.url is None for image in verdict.images)
    return verdict, _checked(_pictures(verdict), how, wanted) if whole else None


async def _collected(
    context: Context, lane: Lane, verdict: Verdict, how: How, wanted: int
) -> tuple[Verdict, list[Image | Bad]]:
    """The verdict on an answer that names URLs, with the pictures that were looked at until there were enough."""
    found: list[Image | Bad] = []

    async def is_usable(data: bytes) -> bool:
        found.extend(await _examined(context, (data,), how, 1))
        return isinstance(found[-1], Image)

    return await collect(verdict, partial(_fetch, context, lane), wanted, is_usable), found


async def _examined(context: Context, pictures: Sequence[bytes], how: How, wanted: int) -> list[Image | Bad]:
    """As `_checked`, in a thread where that is worth it."""
    if all(map(_is_light, pictures)):
        return _checked(pictures, how, wanted)
    return await context.in_thread(partial(_checked, pictures, how, wanted))


def _pictures(verdict: Verdict) -> Iterator[bytes]:
    return (image.data for image in verdict.images if image.data is not None)


def _checked(pictures: Iterable[bytes], how: How, wanted: int) -> list[Image | Bad]:
    """The pictures up to the last that is wanted: checking one takes up to seconds, and no more are kept."""
    found: list[Image | Bad] = []
    for data in pictures:
        seen = check(data, how)
        found.append(Image(data, seen) if isinstance(seen, Checked) else seen)
        wanted -= isinstance(seen, Checked)
        if not wanted:
            break
    return found


def _is_light(data: bytes) -> bool:
    """Whether a picture is checked in less time than handing it to a thread takes: by its header, for few bytes of a
    picture may be many pixels."""
    if len(data) < _SIZE.stop or mime_of(data[:HEAD]) != "image/png":
        return False
    width, height = struct.unpack(">II", data[_SIZE])
    return bool(width * height <= LIGHT)


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
