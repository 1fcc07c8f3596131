"""A part that is reported is on the disk, whole; one that is not leaves nothing."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.outputs import parts
from pipeline.outputs.folder import PARTS, UNUSABLE, OutputFolder
from pipeline.outputs.keep import KEPT, keep_unusable
from pipeline.outputs.parts import (
    PartName,
    Unsynced,
    parse_part_name,
    part_name,
    parts_of,
    read_part,
    remove_part,
    start_part,
    write_part,
)

NAME = part_name("20261101T030000Z-k3", "ab" * 32, 1, 2)
OTHER = part_name("20261101T030000Z-k3", "ab" * 32, 1, 3)


def fail_first(count: int) -> object:
    """A sync that fails the first `count` times with EIO."""
    calls = iter(range(count))

    def sync(fd: int) -> None:
        if next(calls, None) is not None:
            raise OSError(errno.EIO, "Input/output error")
        os.fsync(fd)

    return sync


@pytest.mark.parametrize("name", [NAME, NAME.replace(".part", ".2.part")])
def test_a_part_name_says_what_it_was_made_of(name: str) -> None:
    assert parse_part_name(name) == PartName("20261101T030000Z-k3", "ab" * 8, 1, 2)


@pytest.mark.parametrize("name", ["", "photo.png", "x.part", "run-0123-1-1.part", NAME + "~", NAME.upper()])
def test_a_strangers_name_is_no_part(name: str) -> None:
    assert parse_part_name(name) is None


def test_a_part_holds_its_bytes_with_an_ordinary_mode(folder: OutputFolder) -> None:
    before = os.umask(0o027)
    try:
        assert write_part(folder, NAME, b"picture") == NAME
    finally:
        os.umask(before)
    assert read_part(folder, NAME) == b"picture"
    assert stat.S_IMODE((folder.root / PARTS / NAME).stat().st_mode) == 0o640


def test_a_part_is_synced_with_its_folder_before_it_is_reported(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(parts, "sync_file", lambda fd: calls.append("file"))
    monkeypatch.setattr(parts, "sync_folder", lambda path: calls.append(path.name))
    write_part(folder, NAME, b"picture")
    assert calls == ["file", "parts"]


def test_parts_of_a_group_are_begun_before_the_first_is_waited_for(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is left to who syncs it for all."""
    calls: list[str] = []
    monkeypatch.setattr(parts, "start_writing_back", lambda fd: calls.append("begun"))
    monkeypatch.setattr(parts, "sync_file", lambda fd: calls.append("file"))
    monkeypatch.setattr(parts, "sync_folder", lambda path: calls.append(path.name))
    begun = [start_part(folder, name, name.encode()) for name in (NAME, OTHER)]
    assert [part.sync() for part in begun] == [NAME, OTHER]
    assert calls == ["begun", "begun", "file", "file"]
    assert [read_part(folder, name) for name in (NAME, OTHER)] == [NAME.encode(), OTHER.encode()]


def test_a_part_that_was_begun_in_vain_is_taken_away(folder: OutputFolder) -> None:
    open_before = len(os.listdir("/dev/fd"))
    start_part(folder, NAME, b"picture").drop()
    assert parts_of(folder) == []
    assert len(os.listdir("/dev/fd")) == open_before


