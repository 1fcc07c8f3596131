"""Every write lands inside the output folder that was opened, or nowhere."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.errors import JobError, StorageError
from pipeline.outputs import folder as folder_module
from pipeline.outputs.folder import HELD, OWN, PARTS, REPLACED, UNUSABLE, BlockedError, OutputFolder


def test_the_own_folders_are_made_for_the_owner_alone(folder: OutputFolder) -> None:
    for name in (PARTS, REPLACED, UNUSABLE):
        assert stat.S_IMODE((folder.root / name).stat().st_mode) == 0o700


def test_opening_twice_changes_nothing(folder: OutputFolder) -> None:
    (folder.root / PARTS / "kept").write_bytes(b"x")
    with OutputFolder(folder.root) as again:
        assert (again.root / PARTS / "kept").read_bytes() == b"x"


def test_without_create_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with OutputFolder(tmp_path / "out", create=False):
        assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(StorageError):
        OutputFolder(tmp_path / "missing", create=False)


@pytest.mark.parametrize("create", [True, False])
def test_an_output_folder_that_is_a_file_is_the_jobs_error(tmp_path: Path, create: bool) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(JobError, match="is not a folder"):
        OutputFolder(tmp_path / "out", create=create)


def test_an_output_folder_below_a_file_is_the_jobs_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(JobError, match="is not a folder"):
        OutputFolder(tmp_path / "file" / "out")


def test_the_output_folder_itself_may_be_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with OutputFolder(tmp_path / "out") as opened, opened.at("a/b", create=True):
        assert (tmp_path / "disk" / "a" / "b").is_dir()


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc", "a//b", ".", "a/./b", "a\0b"])
def test_a_path_that_leaves_the_folder_is_refused(folder: OutputFolder, path: str) -> None:
    with pytest.raises(StorageError, match="leaves the output folder"), folder.at(path, create=True):
        pass


@pytest.mark.parametrize("inside", [True, False])
def test_a_symlink_on_the_way_is_refused_wherever_it_leads(folder: OutputFolder, tmp_path: Path, inside: bool) -> None:
    target = (folder.root if inside else tmp_path) / "elsewhere"
    target.mkdir()
    (folder.root / "shoes").symlink_to(target)
    with pytest.raises(BlockedError, match="shoes"), folder.at("shoes/white", create=True):
        pass
    assert list(target.iterdir()) == []


def test_own_folder_behind_a_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "out" / ".retouch").symlink_to(tmp_path / "outside")
    with pytest.raises(StorageError, match="symlink"):
        OutputFolder(tmp_path / "out")
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_folder_swapped_for_a_symlink_after_it_was_opened_receives_no_write(
    folder: OutputFolder, tmp_path: Path
) -> None:
    with folder.at("shoes", create=True) as fd:
        (folder.root / "shoes").rename(folder.root / "old")
        (folder.root / "shoes").symlink_to(tmp_path)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    assert (folder.root / "old" / "file").exists()
    assert not (tmp_path / "file").exists()


def test_an_output_folder_removed_during_the_run_is_never_made_again(folder: OutputFolder, tmp_path: Path) -> None:
    folder.root.rename(tmp_path / "moved")
    with pytest.raises(StorageError, match="which was there when the run began"), folder.at("a", create=True):
        pass
    with pytest.raises(StorageError):
        folder.sync()
    assert not folder.root.exists()


def test_an_output_folder_replaced_during_the_run_is_refused(folder: OutputFolder, tmp_path: Path) -> None:
    folder.root.rename(tmp_path / "moved")
    folder.root.mkdir()
    with pytest.raises(StorageError, match="another folder"), folder.at("a", create=True):
        pass
    assert list(folder.root.iterdir()) == []


def test_new_folders_and_their_parents_are_synced_once(folder: OutputFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(folder_module, "sync_folder", synced.append)
    with folder.at("a/b", create=True):
        folder.mark("a/b")
    folder.sync()
    folder.sync()
    assert synced == [folder.root, folder.root / "a", folder.root / "a/b"]


def test_folders_that_a_killed_run_made_and_never_synced_are_synced_before_a_part_goes(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is on the medium only with those above it: else a loss of power takes both names of a paid picture."""
    (folder.root / "a/b").mkdir(parents=True)
    synced: list[Path] = []
    monkeypatch.setattr("pipeline.outputs.folder.sync_folder", synced.append)
    folder.mark("a/b", "x.part")
    folder.sync()
    assert synced == [folder.root, folder.root / "a", folder.root / "a/b"]


