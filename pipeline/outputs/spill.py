"""The spill: where paid results wait when the output folder cannot take them.

Contract:

1. A spilled result is whole or not there: its images are on the medium before its line gets its name.
2. It belongs to one output folder, told by its real path; no other job sees it.
3. Taking a result in leaves it in the spill until `done` says that the ledger holds it, so it may be taken in twice.
4. For the owner alone: folders 0700, files 0600.
5. What could not be stored leaves nothing behind, as far as the disk lets us; what a killed run began stays, for it may
   be another one's, which is writing it now.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from pipeline.durable import sync_file, sync_folder, write_all
from pipeline.outputs.entry import Entry, content_of
from pipeline.outputs.folder import PARTS, OutputFolder, storage_errors
from pipeline.outputs.parts import remove_part, sync_part, write_part

_LINE: Final = "line"


class SpillPart(Struct, frozen=True):
    """One image of a result that could not be stored, with the part's name that its line gives."""

    name: str
    data: bytes


class Spilled(Struct, frozen=True):
    """A result that waits: its encoded ledger line, and the names of its parts."""

    folder: Path
    line: bytes
    parts: tuple[str, ...]


def spill_folder(env: Mapping[str, str], configured: Path | None = None) -> Path:
    """The folder for spilled results: the configured one, else `$XDG_STATE_HOME/retouch`.

    A relative XDG_STATE_HOME is ignored and ~/.local/state is its default, as
    https://specifications.freedesktop.org/basedir-spec/latest/ says.
    """
    if configured is not None:
        return configured
    state = Path(env.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        state = Path(env.get("HOME") or "~").expanduser() / ".local" / "state"
    return state / "retouch"


class Spill:
    """The spilled results of one output folder. Nothing is made on disk before the first `store`."""

    def __init__(self, folder: Path, output: Path) -> None:
        self.folder = folder / hashlib.sha256(os.fsencode(os.path.realpath(output))).hexdigest()[:32]

    def store(self, line: bytes, parts: Sequence[SpillPart]) -> None:
        """Keep a ledger line and the images that it names, durably. Storing the same line again changes nothing.

        Raises:
            StorageError: the spill folder cannot take it either.
        """
        entry = self.folder / hashlib.sha256(line).hexdigest()[:32]
        with storage_errors(f"keep a paid result in {entry}"):
            if (entry / _LINE).exists():
                return
            try:
                _make_folders(entry)
                for part in parts:
                    _write(entry / part.name, part.data)
                _write(entry / f"{_LINE}.new", line)
                sync_folder(entry)
            except BaseException:
                shutil.rmtree(entry, ignore_errors=True)  # it would fill a disk that has no room already
                raise
            (entry / f"{_LINE}.new").rename(entry / _LINE)
            try:
                sync_folder(entry)
            except OSError:
                # Who is told that it is not here says so in the ledger: it must not turn up as well.
                (entry / _LINE).unlink(missing_ok=True)
                raise

    def waiting(self) -> list[Spilled]:
        """What waits for this output folder, sorted by name; results whose storing was cut short are left out.

        So are those that another shard takes in at this moment.

        Raises:
            StorageError: the spill folder is there but cannot be read.
        """
        with storage_errors(f"read {self.folder}, where paid results may wait (output.spill names another folder)"):
            if not self.folder.exists():
                return []
            found = [_load(line.parent) for line in sorted(self.folder.glob(f"*/{_LINE}"))]
            return [spilled for spilled in found if spilled is not None]

    def take(self, spilled: Spilled, folder: OutputFolder) -> bytes:
        """Bring a result's images into `.retouch/parts/`; its encoded line, for the ledger.

        A part may get another name than its line gives; it is found by its digest.

        Raises:
            StorageError: the images cannot be brought in; the result keeps waiting.
        """
        for name in spilled.parts:
            with storage_errors(f"bring in {spilled.folder / name}"):
                data = (spilled.folder / name).read_bytes()
                if _has_part(folder, name, data):
                    sync_part(folder, name)  # it may be of a start that was killed before it did
                    continue
                remove_part(folder, name)  # half a part, of a start that was killed while it wrote it
                write_part(folder, name, data)
        return spilled.line

    def done(self, spilled: Spilled) -> None:
        """Forget a result that the ledger holds now. Doing so again changes nothing.

        Raises:
            StorageError: it cannot be removed.
        """
        with storage_errors(f"remove {spilled.folder}"), suppress(FileNotFoundError):  # another shard may do so too
            # Without its line the rest is no result: a crash from here on leaves rubbish, never half a result.
            (spilled.folder / _LINE).unlink(missing_ok=True)
            if spilled.folder.exists():
                sync_folder(spilled.folder)
                shutil.rmtree(spilled.folder)


def _make_folders(entry: Path) -> None:
    missing = [path for path in (entry, *entry.parents) if not path.exists()]
    with suppress(OSError):  # only a killed run's `mkdir` is at stake
        sync_folder(missing[-1].parent.parent if missing else entry.parent)
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        sync_folder(path.parent)


def _write(path: Path, data: bytes) -> None:
    # A file that is there is of a store that was cut short: without its line it is nobody's.
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, data)
        sync_file(fd)
    finally:
        os.close(fd)


def _load(entry: Path) -> Spilled | None:
    try:
        names = sorted(path.name for path in entry.iterdir() if path.name != _LINE)
        return Spilled(entry, (entry / _LINE).read_bytes(), tuple(names))
    except FileNotFoundError:
        return None


def _has_part(folder: OutputFolder, name: str, data: bytes) -> bool:
    with folder.at(PARTS) as fd:
        content = content_of(Entry(fd, name), len(data))
    return content is not None and content.sha256 == hashlib.sha256(data).hexdigest()
