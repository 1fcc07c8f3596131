"""Taking over a paid result under another name: by copy, durable before its line, and for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from pipeline.ledger.entries import UnpublishedError
from pipeline.ledger.records import Output, Reused
from pipeline.outputs.folder import PARTS
from pipeline.outputs.parts import part_name, remove_part
from pipeline.outputs.stock import MovedError, copy_part
from pipeline.run.context import Context
from pipeline.run.examine import Examined
from pipeline.run.found import Found
from pipeline.run.store import publish_outputs, tell_names


async def reuse(context: Context, work: Examined) -> tuple[Output, ...]:
    """Give a task the pictures of a paid result, with a durable line that says so; returns them under their names.

    Raises:
        MovedError: one is elsewhere now; nothing was done.
        StorageError: they could not be stored.
    """
    found = work.found
    assert found is not None
    outputs = await context.in_thread(lambda: _outputs(context, work, found))
    line = Reused(
        task=work.task.id,
        fingerprint=work.fingerprint,
        from_=found.line.task,
        outputs=outputs,
        inputs=work.recorded_inputs,
    )
    try:
        committed = await context.committer.commit(line, lambda: _publish(context, work, outputs))
    except UnpublishedError as error:
        context.state.apply(line, error.where)
        raise
    context.state.apply(line, committed.where)
    return await tell_names(context, line, committed.value)


def _outputs(context: Context, work: Examined, found: Found) -> list[Output]:
    """The pictures as parts, under the task's own names; one that has its name already is left where it is."""
    outputs, copies = list[Output](), list[str]()
    sources = zip(work.task.paths, found.line.outputs, found.places, strict=False)
    try:
        for index, (path, old, place) in enumerate(sources, start=1):
            name = f"{path}.{old.path.rpartition('.')[2]}"
            part = None if place == name else _part(context, work, old, place, index, copies)
            outputs.append(Output(name, part, old.sha256, old.bytes, old.width, old.height, old.format))
    except MovedError:
        for copy in copies:
            remove_part(context.folder, copy)
        raise
    return outputs


def _part(context: Context, work: Examined, old: Output, place: str, index: int, copies: list[str]) -> str:
    if place.startswith(f"{PARTS}/"):
        return place.removeprefix(f"{PARTS}/")
    # Any number of tasks may copy one result, so the task names the part; attempt 0 tells it from a result's own.
    name = part_name(context.run, sha256(work.task.id.encode()).hexdigest(), 0, index)
    copies.append(copy_part(context.folder, place, old.sha256, name))
    return copies[-1]


def _publish(context: Context, work: Examined, outputs: Sequence[Output]) -> list[str]:
    published = publish_outputs(context, work, [output for output in outputs if output.part is not None])
    names = iter(published)
    return [output.path if output.part is None else next(names) for output in outputs]
