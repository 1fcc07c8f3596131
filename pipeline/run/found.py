"""A task's results on disk: whether they are in their place, and where a paid one can be taken over from."""

from __future__ import annotations

from msgspec import Struct

from pipeline.ledger.records import Reused, Settled
from pipeline.ledger.replay import Ledgers
from pipeline.ledger.standing import History
from pipeline.ledger.state import State
from pipeline.outputs.folder import OutputFolder, UnnamedError
from pipeline.outputs.stock import find, size_of
from pipeline.run.decide import Presence

Last = Settled | Reused


class Found(Struct, frozen=True):
    """A paid result that can be taken over: the line that names it, and where each of its pictures is."""

    line: Last
    places: tuple[str, ...]


def presence_of(folder: OutputFolder | None, state: State, last: Last | None) -> Presence:
    """How the files of a task's last result are found, told by name and size.

    Of one whose name a later line gave to another task's they are missing: the file there is that one's.

    Raises:
        StorageError: the kernel refused to look.
    """
    if folder is None or last is None or not state.owns(last.task, (output.path for output in last.outputs)):
        return Presence.MISSING
    presence = Presence.INTACT
    for output in last.outputs:
        size = size_of(folder, output.path)
        if size is None:
            return Presence.MISSING
        if size != output.bytes:
            presence = Presence.EDITED
    return presence


def found_of(folder: OutputFolder | None, ledgers: Ledgers, history: History, wanted: str) -> Found | None:
    """A result of a request whose pictures are all there, the newest first.

    Raises:
        UnnamedError: there is none, but something that is no folder stands where a picture of one may be.
        StorageError: the output folder or the ledger cannot be read.
    """
    if folder is None:
        return None
    blocked: UnnamedError | None = None
    for where in reversed(history.sources):
        line = ledgers.read(where)
        if not isinstance(line, Settled | Reused):
            continue
        try:
            places = [find(folder, output, wanted) for output in line.outputs]
        except UnnamedError as error:
            blocked = error
            continue
        if all(places):
            return Found(line, tuple(place for place in places if place))
    if blocked is not None:
        raise blocked
    return None
