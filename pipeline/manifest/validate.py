"""Values to Manifest: pydantic's verdicts in the words of the house.

Pydantic names a union's branches in its paths (`images.list[str].0`); they are dropped here, and the verdicts of
several branches on one value become one problem. Values below `endpoint` and `endpoints` are never repeated: one may
be a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from msgspec import Struct
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import JobError, Problem
from pipeline.manifest.document import scalar
from pipeline.manifest.expectation import choices, kinds, known_keys, phrase, schema_at
from pipeline.manifest.models import Manifest
from pipeline.manifest.place import Part, dotted
from pipeline.manifest.values import NAME_RULE

_KEY_WORDS = ("api_key", "apikey", "key", "token", "api-key", "secret")
_BOUNDS = {
    "greater_than": "too small",
    "greater_than_equal": "too small",
    "less_than": "too large",
    "less_than_equal": "too large",
    "finite_number": "too large",
    "string_too_short": "empty",  # the models ask for one character or entry at most
    "too_short": "empty",
}


class _Verdict(Struct, frozen=True):
    """One error of pydantic's: its path without branch names, and whether the path ended in one."""

    path: tuple[Part, ...]
    kind: str
    value: Any
    limit: int
    branch: bool

    @property
    def place(self) -> str:
        return dotted(self.path)


def validate(value: Mapping[str, Any], written: Mapping[str, str]) -> Manifest:
    """The manifest that parsed values describe; `written` holds the source text of numbers and booleans by place.

    Raises JobError with every problem, each with its place but without file and line.
    """
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        verdicts = [_verdict(details, value) for details in error.errors(include_url=False)]
        raise JobError(_problems(verdicts, written)) from error


def _verdict(details: ErrorDetails, root: Any) -> _Verdict:
    """Follows pydantic's path through the real value: what is not found there is the name of a union's branch."""
    path: list[Part] = []
    value, kind = root, details["type"]
    for index, part in enumerate(details["loc"]):
        last = index == len(details["loc"]) - 1
        if part == "[key]" and last:
            return _Verdict(tuple(path), f"key_{kind}", path[-1], details["ctx"].get("max_length", 0), False)
        if (branch := not _holds(value, part)) and not (last and kind == "missing"):
            continue
        path.append(part)
        value = None if branch else value[part]
    return _Verdict(tuple(path), kind, value, details.get("ctx", {}).get("max_length", 0), branch and kind != "missing")


def _holds(value: Any, part: Part) -> bool:
    return part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)


def _problems(verdicts: Sequence[_Verdict], written: Mapping[str, str]) -> Iterable[Problem]:
    """One problem for each place; the one deepest in a union's value stands for all its branches."""
    meant = {_meant(verdict) for verdict in verdicts if verdict.kind == "extra_forbidden"}
    outer = {verdict.path[:depth] for verdict in verdicts for depth in range(len(verdict.path))}
    found: dict[str, _Verdict] = {}
    for verdict in verdicts:
        if verdict.branch and verdict.path in outer:
            continue
        if verdict.kind == "missing" and verdict.path in meant:
            continue
        if verdict.place not in found or found[verdict.place].kind.endswith("_type"):
            found[verdict.place] = verdict
    return [_problem(verdict, written.get(place)) for place, verdict in found.items()]


def _problem(verdict: _Verdict, written: str | None) -> Problem:
    if verdict.kind == "extra_forbidden":
        return _unknown_key(verdict)
    schema = schema_at(verdict.path)
    return Problem(_what(verdict, written), _expected(verdict, phrase(schema)), verdict.place)


def _unknown_key(verdict: _Verdict) -> Problem:
    key = str(verdict.path[-1])
    what = f"unknown key '{key}'"
    if key.lower() in _KEY_WORDS:
        expected = "never put the key in the manifest; name the variable that holds it with api_key_env"
        return Problem(what, expected, verdict.place)
    known = known_keys(schema_at(verdict.path[:-1]))
    return Problem(what, nearest_name(key, known) + f"known keys: {', '.join(known)}", verdict.place)


def _meant(verdict: _Verdict) -> tuple[Part, ...]:
    """The path of the key that an unknown key was probably meant to be."""
    known = known_keys(schema_at(verdict.path[:-1]))
    return (*verdict.path[:-1], *get_close_matches(str(verdict.path[-1]), known, 1))


def nearest_name(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'? ` where a known name is near, else nothing."""
    near = get_close_matches(name, known, 1)
    return f"did you mean '{near[0]}'? " if near else ""


def _what(verdict: _Verdict, written: str | None) -> str:
    shown = "the value" if verdict.path[0] in ("endpoint", "endpoints") else _shown(verdict.value, written)
    if verdict.kind == "missing":
        return "is missing"
    if verdict.kind in _BOUNDS:
        return f"{shown} is {_BOUNDS[verdict.kind]}"
    if verdict.kind.endswith("string_too_long"):
        return f"{shown} is longer than {verdict.limit} character{'s' * (verdict.limit > 1)}"
    if verdict.kind == "literal_error" and isinstance(verdict.value, str | int | float):
        return f"{shown} is not known"
    if isinstance(verdict.value, str) and not verdict.kind.endswith("_type"):
        return f"{shown} does not fit"
    return f"{shown} is {_kind(verdict.value)}"


def _expected(verdict: _Verdict, words: str) -> str:
    if verdict.kind.startswith("key_"):
        return f"expected {NAME_RULE}"
    schema = schema_at(verdict.path)
    hint = nearest_name(verdict.value, choices(schema)) if isinstance(verdict.value, str) else ""
    if kinds(schema) == {"string"} and isinstance(verdict.value, int | float):
        words += "; write it in quotes"
    elif "string" not in kinds(schema) and isinstance(verdict.value, str) and scalar(verdict.value) != verdict.value:
        words += "; write it without quotes"
    return f"{hint}expected {words}"


def _shown(value: Any, written: str | None = None) -> str:
    """A value as a message shows it: text in quotes and cut, a number as it was written, a collection as `this`."""
    if isinstance(value, str):
        return f"'{value[:40]}…'" if len(value) > 40 else f"'{value}'"
    if value is None or isinstance(value, dict | list):
        return "this"
    return written or (str(value).lower() if isinstance(value, bool) else str(value))


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "a truth value"
    names = {str: "text", int: "a whole number", float: "a number", list: "a list", dict: "a mapping"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "of another type")
