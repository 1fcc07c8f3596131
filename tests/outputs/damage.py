"""Every kind of damage to pictures, held against Pillow's verdict: `python -m tests.outputs.damage [--every N]`.

A case is decoded whole for what it truly is, and then checked in both ways. `full` has to say the same. So does `fast`,
but that it may pass a png whose checksums are right and whose pixel data was compressed wrongly.
"""

from __future__ import annotations

import argparse
import struct
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import TypeVar

from pipeline.decode import Picture, decode
from pipeline.mime import HEAD, mime_of
from pipeline.outputs.check import Checked, How, check
from pipeline.outputs.png import START
from tests.outputs.samples import MAGIC, all_small, chunks, larger, png_of, riff_chunks, segments, webp_of

HUGE = (0, 1, 3, 255, 65_535, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
EDGES = (0, 1, 2, 7, 8, 9, 64, 255, 65_535, 65_501, 1 << 20, (1 << 31) - 1, (1 << 32) - 1)
HOLES = (1, 4, 16, 64, 512, 4096)

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Case:
    """A damaged picture, and in what way it is."""

    kind: str
    data: bytes


@dataclass(slots=True)
class Report:
    """How many cases of each kind and verdict there were, and those in which a check is wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, Case]] = field(default_factory=list)


def cases() -> Iterator[Case]:
    """All damages: of small pictures at every byte, of larger ones here and there."""
    rng = Random(5)
    for data in all_small():
        yield Case("whole", data)
        yield from _anywhere(rng, data, range(len(data)))
        yield from _parts(rng, data)
    for data in larger():
        yield Case("whole", data)
        places = sorted({*rng.sample(range(len(data)), 400), *range(60), *range(len(data) - 60, len(data))})
        yield from _anywhere(rng, data, places)
        yield from _parts(rng, data)


def _anywhere(rng: Random, data: bytes, places: Iterable[int]) -> Iterator[Case]:
    for at in places:
        yield Case("cut", data[:at])
        yield Case("flip", _changed(data, at, data[at] ^ rng.randrange(1, 256)))
        yield Case("bit", _changed(data, at, data[at] ^ 1 << rng.randrange(8)))
        hole = rng.choice(HOLES)
        yield Case("hole", data[:at] + bytes(min(hole, len(data) - at)) + data[at + hole :])
        if rng.random() < 0.2:
            end = at + rng.choice(HOLES)
            yield Case("lost", data[:at] + data[end:])
            yield Case("doubled", data[:end] + data[at:])
            yield Case("marker", data[:at] + bytes((0xFF, rng.randrange(256))) + data[at + 2 :])


def _changed(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


def _parts(rng: Random, data: bytes) -> Iterator[Case]:
    """The parts of its format dropped, doubled, swapped, of other lengths, and damaged inside."""
    if data.startswith(MAGIC):
        yield from _png(rng, data)
    elif data.startswith(b"RIFF"):
        for parts in _moved(rng, riff_chunks(data)):
            yield Case("chunks", webp_of(parts))
        yield from _lengths(rng, data, riff_chunks(data), 12, "<I", 4)
    else:
        end = data.find(b"\xff\xd9") + 2
        for parts in _moved(rng, segments(data[:end])):
            yield Case("segments", b"".join(parts))
        yield from _lengths(rng, data, segments(data[:end]), 0, ">H", 2)
        yield from (Case("early end", data[:at] + b"\xff\xd9") for at in range(2, min(end, 3000)))
        yield from _frame(data)


def _moved(rng: Random, parts: list[Part]) -> Iterator[list[Part]]:
    for at, part in enumerate(parts):
        other = rng.randrange(len(parts))
        yield parts[:at] + parts[at + 1 :]
        yield [*parts[:at], part, *parts[at:]]
        swapped = list(parts)
        swapped[at], swapped[other] = swapped[other], swapped[at]
        yield swapped


def _lengths(rng: Random, data: bytes, parts: list[bytes], at: int, form: str, place: int) -> Iterator[Case]:
    """Lengths of parts that lie."""
    size = struct.calcsize(form)
    for part in parts:
        for length in rng.sample(HUGE, 4):
            told = struct.pack(form, length % (1 << 8 * size))
            yield Case("length", data[: at + place] + told + data[at + place + size :])
        at += len(part)


def _frame(data: bytes) -> Iterator[Case]:
    at = next(data.find(bytes((0xFF, kind))) for kind in (0xC0, 0xC1, 0xC2) if bytes((0xFF, kind)) in data) + 5
    for height in EDGES:
        yield Case("size", data[:at] + struct.pack(">H", height & 0xFFFF) + data[at + 2 :])
        yield Case("size", data[: at + 2] + struct.pack(">H", height & 0xFFFF) + data[at + 4 :])


def _png(rng: Random, data: bytes) -> Iterator[Case]:
    parts = chunks(data)
    for moved in _moved(rng, parts):
        yield Case("chunks", png_of(moved))
    for at in range(len(parts) + 1):
        for kind, body in ((b"tEXt", b"a\0b"), (b"zTXt", b"a\0\1"), (b"gAMA", b""), (b"IDAT", b"x"), (b"IEND", b"")):
            yield Case("foreign chunk", png_of([*parts[:at], (kind, body), *parts[at:]]))
    yield from _rows(rng, parts)
    whole = [bytes(12 + len(body)) for _, body in parts]
    yield from _lengths(rng, data, whole, len(MAGIC), ">I", 0)
    for edge in EDGES:
        for place in (0, 4):
            header = parts[0][1]
            told = header[:place] + struct.pack(">I", edge) + header[place + 4 :]
            yield Case("size", png_of([(b"IHDR", told), *parts[1:]]))
    for number, (kind, body) in enumerate(parts):
        places = range(len(body)) if len(body) < 3000 else rng.sample(range(len(body)), 300)
        for at in places:
            hole = rng.choice(HOLES)
            for inside in (
                _changed(body, at, body[at] ^ rng.randrange(1, 256)),
                body[:at] + bytes(min(hole, len(body) - at)) + body[at + hole :],
                body[:at],
            ):
                yield Case("inside", png_of([*parts[:number], (kind, inside), *parts[number + 1 :]]))


def _rows(rng: Random, parts: list[tuple[bytes, bytes]]) -> Iterator[Case]:
    """Rows changed, missing, and too many, in a stream that is right itself."""
    numbers = [number for number, (kind, _) in enumerate(parts) if kind == b"IDAT"]
    first, last = numbers[0], numbers[-1] + 1
    made = zlib.decompress(b"".join(body for _, body in parts[first:last]))
    places = range(len(made)) if len(made) < 3000 else rng.sample(range(len(made)), 200)
    for at in places:
        for rows in (_changed(made, at, rng.randrange(256)), made[:at], made + bytes(at)):
            yield Case("rows", png_of([*parts[:first], (b"IDAT", zlib.compress(rows, 1)), *parts[last:]]))


def judge(report: Report, case: Case) -> None:
    """Check a case in both ways, and note where that is not what decoding says."""
    truth = decode(case.data)
    size = (truth.format, truth.width, truth.height) if isinstance(truth, Picture) else None
    for how in ("full", "fast"):
        found = _size(case.data, how)
        verdict = "right" if found == size else "excused" if how == "fast" and not size and _excused(case) else "WRONG"
        if verdict == "WRONG":
            report.wrong.append((how, case))
        elif verdict == "excused" or how == "full":
            report.counts[
                f"{case.kind}: {'passed' if found else 'refused'}" + " by fast alone" * (verdict != "right")
            ] += 1


def _size(data: bytes, how: How) -> tuple[str, int, int] | None:
    found = check(data, how)
    return (found.format, found.width, found.height) if isinstance(found, Checked) else None


def _excused(case: Case) -> bool:
    """A png whose checksums are right, with more pixel data than `fast` inflates."""
    if mime_of(case.data[:HEAD]) != "image/png":
        return False
    parts = chunks(case.data)
    return png_of(parts) == case.data and sum(len(body) for kind, body in parts if kind == b"IDAT") > START


def examine(every: int = 1) -> Report:
    """Judge each `every`th case."""
    report = Report()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in islice(cases(), 0, None, every):
            judge(report, case)
    return report


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="take each Nth case only")
    began = time.monotonic()
    report = examine(parser.parse_args().every)
    for kind, count in sorted(report.counts.items()):
        print(f"{count:>8} {kind}")
    for how, case in report.wrong[:20]:
        print(f"WRONG: {how} of {case.kind}, {len(case.data)} bytes {case.data[:200]!r}")
    print(f"{report.counts.total()} verdicts in {time.monotonic() - began:.0f} s, {len(report.wrong)} wrong")
    sys.exit(bool(report.wrong))


if __name__ == "__main__":
    main()
