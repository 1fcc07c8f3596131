"""How large a picture is that was found sound without being decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pixels:
    """Width and height as they are stored, before any EXIF rotation."""

    width: int
    height: int
