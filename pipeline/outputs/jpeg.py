"""Whether a jpeg is sound, without decoding it.

Contract:

1. Only what is surely sound is passed: whatever is damaged or unusual is None, and decoding decides about it.
2. Nothing passes that decoding refuses. The coded pixels of a jpeg have no checksum, and libjpeg refuses none of
   them: it makes something up where they are damaged, and warns, which Pillow does not hear. It refuses what is between
   them: segments that are malformed, missing or in a wrong order, and a file without an end. So the segments are
   decoded, by the same decoder, in a copy of the file without its coded pixels and of 8x8 pixels; and the coded pixels
   are looked through for anything that is a marker.
3. Baseline and progressive files of Huffman codes are looked at, up to their end marker. Bytes behind it are no part of
   the picture.

Rules of the format: https://www.w3.org/Graphics/JPEG/itu-t81.pdf, appendix B.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from msgspec import Struct, field

from pipeline.decode import MAX_PIXELS, MAX_PROGRESSIVE_PIXELS, Picture, decode
from pipeline.outputs.pixels import Pixels

MAX_EDGE: Final = 65_500
"""Longest edge that libjpeg takes."""

_MOST_SEGMENTS: Final = 4096
_START: Final = b"\xff\xd8"
_END: Final = 0xD9
_SCAN: Final = 0xDA
_PROGRESSIVE: Final = 0xC2
_FRAMES: Final = frozenset({0xC0, 0xC1, _PROGRESSIVE})
_OTHERS: Final = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""Tables, the restart interval, comments and what applications put in."""

_SIZE: Final = struct.Struct(">HH")
_SIZE_AT: Final = 5
"""Where a frame's segment names its height and width."""

_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7]")
"""What ends coded pixels: neither an escaped byte nor a restart."""


class _Segments(Struct):
    """A file without its coded pixels, and the sizes and kinds of its frames."""

    parts: list[bytes] = field(default_factory=lambda: [_START])
    frames: list[Pixels] = field(default_factory=list)
    progressive: bool = False


def sound_jpeg(data: bytes) -> Pixels | None:
    """The size of a jpeg that is surely sound; None where decoding has to tell.

    Raises:
        MemoryError: a fault of this machine, which says nothing about the picture.
    """
    segments = _segments(data)
    if segments is None or len(segments.frames) != 1:
        return None
    size = segments.frames[0]
    most = MAX_PROGRESSIVE_PIXELS if segments.progressive else MAX_PIXELS
    if not 0 < size.width * size.height <= most or max(size.width, size.height) > MAX_EDGE:
        return None
    return size if isinstance(decode(b"".join(segments.parts)), Picture) else None


def _segments(data: bytes) -> _Segments | None:
    """All up to the end marker; None where a segment is cut, or is none of those that are looked at."""
    found, at = _Segments(), len(_START)
    for _ in range(_MOST_SEGMENTS):
        if at + 2 > len(data) or data[at] != 0xFF:
            return None
        kind = data[at + 1]
        if kind == _END:
            found.parts.append(data[at : at + 2])
            return found
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end < at + 4 or end > len(data) or not _take(found, kind, data[at:end]):
            return None
        at = end if kind != _SCAN else _after_scan(data, end)
    return None


def _take(found: _Segments, kind: int, segment: bytes) -> bool:
    if kind in _FRAMES and len(segment) >= _SIZE_AT + _SIZE.size:
        height, width = _SIZE.unpack_from(segment, _SIZE_AT)
        found.frames.append(Pixels(width, height))
        found.progressive = found.progressive or kind == _PROGRESSIVE
        segment = segment[:_SIZE_AT] + _SIZE.pack(8, 8) + segment[_SIZE_AT + _SIZE.size :]
    elif kind != _SCAN and kind not in _OTHERS:
        return False
    found.parts.append(segment)
    return True


def _after_scan(data: bytes, start: int) -> int:
    """Where the coded pixels from `start` on end: at a marker, or with the file."""
    marker = _MARKER.search(data, start)
    return len(data) if marker is None else marker.start()
