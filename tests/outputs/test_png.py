"""What surrounds the pixels of a png is judged as Pillow judges it, mostly without asking it."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from unittest.mock import Mock

import pytest
from PIL import Image, ImageFile, PngImagePlugin

from pipeline.decode import Picture, decode
from pipeline.outputs import png
from pipeline.outputs.png import START, sound_png
from tests.outputs import samples

LENGTHS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9}
UNKNOWN = (b"caBX", b"tIME", b"bKGD", b"sBIT", b"hIST", b"sPLT", b"cICP", b"vpAg", b"zzZz")
MODES = ("L", "LA", "RGB", "RGBA", "P", "1", "I;16")


def with_chunk(kind: bytes, data: bytes, *, after: bool = False, mode: str = "RGB") -> bytes:
    """A small png that has a chunk before or behind its pixels."""
    parts = samples.chunks(samples.saved(Image.new(mode, (9, 7)), "PNG"))
    at = len(parts) - 1 if after else [kind for kind, _ in parts].index(b"IDAT")
    return samples.png_of([*parts[:at], (kind, data), *parts[at:]])


def is_taken(data: bytes) -> bool:
    """What Pillow says."""
    return isinstance(decode(data), Picture)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow is not asked."""
    monkeypatch.setattr(png, "decode", None)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("length", [0, 1, 20_000])
@pytest.mark.parametrize("kind", [*UNKNOWN, b"eXIf", b"tEXt"])
def test_a_chunk_of_any_length_that_pillow_cannot_refuse_needs_no_decoding(
    kind: bytes, length: int, after: bool
) -> None:
    """A C2PA manifest in `caBX` is in every picture of the endpoint that most use."""
    data = with_chunk(kind, bytes(range(256)) * 79 if length > 256 else b"k" * length, after=after)
    assert is_taken(data)
    assert sound_png(data, whole=True) == sound_png(data, whole=False) is not None


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("fill", [0, 1, 255])
@pytest.mark.parametrize(("kind", "length"), LENGTHS.items())
def test_a_few_numbers_in_their_length_need_no_decoding(kind: bytes, length: int, fill: int, after: bool) -> None:
    data = with_chunk(kind, bytes([fill]) * length, after=after)
    assert is_taken(data)
    assert sound_png(data, whole=True) is not None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", [*LENGTHS, *UNKNOWN, b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"tRNS", b"acTL"])
def test_every_length_is_judged_as_pillow_judges_it(kind: bytes, after: bool, mode: str) -> None:
    for length in range(40):
        for data in (bytes(length), b"\xff" * length, b"a\0" * (length // 2)):
            whole = with_chunk(kind, data, after=after, mode=mode)
            if sound_png(whole, whole=True) is not None:
                assert is_taken(whole), (kind, data)


@pytest.mark.parametrize(("kind", "length"), LENGTHS.items())
def test_too_few_numbers_are_not_passed(kind: bytes, length: int) -> None:
    data = with_chunk(kind, bytes(length - 1))
    assert not is_taken(data)
    assert sound_png(data, whole=True) is sound_png(data, whole=False) is None


def keywords_of_pillow() -> set[bytes]:
    """All names under which Pillow's code, or ours, may look into what a picture says of itself."""
    modules = (Image, ImageFile, PngImagePlugin)
    source = "".join(Path(str(module.__file__)).read_text() for module in modules)
    return {name.encode() for name in re.findall(r"[\"']([A-Za-z_ ]{2,30})[\"']", source)} | {b"progressive"}


@pytest.mark.parametrize("mode", ["RGB", "P", "LA"])
def test_text_is_never_taken_for_an_order_about_the_pixels(mode: str) -> None:
    """`tEXt` "interlace" makes Pillow read the rows in another order, "bbox" in another place."""
    names = keywords_of_pillow()
    assert names >= png._ORDERS
    for name in names:
        for kind, data in ((b"tEXt", name + b"\0yes"), (b"tEXt", name), (b"iTXt", name + b"\0\0\0\0\0yes")):
            whole = with_chunk(kind, data, mode=mode)
            if sound_png(whole, whole=True) is not None:
                assert is_taken(whole), (name, kind)


def test_a_text_that_makes_pillow_refuse_a_picture_does_not_pass() -> None:
    """The one-pixel copy cannot show it: one pixel is the same in any order."""
    data = with_chunk(b"tEXt", b"interlace\0yes")
    assert not is_taken(data)
    assert sound_png(data, whole=True) is sound_png(data, whole=False) is None


def test_much_text_is_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 64 MiB in a file, whatever pieces they come in."""
    piece = (b"tEXt", b"k\0" + bytes(300_000))
    parts = samples.chunks(samples.saved(Image.new("RGB", (9, 7)), "PNG"))
    asked = Mock(wraps=decode)
    monkeypatch.setattr(png, "decode", asked)
    assert sound_png(samples.png_of([parts[0], *[piece] * 3, *parts[1:]]), whole=True) is not None
    assert not asked.called
    assert sound_png(samples.png_of([parts[0], *[piece] * 4, *parts[1:]]), whole=True) is not None
    assert asked.called


def test_more_text_than_pillow_takes_does_not_pass() -> None:
    piece = (b"tEXt", b"k\0" + bytes(1_000_000))
    parts = samples.chunks(samples.saved(Image.new("RGB", (9, 7)), "PNG"))
    data = samples.png_of([parts[0], *[piece] * 68, *parts[1:]])
    assert not is_taken(data)
    assert sound_png(data, whole=False) is None


def test_a_harmless_chunk_does_not_cover_a_bad_one() -> None:
    parts = samples.chunks(samples.saved(Image.new("RGB", (9, 7)), "PNG"))
    bomb = (b"iCCP", b"name\0\0" + zlib.compress(bytes(80_000_000)))
    data = samples.png_of([parts[0], (b"caBX", b"x"), bomb, (b"gAMA", struct.pack(">I", 1)), *parts[1:]])
    assert not is_taken(data)
    assert sound_png(data, whole=True) is None


def noisy(left_out: Callable[[bytes], bytes], height: int = 600) -> bytes:
    """A picture of noise without what `left_out` takes from its pixel data, all checksums right."""
    picture = Image.frombytes("RGB", (600, height), Random(1).randbytes(600 * height * 3))
    parts = samples.chunks(samples.saved(picture, "PNG"))
    pixels = left_out(b"".join(data for kind, data in parts if kind == b"IDAT"))
    return samples.png_of([parts[0], (b"IDAT", pixels), (b"IEND", b"")])


@pytest.mark.parametrize("kept", [lambda size: START + 1, lambda size: size // 10, lambda size: size // 5])
def test_a_picture_most_of_which_is_missing_does_not_pass(kept: Callable[[int], int]) -> None:
    """Its writer stopped early and closed the file in order: the rows that its beginning makes tell."""
    data = noisy(lambda pixels: pixels[: kept(len(pixels))])
    assert not is_taken(data)
    assert sound_png(data, whole=False) is None
    assert sound_png(noisy(lambda pixels: pixels), whole=False) is not None


@pytest.mark.usefixtures("alone")
def test_a_plain_margin_above_what_is_detailed_needs_no_decoding() -> None:
    """Product photos have one: few bytes make many rows."""
    picture = Image.new("RGB", (600, 600), "white")
    picture.paste(Image.frombytes("RGB", (400, 400), Random(2).randbytes(480_000)), (100, 100))
    assert sound_png(samples.saved(picture, "PNG"), whole=False) is not None
