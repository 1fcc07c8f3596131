"""A prompt's matrix: axes of labelled texts, written as `{label: text}` or as a list of short values."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from msgspec import Struct

from pipeline.errors import Problem
from pipeline.manifest.models import Axis
from pipeline.manifest.place import below

MAX_LABEL = 40
_LABELLED = "expected {label: text}"


class Matrix(Struct, frozen=True):
    """Axes as `{axis: {label: text}}` in the manifest's order, and what is wrong with them."""

    axes: Mapping[str, Mapping[str, str]]
    problems: tuple[Problem, ...]


def read_matrix(matrix: Mapping[str, Axis], place: str, written: Mapping[str, str]) -> Matrix:
    """Gives every value of a matrix its label and its text, numbers and booleans as they were written."""
    problems: list[Problem] = []
    axes = {name: _axis(axis, below(place, name), written, problems) for name, axis in matrix.items()}
    return Matrix(axes, tuple(problems))


def slug(text: str) -> str:
    """The label that a value without one gets: ASCII letters and digits, lower case, `-` for all between them."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def _axis(axis: Axis, place: str, written: Mapping[str, str], problems: list[Problem]) -> dict[str, str]:
    if not axis:
        problems.append(Problem("the axis is empty", f"{_LABELLED} or a list of short values", place))
    labels: dict[str, str] = {}
    seen: dict[str, str] = {}
    entries = axis.items() if isinstance(axis, Mapping) else enumerate(axis)
    for part, value in entries:
        inner = below(place, part)
        text = value if isinstance(value, str) else written.get(inner, str(value))
        label = part if isinstance(part, str) else slug(text)
        if wrong := _wrong_label(label, seen.get(label.lower())):
            problems.append(Problem(wrong, "" if isinstance(part, str) else _LABELLED, inner))
        seen.setdefault(label.lower(), inner)
        labels[label] = text
    return labels


def _wrong_label(label: str, earlier: str | None) -> str:
    if not label:
        return "no label can be made of this value: it has no ASCII letter or digit"
    if len(label) > MAX_LABEL:
        return f"the value is too long to be its own label, which is at most {MAX_LABEL} characters"
    return f"the label '{label}' is that of {earlier} too, case aside" if earlier else ""
