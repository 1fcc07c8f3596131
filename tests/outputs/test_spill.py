"""A paid result that the output folder cannot take waits elsewhere, whole, and comes in once."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.outputs import spill as spill_module
from pipeline.outputs.folder import OutputFolder
from pipeline.outputs.parts import part_name, parts_of, read_part
from pipeline.outputs.spill import Spill, SpillPart, spill_folder

LINE = b'{"type":"settled"}\n'
PARTS = [SpillPart(part_name("run", "ab" * 32, 1, index), b"picture %d" % index) for index in (1, 2)]


@pytest.fixture
def spill(tmp_path: Path, folder: OutputFolder) -> Spill:
    return Spill(tmp_path / "state" / "retouch", folder.root)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"XDG_STATE_HOME": "/var/state", "HOME": "/home/a"}, "/var/state/retouch"),
        ({"HOME": "/home/a"}, "/home/a/.local/state/retouch"),
        ({"XDG_STATE_HOME": "", "HOME": "/home/a"}, "/home/a/.local/state/retouch"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/a"}, "/home/a/.local/state/retouch"),
    ],
)
def test_the_default_folder_is_the_users_state(env: dict[str, str], expected: str) -> None:
    assert spill_folder(env) == Path(expected)


def test_the_configured_folder_wins() -> None:
    assert spill_folder({"XDG_STATE_HOME": "/var/state"}, Path("/mnt/spill")) == Path("/mnt/spill")


def test_nothing_is_made_before_something_spills(spill: Spill, tmp_path: Path) -> None:
    assert spill.waiting() == []
    assert not (tmp_path / "state").exists()


def test_a_spilled_result_comes_in_whole(spill: Spill, folder: OutputFolder) -> None:
    spill.store(LINE, PARTS)
    (waiting,) = spill.waiting()
    assert spill.take(waiting, folder) == LINE
    assert [read_part(folder, part.name) for part in PARTS] == [part.data for part in PARTS]
    spill.done(waiting)
    spill.done(waiting)
    assert spill.waiting() == []


def test_a_line_alone_can_spill(spill: Spill, folder: OutputFolder) -> None:
    spill.store(LINE, [])
    assert [spill.take(waiting, folder) for waiting in spill.waiting()] == [LINE]


def test_what_spills_is_for_the_owner_alone(spill: Spill) -> None:
    spill.store(LINE, PARTS)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in spill.folder.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert stat.S_IMODE(spill.folder.stat().st_mode) == 0o700


def test_storing_the_same_line_again_changes_nothing(spill: Spill) -> None:
    spill.store(LINE, PARTS)
    spill.store(LINE, PARTS)
    assert len(spill.waiting()) == 1


def test_a_spill_cut_short_before_its_line_is_no_result(spill: Spill, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crash)
        with pytest.raises(KeyboardInterrupt):
            spill.store(LINE, PARTS)
    assert spill.waiting() == []
    spill.store(LINE, PARTS)
    assert [waiting.parts for waiting in spill.waiting()] == [tuple(part.name for part in PARTS)]


def test_a_spill_that_its_disk_has_no_room_for_leaves_nothing_there(
    spill: Spill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can never be taken in would keep the space for ever."""
    write = os.write
    sizes: list[int] = []

    def full(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        if len(sizes) == 2:
            write(fd, data[:3])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match="No space"):
        spill.store(LINE, PARTS)
    assert list(spill.folder.iterdir()) == []
    spill.store(LINE, PARTS)
    assert len(spill.waiting()) == 1


def test_images_are_synced_before_the_line_gets_its_name(spill: Spill, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[bool] = []
    monkeypatch.setattr(spill_module, "sync_file", lambda fd: named.append(any(spill.folder.glob("*/line"))))
    spill.store(LINE, PARTS)
    assert named == [False] * 3


def test_a_spill_folder_that_a_killed_run_made_and_never_synced_is_synced(
    spill: Spill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result is spilled only when the names of all folders above it are on the medium."""
    spill.folder.mkdir(parents=True)
    synced: list[Path] = []
    monkeypatch.setattr("pipeline.outputs.spill.sync_folder", synced.append)
    spill.store(LINE, PARTS)
    assert {spill.folder.parent, spill.folder} <= set(synced)


def test_a_result_taken_in_twice_is_there_once(spill: Spill, folder: OutputFolder) -> None:
    spill.store(LINE, PARTS)
    for _ in range(2):
        spill.take(spill.waiting()[0], folder)
    assert parts_of(folder) == [part.name for part in PARTS]


def test_a_torn_part_under_the_same_name_does_not_hide_the_spilled_one(spill: Spill, folder: OutputFolder) -> None:
    (folder.root / ".retouch/parts" / PARTS[0].name).write_bytes(b"pic")
    spill.store(LINE, PARTS)
    spill.take(spill.waiting()[0], folder)
    assert PARTS[0].data in [read_part(folder, name) for name in parts_of(folder)]


def test_a_result_that_cannot_be_brought_in_keeps_waiting(spill: Spill, folder: OutputFolder, tmp_path: Path) -> None:
    spill.store(LINE, PARTS)
    folder.root.rename(tmp_path / "moved")
    with pytest.raises(StorageError):
        spill.take(spill.waiting()[0], folder)
    assert len(spill.waiting()) == 1


def test_a_spill_belongs_to_one_output_folder_by_its_real_path(spill: Spill, tmp_path: Path) -> None:
    spill.store(LINE, PARTS)
    (tmp_path / "alias").symlink_to(tmp_path / "out")
    base = tmp_path / "state" / "retouch"
    assert Spill(base, tmp_path / "other").waiting() == []
    assert len(Spill(base, tmp_path / "alias").waiting()) == 1


def test_a_spill_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StorageError, match="paid result"):
        Spill(tmp_path / "state" / "retouch", tmp_path / "out").store(LINE, PARTS)


def test_a_result_that_could_be_removed_only_in_part_never_comes_back(
    spill: Spill, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    spill.store(LINE, PARTS)
    monkeypatch.setattr(shutil, "rmtree", fail)
    with pytest.raises(StorageError, match="Input/output"):
        spill.done(spill.waiting()[0])
    assert spill.waiting() == []
