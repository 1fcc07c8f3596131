"""Whether a png is sound, without making pixels of it.

Contract:

1. Only what is surely sound is passed: whatever is damaged or unusual is None, and decoding decides about it.
2. All chunks are looked at with their checksums. What surrounds the pixels is left to Pillow, in a copy of the file
   that has one pixel: a text or palette that it refuses does not pass.
3. `whole` inflates all pixel data, checksum and filters included: then nothing passes that Pillow refuses. Without it
   only the first `START` bytes are inflated; what may pass is pixel data that its writer compressed wrongly further on,
   under checksums that are right.
4. Memory is bounded: by what `PIECE` bytes inflate to, 17 MB, whatever the header says.

Rules of the format: https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from msgspec import Struct, field
from zlib_ng import zlib_ng

from pipeline.decode import MAX_PIXELS, Picture, decode
from pipeline.outputs.pixels import Pixels

START: Final = 4096
"""Bytes of pixel data that are always inflated."""

PIECE: Final = 1 << 14
"""Bytes that are inflated at once; a deflate bomb makes 1,032 times as many of them."""

MOST_INFLATED: Final = 1032
"""Bytes that one byte can inflate to at most: https://zlib.net/zlib_tech.html."""

_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS: Final = 1 << 16
_HEAD: Final = struct.Struct(">I4s")
_HEADER: Final = struct.Struct(">IIBBBBB")
_CRC: Final = struct.Struct(">I")
_FILTERS: Final = bytes(range(5))
_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by type of colour."""

_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PALETTE: Final = 3
_UNUSUAL: Final = frozenset({b"acTL", b"fcTL", b"fdAT"})
"""Chunks of animations, whose frames have sizes of their own."""


class _Header(Struct, frozen=True):
    width: int
    height: int
    depth: int
    colour: int

    @property
    def stride(self) -> int:
        """Bytes of a row, with the one that names its filter."""
        return 1 + self.row(self.width)

    def row(self, width: int) -> int:
        return (width * self.depth * _SAMPLES[self.colour] + 7) // 8


class _Parts(Struct):
    """A file's chunks behind its header: the data of the IDATs, and whole those before and after them."""

    pixels: list[memoryview] = field(default_factory=list)
    before: list[memoryview] = field(default_factory=list)
    after: list[memoryview] = field(default_factory=list)


class _Chunk(Struct, frozen=True):
    kind: bytes
    whole: memoryview
    data: memoryview


def sound_png(data: bytes, *, whole: bool) -> Pixels | None:
    """The size of a png that is surely sound; None where decoding has to tell.

    Raises:
        MemoryError: a fault of this machine, which says nothing about the picture.
    """
    chunks = _chunks(data)
    header = _header(next(chunks, None))
    if header is None:
        return None
    parts = _parts(chunks, header)
    if parts is None or not _inflates(parts.pixels, header, whole) or not _surroundings(header, parts):
        return None
    return Pixels(header.width, header.height)


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Chunks up to the first that is damaged or the end of the picture, whichever comes first."""
    view, at, kind = memoryview(data), len(_MAGIC), b""
    for _ in range(_MOST_CHUNKS):
        if kind == b"IEND" or at + 12 > len(data):
            return
        length, kind = _HEAD.unpack_from(data, at)
        end = at + 8 + length
        if end + 4 > len(data) or zlib_ng.crc32(view[at + 4 : end]) != _CRC.unpack_from(data, end)[0]:
            return
        yield _Chunk(kind, view[at : end + 4], view[at + 8 : end])
        at = end + 4


def _header(first: _Chunk | None) -> _Header | None:
    if first is None or first.kind != b"IHDR" or len(first.data) != _HEADER.size:
        return None
    width, height, depth, colour, compression, filtering, interlaced = _HEADER.unpack(first.data)
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlaced:
        return None
    return _Header(width, height, depth, colour) if 0 < width * height <= MAX_PIXELS else None


def _parts(chunks: Iterator[_Chunk], header: _Header) -> _Parts | None:
    """None where chunks are missing, out of order or unusual."""
    parts, palette, chunk = _Parts(), header.colour != _PALETTE, None
    for chunk in chunks:
        if chunk.kind == b"IDAT":
            if parts.after or not palette:
                return None
            parts.pixels.append(chunk.data)
        elif chunk.kind != b"IEND":
            (parts.after if parts.pixels else parts.before).append(chunk.whole)
            palette = palette or chunk.kind == b"PLTE"
            if chunk.kind in _UNUSUAL or not (_is_ancillary(chunk.kind) or chunk.kind == b"PLTE"):
                return None
    return parts if chunk is not None and chunk.kind == b"IEND" and not chunk.data else None


def _is_ancillary(kind: bytes) -> bool:
    return kind.isalpha() and kind[:1].islower()


def _inflates(pixels: list[memoryview], header: _Header, whole: bool) -> bool:
    """Whether pixel data is a zlib stream of as many rows as the header says, each with a filter that there is."""
    expected, stride = header.stride * header.height, header.stride
    inflater, seen = zlib_ng.decompressobj(), 0
    if sum(map(len, pixels)) * MOST_INFLATED < expected:
        return False
    try:
        for piece in _pieces(pixels, whole):
            made = inflater.decompress(piece)
            if made[-seen % stride :: stride].strip(_FILTERS):
                return False
            seen += len(made)
            if seen > expected or inflater.unused_data:
                return False
    except zlib_ng.error:  # type: ignore[misc]  # an instance in its stub, a class in truth
        return False
    if inflater.eof:
        return seen == expected
    return not whole and sum(map(len, pixels)) > START


def _pieces(pixels: list[memoryview], whole: bool) -> Iterator[memoryview]:
    left = sum(map(len, pixels)) if whole else START
    for data in pixels:
        for at in range(0, min(len(data), left), PIECE):
            yield data[at : min(at + PIECE, left)]
        left -= min(len(data), left)


def _surroundings(header: _Header, parts: _Parts) -> bool:
    """Whether Pillow takes all but the pixels."""
    if not parts.before and not parts.after:
        return True
    shape = _HEADER.pack(1, 1, header.depth, header.colour, 0, 0, 0)
    pixel = zlib_ng.compress(bytes(1 + header.row(1)))
    ends = (_chunk(b"IHDR", shape), _chunk(b"IDAT", pixel), _chunk(b"IEND", b""))
    small = b"".join([_MAGIC, ends[0], *parts.before, ends[1], *parts.after, ends[2]])
    return isinstance(decode(small), Picture)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return _HEAD.pack(len(data), kind) + data + _CRC.pack(zlib_ng.crc32(kind + data))
