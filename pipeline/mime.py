"""The image formats that can be sent and stored, told by their first bytes and never by a file's name."""

from __future__ import annotations

from typing import Final, Literal

Mime = Literal["image/png", "image/jpeg", "image/webp"]
Format = Literal["png", "jpeg", "webp"]

HEAD: Final = 12
"""How many first bytes `mime_of` needs."""

FORMATS: Final[dict[Mime, Format]] = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}
EXTENSIONS: Final[dict[Format, str]] = {"png": "png", "jpeg": "jpg", "webp": "webp"}
"""The extension under which each format is stored."""


def mime_of(head: bytes) -> Mime | None:
    """The type that a file's first `HEAD` bytes announce; None where they are of no format that is taken."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return None
