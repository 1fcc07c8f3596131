"""Decoding an image whole, to know that it is one.

Contract:

1. Bytes that yield a `Picture` decode to the last row: truncated data yields a `Refusal`.
2. Only PNG, JPEG and WebP decoders ever see the bytes, chosen by the first bytes.
3. No picture of more than `MAX_PIXELS` is decoded, whatever Pillow's own limit is set to, and fewer where a decoder
   holds several copies of it: no picture takes more than some 600 MB, however few its bytes.
4. Safe in threads: no global of Pillow or of `warnings` is changed. Pillow's plugin classes are called directly, for
   `Image.open` warns of large images in a way that only a process-wide filter can turn into an error.
5. Hostile bytes raise nothing; running out of memory does, because it says nothing about the picture.

An animation counts by its first frame, a JPEG with further pictures by its first one.
"""

from __future__ import annotations

import io
from typing import Final

from msgspec import Struct
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pipeline.mime import FORMATS, HEAD, Format, Mime, mime_of

MAX_PIXELS: Final = 100_000_000
"""Largest picture that is decoded: 400 MB in memory. The largest that an endpoint makes has 8.3 megapixels."""

MAX_WEBP_PIXELS: Final = 40_000_000
"""The same for WebP, whose decoder keeps whole canvases for animations: measured 16 bytes a pixel."""

MAX_PROGRESSIVE_PIXELS: Final = 50_000_000
"""The same for a progressive JPEG, all whose coefficients are kept until its last scan: measured 12 bytes a pixel."""

_DECODERS: Final[dict[Mime, type[ImageFile]]] = {
    "image/png": PngImageFile,
    "image/jpeg": JpegImageFile,
    "image/webp": WebPImageFile,
}
_PNG_END: Final = b"IEND\xaeB`\x82"


class Picture(Struct, frozen=True):
    """What decoding showed; `width` and `height` are the stored pixels, before any EXIF rotation."""

    format: Format
    width: int
    height: int
    alpha: bool


class Refusal(Struct, frozen=True):
    """Why bytes are not a usable picture, as the end of a sentence that begins with what they are."""

    reason: str
    expected: str = "expected an undamaged image"


def decode(data: bytes) -> Picture | Refusal:
    """Decode `data` to its last row.

    Raises:
        MemoryError: the picture may be good, but there is no room to decode it.
    """
    mime = mime_of(data[:HEAD])
    if mime is None:
        return Refusal("is not a png, jpeg or webp image")
    # Pillow passes files whose pixels are complete but whose end is cut; other readers do not.
    if mime == "image/png" and _PNG_END not in data:
        return Refusal("is cut short: a png without its end")
    try:
        with _DECODERS[mime](io.BytesIO(data)) as image:
            return _load(image, FORMATS[mime])
    except MemoryError:
        raise
    except Exception as error:  # decoders raise anything from KeyError to zlib.error at hostile bytes
        return Refusal(f"does not decode as {FORMATS[mime]} ({str(error) or type(error).__name__})")


def _load(image: ImageFile, format: Format) -> Picture | Refusal:
    width, height = image.size
    most = _most_pixels(image, format)
    if width * height > most:
        reason = f"declares {width}x{height} pixels, more than the {most:,} that are decoded"
        return Refusal(reason, "expected a smaller image")
    image.load()
    return Picture(format, width, height, image.has_transparency_data)


def _most_pixels(image: ImageFile, format: Format) -> int:
    if format == "webp":
        return MAX_WEBP_PIXELS
    return MAX_PROGRESSIVE_PIXELS if "progressive" in image.info else MAX_PIXELS
