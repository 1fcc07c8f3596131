"""The pixels of an image from its header."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.tasks import dimensions as module
from pipeline.tasks.dimensions import KnownDimensions, dimensions


@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("JPEG", "RGB", {}),
        ("JPEG", "L", {"progressive": True}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {}),
        ("WEBP", "RGB", {"exif": b"Exif\0\0"}),
    ],
)
def test_each_format_tells_its_pixels(tmp_path: Path, format: str, mode: str, options: dict[str, Any]) -> None:
    """Also under a name that says otherwise."""
    path = tmp_path / "picture.bin"
    Image.new(mode, (123, 4567)).save(path, format, **options)
    assert dimensions(str(path)) == (123, 4567)


def test_a_header_is_enough(tmp_path: Path) -> None:
    """A cut file tells its pixels, and one that declares too many to decode too: nothing is decoded."""
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 32)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[:60])
    assert dimensions(str(path)) == (64, 32)
    bomb = bytearray(data)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    path.write_bytes(bomb[:29] + zlib.crc32(bomb[12:29]).to_bytes(4, "big") + bomb[33:])
    assert dimensions(str(path)) == (60_000, 60_000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture at all, but long enough for a head of one",
        b"GIF89a" + bytes(40),
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\xff\xd8\xff" + bytes(100),
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"RIFF\0\0\0\0WEBPVP8 " + bytes(40),
        b"RIFF\0\0\0\0WEBPVP8L" + bytes(40),
        b"RIFF\0\0\0\0WEBPVP9 " + bytes(40),
    ],
)
def test_what_cannot_be_told_is_none(tmp_path: Path, data: bytes) -> None:
    """Hostile bytes raise nothing."""
    (tmp_path / "a.png").write_bytes(data)
    assert dimensions(str(tmp_path / "a.png")) is None


def test_what_is_no_file_is_none_and_does_not_block(tmp_path: Path) -> None:
    """Missing, a folder, a FIFO that nobody writes to, a name with a NUL."""
    os.mkfifo(tmp_path / "pipe")
    names = [str(tmp_path / "gone"), str(tmp_path), str(tmp_path / "pipe"), "a\0b"]
    assert [dimensions(name) for name in names] == [None] * 4


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one of which nothing can be told; beyond the bound files are read again, never mixed up."""
    read: list[str] = []

    def counting(path: str) -> tuple[int, int] | None:
        read.append(path)
        return None if path == "bad" else (len(path), 1)

    monkeypatch.setattr(module, "dimensions", counting)
    monkeypatch.setattr(module, "MOST_KNOWN", 3)
    known = KnownDimensions()
    for _ in range(2):
        assert [known.of(path) for path in ("a", "bad", "ccc", "dddd")] == [(1, 1), None, (3, 1), (4, 1)]
    assert read == ["a", "bad", "ccc", "dddd", "dddd"]
