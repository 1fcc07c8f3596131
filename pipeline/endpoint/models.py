"""The models and prices of an endpoint: the built-in ones, a user's file over them, and the manifest's own prices.

A name may carry a router's `vendor/` prefix and a snapshot's date; the whole name is looked for first. What the
manifest says of a price rules, then the user's file, then the built-in list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from pipeline.endpoint.model import Model
from pipeline.endpoint.models_file import NEVER, Entry, ModelsFile, read_models
from pipeline.endpoint.pricing import FREE, Price
from pipeline.errors import JobError, Problem
from pipeline.manifest.document import MAX_BYTES
from pipeline.manifest.endpoints import Endpoint, Prices
from pipeline.manifest.load import read_regular
from pipeline.manifest.validate import nearest_name

BUILT_IN: Final = "models.yaml"
SNAPSHOT: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")

Entries = Mapping[str, Entry]


class Catalogue:
    """What is known of models and prices at one endpoint; `prices` are the manifest's own, by model."""

    def __init__(self, entries: Entries, prices: Mapping[str, Price]) -> None:
        self._entries = entries
        self._own = prices
        self._models = {name: _model(name, entry) for name, entry in entries.items()}
        self._found: dict[str, Model | None] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The models that it knows."""
        return tuple(self._models)

    def model(self, name: str) -> Model | None:
        """The model of a name; None for one that is not known."""
        if name not in self._found:
            self._found[name] = next((self._models[each] for each in spellings(name) if each in self._models), None)
        return self._found[name]

    def price(self, name: str) -> Price | None:
        """What a model costs here; None where that is not known."""
        own = next((self._own[each] for each in spellings(name) if each in self._own), None) if self._own else None
        entry = self._entry(name)
        return own if own is not None else None if entry is None else entry.price

    def origin(self, name: str) -> str | None:
        """Where a price is from, and of when; None where there is none."""
        if any(each in self._own for each in spellings(name)):
            return "endpoint.prices"
        entry = self._entry(name)
        return None if entry is None or entry.price is None else entry.origin

    def _entry(self, name: str) -> Entry | None:
        model = self.model(name)
        return None if model is None else self._entries[model.name]


def spellings(name: str) -> Iterator[str]:
    """The names under which a model may be known, the most exact first."""
    bare = name.rsplit("/", 1)[-1]
    yield from dict.fromkeys((name, SNAPSHOT.sub("", name), bare, SNAPSHOT.sub("", bare)))


def load_catalogue(endpoint: Endpoint, folder: Path) -> Catalogue:
    """The catalogue of an endpoint whose relative paths start from `folder`.

    Raises JobError with all that is wrong in its `models_file`: with file, line and column, but for a file that cannot
    be read at all, which is a problem of the place `endpoint.models_file`.
    """
    entries = built_in()
    if endpoint.models_file is not None:
        entries = _over(entries, _user_file(endpoint.models_file, folder))
    return Catalogue(entries, {name: price_of(found) for name, found in endpoint.prices.items()})


@cache
def built_in() -> Entries:
    """The models that are known without a user's file."""
    data = files("pipeline.endpoint").joinpath(BUILT_IN).read_bytes()
    return _over({}, read_models(data, BUILT_IN))


def price_of(found: Prices | str) -> Price:
    """A price as the manifest says it: `free`, or amounts."""
    if isinstance(found, str):
        return FREE
    text_out = found.image_out if found.text_out is None else found.text_out
    return Price(found.text_in, found.image_in, found.image_out, text_out)


def _user_file(name: str, folder: Path) -> ModelsFile:
    try:
        data = read_regular(folder / name, MAX_BYTES)
    except ValueError as error:
        what, _, expected = str(error).partition("; ")
        raise JobError([Problem(f"{name} {what}", expected, "endpoint.models_file")]) from error
    return read_models(data, name)


def _over(base: Entries, found: ModelsFile) -> Entries:
    """A file's entries over others, whole: each with what it takes from the model that it is like, or that it changes.

    Raises JobError where `like` names no model, or leads back to itself.
    """
    whole = dict(base)
    problems: list[Problem] = []

    def complete(name: str, within: tuple[str, ...]) -> Entry:
        own = found.entries.get(name)
        if own is None:
            return base[name]
        place = f"models.{name}.like"
        if own.like is None or own.like == name:
            return _merged(base.get(name, Entry()), own)
        if own.like in within:
            problems.append(
                found.source.problem(place, f"'{own.like}' is like '{name}' itself", "expected another model")
            )
        elif own.like in found.entries or own.like in base:
            return _merged(complete(own.like, (*within, name)), own)
        else:
            known = [*base, *found.entries]
            hint = nearest_name(own.like, known)
            problems.append(found.source.problem(place, f"no model '{own.like}'", f"{hint}known: {', '.join(known)}"))
        return own

    for name in found.entries:
        whole[name] = complete(name, (name,))
    if problems:
        raise JobError(dict.fromkeys(problems))
    return whole


def _merged(base: Entry, own: Entry) -> Entry:
    """An entry with what it leaves out taken from another; parameters one by one."""
    said = {name: value for name in Entry.__struct_fields__ if (value := getattr(own, name)) is not None}
    if own.shutdown is not None:
        said["successor"] = own.successor
    return replace(base, **said | {"parameters": {**base.parameters, **own.parameters}})


def _model(name: str, entry: Entry) -> Model:
    ends = entry.shutdown is not None and entry.shutdown != NEVER
    return Model(
        name=name,
        output=entry.output,
        input=entry.input,
        sizes=entry.sizes,
        parameters=entry.parameters,
        shutdown=entry.shutdown if ends else None,
        successor=entry.successor if ends else None,
    )
