"""What can be wrong inside an image, found by decoding it whole: for `validate` and `--strict`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pipeline.decode import Picture, Refusal, decode
from pipeline.tasks.inputs import InputFile, Unusable, inspect, refusal

MASK_SAFE_BYTES: Final = 4_000_000
"""Largest mask that every endpoint takes; some take more, so a larger one is worth a warning and no refusal."""


def full_check(path: str) -> Unusable | None:
    """Decode an image to its last row; what is wrong with it, None where it is good.

    Raises:
        OSError, MemoryError: this process is out of descriptors or memory, which says nothing about the file.
    """
    picture = _picture(path)
    return picture if isinstance(picture, Unusable) else None


def mask_check(mask: str, image: str) -> Unusable | None:
    """Whether a mask fits the first image that it is sent with: a PNG of the same pixels, with transparency.

    Raises:
        OSError, MemoryError: as `full_check`.
    """
    found, first = _picture(mask), _picture(image)
    if isinstance(found, Unusable):
        return found
    if isinstance(first, Unusable):
        return first
    if found.format != "png":
        return Unusable("unsupported_format", f"the mask {mask} is a {found.format}; expected a png")
    if (found.width, found.height) != (first.width, first.height):
        sizes = f"{found.width}x{found.height} pixels, and {image} has {first.width}x{first.height}"
        return Unusable("mask_dimensions", f"the mask {mask} has {sizes}; expected the same")
    if not found.alpha:
        return Unusable(
            "mask_alpha", f"the mask {mask} has no transparency; expected alpha 0 where the edit may happen"
        )
    return None


def mask_warning(mask: str, size: int) -> str | None:
    """A warning where a mask of `size` bytes is larger than every endpoint takes."""
    if size <= MASK_SAFE_BYTES:
        return None
    return f"the mask {mask} has {size} bytes; some endpoints take at most {MASK_SAFE_BYTES}"


def _picture(path: str) -> Picture | Unusable:
    found = inspect(path)
    if not isinstance(found, InputFile):
        return found
    try:
        picture = decode(Path(path).read_bytes())
    except OSError as error:
        return refusal(path, error)
    if isinstance(picture, Refusal):
        return Unusable("undecodable", f"{path} {picture.reason}")
    return picture
