# ruff: noqa: E501 - an expected message is one line
"""Images that cannot be sent: `validate` and `run --strict` name each, a plain `run` settles it and goes on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bad_input import pictures
from tests.bad_input.conftest import BenchOf
from tests.bad_input.row import Make

ONLY_DECODED = ""
"""The code of what only decoding finds: a plain run sends it, and leaves the verdict to the endpoint."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A file `in/bad.png` beside two good ones; `line` is what is said of it, `code` what the ledger keeps."""

    name: str
    make: Make
    line: str
    code: str

    def __str__(self) -> str:
        return self.name

    @property
    def sent(self) -> bool:
        return self.code == ONLY_DECODED


PICTURES = [
    Picture("a dangling link", pictures.points_to("nowhere.png"), "does not exist; expected an image file", "missing"),
    Picture("a circle of links", pictures.loop, "leads through symlinks in a circle; expected an image file", "symlink_loop"),
    Picture("a link through a file", pictures.points_to("0.png/x"), "does not exist; expected an image file", "missing"),
    Picture("a pipe", os.mkfifo, "is not a regular file; expected an image file", "not_a_file"),
    Picture("an endless device", pictures.points_to("/dev/zero"), "is not a regular file; expected an image file", "not_a_file"),
    Picture("a terminal", pictures.points_to("/dev/tty"), "is not a regular file; expected an image file", "not_a_file"),
    Picture("a pipe behind a link", pictures.linked_pipe, "is not a regular file; expected an image file", "not_a_file"),
    Picture("empty", pictures.holds(b""), "is empty; expected an image", "empty"),
    Picture("one byte", pictures.holds(b"\x89"), "is no image by its first bytes; expected png, jpeg or webp", "unsupported_format"),
    Picture("text", pictures.holds(b"hello\n"), "is no image by its first bytes; expected png, jpeg or webp", "unsupported_format"),
    Picture("a web page", pictures.holds(b"<!doctype html>"), "is no image by its first bytes; expected png, jpeg or webp", "unsupported_format"),
    Picture("a GIF", pictures.holds(pictures.encoded("GIF")), "is no image by its first bytes; expected png, jpeg or webp", "unsupported_format"),
    Picture("a BMP", pictures.holds(pictures.encoded("BMP")), "is no image by its first bytes; expected png, jpeg or webp", "unsupported_format"),
    Picture("a TIFF", pictures.holds(pictures.encoded("TIFF")), "is no image by its first bytes; expected png, jpeg or webp", "unsupported_format"),
    Picture("an SVG", pictures.holds(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "is no image by its first bytes; expected png, jpeg or webp", "unsupported_format"),
    Picture("a PDF", pictures.holds(b"%PDF-1.7\n"), "is no image by its first bytes; expected png, jpeg or webp", "unsupported_format"),
    Picture("an iPhone's HEIC", pictures.holds(b"\0\0\0\x18ftypheic" + bytes(90)), "is no image by its first bytes; expected png, jpeg or webp", "unsupported_format"),
    Picture("an AVIF", pictures.holds(b"\0\0\0\x18ftypavif" + bytes(90)), "is no image by its first bytes; expected png, jpeg or webp", "unsupported_format"),
    Picture("a sound", pictures.holds(b"RIFF\0\0\0\0WAVEfmt "), "is no image by its first bytes; expected png, jpeg or webp", "unsupported_format"),
    Picture("zeros", pictures.holds(bytes(5000)), "is no image by its first bytes; expected png, jpeg or webp", "unsupported_format"),
    Picture("a byte over 50 MB", pictures.sized(50_000_001), "has 50,000,001 bytes; expected at most 50,000,000", "too_large"),
    Picture("a file of 8 GB", pictures.sized(8 << 30), "has 8,589,934,592 bytes; expected at most 50,000,000", "too_large"),
    Picture("a PNG cut short", pictures.holds(pictures.encoded()[:-60]), "is cut short: a png without its end; expected an undamaged image", ONLY_DECODED),
    Picture("a PNG of its first bytes", pictures.holds(pictures.encoded()[:20]), "is cut short: a png without its end; expected an undamaged image", ONLY_DECODED),
    Picture("a PNG with damaged pixels", pictures.holds(pictures.png(64, 48, b"\xff" * 9000)), "does not decode as png; expected an undamaged image", ONLY_DECODED),
    Picture("a PNG with too few pixels", pictures.holds(pictures.png(64, 48, bytes(90))), "does not decode as png; expected an undamaged image", ONLY_DECODED),
    Picture("a PNG of no pixels", pictures.holds(pictures.png(0, 0, b"")), "does not decode as png; expected an undamaged image", ONLY_DECODED),
    Picture("a PNG without a header", pictures.holds(b"\x89PNG\r\n\x1a\n" + pictures.chunk(b"IEND", b"")), "does not decode as png; expected an undamaged image", ONLY_DECODED),
    Picture("a JPEG cut short", pictures.holds(pictures.encoded("JPEG")[:-400]), "does not decode as jpeg; expected an undamaged image", ONLY_DECODED),
    Picture("a JPEG of its first bytes", pictures.holds(b"\xff\xd8\xff\xe0\0\x10JFIF\0"), "does not decode as jpeg; expected an undamaged image", ONLY_DECODED),
    Picture("a WebP cut short", pictures.holds(pictures.encoded("WEBP")[:-400]), "does not decode as webp; expected an undamaged image", ONLY_DECODED),
    Picture("a WebP of its first bytes", pictures.holds(b"RIFF\x20\0\0\0WEBPVP8 "), "does not decode as webp; expected an undamaged image", ONLY_DECODED),
    Picture("a bomb of 196 megapixels", pictures.holds(pictures.bomb()), "declares 14000x14000 pixels, more than the 100,000,000 that are decoded; expected a smaller image", ONLY_DECODED),
    Picture("a bomb of two gigapixels", pictures.holds(pictures.png(60_000, 40_000, b"")), "declares 60000x40000 pixels, more than the 100,000,000 that are decoded; expected a smaller image", ONLY_DECODED),
    Picture("a bomb of text", pictures.holds(pictures.text_bomb()), "does not decode as png; expected an undamaged image", ONLY_DECODED),
]  # fmt: skip


@pytest.mark.timeout(30)
@pytest.mark.parametrize("picture", PICTURES, ids=str)
def test_a_bad_image_is_named_and_costs_the_others_nothing(bench: BenchOf, folder: Path, picture: Picture) -> None:
    """Refused by `validate` and `--strict`; a plain run sends the good ones, settles this one and exits 3."""
    picture.make(folder / "in/bad.png")
    job = bench()
    job.refused(f"in/bad.png: shoes/bad/white: {picture.line}")
    if picture.sent:
        assert job.lines("run", "job.yaml", "-q")[2] == 3
        return
    code, lines, connections = job.lines("run", "job.yaml")
    said = f"shoes/bad/white: {picture.code}: {folder}/in/bad.png {picture.line}"
    assert (code, lines[0], connections) == (3, said, 2)
    code, lines, connections = job.lines("run", "job.yaml")
    assert (code, lines[0], connections) == (3, said, 0)
