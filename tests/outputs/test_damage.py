"""No damage is taken for a sound picture that decoding refuses, and no picture refused that decoding takes."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import pytest

from pipeline.decode import Picture, decode
from pipeline.outputs.check import Bad, Checked, How, check
from pipeline.outputs.jpeg import sound_jpeg
from pipeline.outputs.pixels import Pixels
from pipeline.outputs.png import PIECE, START, sound_png
from tests.outputs import samples
from tests.outputs.damage import examine

EVERY = 40
"""One of so many damages is looked at; `python -m tests.outputs.damage` looks at each."""


def packed(size: samples.Shape, rows: bytes, *, pieces: int = 1) -> bytes:
    """A grey png with these rows as they are, its checksums right."""
    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    data = zlib.compress(rows, 1)
    step = -(-len(data) // pieces)
    parts = [(b"IDAT", data[at : at + step]) for at in range(0, len(data), step)]
    return samples.png_of([(b"IHDR", header), *parts, (b"IEND", b"")])


def test_damage_is_judged_as_decoding_judges_it() -> None:
    """Some thousand damages of all kinds, in all formats."""
    report = examine(EVERY)
    assert [(how, case.kind, case.data) for how, case in report.wrong] == []
    assert report.counts.total() > 2000
    assert sum("refused" in kind for kind in report.counts) > 5


def test_plain_pictures_are_found_sound_without_being_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the checks would be right, and slow."""
    monkeypatch.setattr("pipeline.outputs.check.decode", None)
    png, jpeg, _, progressive, _ = samples.larger()
    for data in (png, jpeg, progressive, *samples.jpegs()):
        assert isinstance(check(data, "fast"), Checked)
    animated, *_ = [data for data in samples.pngs() if b"acTL" in data]
    plain = [data for data in (*samples.pngs(), png) if not data[28] and data != animated]
    assert len(plain) > 15
    for data in plain:
        assert isinstance(check(data, "full"), Checked)
        assert isinstance(check(data, "fast"), Checked)


@pytest.mark.parametrize("filter", [5, 255])
def test_a_filter_that_there_is_not(filter: int) -> None:
    rows = bytearray(b"".join(b"\1" + bytes(9) for _ in range(7)))
    rows[60] = filter
    data = packed((9, 7), bytes(rows))
    assert sound_png(data, whole=True) is sound_png(data, whole=False) is None
    assert isinstance(check(data), Bad)


@pytest.mark.parametrize("length", [0, 1, 30, 69, 71, 100])
def test_pixel_data_of_another_length_is_left_to_decoding(length: int) -> None:
    data = packed((9, 7), bytes(length))
    assert sound_png(data, whole=True) is sound_png(data, whole=False) is None
    assert isinstance(check(data), Checked) is isinstance(decode(data), Picture)


def test_a_wrong_checksum_of_pixel_data_is_left_to_decoding() -> None:
    """Pillow reads over it, and a paid picture that it opens is not thrown away."""
    data = packed((9, 7), bytes(70))
    at = data.index(b"IEND") - 5
    spoilt = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    assert sound_png(spoilt, whole=False) is None
    assert isinstance(check(spoilt, "fast"), Checked)


@pytest.mark.parametrize("how", ["full", "fast"])
def test_a_deflate_bomb_takes_little_memory(how: How) -> None:
    """One that makes 200 MB of 200 KB, under a header of 64 pixels."""
    bomb = packed((8, 8), bytes(200_000_000), pieces=3)
    tracemalloc.start()
    try:
        check(bomb, how)
        assert tracemalloc.get_traced_memory()[1] < 3 * 1032 * PIECE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("how", ["full", "fast"])
def test_a_small_file_is_no_large_picture(how: How) -> None:
    """A header says 9,000x9,000 where there is data for less."""
    data = packed((9000, 9000), bytes(1_000_000))
    assert sound_png(data, whole=False) is None
    assert isinstance(check(data, how), Bad)


def test_pixel_data_up_to_4_kb_is_inflated_whole_by_fast() -> None:
    for pixels in range(64):
        data = samples.saved(samples.noise((60 + pixels, 20)), "PNG")
        (_, header), (_, body), end = samples.chunks(data)
        spoilt = samples.png_of([(b"IHDR", header), (b"IDAT", body[:-3] + bytes(3)), end])
        assert (sound_png(spoilt, whole=False) is None) is (len(body) <= START)


def test_fast_takes_the_size_from_the_frame() -> None:
    assert sound_jpeg(samples.jpegs()[0]) == Pixels(21, 19)


def test_a_jpeg_with_a_marker_among_its_pixels_is_left_to_decoding() -> None:
    data = samples.larger()[1]
    middle = len(data) // 2
    assert sound_jpeg(data[:middle] + b"\xff\xc4" + data[middle + 2 :]) is None