def test_a_short_write_is_continued(folder: OutputFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
    write_part(folder, NAME, b"0123456789")
    assert read_part(folder, NAME) == b"0123456789"


def test_after_a_failed_fsync_the_bytes_are_written_once_more_to_a_new_file(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "sync_file", fail_first(1))
    name = write_part(folder, NAME, b"picture")
    assert name == NAME.replace(".part", ".2.part")
    assert read_part(folder, name) == b"picture"
    assert parts_of(folder) == [name]


def closing_badly(begun: Unsynced) -> Callable[[int], None]:
    """A close that fails once, for this part, and closes all the same, as every kernel does."""
    real, left = os.close, {begun.fd}

    def close(fd: int) -> None:
        real(fd)
        if fd in left:
            left.remove(fd)
            raise OSError(errno.EIO, "Input/output error")

    return close


def test_after_a_failed_close_the_bytes_are_written_once_more_to_a_new_file(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where closing is what tells of a lost write, as on a network's disk."""
    begun = start_part(folder, NAME, b"picture")
    monkeypatch.setattr(os, "close", closing_badly(begun))
    assert begun.sync() == NAME.replace(".part", ".2.part")
    assert parts_of(folder) == [begun.name]


def test_a_part_whose_close_fails_is_taken_away_all_the_same(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_before = len(os.listdir("/dev/fd"))
    begun = start_part(folder, NAME, b"picture")
    monkeypatch.setattr(os, "close", closing_badly(begun))
    begun.drop()
    assert parts_of(folder) == []
    assert len(os.listdir("/dev/fd")) == open_before


def test_a_second_failed_fsync_is_a_storage_error_that_leaves_no_file(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "sync_file", fail_first(2))
    with pytest.raises(StorageError, match="twice"):
        write_part(folder, NAME, b"picture")
    assert parts_of(folder) == []


def test_the_kernel_is_told_to_begin_and_is_offered_the_pages_of_a_large_part_that_is_synced(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small part's pages are kept, and a kernel that takes no hint changes nothing."""
    calls: list[str] = []

    def advise(fd: int, offset: int, length: int, advice: int) -> None:
        calls.append(f"{os.fstat(fd).st_size} {offset} {length} {advice}")
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("pipeline.outputs.parts.sync_file", lambda fd: calls.append("sync"))
    monkeypatch.setattr(os, "posix_fadvise", advise)
    hint = f"{1 << 20} 0 0 {os.POSIX_FADV_DONTNEED}"
    assert start_part(folder, NAME, b"x" * (1 << 20)).sync() == NAME
    assert calls == [hint, "sync", hint]
    calls.clear()
    start_part(folder, OTHER, b"x" * 4096).sync()
    assert calls == [f"4096 0 0 {os.POSIX_FADV_DONTNEED}", "sync"]


def test_a_part_that_is_there_is_never_overwritten(folder: OutputFolder) -> None:
    write_part(folder, NAME, b"first")
    second = write_part(folder, NAME, b"second")
    with pytest.raises(StorageError):
        write_part(folder, NAME, b"third")
    assert [read_part(folder, name) for name in (NAME, second)] == [b"first", b"second"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_failed_write_leaves_no_file(folder: OutputFolder, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(fd: int, data: bytes) -> None:
        os.write(fd, data[:2])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(parts, "write_all", fail)
    with pytest.raises(StorageError, match=os.strerror(code)):
        write_part(folder, NAME, b"picture")
    assert list((folder.root / PARTS).iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here; that needs root")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_a_storage_error_and_earlier_parts_stay(small_disk: Path) -> None:
    with OutputFolder(small_disk / "out") as folder:
        write_part(folder, NAME, b"small")
        with pytest.raises(StorageError, match="No space left"):
            write_part(folder, part_name("run", "cd" * 32, 1, 1), bytes(2_000_000))
        assert parts_of(folder) == [NAME]
        assert read_part(folder, NAME) == b"small"


def test_parts_folder_removed_during_the_run_is_a_storage_error(folder: OutputFolder) -> None:
    (folder.root / PARTS).rmdir()
    assert parts_of(folder) == []
    with pytest.raises(StorageError):
        write_part(folder, NAME, b"picture")


def test_strangers_files_among_the_parts_are_not_listed(folder: OutputFolder) -> None:
    (folder.root / PARTS / "notes.txt").write_text("mine")
    write_part(folder, NAME, b"picture")
    assert parts_of(folder) == [NAME]


def test_removing_a_part_twice_changes_nothing(folder: OutputFolder) -> None:
    write_part(folder, NAME, b"picture")
    remove_part(folder, NAME)
    remove_part(folder, NAME)
    assert parts_of(folder) == []


def test_a_part_swapped_for_a_symlink_is_not_read(folder: OutputFolder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder.root / PARTS / NAME).symlink_to(tmp_path / "secret")
    with pytest.raises(StorageError):
        read_part(folder, NAME)


def test_an_unusable_body_is_kept_up_to_its_first_mebibyte_for_the_owner_alone(folder: OutputFolder) -> None:
    keep_unusable(folder, "run-1.body", b"x" * (KEPT + 5))
    kept = folder.root / ".retouch" / "unusable" / "run-1.body"
    assert kept.stat().st_size == KEPT == 1_048_576
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_the_name_of_a_kept_body_is_on_the_medium_before_the_line_that_tells_of_it(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("pipeline.outputs.keep.sync_folder", synced.append)
    keep_unusable(folder, "run-1.body", b"<html>")
    assert synced == [folder.root / UNUSABLE]


def test_a_kept_body_is_never_overwritten(folder: OutputFolder) -> None:
    keep_unusable(folder, "a", b"first")
    with pytest.raises(StorageError):
        keep_unusable(folder, "a", b"second")
    assert (folder.root / ".retouch" / "unusable" / "a").read_bytes() == b"first"
