import os
from pathlib import Path

import pytest

from pipeline.durable import sync_file, sync_folder, write_all


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that takes three bytes at a time still gets all of them, in order."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
    with open(tmp_path / "file", "wb") as file:
        write_all(file.fileno(), b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_a_failed_sync_is_raised_not_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the kernel's reaches the caller after one call."""
    calls: list[int] = []

    def fail(fd: int) -> None:
        calls.append(fd)
        raise OSError(5, "injected")

    monkeypatch.setattr(os, "fdatasync", fail)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(OSError, match="injected"):
        sync_file(7)
    assert calls == [7]


def test_syncing_a_folder_needs_a_folder(tmp_path: Path) -> None:
    """A file in the folder's place, or nothing, is an error; a folder is synced and its descriptor closed."""
    sync_folder(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "gone")
