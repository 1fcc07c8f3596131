"""Pictures that are small and mean harm, or that only a decoder which nobody asked for would read."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A greyscale PNG that declares so many pixels and has the first of them."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(min((width + 1) * height, 4_000_000))))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + rows + chunk(b"IEND", b"")


def saved(format: str, size: tuple[int, int] = (48, 48), **how: object) -> bytes:
    """A good picture of a format."""
    file = BytesIO()
    Image.new("RGB", size, (9, 90, 200)).save(file, format, **how)
    return file.getvalue()


def webp(width: int, height: int) -> bytes:
    """An animation of one tiny frame on a canvas as large as the format allows."""
    frame = saved("WEBP", (16, 16), lossless=True)
    image = frame[12:]
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size
    body += b"ANIM" + struct.pack("<I", 6) + bytes(6)
    content = bytes(6) + (15).to_bytes(3, "little") * 2 + (100).to_bytes(3, "little") + b"\0" + image
    body += b"ANMF" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(width: int, height: int) -> bytes:
    """A JPEG whose head declares another size than its pixels have."""
    data = bytearray(saved("JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


_TEXT = zlib.compress(bytes(64_000_000))
BOMBS = {
    "png-196-megapixels": png(14_000, 14_000),
    "png-just-over": png(10_001, 10_000),
    "png-huge-sides": png(2**31 - 1, 2**31 - 1),
    "png-of-compressed-text": png(4, 4, *[chunk(b"zTXt", b"k\0\0" + _TEXT)] * 3),
    "png-of-a-compressed-profile": png(4, 4, chunk(b"iCCP", b"k\0\0" + _TEXT)),
    "png-of-endless-rows": png(4, 4)[:-12] + chunk(b"IDAT", _TEXT) + chunk(b"IEND", b""),
    "webp-268-megapixels": webp(16_383, 16_383),
    "webp-16-million-wide": webp(1 << 24, 1 << 24),
    "jpeg-4-gigapixels": jpeg(65_500, 65_500),
}
"""Each is small; the text of a PNG and its profile are read by Pillow whether asked for or not."""

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 48\n%%EndComments\n(x) (/tmp/run) file\nshowpage\n%%EOF\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
OTHERS = {
    "gif": saved("GIF"),
    "tiff": saved("TIFF"),
    "bmp": saved("BMP"),
    "ico": saved("ICO"),
    "icns": saved("ICNS", (128, 128)),
    "ppm": saved("PPM"),
    "pcx": saved("PCX"),
    "tga": saved("TGA"),
    "sgi": saved("SGI"),
    "dds": saved("DDS"),
    "jpeg2000": saved("JPEG2000"),
    "pdf": saved("PDF"),
    "psd": b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 48, 48, 8, 3) + bytes(48 * 48 * 3 + 14),
    "eps": EPS,
    "eps-binary": b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 30, len(EPS)) + bytes(18) + EPS,
    "wmf": b"\xd7\xcd\xc6\x9a" + bytes(60),
    "fli": struct.pack("<IHHHHH", 128, 0xAF11, 1, 48, 48, 8) + bytes(116),
    "svg": SVG,
    "html": b"<html><img src=x>",
}
"""Formats that Pillow would open by their bytes, one of them by starting Ghostscript."""

DISGUISED = {name: b"\x89PNG\r\n\x1a\n" + data for name, data in (("gif-as-png", saved("GIF")), ("eps-as-png", EPS))}
