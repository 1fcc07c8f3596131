"""What earlier runs left that no shard of the next one brings in order: each shard recovers its own ledger alone."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from pipeline.errors import StorageError
from pipeline.ledger.codec import decode, intact
from pipeline.ledger.records import End
from pipeline.outputs.folder import PARTS
from pipeline.outputs.spill import Spill
from pipeline.run.exits import Exit

_TAIL: Final = 1 << 20
"""Bytes at a ledger's end in which its last line lies."""


def any_left(folder: Path, spill: Spill, own: Collection[str]) -> bool:
    """Whether a ledger that is not among the names `own` lacks its end, or results wait for their names.

    Raises StorageError where that cannot be told.
    """
    others = [path for path in folder.glob("ledger*.jsonl") if path.name not in own]
    if not others:
        return False
    parts = folder / PARTS
    return any(not _ended(path) for path in others) or bool(spill.waiting()) or any(parts.glob("*.part"))


def _ended(path: Path) -> bool:
    """Whether a ledger ends in the line of a run that could store all its ends."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL))
            line = file.read().removesuffix(b"\n").rpartition(b"\n")[2] + b"\n"
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    end = decode(line) if intact(line) else None
    return isinstance(end, End) and end.exit not in (Exit.STORAGE, Exit.BUG)
