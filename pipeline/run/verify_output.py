"""What is under a result's name, held against what the ledger says of it. Reads, and changes nothing."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import PurePosixPath

from msgspec import Struct

from pipeline.errors import StorageError
from pipeline.ledger.records import Output
from pipeline.outputs.folder import REPLACED, OutputFolder
from pipeline.outputs.stock import content_at, find, size_of


class Kind(StrEnum):
    """How a file was found.

    `waiting`: stored under another name, and the run that stored it, or the next one, gives it its own. `stale`:
    missing, and of a task that the manifest does not name any more.
    """

    SOUND = "sound"
    WAITING = "waiting"
    STALE = "stale"
    MISSING = "missing"
    CHANGED = "changed"
    UNREADABLE = "unreadable"


SUSPECT = frozenset({Kind.MISSING, Kind.CHANGED, Kind.UNREADABLE})


class Seen(Struct, frozen=True):
    """How a file was found, how many bytes of it were read, and in words what is wrong with it."""

    kind: Kind
    bytes: int = 0
    words: str = ""


def look(folder: OutputFolder, output: Output, fingerprint: str) -> Seen:
    """Read an output whole; where it is not what the ledger says, see whether its bytes are elsewhere."""
    try:
        content = content_at(folder, output.path, output.bytes)
        if content is not None and content.sha256 == output.sha256:
            return Seen(Kind.SOUND, content.bytes)
        place = find(folder, output, fingerprint)
        if place is not None and not place.startswith(f"{REPLACED}/"):
            # Under its own name after all, or on its way there: a run published it meanwhile.
            return Seen(Kind.SOUND if place == output.path else Kind.WAITING, output.bytes)
        copied = f"; {place} holds a copy" if place else ""
        if content is not None:
            words = f"sha256 is {content.sha256[:12]}…, and the ledger says {output.sha256[:12]}…{copied}"
            return Seen(Kind.CHANGED, content.bytes, words)
        return _without_content(folder, output, copied)
    except StorageError as error:
        return Seen(Kind.UNREADABLE, words=str(error))


def _without_content(folder: OutputFolder, output: Output, copied: str) -> Seen:
    """What is said of a name that has no file, or one of another size, which need not be read."""
    size = size_of(folder, output.path)
    if size is not None:
        return Seen(Kind.CHANGED, words=f"{size} bytes, and the ledger says {output.bytes}{copied}")
    if os.path.lexists(folder.root / output.path):
        return Seen(Kind.MISSING, words=f"what has its name is no regular file{copied}")
    return Seen(Kind.MISSING, words=f"not there{copied}")


def look_at_replaced(folder: OutputFolder, path: str) -> Seen | None:
    """Read a file below `.retouch/replaced/`, whose name is the sha256 of its bytes; None where it is gone."""
    try:
        content = content_at(folder, path)
    except StorageError as error:
        return Seen(Kind.UNREADABLE, words=str(error))
    if content is None:
        return None
    if content.sha256 == PurePosixPath(path).stem:
        return Seen(Kind.SOUND, content.bytes)
    return Seen(Kind.CHANGED, content.bytes, f"sha256 is {content.sha256[:12]}…, and its name says another")
