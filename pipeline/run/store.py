"""Storing an attempt's end, under a shield: parts, then the line, then the names; and what to do when the disk refuses.

1. A result is done when its parts and then its line are durable, in this order.
2. What cannot be stored here goes to the spill folder; what cannot go there either is told in the ledger as held.
3. A storage fault stops the run; it never makes a paid call again by itself.
4. Where nothing at all can be made durable the images are left as parts, which the next start keeps if they are whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from pipeline.errors import StorageError
from pipeline.ledger.codec import encode
from pipeline.ledger.committer import stamp
from pipeline.ledger.entries import UnpublishedError
from pipeline.ledger.records import Output, Reused, Settled
from pipeline.ledger.standing import STORAGE
from pipeline.outcome import Outcome
from pipeline.outputs.keep import keep_unusable
from pipeline.outputs.parts import Unsynced, leave_part, part_name, start_part
from pipeline.outputs.publish import publish, retire
from pipeline.outputs.spill import SpillPart
from pipeline.run.context import Context
from pipeline.run.examine import Examined
from pipeline.run.exits import Exit
from pipeline.run.receive import Image, Received


class Stored(Struct, frozen=True):
    """What became of an attempt's end: its line, None where the ledger does not have it, and its images under the
    names that they have now; none where the next start has to name them."""

    line: Settled | None
    outputs: tuple[Output, ...] = ()


async def store(context: Context, work: Examined, line: Settled, received: Received) -> Stored:
    """Make the end of an attempt durable; a result that cannot be stored waits in the spill folder."""
    if line.outcome is not Outcome.SUCCEEDED:
        await _keep_body(context, line, received)
        return Stored(await append_or_stop(context, line))
    try:
        committed = await context.committer.commit(
            line,
            publish=lambda: publish_outputs(context, work, line.outputs),
            prepare=lambda: _write_parts(context, work, line, received.images),
            shielded=True,
        )
    except UnpublishedError as error:
        context.state.apply(line, error.where)
        context.halt.drain(Exit.STORAGE, str(error))
        return Stored(line)
    except StorageError as error:
        context.halt.drain(Exit.STORAGE, str(error))
        return Stored(await _spill(context, work, line, received.images))
    context.state.apply(line, committed.where)
    return Stored(line, await _named(context, line, committed.value))


async def append_or_stop(context: Context, line: Settled) -> Settled | None:
    """Append a line; a ledger that cannot take it stops the run, and None is returned."""
    try:
        await context.append(line)
    except StorageError as error:
        context.halt.drain(Exit.STORAGE, str(error))
        return None
    return line


def outputs_of(work: Examined, line: Settled, images: Sequence[Image], run: str) -> list[Output]:
    """The images as the ledger names them, the first under the task's first path."""
    return [
        Output(
            path=f"{path}.{image.checked.extension}",
            part=part_name(run, line.fingerprint, line.attempt, index),
            sha256=image.checked.sha256,
            bytes=image.checked.bytes,
            width=image.checked.width,
            height=image.checked.height,
            format=image.checked.format,
        )
        for index, (path, image) in enumerate(zip(work.task.paths, images, strict=False), start=1)
    ]


def _write_parts(context: Context, work: Examined, line: Settled, images: Sequence[Image]) -> Callable[[], None]:
    """Begin to store the images; what is returned waits until they are durable, and names them in the line.

    The parts of several images are waited for at once: few files are open at a time.
    """
    outputs, parts = outputs_of(work, line, images, context.run), list[Unsynced]()
    try:
        for output, image in zip(outputs, images, strict=True):
            parts.append(start_part(context.folder, output.part or "", image.data))
    except BaseException:
        for part in parts:
            part.drop()
        raise

    def finish() -> None:
        names = _synced(parts)
        line.outputs = [msgspec.structs.replace(o, part=name) for o, name in zip(outputs, names, strict=True)]

    if len(images) > 1:
        finish()
        return lambda: None
    return finish


def _synced(parts: Sequence[Unsynced]) -> list[str]:
    """The names of the parts, each durable but for its name. Raises StorageError, and leaves no file open."""
    waiting = list(parts)
    try:
        return [waiting.pop(0).sync() for _ in parts]
    except BaseException:
        for part in waiting:
            part.drop()
        raise


async def _named(context: Context, line: Settled, names: Sequence[str]) -> tuple[Output, ...]:
    """The outputs under their names; a result that has its line already must not be spilled for want of another."""
    try:
        return await tell_names(context, line, names)
    except StorageError as error:
        context.halt.drain(Exit.STORAGE, str(error))
        return ()


def publish_outputs(context: Context, work: Examined, outputs: Sequence[Output]) -> list[str]:
    """Give every part its name, after an older result of the task under another extension made way."""
    stems = {output.path.rpartition(".")[0]: output.path for output in outputs}
    for old in work.last.outputs if work.last else ():
        if stems.get(old.path.rpartition(".")[0], old.path) != old.path:
            retire(context.folder, old.path, old.bytes)
    known = context.state.knows_path
    return [publish(context.folder, o.part or "", o.path, o.sha256, work.fingerprint, known) for o in outputs]


async def tell_names(context: Context, line: Settled | Reused, names: Sequence[str]) -> tuple[Output, ...]:
    """The outputs under the names that they got; where a foreign file had one, a line is appended that says so.

    Raises:
        StorageError: that line could not be written.
    """
    if [output.path for output in line.outputs] == list(names):
        return tuple(line.outputs)
    moved = [msgspec.structs.replace(output, path=name) for output, name in zip(line.outputs, names, strict=True)]
    await context.append(
        Reused(task=line.task, fingerprint=line.fingerprint, from_=line.task, outputs=moved, inputs=line.inputs)
    )
    return tuple(moved)


async def _spill(context: Context, work: Examined, line: Settled, images: Sequence[Image]) -> Settled | None:
    line.run = context.run
    line.at = stamp(context.chance.now())
    line.outputs = outputs_of(work, line, images, context.run)
    parts = [SpillPart(output.part or "", image.data) for output, image in zip(line.outputs, images, strict=True)]
    try:
        await context.in_thread(lambda: context.spill.store(encode(line), parts))
    except StorageError as error:
        context.halt.note(str(error))
        line.outcome, line.code, line.message, line.outputs = Outcome.UNUSABLE, STORAGE, str(error), []
        told = await append_or_stop(context, line)
        if told is None:
            await _leave(context, parts)
        return told
    context.halt.note(f"the result of {line.task} is kept in {context.spill.folder}; the next run takes it in")
    return None


async def _leave(context: Context, parts: Sequence[SpillPart]) -> None:
    """Leave images where the next start looks for those of an attempt without an end; no loss of power is survived."""

    def leave() -> None:
        for part in parts:
            leave_part(context.folder, part.name, part.data)

    try:
        await context.in_thread(leave)
    except StorageError as error:
        context.halt.note(f"{error}; the next run buys it again")


async def _keep_body(context: Context, line: Settled, received: Received) -> None:
    body = received.verdict.body_kept
    if line.outcome is not Outcome.UNUSABLE or body is None:
        return
    name = f"{context.run}-{line.fingerprint[:16]}-{line.attempt}.body"
    try:
        await context.in_thread(lambda: keep_unusable(context.folder, name, body))
    except StorageError as error:
        context.halt.drain(Exit.STORAGE, str(error))
