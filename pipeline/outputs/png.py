"""Whether a png is sound, without making pixels of it.

Contract:

1. Only what is surely sound is passed: whatever is damaged or unusual is None, and decoding decides about it.
2. All chunks are looked at with their checksums. What surrounds the pixels passes where Pillow reads nothing of it that
   can be wrong, else it is left to Pillow, in a copy of the file that has one pixel: a text or palette that it refuses
   does not pass. Text that it takes for an order of its own about the pixels is left to decoding.
3. `whole` inflates all pixel data, checksum and filters included: then nothing passes that Pillow refuses. Without it
   only the first `START` bytes are inflated, and must make rows at a rate that brings more than a quarter of them; what
   may pass is pixel data that its writer compressed wrongly, swapped or left out in part, under right checksums.
4. Memory is bounded: by what `PIECE` bytes inflate to, 17 MB, whatever the header says.

Rules of the format: https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from msgspec import Struct, field
from PIL.PngImagePlugin import PngStream
from zlib_ng import zlib_ng

from pipeline.decode import MAX_PIXELS, Picture, decode
from pipeline.outputs.pixels import Pixels

_LACK: Final = 4
"""Times the rows that pixel data would make at the rate of its beginning that a picture may have."""

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

_READ: Final = frozenset(name[6:].encode() for name in dir(PngStream) if name.startswith("chunk_"))
"""Kinds of chunks that Pillow reads; it steps over all others, such as the C2PA manifest of an endpoint's picture."""

_LENGTHS: Final = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9}
"""Bytes of those chunks that are a few numbers: Pillow takes any numbers, and refuses only what is too short."""

_TEXTS: Final = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_MOST_TEXT: Final = 1 << 20
"""Bytes of plain text in a file up to which Pillow, which takes 64 MiB, is not asked."""

_ORDERS: Final = frozenset({b"bbox", b"interlace", b"progressive", b"transparency"})
"""Keywords under which a text stands where Pillow, or `decode`, looks for what the picture's own chunks say."""


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


class _Chunk(Struct, frozen=True):
    kind: bytes
    whole: memoryview
    data: memoryview


class _Parts(Struct):
    """A file's chunks behind its header: the data of the IDATs, and those before and after them."""

    pixels: list[memoryview] = field(default_factory=list)
    before: list[_Chunk] = field(default_factory=list)
    after: list[_Chunk] = field(default_factory=list)


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
            (parts.after if parts.pixels else parts.before).append(chunk)
            palette = palette or chunk.kind == b"PLTE"
            if chunk.kind in _UNUSUAL or not (_is_ancillary(chunk.kind) or chunk.kind == b"PLTE"):
                return None
    return parts if chunk is not None and chunk.kind == b"IEND" and not chunk.data else None


def _is_ancillary(kind: bytes) -> bool:
    return kind.isalpha() and kind[:1].islower()


def _inflates(pixels: list[memoryview], header: _Header, whole: bool) -> bool:
    """Whether pixel data is a zlib stream of as many rows as the header says, each with a filter that there is."""
    stride, size = header.stride, sum(map(len, pixels))
    expected, seen = stride * header.height, 0
    if size * MOST_INFLATED < expected:
        return False
    inflater = zlib_ng.decompressobj()
    try:
        for piece in _pieces(pixels, size if whole else START):
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
    return not whole and size > START and seen * size * _LACK > expected * START


def _pieces(pixels: list[memoryview], left: int) -> Iterator[memoryview]:
    """The first `left` bytes."""
    for data in pixels:
        for at in range(0, min(len(data), left), PIECE):
            yield data[at : min(at + PIECE, left)]
        left -= min(len(data), left)


def _surroundings(header: _Header, parts: _Parts) -> bool:
    """Whether Pillow takes all but the pixels, and nothing of it for something about the pixels."""
    around = [chunk for chunk in (*parts.before, *parts.after) if chunk.kind in _READ]
    texts = [chunk for chunk in around if chunk.kind in _TEXTS]
    if any(_keyword(chunk) in _ORDERS for chunk in texts):
        return False
    few = sum(len(chunk.data) for chunk in texts) <= _MOST_TEXT
    return all(_is_harmless(chunk, few) for chunk in around) or _is_taken(header, parts)


def _keyword(text: _Chunk) -> bytes:
    """What stands before the first NUL, as far as it is of interest: the names in `_ORDERS` are short."""
    return bytes(text.data[:16]).partition(b"\0")[0]


def _is_harmless(chunk: _Chunk, few: bool) -> bool:
    """Whether Pillow takes such a chunk whatever it holds, in a file of `few` texts."""
    match chunk.kind:
        case b"tEXt":
            return few
        case b"eXIf":  # kept as it is
            return True
    return _LENGTHS.get(chunk.kind) == len(chunk.data)


def _is_taken(header: _Header, parts: _Parts) -> bool:
    """Whether Pillow takes a picture of one pixel in the same surroundings."""
    shape = _HEADER.pack(1, 1, header.depth, header.colour, 0, 0, 0)
    pixel = zlib_ng.compress(bytes(1 + header.row(1)))
    ends = (_chunk(b"IHDR", shape), _chunk(b"IDAT", pixel), _chunk(b"IEND", b""))
    before, after = ([chunk.whole for chunk in chunks] for chunks in (parts.before, parts.after))
    small = b"".join([_MAGIC, ends[0], *before, ends[1], *after, ends[2]])
    return isinstance(decode(small), Picture)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return _HEAD.pack(len(data), kind) + data + _CRC.pack(zlib_ng.crc32(kind + data))
