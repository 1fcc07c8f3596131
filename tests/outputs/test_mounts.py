"""A folder of results that lies on another file system than `.retouch/parts`."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.outputs import entry
from pipeline.outputs.folder import REPLACED, OutputFolder
from pipeline.outputs.parts import part_name, parts_of, write_part
from pipeline.outputs.publish import publish
from pipeline.outputs.stock import finish
from tests.outputs.test_publish import BESIDE, FINGERPRINT, PATH, everything, nothing, put, release, sha

HOME = "shoes/white"
PART = part_name("run", FINGERPRINT, 1, 1)

Ask = Callable[..., None]
LINK: Ask = os.link
RENAME: Ask = os.rename


@pytest.fixture(autouse=True, params=["links", "no links"])
def mounted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every folder is a mount of its own, with hard links in it or without."""

    def moves(call: Ask, *, links: bool) -> Ask:
        def guarded(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int, **more: bool) -> None:
            os.stat(source, dir_fd=src_dir_fd, follow_symlinks=False)
            if call is LINK and entry.is_there(entry.Entry(dst_dir_fd, target)):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
            if os.fstat(src_dir_fd).st_ino != os.fstat(dst_dir_fd).st_ino:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            if call is LINK and not links:
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
            call(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **more)

        return guarded

    monkeypatch.setattr(os, "link", moves(LINK, links=request.param == "links"))
    monkeypatch.setattr(os, "rename", moves(RENAME, links=True))
    return str(request.param)


class Output:
    """What the ledger says of the picture."""

    path, part, sha256, bytes = PATH, PART, sha(b"picture"), len(b"picture")


def files(folder: OutputFolder, path: str = HOME) -> set[str]:
    return set(os.listdir(folder.root / path))


def test_a_result_gets_its_name_on_another_disk(folder: OutputFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is copied, and the copy is on the medium before it has the name."""
    steps: list[str] = []
    monkeypatch.setattr(entry, "sync_file", lambda fd: steps.append(str(files(folder))))
    assert release(folder, b"picture") == PATH
    assert steps == [str({f".{PART}"})]
    assert ((folder.root / PATH).read_bytes(), files(folder)) == (b"picture", {"red-1.png"})
    assert parts_of(folder) == []


def test_a_file_of_no_ones_is_not_overwritten_on_another_disk(folder: OutputFolder) -> None:
    place = put(folder, PATH, b"foreign")
    assert release(folder, b"picture") == BESIDE
    assert (place.read_bytes(), (folder.root / BESIDE).read_bytes()) == (b"foreign", b"picture")
    assert len(files(folder)) == 2


def test_an_older_result_makes_way_from_another_disk(folder: OutputFolder) -> None:
    release(folder, b"old")
    assert release(folder, b"new", everything, attempt=2) == PATH
    assert (folder.root / PATH).read_bytes() == b"new"
    assert files(folder, REPLACED) == {f"{sha(b'old')}.png"}
    assert (folder.root / REPLACED / f"{sha(b'old')}.png").read_bytes() == b"old"


class KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("moment", ["written", "named"])
def test_what_a_crash_left_of_a_copy_is_taken_away(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch, mounted: str, moment: str
) -> None:
    """Killed with half a copy there, or between the copy's two names: publishing again leaves the result alone."""
    if mounted == "no links":
        moment = "written"  # a copy that is renamed has one name at any time
    with monkeypatch.context() as killed:
        real = entry.unlink

        def unlink(at: entry.Entry) -> None:
            if entry.is_there(at):
                raise KilledError
            real(at)

        def sync_file(fd: int) -> None:
            os.ftruncate(fd, 3)
            raise KilledError

        killed.setattr(entry, "unlink", unlink)
        if moment == "written":
            killed.setattr(entry, "sync_file", sync_file)
        write_part(folder, PART, b"picture")
        with pytest.raises(KilledError):
            publish(folder, PART, PATH, sha(b"picture"), FINGERPRINT, nothing)
    assert f".{PART}" in files(folder)
    assert finish(folder, Output(), FINGERPRINT, nothing) == PATH
    folder.sync()
    assert ((folder.root / PATH).read_bytes(), files(folder)) == (b"picture", {"red-1.png"})
    assert parts_of(folder) == []


def test_a_disk_that_is_full_keeps_the_part_and_no_half_copy(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_part(folder, PART, b"picture")
    monkeypatch.setattr(entry, "write_all", full)
    with pytest.raises(StorageError, match="No space"):
        publish(folder, PART, PATH, sha(b"picture"), FINGERPRINT, nothing)
    assert (files(folder), parts_of(folder)) == (set(), [PART])


def test_a_link_in_place_of_the_copy_is_not_followed(folder: OutputFolder, tmp_path: Path) -> None:
    """Someone else's file keeps its bytes."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"kept")
    (folder.root / HOME).mkdir(parents=True)
    (folder.root / HOME / f".{PART}").symlink_to(outside)
    assert release(folder, b"picture") == PATH
    assert (outside.read_bytes(), files(folder)) == (b"kept", {"red-1.png"})
