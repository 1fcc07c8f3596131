"""The output folder: every write of results goes through it.

Contract:

1. Every path is resolved below the folder's own descriptor, one name at a time, without following a symlink: no write
   lands outside, even if someone swaps a folder for a symlink meanwhile. The folder itself may be a symlink. Accepted:
   one below that is moved while it is open takes what is named in it along; each `held` opens its folders anew.
2. A folder that was removed, or replaced by another one, is noticed before the next write, or the next that opens a
   folder within `held`, and never made again.
3. `.retouch/` and what it holds is for the owner alone (0700).
4. A published part is unlinked only after its final name is on the medium, so that a loss of power leaves at least one
   of the two names; after a sync that failed none is unlinked any more, for a later one would not say what was lost
   (rule 4 of `pipeline.durable`). Accepted for it: up to `_WAITING` pictures have two names for a while, and a crash
   leaves parts behind, which publishing again takes away.
5. A name is on the medium only with those of all folders above it. Each sync brings these along: an earlier run may
   have made a folder and been killed before it synced it.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pipeline.durable import sync_folder
from pipeline.errors import JobError, Problem, StorageError
from pipeline.outputs.entry import Entry, unlink

OWN: Final = ".retouch"
PARTS: Final = f"{OWN}/parts"
REPLACED: Final = f"{OWN}/replaced"
UNUSABLE: Final = f"{OWN}/unusable"

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_NAMES: Final = frozenset({"", ".", ".."})
_WAITING: Final = 256
"""Most unsynced folders or parts before a sync of its own; bounds memory and the size of `.retouch/parts`."""

HELD: Final = 8
"""Most folders that a thread keeps open within `held`."""


class UnnamedError(StorageError):
    """One result cannot be had under its name, for a cause that is no other's."""


class BlockedError(UnnamedError):
    """A file or a symlink stands where the path of a result needs a folder."""


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn any OSError into a StorageError that says what could not be done."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {what}: {error.strerror or error}") from error


class _Held(threading.local):
    """What a thread keeps open, by path; None outside `held`."""

    folders: dict[str, int] | None = None


