"""The bytes of a result are found by what they are, wherever they lie, and copied without being trusted."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.ledger.records import Output
from pipeline.outputs.folder import PARTS, REPLACED, OutputFolder
from pipeline.outputs.parts import part_name, parts_of, read_part, write_part
from pipeline.outputs.stock import copy_part, find, finish, reuse, size_of

FINGERPRINT = "0123456789abcdef" * 4
DATA = b"a picture"
SHA = hashlib.sha256(DATA).hexdigest()
PART = part_name("run", FINGERPRINT, 1, 1)
OUTPUT = Output(path="a/x-1.png", part=PART, sha256=SHA, bytes=len(DATA), width=1, height=1, format="png")


def nothing(path: str) -> bool:
    return False


def put(folder: OutputFolder, path: str, data: bytes = DATA) -> None:
    (folder.root / path).parent.mkdir(parents=True, exist_ok=True)
    (folder.root / path).write_bytes(data)


@pytest.mark.parametrize(
    "path",
    [
        "a/x-1.png",
        "a/x-1~01234567.png",
        f"{REPLACED}/{SHA}.png",
        f"{PARTS}/{PART}",
        f"{PARTS}/{part_name('other', FINGERPRINT, 9, 9)}",
    ],
)
def test_a_result_is_found_in_each_place_where_it_can_be(folder: OutputFolder, path: str) -> None:
    put(folder, path)
    assert find(folder, OUTPUT, FINGERPRINT) == path


def test_the_final_name_is_preferred_to_a_part(folder: OutputFolder) -> None:
    put(folder, f"{PARTS}/{PART}")
    put(folder, "a/x-1.png")
    assert find(folder, OUTPUT, FINGERPRINT) == "a/x-1.png"


@pytest.mark.parametrize("data", [b"another length", b"A PICTURE", b""])
def test_other_bytes_under_the_right_names_are_not_found(folder: OutputFolder, data: bytes) -> None:
    for path in ("a/x-1.png", f"{REPLACED}/{SHA}.png", f"{PARTS}/{PART}"):
        put(folder, path, data)
    assert find(folder, OUTPUT, FINGERPRINT) is None


def test_a_fifo_or_symlink_under_the_final_name_is_not_the_result(folder: OutputFolder, tmp_path: Path) -> None:
    (folder.root / "a").mkdir()
    os.mkfifo(folder.root / "a/x-1.png")
    (tmp_path / "outside").write_bytes(DATA)
    (folder.root / "a/x-1~01234567.png").symlink_to(tmp_path / "outside")
    assert find(folder, OUTPUT, FINGERPRINT) is None


def test_an_unreadable_file_is_a_storage_error_not_a_missing_result(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    put(folder, "a/x-1.png")
    monkeypatch.setattr(hashlib, "file_digest", fail)
    with pytest.raises(StorageError, match="Input/output"):
        find(folder, OUTPUT, FINGERPRINT)


def test_finding_in_a_folder_without_own_files_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with OutputFolder(tmp_path / "out", create=False) as folder:
        assert find(folder, OUTPUT, FINGERPRINT) is None


def test_the_length_of_a_result_is_told_by_one_look(folder: OutputFolder, tmp_path: Path) -> None:
    put(folder, "a/x-1.png")
    (folder.root / "link.png").symlink_to(folder.root / "a/x-1.png")
    assert size_of(folder, "a/x-1.png") == len(DATA)
    assert [size_of(folder, path) for path in ("a", "link.png", "b/x.png", "a/x-1.png/y")] == [None] * 4


def test_a_crash_before_publishing_is_finished_by_the_parts_digest(folder: OutputFolder) -> None:
    write_part(folder, part_name("other", FINGERPRINT, 7, 1), DATA)
    assert finish(folder, OUTPUT, FINGERPRINT, nothing) == "a/x-1.png"
    assert finish(folder, OUTPUT, FINGERPRINT, nothing) == "a/x-1.png"
    folder.sync()
    assert (folder.root / "a/x-1.png").read_bytes() == DATA
    assert parts_of(folder) == []


def test_a_part_left_beside_its_final_name_goes_after_that_name_is_synced(folder: OutputFolder) -> None:
    write_part(folder, PART, DATA)
    (folder.root / "a").mkdir()
    os.link(folder.root / PARTS / PART, folder.root / "a/x-1.png")
    assert finish(folder, OUTPUT, FINGERPRINT, nothing) == "a/x-1.png"
    assert folder.dirty == {"a"}
    assert parts_of(folder) == [PART]
    folder.sync()
    assert parts_of(folder) == []


def test_a_torn_part_is_never_published(folder: OutputFolder) -> None:
    put(folder, f"{PARTS}/{PART}", DATA[:4])
    assert finish(folder, OUTPUT, FINGERPRINT, nothing) is None
    assert not (folder.root / "a").exists()


@pytest.mark.parametrize("shares", [True, False])
def test_a_result_is_copied_with_and_without_shared_blocks(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch, shares: bool
) -> None:
    def clone(target: int, request: int, source: int) -> int:
        os.write(target, os.read(source, 1 << 20))
        return 0

    def refuse(target: int, request: int, source: int) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "ioctl", clone if shares else refuse)
    put(folder, f"{REPLACED}/{SHA}.png")
    part = part_name("run", FINGERPRINT, 2, 1)
    assert reuse(folder, f"{REPLACED}/{SHA}.png", part, "b/y-1.png", SHA, FINGERPRINT, nothing) == "b/y-1.png"
    folder.sync()
    assert (folder.root / "b/y-1.png").read_bytes() == DATA
    assert (folder.root / REPLACED / f"{SHA}.png").read_bytes() == DATA
    assert (folder.root / "b/y-1.png").stat().st_ino != (folder.root / REPLACED / f"{SHA}.png").stat().st_ino
    assert parts_of(folder) == []


def test_a_source_that_changed_is_not_copied(folder: OutputFolder) -> None:
    put(folder, "a/x-1.png", b"tampered!")
    with pytest.raises(StorageError, match="changed while"):
        copy_part(folder, "a/x-1.png", SHA, PART)
    assert parts_of(folder) == []


def test_a_copy_whose_fsync_fails_is_made_once_more_whole(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([OSError(5, "Input/output error")])

    def sync(fd: int) -> None:
        for error in failures:
            raise error

    put(folder, "a/x-1.png")
    monkeypatch.setattr("pipeline.outputs.parts.sync_file", sync)
    assert read_part(folder, copy_part(folder, "a/x-1.png", SHA, PART)) == DATA


def test_a_missing_source_is_a_storage_error(folder: OutputFolder) -> None:
    with pytest.raises(StorageError):
        copy_part(folder, "a/x-1.png", SHA, PART)
