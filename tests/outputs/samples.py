"""Small pictures of each format in many forms, the same from one run to the next: what is damaged on purpose."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from random import Random

from PIL import Image
from PIL.PngImagePlugin import PngInfo

MAGIC = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps, of each pass of an interlaced png."""

Shape = tuple[int, int]


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a png with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The kinds and data of an undamaged png's chunks."""
    found, at = [], len(MAGIC)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png_of(parts: list[tuple[bytes, bytes]]) -> bytes:
    """A png of these chunks, each with its right checksum."""
    return MAGIC + b"".join(chunk(kind, data) for kind, data in parts)


def segments(data: bytes) -> list[bytes]:
    """The pieces of an undamaged jpeg: each segment, and coded pixels with the segment that announces them."""
    found, at = [data[:2]], 2
    while at < len(data):
        end = len(data) if data[at + 1] == 0xD9 else at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA:
            while data[end] != 0xFF or data[end + 1] == 0 or 0xD0 <= data[end + 1] <= 0xD7:
                end += 1
        found.append(data[at:end])
        at = end
    return found


def riff_chunks(data: bytes) -> list[bytes]:
    """The chunks of an undamaged webp, padding included."""
    found, at = [], 12
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append(data[at : at + 8 + size + size % 2])
        at += 8 + size + size % 2
    return found


def webp_of(parts: list[bytes]) -> bytes:
    """A webp of these chunks."""
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def noise(size: Shape, mode: str = "RGB", seed: int = 1, spread: int = 255) -> Image.Image:
    """A picture of random values up to `spread`."""
    rng = Random(seed)
    depth = len(Image.new(mode, (1, 1)).getbands())
    data = bytes(rng.randrange(spread + 1) for _ in range(size[0] * size[1] * depth))
    return Image.frombytes(mode, size, data)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def drawn_png(depth: int, colour: int, size: Shape = (9, 5), *, interlaced: bool = False, pieces: int = 1) -> bytes:
    """A png in a form that Pillow does not write; its pixel data in several chunks, some of them empty."""
    rng = Random(depth * 100 + colour * 10 + interlaced)
    packed = zlib.compress(rows(rng, depth, colour, size, interlaced))
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    step = -(-len(packed) // pieces)
    parts = [(b"IHDR", header)]
    if colour == 3:
        parts += [(b"PLTE", bytes(range(3 * min(256, 1 << depth)))), (b"tRNS", b"\x00\x80")]
    for at in range(0, len(packed), step):
        parts += [(b"IDAT", packed[at : at + step])] + [(b"IDAT", b"")] * (pieces > 1)
    return png_of([*parts, (b"IEND", b"")])


def rows(rng: Random, depth: int, colour: int, size: Shape, interlaced: bool) -> bytes:
    """Random pixels, each row behind a filter that there is."""
    made = []
    for left, top, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        width, height = (size[0] - left + across - 1) // across, (size[1] - top + down - 1) // down
        if width > 0:
            length = (width * depth * SAMPLES[colour] + 7) // 8
            made += [bytes([rng.randrange(5)]) + rng.randbytes(length) for _ in range(height)]
    return b"".join(made)


@cache
def pngs() -> tuple[bytes, ...]:
    """Each depth and type of colour, plain and interlaced; texts, profiles, palettes, transparency, an animation."""
    forms = [(d, c) for c, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4), 4: (8, 16), 6: (8, 16)}.items()
             for d in depths]  # fmt: skip
    found = [drawn_png(*form, interlaced=on) for form in forms for on in (False, True)]
    found += [drawn_png(8, 2, pieces=4), drawn_png(8, 0, (200, 60), pieces=3)]
    info = PngInfo()
    for name, behind in (("before", False), ("behind", True)):
        info.add(b"tEXt", name.encode() + b"\0some text", after_idat=behind)
        info.add(b"caBX", bytes(40), after_idat=behind)
    info.add_text("packed", "text " * 30, zip=True)
    info.add_itxt("lang", "Grüße", "de", zip=True)
    found += [
        saved(noise((12, 10)), "PNG", pnginfo=info, icc_profile=b"p" * 90, exif=b"Exif\0\0MM\0*\0\0\0\x08" + bytes(6))
    ]
    found += [saved(noise((12, 10), "P"), "PNG", transparency=3), saved(noise((30, 40)), "PNG", dpi=(72, 72))]
    frames = [noise((8, 6), seed=seed) for seed in range(3)]
    found += [saved(frames[0], "PNG", save_all=True, append_images=frames[1:])]
    return tuple(found)


@cache
def jpegs() -> tuple[bytes, ...]:
    """Baseline and progressive, each subsampling, grey and four colours, restarts, EXIF, several pictures in one."""
    image = noise((21, 19), spread=200)
    found = [saved(image, "JPEG", quality=q, progressive=on) for q in (30, 95) for on in (False, True)]
    found += [saved(image, "JPEG", subsampling=form) for form in (0, 1, 2)]
    found += [saved(image.convert(mode), "JPEG", progressive=on) for mode in ("L", "CMYK") for on in (False, True)]
    found += [saved(image, "JPEG", restart_marker_blocks=1), saved(image, "JPEG", restart_marker_rows=1, optimize=True)]
    found += [saved(image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + bytes(6), icc_profile=b"x" * 90, comment=b"hello")]
    found += [saved(image, "MPO", save_all=True, append_images=[image]), saved(image, "JPEG") + b"trailing\xff\xc4"]
    return tuple(found)


@cache
def webps() -> tuple[bytes, ...]:
    """Lossy, lossless, with alpha, with a profile and EXIF, animated."""
    image, clear = noise((20, 18)), noise((20, 18), "RGBA")
    found = [saved(image, "WEBP"), saved(image, "WEBP", lossless=True), saved(clear, "WEBP")]
    found += [
        saved(clear, "WEBP", lossless=True),
        saved(image, "WEBP", icc_profile=b"p" * 50, exif=b"Exif\0\0II*\0\x08\0\0\0" + bytes(6)),
    ]
    frames = [noise((10, 8), seed=seed) for seed in range(3)]
    return (*found, saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]))


@cache
def larger() -> tuple[bytes, ...]:
    """One of some 100 KB of each format and way of coding pixels: they go through decoders in several steps."""
    image = noise((210, 170), spread=90)
    found = [saved(image, "PNG"), saved(image, "JPEG", quality=100, subsampling=0), saved(image, "WEBP", quality=100)]
    return (*found, saved(image, "JPEG", quality=100, progressive=True), saved(image, "WEBP", lossless=True))


def all_small() -> Iterator[bytes]:
    """Every small picture."""
    yield from (*pngs(), *jpegs(), *webps())
