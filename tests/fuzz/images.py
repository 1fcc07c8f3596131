"""Pictures with bytes, chunks and lengths changed, through the check that every result passes."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random

from PIL import Image

from pipeline.outputs.check import Bad, check
from tests.fuzz.harness import Check, Kind
from tests.fuzz.mutate import changed

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ANCILLARY = (
    b"iCCP", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"cHRM", b"tRNS", b"PLTE", b"acTL", b"fcTL", b"fdAT",
    b"IDAT", b"IEND", b"IHDR", b"pHYs", b"sRGB", b"xxXx",
)  # fmt: skip
_SIZES = (0, 1, 7, 65_535, 65_536, 14_000, 2**31 - 1, 2**31, 2**32 - 1)


@cache
def corpus() -> tuple[bytes, ...]:
    """Pictures of each format, mode and kind of compression that is taken."""
    found = []
    for mode, size in (
        ("RGB", (24, 16)),
        ("RGBA", (16, 16)),
        ("L", (8, 8)),
        ("P", (9, 7)),
        ("1", (17, 3)),
        ("I;16", (8, 8)),
    ):
        found.append(_saved(Image.new(mode, size), "PNG"))
    noise = Image.effect_noise((32, 24), 60).convert("RGB")
    found += [
        _saved(noise, "PNG", optimize=True),
        _saved(noise, "PNG", icc_profile=b"\0" * 200, exif=b"Exif\0\0MM\0*" + bytes(40)),
    ]
    found += [_saved(noise, "JPEG", progressive=on, quality=q) for on in (False, True) for q in (5, 95)]
    found += [
        _saved(noise.convert("CMYK"), "JPEG"),
        _saved(noise, "JPEG", exif=b"Exif\0\0II*\0" + bytes(60), icc_profile=b"x" * 900),
    ]
    found += [_saved(noise, "WEBP", lossless=on) for on in (False, True)] + [_saved(noise.convert("RGBA"), "WEBP")]
    frames = [Image.new("RGB", (12, 8), (shade, 0, 0)) for shade in (0, 90, 180)]
    found += [_saved(frames[0], kind, save_all=True, append_images=frames[1:]) for kind in ("PNG", "WEBP")]
    return tuple(found)


def _saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def drawn(rng: Random) -> bytes:
    """A picture with something wrong: any bytes, or chunks and sizes whose checksums are right."""
    data = rng.choice(corpus())
    if data.startswith(_SIGNATURE) and rng.random() < 0.5:
        return _chunked(rng, data)
    if rng.random() < 0.3:
        return data[: rng.randrange(len(data) + 1)]
    if rng.random() < 0.2:
        return _with_size(rng, data)
    return changed(rng, data, corpus())


def _chunked(rng: Random, data: bytes) -> bytes:
    chunks = list(_chunks(data))
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(chunks))
        name, body = chunks[at]
        match rng.randrange(7):
            case 0:
                del chunks[at]
            case 1:
                chunks.insert(at, (rng.choice(_ANCILLARY), rng.choice((b"", body, rng.randbytes(40), _bomb()))))
            case 2:
                chunks[at] = (rng.choice(_ANCILLARY), body)
            case 3:
                chunks[at] = (name, changed(rng, body))
            case 4:
                chunks[0] = (
                    b"IHDR",
                    struct.pack(">IIBBBBB", rng.choice(_SIZES), rng.choice(_SIZES), *rng.choice(_MODES)),
                )
            case 5:
                chunks.insert(at, chunks[rng.randrange(len(chunks))])
            case _:
                chunks[at] = (name, body[: rng.randrange(len(body) + 1)])
        if not chunks:
            break
    return _SIGNATURE + b"".join(_chunk(rng, name, body) for name, body in chunks)


_MODES = ((8, 2, 0, 0, 0), (8, 6, 0, 0, 1), (1, 0, 0, 0, 0), (16, 6, 0, 0, 0), (3, 9, 7, 7, 7), (8, 3, 0, 0, 0))


@cache
def _bomb() -> bytes:
    """A compressed text of 80 MB."""
    return b"name\0\0" + zlib.compress(bytes(80_000_000), 9)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def _chunk(rng: Random, name: bytes, body: bytes) -> bytes:
    size = len(body) if rng.random() < 0.95 else rng.choice((*_SIZES, len(body) + 1))
    return struct.pack(">I", size) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _with_size(rng: Random, data: bytes) -> bytes:
    """Another size in a JPEG's frame or a WebP's header, which have no checksum."""
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    number = rng.choice((0, 1, 9000, 65_535))
    if at > 0:
        where = at + rng.choice((5, 7))
        return data[:where] + struct.pack(">H", number) + data[where + 2 :]
    where = rng.randrange(4, 30)
    return data[:where] + struct.pack("<H", number) + data[where + 2 :]


@contextmanager
def opened(_folder: Path) -> Iterator[Check]:
    """Checks what is made of a picture's bytes."""
    yield checked


def checked(data: bytes) -> str:
    """Bad, with one line that says why; or good, and then Pillow by itself decodes it whole, to the same size."""
    found = check(data)
    if isinstance(found, Bad):
        assert found.reason.startswith("the image ")
        assert "\n" not in found.reason
        assert len(found.reason) < 500
        return "bad"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a tag that cannot be read beside pixels that can
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert (image.format or "").lower() == found.format
            assert image.size == (found.width, found.height)
    return f"good {found.format}"


KINDS: Sequence[Kind] = (Kind("image", drawn, opened, seconds=20.0, megabytes=700),)
