from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.endpoint.upload import InputChangedError, open_regular, read_part, read_whole
from tests.endpoint.conftest import PNG, upload_of


def test_opening_a_fifo_or_folder_fails_at_once(tmp_path: Path) -> None:
    """Nothing but a regular file is opened, and nothing is waited for."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(str(path))


def test_parts_in_order_make_the_file(tmp_path: Path) -> None:
    """Parts are read in order, the last is shorter."""
    upload, digest = upload_of(tmp_path / "a.png", PNG + b"0123456"), hashlib.sha256()
    parts = [read_part(upload, start, min(6, 15 - start), digest) for start in range(0, 15, 6)]
    assert b"".join(parts) == PNG + b"0123456"


@pytest.mark.parametrize("content", [b"", PNG, PNG + b"x" * 4, PNG + b"y" * 9])
def test_changed_file_is_noticed(tmp_path: Path, content: bytes) -> None:
    """Shorter, longer or other bytes of the same length: it is not the file that was hashed."""
    upload = upload_of(tmp_path / "a.png", PNG + b"x" * 9)
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputChangedError, match=r"a\.png has another"):
        read_whole(upload)


def test_last_part_is_refused_where_an_earlier_one_changed(tmp_path: Path) -> None:
    """The digest runs over all parts, so that the last tells of a change in the first."""
    upload, digest = upload_of(tmp_path / "a.png", PNG + b"xy"), hashlib.sha256()
    (tmp_path / "a.png").write_bytes(b"X" + PNG[1:] + b"xy")
    read_part(upload, 0, 8, digest)
    with pytest.raises(InputChangedError, match="another content"):
        read_part(upload, 8, 2, digest)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system names a file at its opening only."""
    upload = upload_of(tmp_path / "a.png", PNG)

    def refuse(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", refuse)
    with pytest.raises(OSError, match=r"Input/output error: .*a\.png"):
        read_whole(upload)


def test_reading_leaves_no_descriptor_open(tmp_path: Path) -> None:
    """Each call closes what it opened, also where it fails."""
    upload = upload_of(tmp_path / "a.png", PNG)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    read_whole(upload)
    with pytest.raises(InputChangedError):
        read_whole(replace(upload, sha256="0" * 64))
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(str(tmp_path))
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert after == before
