"""What can be wrong inside an image, found by decoding it whole: for `validate` and `--strict`."""

from __future__ import annotations

import os.path
from typing import Final

from pipeline.decode import Picture, Refusal, decode
from pipeline.mime import Format
from pipeline.tasks.inputs import Unusable, read_image

MASK_SAFE_BYTES: Final = 4_000_000
"""Largest mask that every endpoint takes; some take more, so a larger one is worth a warning and no refusal."""

_NAMED: Final[dict[str, Format]] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


def picture_of(path: str) -> Picture | Unusable:
    """Decode an image to its last row.

    Raises:
        OSError, MemoryError: this process is out of descriptors or memory, which says nothing about the file.
    """
    data = read_image(path)
    if isinstance(data, Unusable):
        return data
    picture = decode(data)
    if isinstance(picture, Refusal):
        # What follows in brackets are the decoder's own words, which help nobody to mend a photo.
        return Unusable("undecodable", path, picture.reason.partition(" (")[0], picture.expected)
    return picture


def mask_fault(mask: str, found: Picture, first: Picture) -> Unusable | None:
    """Whether a mask fits the first image that it is sent with: a PNG of the same pixels, with transparency."""
    if found.format != "png":
        return Unusable("unsupported_format", mask, f"is a mask in {found.format}", "expected a png")
    if (found.width, found.height) != (first.width, first.height):
        what = f"is a mask of {found.width}x{found.height} pixels, and its image has {first.width}x{first.height}"
        return Unusable("mask_dimensions", mask, what, "expected the same")
    if not found.alpha:
        what = "is a mask without transparency"
        return Unusable("mask_alpha", mask, what, "expected alpha 0 where the edit may happen")
    return None


def name_warning(path: str, found: Picture) -> str | None:
    """A warning where a file's extension names another format than its bytes, which decide how it is sent."""
    named = _NAMED.get(os.path.splitext(path)[1].lower(), found.format)
    return None if named == found.format else f"is a {found.format} by its first bytes, and is sent as one"


def mask_warning(size: int) -> str | None:
    """A warning where a mask of `size` bytes is larger than every endpoint takes."""
    return None if size <= MASK_SAFE_BYTES else f"is a mask of {size:,} bytes; some endpoints take {MASK_SAFE_BYTES:,}"
