"""A final name appears whole, overwrites nothing, and survives a crash at every step."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.outputs import entry
from pipeline.outputs import publish as publish_module
from pipeline.outputs.folder import PARTS, REPLACED, OutputFolder, UnnamedError
from pipeline.outputs.parts import part_name, parts_of, write_part
from pipeline.outputs.publish import beside, publish

FINGERPRINT = "0123456789abcdef" * 4
PATH = "shoes/white/red-1.png"
BESIDE = "shoes/white/red-1~01234567.png"


def nothing(path: str) -> bool:
    return False


def everything(path: str) -> bool:
    return True


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(folder: OutputFolder, path: str, data: bytes) -> Path:
    place = folder.root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place


def release(
    folder: OutputFolder, data: bytes, known: Callable[[str], bool] = nothing, path: str = PATH, attempt: int = 1
) -> str:
    part = write_part(folder, part_name("run", FINGERPRINT, attempt, 1), data)
    name = publish(folder, part, path, sha(data), FINGERPRINT, known)
    folder.sync()
    return name


def refusing(code: int) -> Callable[..., None]:
    """A system call that is refused."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


def test_a_part_gets_its_final_name_and_loses_its_own(folder: OutputFolder, linking: str) -> None:
    assert release(folder, b"picture") == PATH
    assert (folder.root / PATH).read_bytes() == b"picture"
    assert parts_of(folder) == []


def test_a_name_in_the_root_of_the_folder_is_fine(folder: OutputFolder) -> None:
    assert release(folder, b"picture", path="red.webp") == "red.webp"


