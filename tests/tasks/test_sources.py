"""Files of image sets on a real disk: order, links, loops, special files, age."""

from __future__ import annotations

import os
import random
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.tasks import sources
from pipeline.tasks.faults import FaultError
from pipeline.tasks.sources import Files, Shelves, find_files, ripe

Make = Callable[..., None]


def unexpected(fault: FaultError) -> None:
    raise fault


def found(folder: Path, *patterns: str, exclude: tuple[str, ...] = ()) -> list[str]:
    faults: list[FaultError] = []
    files = find_files(str(folder), patterns, exclude, faults.append)
    assert not faults
    return files.paths


def test_matches_come_sorted_by_code_point_whatever_the_folder_says(
    tmp_path: Path, files: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order on disk does not matter: capital letters first, then `a`, then `ä`."""
    files("in/b.jpg", "in/B.jpg", "in/ä.jpg", "in/a/z.jpg", "in/a.jpg", "in/a-b.jpg")
    expected = ["in/B.jpg", "in/a-b.jpg", "in/a.jpg", "in/a/z.jpg", "in/b.jpg", "in/ä.jpg"]
    assert found(tmp_path, "in/**/*.jpg") == expected
    scan = sources.scan

    def shuffled(path: str, prefix: str) -> Iterator[sources.Entry]:
        entries = list(scan(path, prefix))
        random.shuffle(entries)
        return iter(entries)

    monkeypatch.setattr(sources, "scan", shuffled)
    assert all(found(tmp_path, "in/**/*.jpg") == expected for _ in range(5))


def test_dotfiles_and_what_is_below_dot_folders_never_match(tmp_path: Path, files: Make) -> None:
    """Neither a hidden file nor a file in a hidden folder is an item, even when it is named."""
    files("in/.a.jpg", "in/.git/a.jpg", "in/a.jpg")
    assert found(tmp_path, "in/**", "in/.a.jpg", "in/**/.a.jpg", "in/*/a.jpg") == ["in/a.jpg"]


def test_a_file_matched_twice_counts_once_with_its_first_fixed_part(tmp_path: Path, files: Make) -> None:
    """Overlapping globs, braces and absolute spellings give one file."""
    files("in/a/x.jpg")
    globs = ["in/a/*.jpg", "in/**/*.{jpg,JPG}", f"{tmp_path}/in/**", "./in//a/x.jpg"]
    result = find_files(str(tmp_path), globs, (), unexpected)
    assert result.paths == ["in/a/x.jpg"]
    assert result.paths[0][result.starts[0] :] == "x.jpg"


def test_a_folder_is_listed_once_for_each_fixed_part(
    tmp_path: Path, files: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Globs that share a fixed part share its listing, and folders that cannot match are not read."""
    files("in/a.jpg", "in/b.png", "in/sub/c.jpg", "in/sub/deep/d.jpg")
    listed: list[str] = []
    scan = sources.scan

    def counted(path: str, prefix: str) -> Iterator[sources.Entry]:
        listed.append(os.path.relpath(path, tmp_path))
        return scan(path, prefix)

    monkeypatch.setattr(sources, "scan", counted)
    found(tmp_path, "in/*.jpg", "in/*.png", "in/*/c.jpg")
    assert sorted(listed) == ["in", "in/sub"]


def test_excluded_folders_are_not_entered(tmp_path: Path, files: Make) -> None:
    """`exclude` starts from the manifest's folder and prunes."""
    files("in/a.jpg", "in/old/b.jpg", "in/x/old/c.jpg", "in/x/d_bak.jpg")
    (tmp_path / "in/old/closed").mkdir(mode=0)
    assert found(tmp_path, "in/**/*.jpg", exclude=("**/old/**", "*_bak.jpg")) == ["in/a.jpg"]
    assert found(tmp_path, "in/**/*.jpg", exclude=("in",)) == []


def test_a_relative_exclusion_outside_the_manifests_folder_starts_from_the_fixed_part(
    tmp_path: Path, files: Make
) -> None:
    """Folders above the images, such as one called old, exclude nothing."""
    files("old/photos/a.jpg", "old/photos/old/b.jpg", "job/x")
    paths = found(tmp_path / "job", f"{tmp_path}/old/photos/**/*.jpg", exclude=("**/old/**",))
    assert paths == [f"{tmp_path}/old/photos/a.jpg"]
    assert found(tmp_path / "job", "../old/photos/**/*.jpg", exclude=("**/old/**",)) == ["../old/photos/a.jpg"]


def test_links_are_followed_and_a_loop_ends(tmp_path: Path, files: Make) -> None:
    """Linked files and folders count; a folder among its own parents is not entered again."""
    files("real/a.jpg", "in/sub/b.jpg")
    (tmp_path / "in/link").symlink_to(tmp_path / "real")
    (tmp_path / "in/c.jpg").symlink_to(tmp_path / "real/a.jpg")
    (tmp_path / "in/sub/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/self.jpg").symlink_to("self.jpg")
    (tmp_path / "real/back").symlink_to(tmp_path / "in")
    paths = found(tmp_path, "in/**/*.jpg")
    assert paths == ["in/c.jpg", "in/link/a.jpg", "in/self.jpg", "in/sub/b.jpg"]


def test_a_fifo_and_a_dangling_link_are_listed_and_not_opened(tmp_path: Path, files: Make) -> None:
    """Special files are judged later; listing them blocks nothing."""
    files("in/a.jpg")
    os.mkfifo(tmp_path / "in/pipe.jpg")
    (tmp_path / "in/gone.jpg").symlink_to("nowhere")
    paths = found(tmp_path, "in/*.jpg")
    assert paths == ["in/a.jpg", "in/gone.jpg", "in/pipe.jpg"]
    assert ripe(Files(paths, array("H", [3, 3, 3])), str(tmp_path), 0.0, 4e9, together=False).paths == paths


def test_a_name_that_is_not_utf_8_is_reported(tmp_path: Path, files: Make) -> None:
    """Such a name can stand in no ledger; the message shows its bytes."""
    files("in/a.jpg")
    (tmp_path / "in").joinpath(os.fsdecode(b"\xff.jpg")).touch()
    faults: list[FaultError] = []
    assert find_files(str(tmp_path), ["in/*"], (), faults.append).paths == ["in/a.jpg"]
    assert "\\xff.jpg' is not UTF-8" in faults[0].what or "\\udcff.jpg' is not UTF-8" in faults[0].what


@pytest.mark.parametrize("pattern", ["gone/*.jpg", "in/a.jpg/*.jpg"])
def test_a_fixed_part_that_is_no_folder_is_reported(tmp_path: Path, files: Make, pattern: str) -> None:
    """A misspelt folder is a fault, not an empty set."""
    files("in/a.jpg")
    faults: list[FaultError] = []
    find_files(str(tmp_path), [pattern], (), faults.append)
    assert "cannot list the folder" in faults[0].what


def test_young_files_wait_and_hold_their_folder_back(tmp_path: Path, files: Make) -> None:
    """`min_age` counts from `now`; where a folder is one item, one young file holds it back."""
    files("in/x/old.jpg", "in/x/new.jpg", "in/y/old.jpg")
    for path, age in (("in/x/old.jpg", 60), ("in/x/new.jpg", 59), ("in/y/old.jpg", 100)):
        os.utime(tmp_path / path, (1000 - age, 1000 - age))
    all_files = find_files(str(tmp_path), ["in/**/*.jpg"], (), unexpected)
    alone = ripe(all_files, str(tmp_path), 60, 1000, together=False)
    assert (alone.paths, alone.waiting, len(alone.starts)) == (["in/x/old.jpg", "in/y/old.jpg"], 1, 2)
    together = ripe(all_files, str(tmp_path), 60, 1000, together=True)
    assert (together.paths, together.waiting) == (["in/y/old.jpg"], 1)
    assert ripe(all_files, str(tmp_path), None, 0, together=False) is all_files


def test_many_globs_in_one_folder_read_it_once(tmp_path: Path, files: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A glob for each of 300 rows asks the disk once, and matches as an ordinary glob does."""
    files(*(f"in/Sku{number:03}-{side}.JPG" for number in range(300) for side in "ab"), "in/sku00.txt")
    calls: list[str] = []
    scan = sources.scan

    def counted(path: str, prefix: str) -> Iterator[sources.Entry]:
        calls.append(path)
        return scan(path, prefix)

    monkeypatch.setattr(sources, "scan", counted)
    shelves = Shelves()
    for number in range(300):
        names = [f"{tmp_path}/in/Sku{number:03}-{side}.JPG" for side in "ab"]
        assert shelves.find(str(tmp_path), f"in/sku{number:03}*.{{jpg,png}}") == names
    assert len(calls) == 1
    assert shelves.find(str(tmp_path), "gone/*.jpg") == []
