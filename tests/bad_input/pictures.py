"""Image files with something wrong in them, each made at the path that it is given."""

from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from random import Random

from PIL import Image

from tests.bad_input.row import Make


def encoded(form: str = "PNG", size: tuple[int, int] = (64, 48), mode: str = "RGB") -> bytes:
    """A picture of noise, which no compression makes small."""
    data = BytesIO()
    Image.frombytes(mode, size, Random(7).randbytes(size[0] * size[1] * len(mode))).save(data, form)
    return data.getvalue()


def holds(data: bytes) -> Make:
    return lambda path: path.write_bytes(data)


def points_to(target: str) -> Make:
    return lambda path: path.symlink_to(target)


def linked_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def sized(size: int) -> Make:
    """A picture with zeros after it, up to a length in bytes, which take no room on the disk."""

    def make(path: Path) -> None:
        path.write_bytes(encoded())
        os.truncate(path, size)

    return make


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of parts, whatever they are."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")


def bomb() -> bytes:
    """23.9 KB that are 196 megapixels of black and white: Pillow alone would only warn."""
    data = png(14_000, 14_000, bytes(24_514_000), depth=1, colour=0)
    assert len(data) < 24_000
    return data


def text_bomb() -> bytes:
    """A small picture with a compressed text of 100 MB beside it."""
    small = png(1, 1, b"\0\xff\0\0")
    return small[:-12] + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9)) + small[-12:]
