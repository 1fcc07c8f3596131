"""JSON Lines as rows: one object a line, and nothing that is not JSON (NaN, a name twice, half a character)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from types import NoneType
from typing import Any

from pipeline.tasks.rows import DamageError, Flaw, Row, checked_lines, encodable

_KINDS = {
    list: "an array",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    NoneType: "null",
}


def jsonl_rows(lines: Iterable[str]) -> Iterator[Row | Flaw]:
    """Rows of JSON Lines: one object a line."""
    try:
        for line, text in enumerate(checked_lines(lines), 1):
            yield Row(line, _object(text, line))
    except DamageError as damage:
        yield damage.flaw


def _object(text: str, line: int) -> dict[str, Any]:
    if not text.strip():
        raise DamageError(Flaw(line, "the line is blank", "expected one JSON object in each line"))
    try:
        found = json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        what = f"the line is not JSON: {_why(error)}"
        raise DamageError(Flaw(line, what, "expected one JSON object in each line")) from error
    if not isinstance(found, dict):
        raise DamageError(Flaw(line, f"the line holds {_KINDS[type(found)]}", "expected one JSON object in each line"))
    if "\\ud" in text.lower() and not encodable(json.dumps(found, ensure_ascii=False)):
        raise DamageError(Flaw(line, "the line holds half a surrogate pair", "expected whole characters"))
    return found


def _why(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' starting at')} at character {error.pos + 1}"
    return "a number has too many digits" if "digits" in str(error) else str(error)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is too large")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands in it twice")
    return found
