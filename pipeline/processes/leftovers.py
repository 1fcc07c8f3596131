"""What earlier runs left, which one process brings in order before several go on.

A shard recovers its own ledger alone, and may have other items now than the one that wrote it.
"""

from __future__ import annotations

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


def any_left(folder: Path, spill: Spill) -> bool:
    """Whether a ledger lacks its end, or results wait for their names.

    Raises StorageError where that cannot be told.
    """
    ledgers = list(folder.glob("ledger*.jsonl"))
    if not ledgers:
        return False
    parts = folder / PARTS
    return any(not _ended(path) for path in ledgers) or bool(spill.waiting()) or any(parts.glob("*.part"))


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
