"""Values of a file taken apart, each with its place: what is wrong is noted, and gives nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final, TypeVar

from msgspec import Struct

from pipeline.errors import Problem
from pipeline.manifest.document import Document
from pipeline.manifest.place import below, nearest
from pipeline.manifest.validate import nearest_name

T = TypeVar("T")

ORIGIN: Final = ("source", "date")
"""Keys of every section: where its figures are from, and of when."""

SIZE_WORDS: Final = "WIDTHxHEIGHT such as 1024x1024"


class Source(Struct, frozen=True):
    """A file's values, and the name that problems carry."""

    document: Document
    name: str

    def problem(self, place: str, what: str, expected: str = "") -> Problem:
        """A problem at a dotted place of the file."""
        mark = nearest(self.document.marks, place)
        return Problem(what, expected, place, self.name, mark.line, mark.column)


class Values(Struct, frozen=True):
    """Takes plain values apart; what is wrong goes to `problems`."""

    source: Source
    problems: list[Problem]

    def wrong(self, place: str, what: str, expected: str) -> None:
        """Note a problem."""
        self.problems.append(self.source.problem(place, what, expected))

    def mapping(
        self, value: Any, place: str, known: Sequence[str], needed: Iterable[str] = (), words: str = ""
    ) -> dict[str, Any]:
        """A mapping without its unknown keys; those of `ORIGIN` may stand in every section."""
        if not isinstance(value, dict):
            self.wrong(place, "this is no mapping", f"expected {words or 'a mapping with ' + ', '.join(known)}")
            return {}
        for key in value:
            if key not in known and key not in ORIGIN:
                hint = nearest_name(key, known)
                self.wrong(below(place, key), f"unknown key '{key}'", f"{hint}known keys: {', '.join(known)}")
        for key in needed:
            if value.get(key) is None:
                self.wrong(below(place, key), "is missing", f"expected it in `{place or 'the file'}`")
        return {key: value[key] for key in value if key in known}

    def each(self, value: Any, place: str, read: Callable[[Any, str], T | None], keys: str = "") -> dict[str, T]:
        """A mapping of one kind of values, by quality, or by size where `keys` says so."""
        if not isinstance(value, dict) or (not value and not place.endswith(".factor")):
            self.wrong(place, "this is no mapping, or an empty one", f"expected `{keys or 'QUALITY'}: …` lines")
            return {}
        if keys:
            for key in value:
                self.size(key, below(place, key))
        found = {key: read(entry, below(place, key)) for key, entry in value.items()}
        return {key: entry for key, entry in found.items() if entry is not None}

    def size(self, text: str, place: str) -> None:
        """Note a size that is none."""
        width, _, height = text.partition("x")
        if not (_edge(width) and _edge(height)):
            self.wrong(place, f"'{text}' is no size", f"expected {SIZE_WORDS}")

    def counts(self, given: Mapping[str, Any], place: str, names: Sequence[str]) -> dict[str, int] | None:
        """Those of a mapping's values; None where one is missing or no count."""
        found = {name: self.count(given[name], below(place, name)) for name in names if given.get(name) is not None}
        known = {name: count for name, count in found.items() if count is not None}
        return known if len(known) == len(names) else None

    def count(self, value: Any, place: str) -> int | None:
        """A whole number above 0."""
        if type(value) is int and 0 < value < 10**9:
            return value
        self.wrong(place, "this is no count", "expected a whole number above 0")
        return None

    def pair(self, value: Any, place: str) -> tuple[int, int] | None:
        """Two whole numbers in order."""
        if isinstance(value, list) and [type(each) for each in value] == [int, int] and 0 <= value[0] <= value[1]:
            return value[0], value[1]
        self.wrong(place, "this is no range", "expected two whole numbers such as [1, 10]")
        return None

    def factor(self, value: Any, place: str) -> tuple[Fraction, Fraction] | None:
        """Two numbers above 0 in order."""
        numbers = [self.number(each, below(place, at)) for at, each in enumerate(value if type(value) is list else [])]
        if len(numbers) == 2 and numbers[0] is not None and numbers[1] is not None and 0 < numbers[0] <= numbers[1]:
            return Fraction(numbers[0]), Fraction(numbers[1])
        self.wrong(place, "this is no pair of factors", "expected two numbers such as [3, 4]")
        return None

    def number(self, value: Any, place: str) -> Decimal | None:
        """A number as it is written, 0 or more."""
        try:
            found = Decimal(self.source.document.written[place])
        except (KeyError, InvalidOperation):
            found = Decimal(-1)
        if type(value) in (int, float) and found >= 0 and len(found.as_tuple().digits) <= 20:
            return found
        self.wrong(place, "this is no number", "expected a number of 0 or more, without quotes")
        return None

    def words(self, value: Any, place: str) -> tuple[str, ...]:
        """A list of text."""
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return tuple(value)
        self.wrong(place, "this is no list of words", "expected one such as [low, medium, high]; [] for nothing")
        return ()


def _edge(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < len(text) <= 5 and not text.startswith("0")
