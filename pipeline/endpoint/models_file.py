"""A file of models: YAML as plain values, each checked, and what is wrong with its line and column.

1. A file is read wholly or not at all: all its problems are told together, and none of them is passed over.
2. Numbers are taken as they are written; a price never is a binary float.
3. An entry says only what it has; what it leaves out comes from the model that it is `like`, or whose name it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final, TypeVar

from msgspec import Struct, field

from pipeline.endpoint.model import (
    Allowed,
    AnySize,
    Bounds,
    Grid,
    InputRule,
    Measured,
    OutputRule,
    Patches,
    Sizes,
    Span,
    Table,
    Tiles,
)
from pipeline.endpoint.pricing import FREE, Price
from pipeline.endpoint.values import ORIGIN, SIZE_WORDS, Source, Values
from pipeline.errors import JobError, Problem
from pipeline.manifest.document import read_document
from pipeline.manifest.place import below

T = TypeVar("T")

NEVER: Final = date.max
"""The shutdown of a model that goes on to be served, whatever was said of the one that it is like."""

RANGES: Final = ("n", "output_compression")
CHOICES: Final = ("quality", "background", "output_format", "input_fidelity", "moderation")


class Entry(Struct, frozen=True):
    """What a file says of one model; None where it says nothing. `origin` is the source of its prices."""

    like: str | None = None
    price: Price | None = None
    origin: str | None = None
    output: OutputRule | None = None
    input: InputRule | None = None
    sizes: Sizes | None = None
    parameters: Mapping[str, Allowed] = field(default_factory=dict)
    shutdown: date | None = None
    successor: str | None = None


class ModelsFile(Struct, frozen=True):
    """The entries of a file by model, and where each stands for a message about it."""

    entries: Mapping[str, Entry]
    source: Source


def read_models(data: bytes, name: str) -> ModelsFile:
    """Read a file of models; `name` is the one that problems carry. Raises JobError with all that is wrong."""
    try:
        document = read_document(data, name)
    except JobError as error:
        raise JobError(map(_of_models, error.problems)) from error
    source = Source(document, name)
    reader = _Reader(source, list(document.problems))
    entries = reader.file(document.value)
    if reader.problems:
        raise JobError(sorted(reader.problems, key=lambda problem: (problem.line, problem.column)))
    return ModelsFile(entries, source)


def _of_models(problem: Problem) -> Problem:
    """A problem of the file as a whole, which is worded for manifests."""
    if not problem.what.startswith("the manifest"):
        return problem
    what = problem.what.replace("the manifest", "the file of models")
    return problem.but(what=what, expected="expected `version: 1` and `models:`")


class _Reader(Values, frozen=True):
    """Takes the sections of a file apart."""

    def file(self, value: Any) -> dict[str, Entry]:
        top = self.mapping(value, "", ("version", "models"), ("version", "models"))
        if top.get("version", 1) != 1 or isinstance(top.get("version"), bool):
            self.wrong("version", "this version is not known", "expected 1")
        models = top.get("models", {})
        if not isinstance(models, dict):
            self.wrong("models", "this is no mapping", "expected `NAME: {prices: …}` lines")
            return {}
        return {name: self.entry(each, below("models", name)) for name, each in models.items()}

    def entry(self, value: Any, place: str) -> Entry:
        sections = ("like", "prices", "output_tokens", "input_tokens", "sizes", "parameters", "shutdown")
        given = self.mapping(value, place, sections)
        like = given.get("like")
        if like is not None and not isinstance(like, str):
            self.wrong(below(place, "like"), "this is no text", "expected the name of a model")

        def section(name: str, read: Callable[[Any, str], T]) -> T | None:
            return None if given.get(name) is None else read(given[name], below(place, name))

        shutdown, successor = section("shutdown", self.shutdown) or (None, None)
        return Entry(
            like=like if isinstance(like, str) else None,
            price=section("prices", self.price),
            origin=section("prices", self.origin),
            output=section("output_tokens", self.output),
            input=section("input_tokens", self.input),
            sizes=section("sizes", self.sizes),
            parameters=section("parameters", self.parameters) or {},
            shutdown=shutdown,
            successor=successor,
        )

    def price(self, value: Any, place: str) -> Price | None:
        if value == "free":
            return FREE
        names = ("text_in", "image_in", "image_out")
        given = self.mapping(value, place, (*names, "text_out"), names, "free, or a mapping with text_in, …")
        found = {name: self.number(given[name], below(place, name)) for name in given if name not in ORIGIN}
        if any(amount is None for amount in found.values()) or not set(names) <= found.keys():
            return None
        known = {name: amount for name, amount in found.items() if amount is not None}
        return Price(**({"text_out": known["image_out"]} | known))

    def origin(self, value: Any, _place: str) -> str:
        given = value if isinstance(value, dict) else {}
        told = [str(given[name]) for name in ORIGIN if given.get(name) is not None]
        return ", ".join(told) or self.source.name

    def output(self, value: Any, place: str) -> OutputRule | None:
        given = self.mapping(value, place, ("table", "base", "factor", "measured"))
        kinds = [kind for kind in ("table", "base", "measured") if kind in given]
        if len(kinds) != 1:
            self.wrong(place, "no rule, or several", "expected one of table, base or measured")
            return None
        kind = kinds[0]
        if "factor" in given and kind != "base":
            self.wrong(below(place, "factor"), "a factor belongs to a base", "expected it beside base")
        inner = below(place, kind)
        if kind == "table":
            return Table(self.each(given[kind], inner, lambda row, at: self.each(row, at, self.count, SIZE_WORDS)))
        if kind == "measured":
            return Measured({name: Span(*pair) for name, pair in self.each(given[kind], inner, self.pair).items()})
        factor = self.each(given.get("factor") or {}, below(place, "factor"), self.factor)
        return Grid(self.each(given[kind], inner, self.count), factor)

    def input(self, value: Any, place: str) -> InputRule | None:
        rule = value.get("rule") if isinstance(value, dict) else None
        if rule == "patches":
            edges = ("patch", "most", "long_edge")
            given = self.mapping(value, place, ("rule", *edges), edges)
            patches = self.counts(given, place, edges)
            return Patches(**patches) if patches else None
        if rule != "tiles":
            self.wrong(below(place, "rule"), "no rule that is known", "expected rule: tiles or rule: patches")
            return None
        given = self.mapping(value, place, ("rule", "base", "tile", "high_fidelity"), ("base", "tile"))
        tiles = self.counts(given, place, ("base", "tile"))
        extra: dict[str, int] | None = {}
        if given.get("high_fidelity") is not None:
            inner, names = below(place, "high_fidelity"), ("square", "other")
            extra = self.counts(self.mapping(given["high_fidelity"], inner, names, names), inner, names)
        return Tiles(**tiles, **extra) if tiles and extra is not None else None

    def sizes(self, value: Any, place: str) -> Sizes | None:
        given = self.mapping(value, place, ("fixed", "any"), ("fixed",))
        fixed = self.words(given.get("fixed", []), below(place, "fixed"))
        for at, size in enumerate(fixed):
            self.size(size, below(below(place, "fixed"), at))
        if given.get("any") is None:
            return Sizes(fixed)
        inner, names = below(place, "any"), ("multiple_of", "longest_edge", "aspect")
        rule = self.mapping(given["any"], inner, (*names, "pixels"), (*names, "pixels"))
        counts, pixels = self.counts(rule, inner, names), self.pair(rule.get("pixels"), below(inner, "pixels"))
        return Sizes(fixed, AnySize(**counts, pixels=pixels)) if counts and pixels else None

    def parameters(self, value: Any, place: str) -> dict[str, Allowed]:
        found: dict[str, Allowed] = {}
        for name, allowed in self.mapping(value, place, (*CHOICES, *RANGES)).items():
            inner = below(place, name)
            if name in CHOICES or (name in RANGES and allowed == []):
                found[name] = self.words(allowed, inner)
            elif name in RANGES and (pair := self.pair(allowed, inner)):
                found[name] = Bounds(*pair)
        return found

    def shutdown(self, value: Any, place: str) -> tuple[date | None, str | None]:
        if value == "never":
            return NEVER, None
        given = self.mapping(value, place, ("on", "successor"), ("on",), "never, or a mapping with on, successor")
        day, successor = given.get("on"), given.get("successor")
        if successor is not None and not isinstance(successor, str):
            self.wrong(below(place, "successor"), "this is no text", "expected the name of a model")
            return None, None
        try:
            return (None if day is None else date.fromisoformat(day)), successor
        except (TypeError, ValueError):
            self.wrong(below(place, "on"), "this is no day", "expected YEAR-MONTH-DAY such as 2026-12-01")
            return None, None
