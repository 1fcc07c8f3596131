"""Finishing what a killed run left, before anything is sent.

1. A result that has its line gets its name, tied by sha256.
2. A spilled result is taken in; it leaves the spill folder once the ledger names its pictures.
3. An attempt without an end is settled: as a success where all its images are here and decode whole, else in doubt.
4. Then no part of these runs is of use any more, and each is removed, but for those of held and of unnamed results.
5. A result whose name is refused, for a cause that is no other's, keeps no run from its work: see `Unnamed`.

All of it can be interrupted and done again. A shard recovers its own ledger, an unsharded run every ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from msgspec import Struct

from pipeline.errors import StorageError
from pipeline.ledger.codec import decode, intact
from pipeline.ledger.entries import UnpublishedError
from pipeline.ledger.names import Names
from pipeline.ledger.places import Where
from pipeline.ledger.records import Output, Record, Reused, Sent, Settled
from pipeline.ledger.standing import INTERRUPTED, STORAGE
from pipeline.outcome import Outcome
from pipeline.outputs.check import Checked, check
from pipeline.outputs.folder import OWN, UnnamedError
from pipeline.outputs.parts import first_name, parse_part_name, parts_of, read_part, remove_part, sync_part
from pipeline.outputs.spill import Spilled
from pipeline.outputs.stock import finish
from pipeline.run.context import Context
from pipeline.run.store import tell_names

NEVER_ENDED = "the run was interrupted before this attempt ended; it may have been billed"


class Unpublished(Struct, frozen=True):
    """A line whose result has not all its names yet, and where it stands."""

    record: Settled | Reused
    where: Where


class Salvaged(Struct, frozen=True):
    """A part that decodes whole, of an attempt whose end was never written."""

    part: str
    image: Checked


async def recover(context: Context, files: Sequence[int], suffix: str) -> None:
    """Recover the ledgers numbered `files`, whose runs' ids end in `suffix` ("" for all runs).

    Raises:
        StorageError: the disk refused; nothing was sent.
    """
    parts = await context.in_thread(lambda: parts_of(context.folder))
    left = {*parts, *map(first_name, parts)}
    unpublished = await context.in_thread(lambda: list(_unpublished(context, files, left)))
    known = await context.in_thread(lambda: _earlier_paths(context, unpublished))
    for entry in unpublished:
        await _publish(context, entry, known)
    for spilled in await context.in_thread(context.spill.waiting):
        await _take_in(context, spilled, files)
    for sent in await context.in_thread(lambda: _open_sent(context, files)):
        await _settle(context, sent)
    await context.in_thread(lambda: _clean(context, suffix))
    context.unnamed.tell(context.halt)


def _unpublished(context: Context, files: Sequence[int], left: set[str]) -> Iterator[Unpublished]:
    """Lines with an output that is still a part, however old: a run that could not name one has its `end` too.

    In the order in which they were written, whatever their ledgers: of a task's results the newest gets the name.
    """
    for entry in context.ledgers.entries() if left else ():
        line = entry.record
        if entry.where.file not in files or not isinstance(line, Settled | Reused):
            continue
        if any(output.part in left for output in line.outputs):
            yield Unpublished(line, entry.where)


def _open_sent(context: Context, files: Sequence[int]) -> list[Sent]:
    """The attempts without an end, in the order in which they were made: of a task's results the newest is its last."""
    lines = (context.ledgers.read(where) for where in context.state.open_sent if where.file in files)
    return sorted((line for line in lines if isinstance(line, Sent)), key=attrgetter("at"))


def _earlier_paths(context: Context, unpublished: Sequence[Unpublished]) -> Callable[[str], bool]:
    """Whether lines other than the unpublished ones know a path: a foreign file may have taken one of theirs."""
    if not unpublished:
        return context.state.knows_path
    own = {entry.where for entry in unpublished}
    names = Names()
    for entry in context.ledgers.entries():
        if isinstance(entry.record, Settled | Reused) and entry.where not in own:
            names.take(entry.record)
    return names.knows


async def _publish(context: Context, entry: Unpublished, known: Callable[[str], bool]) -> None:
    line = entry.record
    last = context.state.task(line.task) == entry.where
    try:
        names = await context.in_thread(lambda: _finish(context, line, known, last=last))
    except UnnamedError as error:
        context.unnamed.add(line, error, last=last)
        return
    await tell_names(context, line, names)


async def _commit(context: Context, line: Settled) -> None:
    """Write the end of an attempt whose pictures are parts, and give these their names."""
    known = context.state.knows_path
    try:
        committed = await context.committer.commit(line, lambda: _finish(context, line, known))
    except UnpublishedError as error:
        if not isinstance(error.__cause__, UnnamedError):
            raise
        context.state.apply(line, error.where)
        context.unnamed.add(line, error.__cause__, last=True)
        return
    context.state.apply(line, committed.where)
    await tell_names(context, line, committed.value)


