"""Publishing: a durable part gets its final name.

Contract:

1. A final name appears at once and complete; it is a second name of the part's file, or, below another mount, that of a
   copy which is on the medium.
2. A file that the ledger does not know is never touched: the result goes beside it, as `<stem>~<fingerprint[:8]>`.
3. A file that the ledger knows makes way to `.retouch/replaced/<sha256>.<ext>`, named by what it holds now; it keeps
   its old name until the new one is on the medium, and overwrites nothing there.
4. Publishing twice changes nothing: a crash at any step is finished by calling it again, which takes away what it left
   of a copy too.
5. What keeps one result from its name, and no other, is an `UnnamedError`; any other fault is one of the whole disk.

Accepted: where hard links are not supported, a file that appears between the look and the rename is overwritten.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Final

from pipeline.durable import sync_folder
from pipeline.errors import StorageError
from pipeline.mime import EXTENSIONS
from pipeline.outputs.entry import Content, Entry, content_of, give, is_there, unlink
from pipeline.outputs.folder import OWN, PARTS, REPLACED, BlockedError, OutputFolder, UnnamedError, storage_errors

_NAME_BYTES: Final = 255
"""Longest file name, in bytes, of every file system in use."""

_OF_ONE_NAME: Final = {errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG, errno.EXDEV}
"""What a file system answers that takes no such name, or none for a file from elsewhere."""


def publish(
    folder: OutputFolder, part: str, path: str, sha256: str, fingerprint: str, known: Callable[[str], bool]
) -> str:
    """Give a part its final name; the name that it got.

    `path` is relative, with extension. The part's bytes must be those of `sha256`: just written, or found by them.
    `known` says whether the file at a relative path is an earlier result that may make way; this result's own ledger
    line must not count. The part itself is unlinked by the folder's next sync.

    Raises:
        UnnamedError: it cannot be published, whatever becomes of others; the part stays.
        StorageError: nothing can be; the part stays.
    """
    if _is_own(path):
        raise StorageError(f"{path!r} lies in {OWN}/, which is for bookkeeping; expected another output path")
    try:
        with storage_errors(f"publish {folder.root}/{path}"):
            if _place(folder, part, path, sha256, known):
                return path
            name = beside(path, fingerprint)
            if _place(folder, part, name, sha256, known):
                return name
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _OF_ONE_NAME:
            raise UnnamedError(str(error)) from error
        raise
    raise UnnamedError(f"cannot publish {folder.root / path}: its part {part} is gone, or all its names are taken")


def _is_own(path: str) -> bool:
    """Whether a path leads into `.retouch/`, on file systems that ignore case too."""
    return path.split("/", 1)[0].casefold() == OWN


def beside(path: str, fingerprint: str) -> str:
    """The name that a result gets when a foreign file has its own."""
    pure = PurePosixPath(path)
    tail = f"~{fingerprint[:8]}{pure.suffix}"
    stem = pure.stem.encode()[: _NAME_BYTES - len(tail.encode())].decode(errors="ignore")
    return str(pure.with_name(stem + tail))


def _copy_of(name: str) -> str:
    """The name of a copy of a part, or of a file that makes way, while it is made on another file system."""
    return f".{name}"


def discard_copy(folder: OutputFolder, path: str, part: str) -> None:
    """Take away the copy of a part that has its name, where a crash left it.

    Raises:
        StorageError: it cannot be taken away.
    """
    parent = path.rpartition("/")[0]
    with storage_errors(f"tidy up in {folder.root / parent}"), suppress(FileNotFoundError), folder.at(parent) as home:
        unlink(Entry(home, _copy_of(part)))


def _place(folder: OutputFolder, part: str, path: str, sha256: str, known: Callable[[str], bool]) -> bool:
    parent = path.rpartition("/")[0]
    try:
        placed = _placed(folder, part, path, sha256, known)
    except FileNotFoundError:
        placed = False
    if placed is False:
        # The part is gone, or the folder is: removed by someone while it was open, or made.
        folder.let_go(parent)
        placed = _placed(folder, part, path, sha256, known)
    if not placed:
        return False
    folder.mark(parent, part)
    return True


def _placed(folder: OutputFolder, part: str, path: str, sha256: str, known: Callable[[str], bool]) -> bool | None:
    """Whether the part has the name; None where another file has it, False where the part or the folder is gone."""
    parent, _, leaf = path.rpartition("/")
    with folder.at(PARTS) as parts, folder.at(parent, create=True) as home:
        source, target = Entry(parts, part), Entry(home, leaf)
        placed = _link(source, target, sha256)
        if placed is None and known(path):
            _make_way(folder, target)
            placed = _link(source, target, sha256)
    return placed


def _link(source: Entry, target: Entry, sha256: str) -> bool | None:
    """Whether the target holds the bytes now; None where another file has its name, False where a name is gone."""
    try:
        give(source, target, _copy_of(source.name))
    except (FileExistsError, FileNotFoundError) as error:
        there = content_of(target)
        if there is not None and there.sha256 == sha256:
            return True
        return None if isinstance(error, FileExistsError) else False
    return True


def _make_way(folder: OutputFolder, entry: Entry, size: int | None = None) -> str | None:
    """Move a regular file (of that size) to `.retouch/replaced/`; its name there, None where there was none."""
    there = content_of(entry, size)
    if there is None:
        return None
    with folder.at(REPLACED) as replaced:
        kept = Entry(replaced, there.sha256 + PurePosixPath(entry.name).suffix)
        try:
            give(entry, kept, _copy_of(kept.name))
        except FileExistsError:
            _expect(kept, there, folder)
    sync_folder(folder.root / REPLACED)
    unlink(entry)
    return kept.name


def _expect(kept: Entry, content: Content, folder: OutputFolder) -> None:
    if content_of(kept, content.bytes) != content:
        place = folder.root / REPLACED / kept.name
        raise UnnamedError(f"{place} does not hold what its name says; move it away to keep both")


def retire(folder: OutputFolder, path: str, size: int | None = None) -> str | None:
    """Move the file under a result's name to `.retouch/replaced/`; its path there, None where nothing was moved.

    With a `size`, as an older result of the same task makes way, a file of another size stays: someone changed it.

    Raises:
        StorageError: it cannot be moved.
    """
    parent, _, leaf = path.rpartition("/")
    with storage_errors(f"move {folder.root / path} to {REPLACED}"):
        try:
            with folder.at(parent) as home:
                moved = _make_way(folder, Entry(home, leaf), size)
        except FileNotFoundError:
            return None
    if moved is None:
        return None
    folder.mark(parent)
    return f"{REPLACED}/{moved}"


def taken(folder: OutputFolder, paths: Sequence[str], known: Callable[[str], bool]) -> str | None:
    """The first foreign file that has one of the final names, as a relative path; None where all are free.

    `paths` are without extension, for the result's format is not known yet: each is looked for with all of them.
    A file or a symlink that stands where a path needs a folder counts too.

    Raises:
        StorageError: a folder cannot be read, or the output folder is gone.
    """
    for path in paths:
        parent, _, leaf = path.rpartition("/")
        with storage_errors(f"look at {folder.root}/{path}"):
            try:
                with folder.at(parent) as home:
                    for extension in EXTENSIONS.values():
                        name = f"{path}.{extension}"
                        if is_there(Entry(home, f"{leaf}.{extension}")) and not known(name):
                            return name
            except FileNotFoundError:
                continue
            except BlockedError:
                return parent
    return None