def test_the_part_stays_until_its_final_name_is_on_the_medium(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_unlink = os.unlink

    def unlink(name: str, **at: int) -> None:
        steps.append("unlink")
        real_unlink(name, **at)

    monkeypatch.setattr("pipeline.outputs.folder.sync_folder", lambda path: steps.append(f"sync {path.name}"))
    monkeypatch.setattr(os, "unlink", unlink)
    name = part_name("run", FINGERPRINT, 1, 1)
    part = write_part(folder, name, b"picture")
    publish(folder, part, PATH, sha(b"picture"), FINGERPRINT, nothing)
    assert (steps, parts_of(folder)) == ([], [name])
    folder.sync()
    assert steps == ["sync out", "sync shoes", "sync white", "unlink"]


def test_a_crash_between_link_and_unlink_is_finished_by_publishing_again(folder: OutputFolder) -> None:
    part = write_part(folder, part_name("run", FINGERPRINT, 1, 1), b"picture")
    put(folder, "shoes/white/x", b"")
    os.link(folder.root / PARTS / part, folder.root / PATH)
    assert publish(folder, part, PATH, sha(b"picture"), FINGERPRINT, nothing) == PATH
    folder.sync()
    assert parts_of(folder) == []
    assert list((folder.root / PATH).parent.glob("red*")) == [folder.root / PATH]


def test_a_crash_after_the_unlink_is_finished_by_publishing_again(folder: OutputFolder, linking: str) -> None:
    release(folder, b"picture")
    part = part_name("run", FINGERPRINT, 1, 1)
    assert publish(folder, part, PATH, sha(b"picture"), FINGERPRINT, nothing) == PATH


def test_a_part_that_is_nowhere_is_a_storage_error(folder: OutputFolder) -> None:
    with pytest.raises(StorageError, match="is gone"):
        publish(folder, part_name("run", FINGERPRINT, 1, 1), PATH, sha(b"x"), FINGERPRINT, nothing)


def test_a_foreign_file_is_never_touched(folder: OutputFolder, linking: str) -> None:
    foreign = put(folder, PATH, b"someone's own")
    before = foreign.stat()
    assert release(folder, b"picture") == BESIDE
    assert foreign.read_bytes() == b"someone's own"
    assert (foreign.stat().st_ino, foreign.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (folder.root / BESIDE).read_bytes() == b"picture"


def test_publishing_beside_a_foreign_file_twice_gives_one_file(folder: OutputFolder) -> None:
    put(folder, PATH, b"someone's own")
    assert release(folder, b"picture") == BESIDE
    assert release(folder, b"picture", attempt=2) == BESIDE
    assert len(list((folder.root / PATH).parent.iterdir())) == 2


def test_both_names_taken_by_foreign_files_is_a_storage_error_that_keeps_the_part(folder: OutputFolder) -> None:
    put(folder, PATH, b"one")
    put(folder, BESIDE, b"two")
    with pytest.raises(StorageError, match="taken"):
        release(folder, b"picture")
    assert len(parts_of(folder)) == 1


@pytest.mark.parametrize("kind", ["folder", "fifo", "symlink", "dangling symlink"])
def test_what_is_no_regular_file_is_foreign_even_under_a_known_name(
    folder: OutputFolder, tmp_path: Path, kind: str
) -> None:
    place = folder.root / PATH
    place.parent.mkdir(parents=True)
    (tmp_path / "target").write_bytes(b"outside")
    if kind == "folder":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to(tmp_path / ("target" if kind == "symlink" else "nowhere"))
    assert release(folder, b"picture", everything) == BESIDE
    assert (tmp_path / "target").read_bytes() == b"outside"
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_the_ledger_knows_makes_way_and_is_kept(folder: OutputFolder, linking: str) -> None:
    release(folder, b"older", everything)
    assert release(folder, b"newer", everything, attempt=2) == PATH
    assert (folder.root / PATH).read_bytes() == b"newer"
    assert (folder.root / REPLACED / f"{sha(b'older')}.png").read_bytes() == b"older"


def test_a_known_file_that_someone_edited_is_kept_under_what_it_holds_now(folder: OutputFolder) -> None:
    release(folder, b"older", everything)
    (folder.root / PATH).write_bytes(b"edited by hand")
    release(folder, b"newer", everything, attempt=2)
    assert (folder.root / REPLACED / f"{sha(b'edited by hand')}.png").read_bytes() == b"edited by hand"


def test_going_back_and_forth_keeps_one_copy_of_each(folder: OutputFolder, linking: str) -> None:
    for attempt, data in enumerate([b"a", b"b", b"a", b"b", b"a"], 1):
        release(folder, data, everything, attempt=attempt)
    assert (folder.root / PATH).read_bytes() == b"a"
    assert sorted(file.read_bytes() for file in (folder.root / REPLACED).iterdir()) == [b"a", b"b"]


def test_a_replaced_file_that_holds_other_bytes_is_never_overwritten(folder: OutputFolder) -> None:
    release(folder, b"older", everything)
    kept = put(folder, f"{REPLACED}/{sha(b'older')}.png", b"damaged")
    with pytest.raises(StorageError, match="does not hold"):
        release(folder, b"newer", everything, attempt=2)
    assert kept.read_bytes() == b"damaged"
    assert (folder.root / PATH).read_bytes() == b"older"


def test_a_replaced_file_is_synced_before_it_loses_its_old_name(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(folder, b"older", everything)
    seen: list[bool] = []
    monkeypatch.setattr(publish_module, "sync_folder", lambda path: seen.append((folder.root / PATH).exists()))
    release(folder, b"newer", everything, attempt=2)
    assert seen == [True]


def test_a_crash_between_making_way_and_publishing_loses_neither_picture(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(folder, b"older", everything)

    def crash(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(publish_module, "sync_folder", crash)
    with pytest.raises(KeyboardInterrupt):
        release(folder, b"newer", everything, attempt=2)
    monkeypatch.undo()
    part = part_name("run", FINGERPRINT, 2, 1)
    assert publish(folder, part, PATH, sha(b"newer"), FINGERPRINT, everything) == PATH
    assert (folder.root / REPLACED / f"{sha(b'older')}.png").read_bytes() == b"older"


def test_a_symlink_on_the_way_to_the_final_name_is_refused_and_the_part_stays(
    folder: OutputFolder, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (folder.root / "shoes").symlink_to(tmp_path / "outside")
    with pytest.raises(StorageError, match="symlink"):
        release(folder, b"picture")
    assert list((tmp_path / "outside").iterdir()) == []
    assert len(parts_of(folder)) == 1


@pytest.mark.parametrize("path", [".retouch/parts/x.png", ".Retouch/x.png", "../x.png", "/tmp/x.png"])
def test_a_final_name_outside_or_among_the_own_files_is_refused(folder: OutputFolder, path: str) -> None:
    with pytest.raises(StorageError):
        release(folder, b"picture", path=path)


def test_an_output_folder_swapped_before_publishing_receives_nothing(folder: OutputFolder, tmp_path: Path) -> None:
    part = write_part(folder, part_name("run", FINGERPRINT, 1, 1), b"picture")
    folder.root.rename(tmp_path / "moved")
    folder.root.mkdir()
    with pytest.raises(StorageError, match="another folder"):
        publish(folder, part, PATH, sha(b"picture"), FINGERPRINT, nothing)
    assert list(folder.root.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b-1.png", "a/b-1~01234567.png"),
        ("b.v2.jpg", "b.v2~01234567.jpg"),
        ("a/" + "x" * 251 + ".png", "a/" + "x" * 242 + "~01234567.png"),
        ("ä" * 125 + ".png", "ä" * 121 + "~01234567.png"),
    ],
)
def test_the_name_beside_a_foreign_file_fits_every_file_system(path: str, expected: str) -> None:
    assert beside(path, FINGERPRINT) == expected
    assert len(expected.rpartition("/")[2].encode()) <= 255


def test_a_rename_never_overwrites_where_links_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError):
            entry.give(entry.Entry(fd, "a"), entry.Entry(fd, "b"), ".a")
    finally:
        os.close(fd)
    assert (tmp_path / "b").read_bytes() == b"b"


def test_a_link_that_may_not_be_made_is_a_rename_where_that_may(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some FUSE and Android storage answers EACCES to `link`, and has no hard links."""
    monkeypatch.setattr(os, "link", refusing(errno.EACCES))
    assert release(folder, b"picture") == PATH
    assert ((folder.root / PATH).read_bytes(), parts_of(folder)) == (b"picture", [])


def test_a_folder_that_may_not_be_written_to_keeps_the_part(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EACCES that means what it says is one of the rename too, and of the whole disk."""
    monkeypatch.setattr(os, "link", refusing(errno.EACCES))
    monkeypatch.setattr(os, "rename", refusing(errno.EACCES))
    with pytest.raises(StorageError, match="Permission denied") as caught:
        release(folder, b"picture")
    assert not isinstance(caught.value, UnnamedError)
    assert len(parts_of(folder)) == 1


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ])
def test_a_name_that_the_file_system_refuses_is_that_results_fault_alone(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """exFAT has no ':', and others take no bytes that are no text."""
    monkeypatch.setattr(os, "link", refusing(code))
    with pytest.raises(UnnamedError):
        release(folder, b"picture")
    assert len(parts_of(folder)) == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_what_the_whole_disk_refuses_is_no_fault_of_one_name(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "link", refusing(code))
    with pytest.raises(StorageError) as caught:
        release(folder, b"picture")
    assert not isinstance(caught.value, UnnamedError)


def test_a_file_where_a_result_needs_a_folder_is_that_results_fault_alone(folder: OutputFolder) -> None:
    put(folder, "shoes", b"a file")
    with pytest.raises(UnnamedError, match="shoes is a file"):
        release(folder, b"picture")


def test_parts_that_are_no_folder_any_more_are_the_whole_disks_fault(folder: OutputFolder) -> None:
    (folder.root / PARTS).rmdir()
    (folder.root / PARTS).write_bytes(b"")
    with pytest.raises(StorageError, match="is a file") as caught:
        publish(folder, "a.part", PATH, sha(b"picture"), FINGERPRINT, nothing)
    assert not isinstance(caught.value, UnnamedError)


@pytest.mark.parametrize("gone", ["shoes", "shoes/white"])
def test_a_folder_that_is_removed_while_it_is_open_is_made_anew(folder: OutputFolder, gone: str) -> None:
    """Somebody deletes finished results during a run: the others of the group get their names all the same."""
    with folder.held():
        assert release(folder, b"one", path="shoes/white/one.png") == "shoes/white/one.png"
        shutil.rmtree(folder.root / gone)
        for attempt, name in enumerate(("two", "three"), 2):
            path = f"shoes/white/{name}.png"
            assert release(folder, name.encode(), path=path, attempt=attempt) == path
    assert sorted(os.listdir(folder.root / "shoes/white")) == ["three.png", "two.png"]
    assert parts_of(folder) == []


def test_a_folder_that_was_moved_away_gets_nothing_from_the_next_group(folder: OutputFolder, tmp_path: Path) -> None:
    """Every group opens its folders anew."""
    for attempt, name in enumerate(("one", "two"), 1):
        with folder.held():
            release(folder, name.encode(), path=f"shoes/{name}.png", attempt=attempt)
        if name == "one":
            (folder.root / "shoes").rename(tmp_path / "elsewhere")
    assert (os.listdir(tmp_path / "elsewhere"), os.listdir(folder.root / "shoes")) == (["one.png"], ["two.png"])


def test_a_part_that_is_gone_is_told_as_such_while_folders_are_open(folder: OutputFolder) -> None:
    with folder.held(), pytest.raises(StorageError, match=r"part a\.part is gone"):
        publish(folder, "a.part", PATH, sha(b"picture"), FINGERPRINT, nothing)