def _finish(context: Context, line: Settled | Reused, known: Callable[[str], bool], *, last: bool = True) -> list[str]:
    """The names of a line's outputs, given where they were parts; one that is gone keeps the name it should have."""
    names = [finish(context.folder, output, line.fingerprint, known, last=last) for output in line.outputs]
    return [
        output.path if name is None or name.startswith(f"{OWN}/") else name
        for output, name in zip(line.outputs, names, strict=True)
    ]


async def _take_in(context: Context, spilled: Spilled, files: Sequence[int]) -> None:
    line = _decoded(spilled)
    if not isinstance(line, Settled):
        raise StorageError(f"{spilled.folder}: the line of a spilled result is damaged; look at it, then move it away")
    sent = next((where for where in context.state.open_sent if _is_of(context, where, line)), None)
    if sent is None and not await context.in_thread(lambda: _is_held(context, line)):
        context.halt.note(f"{spilled.folder}: a paid result of {line.task}, of which this ledger knows nothing, stays")
        return
    if sent is not None:
        if sent.file not in files:
            return
        await context.in_thread(lambda: context.spill.take(spilled, context.folder))
        await _commit(context, line)
        await context.in_thread(context.folder.sync)
        context.halt.note(f"{line.task}: its paid result was taken in from {spilled.folder.parent}")
    await context.in_thread(lambda: context.spill.done(spilled))


def _decoded(spilled: Spilled) -> Record | None:
    try:
        return decode(spilled.line) if intact(spilled.line) else None
    except StorageError as error:
        raise StorageError(f"{spilled.folder}: the line of a spilled result: {error}") from error


def _is_held(context: Context, line: Settled) -> bool:
    """Whether the ledger names these very pictures; by its number alone an attempt could be another one's."""
    wanted = {output.sha256 for output in line.outputs}
    lines = (context.ledgers.read(where) for where in context.state.history(line.fingerprint).sources)
    return any(isinstance(one, Settled | Reused) and wanted <= {o.sha256 for o in one.outputs} for one in lines)


def _is_of(context: Context, where: Where, line: Settled) -> bool:
    sent = context.ledgers.read(where)
    return isinstance(sent, Sent) and (sent.fingerprint, sent.attempt) == (line.fingerprint, line.attempt)


async def _settle(context: Context, sent: Sent) -> None:
    salvaged = await context.in_thread(lambda: _salvage(context, sent))
    line = settled_line(sent, salvaged)
    await _commit(context, line)
    if salvaged:
        context.halt.note(f"{line.task}: its result had arrived before the interruption, and is kept")


def _salvage(context: Context, sent: Sent) -> list[Salvaged]:
    """The images of an attempt, in order, where all are here and decode whole; else none."""
    found: dict[int, Salvaged] = {}
    for name in parts_of(context.folder):
        part = parse_part_name(name)
        if part is None or (part.run, part.attempt) != (sent.run, sent.attempt):
            continue
        if part.fingerprint == sent.fingerprint[:16] and part.index not in found:
            checked = check(read_part(context.folder, name))
            if isinstance(checked, Checked):
                sync_part(context.folder, name)
                found[part.index] = Salvaged(name, checked)
    wanted = range(1, len(sent.paths) + 1)
    return [found[index] for index in wanted] if found.keys() == set(wanted) else []


def settled_line(sent: Sent, salvaged: Sequence[Salvaged]) -> Settled:
    """The end of an attempt whose end was never written."""
    request = sent.request
    line = Settled(
        task=sent.task,
        fingerprint=sent.fingerprint,
        attempt=sent.attempt,
        outcome=Outcome.IN_DOUBT,
        code=INTERRUPTED,
        message=NEVER_ENDED,
        endpoint=sent.endpoint,
        model=request.get("model"),
        n=len(sent.paths),
        size=request.get("size"),
        quality=request.get("quality"),
    )
    if salvaged:
        line.outcome, line.code, line.message, line.salvaged = Outcome.SUCCEEDED, None, None, True
        line.outputs = [_output(path, one) for path, one in zip(sent.paths, salvaged, strict=True)]
    return line


def _output(path: str, one: Salvaged) -> Output:
    image = one.image
    name = f"{path}.{image.extension}"
    return Output(name, one.part, image.sha256, image.bytes, image.width, image.height, image.format)


def _clean(context: Context, suffix: str) -> None:
    """Sync what was published, then remove the parts that are of no use; those of a held result may be all there is."""
    context.folder.sync()
    left = parts_of(context.folder)
    held = _held_for_storage(context) if left else set()
    for name in left:
        part = parse_part_name(name)
        if part is None or context.unnamed.keeps(name):
            continue
        if part.run.endswith(suffix) and (part.fingerprint, part.attempt) not in held:
            remove_part(context.folder, name)


def _held_for_storage(context: Context) -> set[tuple[str, int]]:
    """Attempts whose paid result came and could not be stored, and whose request is held for that still."""
    lines = (entry.record for entry in context.ledgers.entries())
    stored_nowhere = (line for line in lines if isinstance(line, Settled) and line.code == STORAGE)
    held = (line for line in stored_nowhere if context.state.history(line.fingerprint).code == STORAGE)
    return {(line.fingerprint[:16], line.attempt) for line in held}
