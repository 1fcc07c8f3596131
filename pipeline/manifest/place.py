"""Places in a manifest: dotted names such as `prompts[0].text`, and where they stand in the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

Part = str | int


class Mark(Struct, frozen=True):
    """Where a value stands in the manifest's file, 1-based: at its key, or as a list's item at its beginning."""

    line: int
    column: int


def below(place: str, part: Part) -> str:
    """The place of a key or of a list's item in the value at `place`; the whole manifest's place is empty."""
    if isinstance(part, int):
        return f"{place}[{part}]"
    return f"{place}.{part}" if place else part


def dotted(parts: Iterable[Part]) -> str:
    """The place at the end of a path of keys and list positions."""
    place = ""
    for part in parts:
        place = below(place, part)
    return place


def around(place: str) -> str:
    """The place of the mapping or list that a place is in."""
    return place.rpartition("[")[0] if place.endswith("]") else place.rpartition(".")[0]


def lineage(place: str) -> Iterator[str]:
    """A place, then each that it is in, but for the whole manifest."""
    while place:
        yield place
        place = around(place)


def nearest(marks: Mapping[str, Mark], place: str) -> Mark:
    """Where a place stands, or the nearest one around it that has a mark."""
    return next((marks[each] for each in lineage(place) if each in marks), Mark(1, 1))
