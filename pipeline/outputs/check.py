"""Is what came back an image, and is it the one that was asked for?"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.decode import Refusal, decode
from pipeline.mime import EXTENSIONS, Format

Mismatch = Literal["size", "format", "count"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A result's image that decodes whole: its pixels, its length in bytes and its digest in hex."""

    format: Format
    width: int
    height: int
    bytes: int
    sha256: str

    @property
    def extension(self) -> str:
        """The extension of its file, without the dot."""
        return EXTENSIONS[self.format]


@dataclass(frozen=True, slots=True)
class Bad:
    """Bytes that are no usable image; `reason` is written for the user."""

    reason: str


def check(data: bytes) -> Checked | Bad:
    """Decode an image to its last row and say what it is. Safe to call in several threads.

    Raises:
        MemoryError: a fault of this machine, which says nothing about the image.
    """
    picture = decode(data)
    if isinstance(picture, Refusal):
        return Bad(f"the image {picture.reason}")
    digest = hashlib.sha256(data).hexdigest()
    return Checked(picture.format, picture.width, picture.height, len(data), digest)


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
