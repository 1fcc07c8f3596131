"""The pixels of an image, from its header alone: some 20 µs, whatever its size. Pixels are never decoded.

1. Only what begins as a png, jpeg or webp is looked at; a jpeg, whose size may stand anywhere, by Pillow's reader.
2. Never blocks, and raises nothing: what cannot be told is None.
"""

from __future__ import annotations

import os
import stat
import struct
from array import array
from io import FileIO
from typing import Final

from pipeline.mime import HEAD, mime_of

Pixels = tuple[int, int]
"""Width and height as they are stored, before any EXIF rotation."""

MOST_KNOWN: Final = 1_000_000
"""Files that are remembered; further ones are read again."""

FIRST_BYTES: Final = 30
"""First bytes that hold the size of a webp, and more than those of a png."""


def dimensions(path: str) -> Pixels | None:
    """Width and height of an image file; None where they cannot be told."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with FileIO(path, opener=_open) as file:
            return _pixels(file)
    except Exception:  # readers raise anything from KeyError to struct.error at hostile bytes
        return None


class KnownDimensions:
    """Dimensions by path, each file read once; 8 bytes a file beside its name's hash."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._edges = array("I")

    def of(self, path: str) -> Pixels | None:
        """Width and height of an image file; None where they cannot be told."""
        key = hash(path)
        row = self._rows.get(key)
        if row is None:
            found = dimensions(path)
            if len(self._rows) >= MOST_KNOWN:
                return found
            row = self._rows[key] = len(self._edges)
            self._edges.extend(found or (0, 0))
        width, height = self._edges[row], self._edges[row + 1]
        return (width, height) if width else None


def pixels_in(head: bytes) -> Pixels | None:
    """Width and height that the `FIRST_BYTES` of a png or webp tell, or more of them; None where they do not."""
    match mime_of(head[:HEAD]):
        case "image/png":
            return _png(head)
        case "image/webp":
            return _webp(head)
    return None


def _pixels(file: FileIO) -> Pixels | None:
    head = file.read(FIRST_BYTES)
    if mime_of(head[:HEAD]) != "image/jpeg":
        return pixels_in(head)
    file.seek(0)
    return _jpeg(file)


def _png(head: bytes) -> Pixels | None:
    """The first chunk is IHDR, which begins with the size: https://www.w3.org/TR/png-3/#11IHDR."""
    if head[12:16] != b"IHDR" or len(head) < 24:
        return None
    width, height = struct.unpack_from(">II", head, 16)
    return (width, height) if width and height else None


def _jpeg(file: FileIO) -> Pixels | None:
    from PIL.JpegImagePlugin import JpegImageFile

    with JpegImageFile(file) as image:
        width, height = image.size
    return (width, height) if width and height else None


def _webp(head: bytes) -> Pixels | None:
    """Pillow's reader takes a webp whole: https://developers.google.com/speed/webp/docs/riff_container."""
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L" and len(head) >= 25 and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(head) >= 30 and head[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 26)
        return (width & 0x3FFF, height & 0x3FFF) if width and height else None
    return None


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
