"""Pictures and answers of a given size: valid, different from each other, and about as dense as a photograph."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from math import isqrt
from random import Random
from struct import pack

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEAST = 8 + 25 + 12 + 12 + 24
"""Bytes of a PNG around its pixels: signature, header, the pixels' own chunk, the end, and a number of ten digits."""
_SHADES = bytes(100 + 6 * byte // 256 for byte in range(256))
"""Six shades at random: about one byte a pixel after compression, as in a photograph, and not to be made smaller."""


class Pictures:
    """PNGs of exactly `size` bytes with the same random pixels, each with another number in a text chunk."""

    def __init__(self, size: int) -> None:
        """`size` in bytes, from 300."""
        room = size - _LEAST
        side = isqrt(room)
        while len(pixels := _pixels(side)) > room:
            side = min(side - 1, isqrt(side * side * room // len(pixels)))
        header = _chunk(b"IHDR", pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        self._start, self._rest = _SIGNATURE + header, _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
        self._digits = size - len(self._start) - len(self._rest) - 14

    def numbered(self, number: int) -> bytes:
        """The picture with this number, which makes its bytes its own."""
        return self._start + _chunk(b"tEXt", b"n\0" + str(number).zfill(self._digits).encode()) + self._rest


def picture_of(size: int) -> bytes:
    """The picture that takes about `size` bytes of an answer as base64, the rest of which is little."""
    return Pictures(size * 3 // 4 - 200).numbered(0)


def answer(size: int, images: int = 1) -> bytes:
    """An endpoint's answer with so many pictures, each of which takes about `size` bytes of it as base64."""
    data = b64encode(picture_of(size)).decode()
    usage = {
        "input_tokens": 323,
        "output_tokens": 272 * images,
        "total_tokens": 323 + 272 * images,
        "input_tokens_details": {"text_tokens": 23, "image_tokens": 300},
    }
    return json.dumps({"created": 1_790_000_000, "data": [{"b64_json": data}] * images, "usage": usage}).encode()


def _pixels(side: int) -> bytes:
    shades = Random(side).randbytes(3 * side * side).translate(_SHADES)
    return zlib.compress(b"".join(b"\0" + shades[row * 3 * side : (row + 1) * 3 * side] for row in range(side)), 1)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(data, zlib.crc32(kind)))
