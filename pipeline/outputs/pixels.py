"""How large a picture is that was found sound without being decoded."""

from __future__ import annotations

from msgspec import Struct


class Pixels(Struct, frozen=True):
    """Width and height as they are stored, before any EXIF rotation."""

    width: int
    height: int
