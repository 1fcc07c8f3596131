"""`${NAME}` and `${NAME:-default}` in a manifest's addresses and paths.

1. They are replaced after parsing, in `endpoint`, `endpoints` and in paths only: a value cannot add keys, and a prompt
   that talks of `${…}` is sent as it stands.
2. An unset variable without a default is an error. As in a shell, `:-` also stands in for an empty value.
3. `$${` is a plain `${`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from pipeline.errors import Problem
from pipeline.manifest.place import below

_PATHS = (
    r"endpoint(?:s\[\d+\])?\.(?:ca_bundle|api_key_file|models_file)"
    r"|image_sets\[\d+\]\.(?:images|table|exclude|mask|references)(?:\[\d+\]|\.path)?"
    r"|prompts\[\d+\]\.(?:text_file|references|mask)(?:\[\d+\])?"
    r"|output\.(?:folder|path|spill)"
)
_PATH = re.compile(_PATHS)
_REPLACED = re.compile(rf"endpoint(?:s\[\d+\])?\..+|{_PATHS}", re.DOTALL)
_REFERENCE = re.compile(r"(?P<escape>\$\$\{)|\$\{(?P<inside>[^{}]*)(?P<close>\}?)")
_INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


class Substituted(Struct, frozen=True):
    """A manifest's values with their variables replaced, and a problem for each text that could not be."""

    value: Any
    problems: tuple[Problem, ...]


def substitute(value: Any, environ: Mapping[str, str]) -> Substituted:
    """Replaces variables in a manifest's parsed values, in the places that allow them."""
    problems: list[Problem] = []
    return Substituted(_walk(value, "", environ, problems), tuple(problems))


def expand(text: str, environ: Mapping[str, str]) -> str:
    """One text with its variables replaced. Raises ValueError, worded for the user, where it cannot be."""
    return _REFERENCE.sub(lambda match: _variable(match, environ), text)


def _variable(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match["escape"]:
        return "${"
    inside = _INSIDE.fullmatch(match["inside"])
    if not match["close"] or inside is None:
        raise ValueError(
            "'${' without a variable's name and '}'; expected ${NAME} or ${NAME:-default}, or $${ for '${'"
        )
    value, default = environ.get(inside["name"]), inside["default"]
    if value or (value is not None and default is None):
        return value
    if default is None:
        name = inside["name"]
        raise ValueError(f"the variable {name} is not set; set it, or give a default: ${{{name}:-default}}")
    return default


def _walk(value: Any, place: str, environ: Mapping[str, str], problems: list[Problem]) -> Any:
    if isinstance(value, dict):
        return {key: _walk(entry, below(place, key), environ, problems) for key, entry in value.items()}
    if isinstance(value, list):
        return [_walk(entry, below(place, index), environ, problems) for index, entry in enumerate(value)]
    if not isinstance(value, str) or not _REPLACED.fullmatch(place):
        return value
    try:
        replaced = expand(value, environ)
    except ValueError as error:
        what, _, expected = str(error).partition("; ")
        problems.append(Problem(what, expected, place))
        return value
    if replaced.startswith("~/") and _PATH.fullmatch(place):
        problems.append(Problem("'~' is not expanded in a path", "expected ${HOME} instead of it", place))
    return replaced
