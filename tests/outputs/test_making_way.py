"""Older results make way before publishing, and a foreign file at a final name is seen before sending."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pipeline.outputs.folder import REPLACED, OutputFolder
from pipeline.outputs.publish import retire, taken


def put(folder: OutputFolder, path: str, data: bytes) -> None:
    (folder.root / path).parent.mkdir(parents=True, exist_ok=True)
    (folder.root / path).write_bytes(data)


def test_an_older_result_of_another_format_is_retired(folder: OutputFolder, linking: str) -> None:
    put(folder, "a-1.png", b"older")
    assert retire(folder, "a-1.png", len(b"older"))
    assert not (folder.root / "a-1.png").exists()
    assert (folder.root / REPLACED / f"{hashlib.sha256(b'older').hexdigest()}.png").read_bytes() == b"older"


def test_a_result_that_someone_changed_is_not_retired(folder: OutputFolder) -> None:
    put(folder, "a-1.png", b"edited by hand")
    assert not retire(folder, "a-1.png", len(b"older"))
    assert (folder.root / "a-1.png").read_bytes() == b"edited by hand"


@pytest.mark.parametrize("path", ["a-1.png", "gone/a-1.png"])
def test_retiring_what_is_not_there_changes_nothing(folder: OutputFolder, path: str) -> None:
    assert not retire(folder, path, 5)


@pytest.mark.parametrize("extension", ["png", "jpg", "webp"])
def test_a_final_name_is_taken_under_any_extension(folder: OutputFolder, extension: str) -> None:
    put(folder, f"a/x-2.{extension}", b"foreign")
    assert taken(folder, ["a/x-1", "a/x-2"], lambda path: False) == f"a/x-2.{extension}"


def test_a_name_is_free_where_nothing_or_only_the_ledgers_own_file_is(folder: OutputFolder) -> None:
    put(folder, "a/x-1.png", b"ours")
    assert taken(folder, ["a/x-1", "missing/folder/x-1", "a/x-2"], {"a/x-1.png"}.__contains__) is None


def test_a_dangling_symlink_takes_a_name(folder: OutputFolder, tmp_path: Path) -> None:
    (folder.root / "x.jpg").symlink_to(tmp_path / "nowhere")
    assert taken(folder, ["x"], lambda path: False) == "x.jpg"


def test_a_file_where_a_folder_is_needed_takes_the_name(folder: OutputFolder) -> None:
    put(folder, "shoes", b"a file")
    assert taken(folder, ["shoes/white/x-1"], lambda path: False) == "shoes/white"
