"""Looking at one uploaded image: format by magic bytes, whole decoding, and a preview to draw with.

Blocking work on bytes; the app calls it in a thread, one upload at a time, so that a request of sixteen
images holds one of them whole and the rest as previews.
"""

from __future__ import annotations

import struct
import zlib
from hashlib import sha256
from io import BytesIO

from msgspec import Struct
from PIL import Image, ImageOps

from pipeline.sandbox.answers import Refusal
from pipeline.sandbox.tokens import Size

MIME_TYPES = ("image/jpeg", "image/png", "image/webp")
PREVIEW = 1536
"""The long edge of a preview that fills the output, in pixels: no fixed output size is larger."""
THUMBNAIL = 256
"""The long edge of a preview that is only pasted small, in pixels."""
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
"""What Pillow raises for a file that it cannot read, in `open` or in `load`."""


class Picture(Struct, frozen=True):
    """A decoded upload: digest of its bytes, declared size in pixels, and a preview in RGB or RGBA."""

    sha256: str
    format: str
    size: Size
    preview: Image.Image

    @property
    def has_alpha(self) -> bool:
        """Whether the image carries transparency."""
        return self.preview.mode == "RGBA"


def magic_format(data: bytes | bytearray) -> str | None:
    """Return `png`, `jpeg` or `webp` by the first bytes, else None."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return None


def examine(data: bytes | bytearray, param: str, edge: int) -> Picture:
    """Decode an upload, keeping a preview whose long edge is at most `edge` pixels.

    Raises Refusal `invalid_image_file` for another format or a damaged file.
    """
    found = magic_format(data)
    if found is None:
        raise Refusal("The file is not a png, jpeg or webp image.", "invalid_image_file", param=param)
    try:
        with Image.open(BytesIO(data), formats=[found]) as image:
            size = Size(*image.size)
            image.draft("RGB", (edge, edge))
            preview = _preview(image, edge)
    except DAMAGED as exc:
        raise Refusal("The image file does not decode.", "invalid_image_file", param=param) from exc
    return Picture(sha256(data).hexdigest(), found, size, preview)


def _preview(image: Image.Image, edge: int) -> Image.Image:
    image.load()
    upright = ImageOps.exif_transpose(image)
    preview = upright.convert("RGBA" if image.has_transparency_data else "RGB")
    preview.thumbnail((edge, edge), Image.Resampling.BILINEAR)
    return preview
