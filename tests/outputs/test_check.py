"""Only images that decode to their last row count, and what they differ in is told."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Literal

import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from zlib_ng import zlib_ng

from pipeline.outputs.check import Bad, Checked, How, Mismatch, check, mismatches
from tests.outputs.conftest import Picture


def png_that_declares(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width // 8 + 2) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("encoder", "format", "extension"), [("PNG", "png", "png"), ("JPEG", "jpeg", "jpg"), ("WEBP", "webp", "webp")]
)
def test_each_format_is_told_with_its_pixels_and_digest(
    picture: Picture, encoder: str, format: str, extension: str
) -> None:
    data = picture(encoder, (64, 48))
    found = check(data)
    assert isinstance(found, Checked)
    assert (found.format, found.extension, found.width, found.height) == (format, extension, 64, 48)
    assert (found.bytes, found.sha256) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("encoder", ["PNG", "JPEG", "WEBP"])
def test_an_image_truncated_anywhere_is_bad(picture: Picture, encoder: str) -> None:
    data = picture(encoder, (16, 12))
    accepted = [end for end in range(len(data)) if not isinstance(check(data[:end]), Bad)]
    assert accepted == []


def test_a_progressive_jpeg_without_its_last_scan_is_bad(picture: Picture) -> None:
    data = picture("JPEG", (256, 256), progressive=True)
    assert isinstance(check(data[: data.rindex(b"\xff\xda")]), Bad)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a png, jpeg or webp"),
        (b"<html><body>502 Bad Gateway</body></html>", "not a png, jpeg or webp"),
        (b"GIF89a" + bytes(64), "not a png, jpeg or webp"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64) + b"IEND\xaeB`\x82", "does not decode as png"),
        (b"\xff\xd8\xff\xe0" + bytes(64), "does not decode as jpeg"),
        (b"RIFF\x40\x00\x00\x00WEBPVP8 " + bytes(64), "does not decode as webp"),
    ],
)
def test_bytes_that_are_no_image_are_bad_and_say_so(data: bytes, says: str) -> None:
    found = check(data)
    assert isinstance(found, Bad)
    assert says in found.reason


def test_a_gif_is_refused_though_pillow_could_read_it(picture: Picture) -> None:
    assert isinstance(check(picture("GIF", mode="P")), Bad)


def test_a_bomb_is_refused_by_its_declared_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = png_that_declares(14_000, 14_000)
    assert len(bomb) < 30_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    found = check(bomb)
    assert isinstance(found, Bad)
    assert "14000x14000" in found.reason


def test_a_large_image_below_the_cap_warns_nobody() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(check(png_that_declares(9_800, 9_800)), Checked)


def test_warning_filters_are_untouched_by_checks_in_threads(picture: Picture) -> None:
    before = list(warnings.filters)
    images = [picture(kind, (32, 32)) for kind in ("PNG", "JPEG", "WEBP")] * 8
    with ThreadPoolExecutor(8) as pool:
        assert all(isinstance(found, Checked) for found in pool.map(check, images))
    assert list(warnings.filters) == before


def test_16_bit_cmyk_and_grey_images_are_good(picture: Picture) -> None:
    deep = io.BytesIO()
    Image.new("I;16", (8, 8), 40_000).save(deep, "PNG")
    for data in (deep.getvalue(), picture("JPEG", mode="CMYK"), picture("PNG", mode="L"), picture("PNG", mode="1")):
        assert isinstance(check(data), Checked)


@pytest.mark.parametrize("encoder", ["PNG", "WEBP"])
def test_an_animated_image_counts_by_its_canvas(encoder: str) -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (20, 10), (shade, 0, 0)) for shade in (0, 90, 180)]
    frames[0].save(file, encoder, save_all=True, append_images=frames[1:])
    found = check(file.getvalue())
    assert isinstance(found, Checked)
    assert (found.width, found.height) == (20, 10)


def test_lack_of_memory_is_not_blamed_on_the_image(picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(PngImageFile, "load", no_room)
    monkeypatch.setattr(JpegImageFile, "load", no_room)
    monkeypatch.setattr(zlib_ng, "decompressobj", no_room)
    hows: tuple[How, ...] = ("full", "fast")
    for encoder, how in product(("PNG", "JPEG"), hows):
        with pytest.raises(MemoryError):
            check(picture(encoder), how)


def image(width: int = 1024, height: int = 1024, format: Literal["png", "jpeg", "webp"] = "png") -> Checked:
    return Checked(format, width, height, 1, "0" * 64)


@pytest.mark.parametrize(
    ("images", "size", "format", "n", "expected"),
    [
        ([image()], "1024x1024", "png", 1, []),
        ([image()], None, None, None, []),
        ([image(7, 9)], "auto", None, 1, []),
        ([image(format="jpeg")], "1024x1024", None, 1, []),
        ([image(1024, 1536)], "1536x1024", None, 1, ["size"]),
        ([image(), image(512, 512)], "1024x1024", None, 2, ["size"]),
        ([image(format="webp")], None, "png", 1, ["format"]),
        ([image()], None, None, 2, ["count"]),
        ([image(), image()], None, None, None, ["count"]),
        ([image(8, 8, "jpeg")], "1024x1024", "png", 3, ["size", "format", "count"]),
    ],
)
def test_mismatches(
    images: list[Checked], size: str | None, format: str | None, n: int | None, expected: list[Mismatch]
) -> None:
    """What was not asked for cannot mismatch; all that was asked for is compared."""
    assert mismatches(images, size, format, n) == expected


def declaring(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame has another size, or an animated WebP whose canvas has."""
    if data.startswith(b"RIFF"):
        at = data.index(b"VP8X") + 12
        return data[:at] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + data[at + 6 :]
    at = data.index(b"\xff\xc2") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def test_a_few_hundred_bytes_of_webp_or_progressive_jpeg_do_not_take_a_gigabyte(picture: Picture) -> None:
    """Their decoders hold a picture several times over: 246 bytes took 1.5 GB below the cap of the other formats."""
    file = io.BytesIO()
    frames = [Image.new("RGB", (20, 10), (shade, 0, 0)) for shade in (0, 90)]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    for bomb, most in (
        (declaring(file.getvalue(), 9000, 10_000), "40,000,000"),
        (declaring(picture("JPEG", (64, 48), progressive=True), 9000, 10_000), "50,000,000"),
    ):
        found = check(bomb)
        assert isinstance(found, Bad)
        assert f"declares 9000x10000 pixels, more than the {most}" in found.reason