def test_own_folders_and_the_root_that_a_killed_run_made_are_synced_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was killed between making a folder and syncing its name leaves one that is there and may still go."""
    root = tmp_path / "a/out"
    (root / PARTS).mkdir(parents=True)
    synced: list[Path] = []
    monkeypatch.setattr("pipeline.outputs.folder.sync_folder", synced.append)
    OutputFolder(root).close()
    assert {root.parent, root, root / OWN} <= set(synced)


def test_each_folder_on_the_way_is_on_the_medium_before_there_is_one_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a kill on the way leaves one name unsynced at most, which the next run can tell: the lowest one there is."""
    there: list[tuple[Path, bool]] = []
    monkeypatch.setattr(
        "pipeline.outputs.folder.sync_folder", lambda path: there.append((path, (tmp_path / "a/b").exists()))
    )
    OutputFolder(tmp_path / "a/b").close()
    assert there[:3] == [(tmp_path.parent, False), (tmp_path, False), (tmp_path / "a", True)]


def test_a_folder_that_somebody_removed_does_not_fail_the_sync(folder: OutputFolder) -> None:
    folder.mark("gone")
    folder.sync()
    assert not folder.dirty


def test_a_failed_folder_sync_keeps_the_parts(folder: OutputFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    part = folder.root / PARTS / "a.part"
    part.write_bytes(b"x")
    folder.mark("", "a.part")
    monkeypatch.setattr(folder_module, "sync_folder", fail)
    with pytest.raises(StorageError, match="Input/output"):
        folder.sync()
    assert part.exists()


def test_after_a_failed_sync_no_part_is_unlinked_any_more(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may tell a failure once and drop what it did not write: a sync that works then proves nothing."""

    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    names = ["a.part", "b.part"]
    for name in names:
        (folder.root / PARTS / name).write_bytes(b"x")
    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "sync_folder", fail)
        folder.mark("", "a.part")
        with pytest.raises(StorageError, match="Input/output"):
            folder.sync()
    folder.mark("", "b.part")
    folder.sync()
    assert sorted(os.listdir(folder.root / PARTS)) == names
    with OutputFolder(folder.root) as again:
        for name in names:
            again.mark("", name)
        again.sync()
    assert os.listdir(folder.root / PARTS) == []


def test_marks_do_not_pile_up(folder: OutputFolder) -> None:
    for number in range(1000):
        folder.mark(f"missing/{number}")
    assert len(folder.dirty) < 256


def test_folders_stay_open_within_held_and_no_longer(folder: OutputFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look at each for many files; nothing stays open behind the block."""
    opened: list[object] = []
    real = os.open

    def noted(name: str, *rest: int, **how: int) -> int:
        opened.append(name)
        return real(name, *rest, **how)

    monkeypatch.setattr(os, "open", noted)
    before = len(os.listdir("/dev/fd"))
    with folder.held():
        for _ in range(3):
            with folder.at("a/b", create=True) as fd:
                assert os.path.samestat(os.fstat(fd), os.stat(folder.root / "a/b"))
    assert [name for name in opened if name == "b"] == ["b"] * 2  # missing, then made
    assert len(os.listdir("/dev/fd")) == before


def test_no_more_than_some_folders_stay_open(folder: OutputFolder) -> None:
    before = len(os.listdir("/dev/fd"))
    with folder.held():
        for number in range(3 * HELD):
            with folder.at(f"f{number}", create=True):
                pass
        assert len(os.listdir("/dev/fd")) == before + HELD
    assert len(os.listdir("/dev/fd")) == before


def test_a_held_folder_that_cannot_be_closed_leaves_no_other_open(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor is gone whatever closing it says, and nothing that was done within is at stake."""
    real = os.close

    def close(fd: int) -> None:
        real(fd)
        raise OSError(5, "Input/output error")

    before = len(os.listdir("/dev/fd"))
    with folder.held():
        for name in "abc":
            with folder.at(name, create=True):
                pass
        monkeypatch.setattr(os, "close", close)
    monkeypatch.undo()
    assert len(os.listdir("/dev/fd")) == before


def test_a_thread_holds_folders_for_itself_alone(folder: OutputFolder) -> None:
    """Another's would be closed under it."""
    with folder.held(), folder.at(PARTS) as mine, ThreadPoolExecutor(1) as other:

        def theirs() -> int:
            with folder.at(PARTS) as fd:
                return fd

        assert other.submit(theirs).result() != mine


def test_a_folder_that_was_replaced_is_noticed_by_the_next_who_holds_it(folder: OutputFolder) -> None:
    with folder.held(), folder.at(PARTS):
        folder.root.rename(folder.root.with_name("moved"))
        folder.root.mkdir()
    with pytest.raises(StorageError, match="another folder"), folder.held(), folder.at(PARTS):
        pass