class OutputFolder:
    """The folder that results are stored in. Safe to use from several threads.

    `dirty` names the folders, relative to `root`, whose names are not on the medium yet.

    Raises:
        JobError: something that is not a folder has its name.
        StorageError: it cannot be made, opened or synced.
    """

    def __init__(self, root: Path, *, create: bool = True) -> None:
        self.root = root
        self._path = str(root)
        self._finding = f"find the output folder {root}, which was there when the run began"
        self.dirty: set[str] = set()
        self._linked: list[str] = []
        self._unsynced = False
        self._lock = threading.Lock()
        self._held = _Held()
        self._fd = _open_root(root, create=create)
        state = os.fstat(self._fd)
        self._identity = (state.st_dev, state.st_ino)
        if create:
            try:
                self._make_own()
            except BaseException:
                self.close()
                raise

    def _make_own(self) -> None:
        for name in (PARTS, REPLACED, UNUSABLE):
            with storage_errors(f"make {self.root / name}"), self.at(name, create=True):
                pass
        with self.at(OWN) as fd:
            if os.fstat(fd).st_mode & 0o077:
                with suppress(OSError):  # another's folder, or a file system without modes
                    os.fchmod(fd, 0o700)
        self.dirty.add(OWN)
        self.sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back the descriptor; the object must not be used afterwards."""
        os.close(self._fd)

    @property
    def fd(self) -> int:
        """The descriptor of the folder as it was opened; it stays the folder's."""
        return self._fd

    def ensure(self) -> None:
        """Make sure that the folder is still the one that was opened.

        Raises:
            StorageError: it was removed or replaced.
        """
        with storage_errors(self._finding):
            now = os.stat(self._path)
        if (now.st_dev, now.st_ino) != self._identity:
            raise StorageError(f"{self.root} is another folder than when the run began; put the first one back")

    @contextmanager
    def at(self, path: str, *, create: bool = False) -> Iterator[int]:
        """A descriptor of the folder at `path`, relative to the root; "" is the root itself.

        With `create`, missing folders are made and marked for the next sync.

        Raises:
            FileNotFoundError: without `create`, when a folder is missing.
            StorageError: the path leaves the folder, leads through a symlink or a file, or the root is gone.
            OSError: the kernel refused for another reason.
        """
        held = self._held.folders
        if held is not None and path in held:
            yield held[path]
            return
        names = names_of(path)
        self.ensure()
        fd = self._fd
        try:
            for depth in range(1, len(names) + 1):
                above, fd = fd, self._step(fd, names[:depth], create=create)
                self._leave(above)
            if held is not None and names and len(held) < HELD:
                held[path] = fd
            yield fd
        finally:
            if held is None or held.get(path) != fd:
                self._leave(fd)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let `at` keep what this thread opens until the block ends, for many files that go to the same few folders."""
        folders = self._held.folders = {}
        try:
            yield
        finally:
            self._held.folders = None
            for fd in folders.values():
                self._leave(fd)

    def let_go(self, path: str) -> None:
        """Open the folder at `path` anew when it is needed next; not to be called within its own `at`."""
        fd = (self._held.folders or {}).pop(path, None)
        if fd is not None:
            self._leave(fd)

    def _leave(self, fd: int) -> None:
        if fd != self._fd:
            with suppress(OSError):  # nothing was written to it, and it is gone whatever closing it says
                os.close(fd)

    def _step(self, fd: int, names: list[str], *, create: bool) -> int:
        try:
            try:
                return os.open(names[-1], _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
            except FileNotFoundError:
                if not create:
                    raise
            self._make(fd, names)
            return os.open(names[-1], _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            place = self.root.joinpath(*names)
            blocked = StorageError if names[0] == OWN else BlockedError
            raise blocked(f"{place} is a file or a symlink; expected a folder: move it out of the way") from error

    def _make(self, fd: int, names: list[str]) -> None:
        with suppress(FileExistsError):
            os.mkdir(names[-1], 0o700 if names[0] == OWN else 0o777, dir_fd=fd)
            self.mark("/".join(names[:-1]))

    def mark(self, path: str, part: str | None = None) -> None:
        """Remember that names in the folder at `path` changed, and a part that has its final name there.

        The part is unlinked by the sync that brings the final name to the medium.
        """
        with self._lock:
            self.dirty.add(path)
            if part is not None:
                self._linked.append(part)
            full = len(self.dirty) >= _WAITING or len(self._linked) >= _WAITING
        if full:
            self.sync()

    def sync(self) -> None:
        """Bring every marked folder to the medium, then unlink the parts that have their final names, unless a sync
        failed before.

        Raises:
            StorageError: a folder could not be synced; the parts stay.
        """
        with self._lock:
            dirty, self.dirty = self.dirty, set()
            linked, self._linked = self._linked, []
        self.ensure()
        with storage_errors(f"sync {self.root}"):
            for path in sorted(_with_parents(dirty)):
                self._sync_folder(path)
            if linked and not self._unsynced:
                self._unlink_parts(linked)

    def _sync_folder(self, path: str) -> None:
        try:
            sync_folder(self.root / path)
        except FileNotFoundError:
            pass  # somebody removed it; its files are missing, not unsynced
        except OSError:
            self._unsynced = True
            raise

    def _unlink_parts(self, names: list[str]) -> None:
        with self.at(PARTS) as fd:
            for name in names:
                unlink(Entry(fd, name))


def _with_parents(paths: set[str]) -> set[str]:
    """Relative paths of folders and of all folders above them, "" among these."""
    names = [path.split("/") for path in paths if path]
    return {"/".join(one[:depth]) for one in names for depth in range(len(one) + 1)} | paths


def names_of(path: str) -> list[str]:
    """The names of a relative path.

    Raises:
        StorageError: it is absolute or leaves the folder.
    """
    names = path.split("/") if path else []
    if not _NO_NAMES.isdisjoint(names) or "\0" in path:
        raise StorageError(f"{path!r} leaves the output folder; expected a relative path without '..'")
    return names


def _open_root(root: Path, *, create: bool) -> int:
    try:
        if create:
            _make_root(root)
        return os.open(root, _FOLDER)
    except (FileExistsError, NotADirectoryError) as error:
        raise JobError([Problem(f"{root} is not a folder", "name a folder", "output.folder")]) from error
    except OSError as error:
        raise StorageError(
            f"cannot open the output folder {root}: {error.strerror}; expected a folder that this user may write to"
        ) from error


def _make_root(root: Path) -> None:
    """Make a folder and what is missing above it, each name being on the medium before there is one below it."""
    missing = [path for path in (root, *root.parents) if not path.exists()]
    made = root if not missing else missing[-1].parent
    with suppress(OSError):  # who may write in it may yet not read it; only a killed run's `mkdir` is at stake
        sync_folder(made.parent)
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)
