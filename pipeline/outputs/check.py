"""Is what came back an image, and is it the one that was asked for?

Contract:

1. `full` passes what Pillow decodes to its last row, and nothing else.
2. `fast` passes all that `full` passes, with the same size. What it passes beyond that is a png whose pixel data was
   compressed wrongly behind its first 4 KB, under checksums that are right: a fault of who wrote it, and none of a
   disk or of the wire. A webp, whose pixels have no checksum, is decoded.
3. Neither is stricter than Pillow: what is not surely sound at first sight is decoded, and decoding decides.
4. Safe in several threads, and what takes long lets others work: checksums, inflating, decoding and hashing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from pipeline.decode import Refusal, decode
from pipeline.mime import EXTENSIONS, FORMATS, HEAD, Format, mime_of
from pipeline.outputs.jpeg import sound_jpeg
from pipeline.outputs.pixels import Pixels
from pipeline.outputs.png import sound_png

How = Literal["full", "fast"]
"""How closely an image is looked at before it is published."""

Mismatch = Literal["size", "format", "count"]


class Checked(Struct, frozen=True):
    """A result's image that is whole: its pixels, its length in bytes and its digest in hex."""

    format: Format
    width: int
    height: int
    bytes: int
    sha256: str

    @property
    def extension(self) -> str:
        """The extension of its file, without the dot."""
        return EXTENSIONS[self.format]


class Bad(Struct, frozen=True):
    """Bytes that are no usable image; `reason` is written for the user."""

    reason: str


def check(data: bytes, how: How = "full") -> Checked | Bad:
    """Look whether an image is whole, and say what it is.

    Raises:
        MemoryError: a fault of this machine, which says nothing about the image.
    """
    mime = mime_of(data[:HEAD])
    found = None if mime is None else _sound(data, FORMATS[mime], how)
    if mime is not None and found is not None:
        return _checked(data, FORMATS[mime], found)
    picture = decode(data)
    if isinstance(picture, Refusal):
        return Bad(f"the image {picture.reason}")
    return _checked(data, picture.format, Pixels(picture.width, picture.height))


def _sound(data: bytes, format: Format, how: How) -> Pixels | None:
    """The size of an image that is surely sound; None where decoding has to tell."""
    if format == "png":
        return sound_png(data, whole=how == "full")
    return sound_jpeg(data) if format == "jpeg" and how == "fast" else None


def _checked(data: bytes, format: Format, size: Pixels) -> Checked:
    return Checked(format, size.width, size.height, len(data), hashlib.sha256(data).hexdigest())


def mismatches(images: Sequence[Checked], size: str | None, format: str | None, n: int | None) -> list[Mismatch]:
    """In what the images differ from what was asked for.

    `size` is `WIDTHxHEIGHT`; `auto` or None asks for nothing. `format` None asks for nothing; `n` None asks for one.
    """
    found: list[Mismatch] = []
    if size not in (None, "auto") and any(f"{image.width}x{image.height}" != size for image in images):
        found.append("size")
    if format is not None and any(image.format != format for image in images):
        found.append("format")
    if len(images) != (1 if n is None else n):
        found.append("count")
    return found
