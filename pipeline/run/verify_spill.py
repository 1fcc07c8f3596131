"""Paid results that wait in the spill folder, held against the line that each was stored with."""

from __future__ import annotations

import os
from hashlib import file_digest
from pathlib import Path

from pipeline.errors import StorageError
from pipeline.ledger.codec import decode, intact
from pipeline.ledger.records import Record, Settled
from pipeline.outputs.spill import Spilled
from pipeline.run.verify_files import Checked
from pipeline.run.verify_output import Kind, Seen


def look_at_spilled(spilled: Spilled) -> list[Checked]:
    """What is wrong with a waiting result; nothing where a run took it in meanwhile."""
    line = _line(spilled)
    if not isinstance(line, Settled):
        return [Checked(str(spilled.folder), None, Seen(Kind.CHANGED, words="the line of this result is damaged"))]
    wanted = {output.part or "": output.sha256 for output in line.outputs}
    bad = [_checked(spilled.folder / name, line.task) for name, sha in wanted.items() if _sha256(spilled, name) != sha]
    return bad if spilled.folder.exists() else []


def _line(spilled: Spilled) -> Record | None:
    try:
        return decode(spilled.line) if intact(spilled.line) else None
    except StorageError:  # its checksum is right, and it holds what no run writes
        return None


def _checked(path: Path, task: str) -> Checked:
    return Checked(str(path), task, Seen(Kind.CHANGED, words="does not hold what the line of this result says"))


def _sha256(spilled: Spilled, name: str) -> str | None:
    """The digest of one of its images; None where it is not there."""
    if name not in spilled.parts:
        return None
    try:
        with open(spilled.folder / name, "rb", opener=_opener) as file:
            return file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{spilled.folder / name}: cannot be read: {error.strerror}") from error


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
