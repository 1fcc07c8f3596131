"""The small value types of a manifest: durations, sizes, shares, names."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(B|KB|MB|GB|KiB|MiB|GiB)")
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_LONGEST = 30
"""Digits of a size, as of any whole number in a manifest."""
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)%")


def no_truth_value(value: Any) -> Any:
    """Anything but true and false: Python takes true for 1. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is no number; expected one")
    return value


def parse_duration(value: Any) -> float:
    """`90s`, `50m`, `1.5h`, `250ms`, `2d` or a plain number of seconds, as seconds.

    Raises ValueError for anything else.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration; expected a number with a unit, such as 90s, 50m or 2h")
    return float(match[1]) * _SECONDS[match[2]]


def parse_size(value: Any) -> int:
    """`320MB`, `1.5GB`, `64KiB` or a plain number of bytes, as bytes.

    Raises ValueError for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or len(match[1]) > _LONGEST:
        raise ValueError(f"{value!r} is not a size; expected a number with a unit, such as 320MB or 64KiB")
    return int(float(match[1]) * _BYTES[match[2]])


def parse_money(value: Any) -> Decimal:
    """A number of US dollars. Raises ValueError for anything else, text that looks like one included."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return Decimal(str(value))
    raise ValueError(f"{value!r} is not an amount of money; expected a number")


def parse_share(value: Any) -> float:
    """`20%` or a number from 0 to 1, as a fraction.

    Raises ValueError for anything else.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a share; expected a percentage such as 20%, or a number from 0 to 1")
    return float(match[1]) / 100


def _written(title: str, pattern: str, example: str, number: dict[str, Any]) -> WithJsonSchema:
    text = {"type": "string", "pattern": f"^{pattern}$"}
    return WithJsonSchema({"anyOf": [text, number], "title": title, "examples": [example]})


# The titles are what an editor shows and what a message says was expected.
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(gt=0, allow_inf_nan=False),
    _written(
        "a duration above 0, such as 90s, 50m or 2h",
        _DURATION.pattern,
        "90s",
        {"type": "number", "exclusiveMinimum": 0},
    ),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(gt=0),
    _written(
        "a size above 0, such as 320MB or 64KiB", _SIZE.pattern, "320MB", {"type": "integer", "exclusiveMinimum": 0}
    ),
]
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    Field(ge=0, le=1),
    _written(
        "a percentage such as 20%, or a number from 0 to 1",
        _SHARE.pattern,
        "20%",
        {"type": "number", "minimum": 0, "maximum": 1},
    ),
]
Money = Annotated[
    Decimal,
    BeforeValidator(parse_money),
    Field(gt=0, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "title": "a number above 0"}),
]
Price = Annotated[
    Decimal,
    BeforeValidator(parse_money),
    Field(ge=0, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "minimum": 0, "title": "a number from 0 on"}),
]
NAME = r"^[A-Za-z0-9](-?[A-Za-z0-9_.])*-?$"
NAME_RULE = "letters, digits, '_', '.' and single '-', a letter or digit first"
Name = Annotated[
    str, StringConstraints(pattern=NAME, max_length=80), Field(title=f"a name of {NAME_RULE}, at most 80 characters")
]
Label = Annotated[str, StringConstraints(pattern=NAME, max_length=40)]
