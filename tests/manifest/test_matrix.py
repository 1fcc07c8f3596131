# ruff: noqa: E501 - an expected message is one line
from __future__ import annotations

import pytest

from pipeline.manifest.matrix import read_matrix, slug
from tests.manifest.conftest import Faults, Load
from tests.manifest.minimal import minimal


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("dawn", "dawn"),
        ("Soft light, at SIX", "soft-light-at-six"),
        ("Café crème", "cafe-creme"),
        ("1.50", "1-50"),
        ("--x--", "x"),
        ("ﬁne", "fine"),
        ("日本", ""),
        ("", ""),
    ],
)
def test_label_of_a_value_without_one(text: str, label: str) -> None:
    """Compatibility forms become ASCII, all else a single hyphen."""
    assert slug(text) == label


def test_labels_and_texts_keep_the_order_and_the_source(load: Load) -> None:
    """Numbers and booleans are the text that was written, in the manifest's order."""
    prompts = "[{name: p, text: hi, matrix: {z: {b: 1.50, 1: true, empty: ''}, a: [2.50, no, Red wine]}}]"
    matrix = load(minimal(prompts=prompts)).matrix["p"]
    assert [(axis, list(labels.items())) for axis, labels in matrix.items()] == [
        ("z", [("b", "1.50"), ("1", "true"), ("empty", "")]),
        ("a", [("2-50", "2.50"), ("no", "no"), ("red-wine", "Red wine")]),
    ]


def test_values_without_source_are_still_text() -> None:
    """A matrix that did not come from a file is accepted."""
    assert read_matrix({"a": [1, "b"]}, "m", {}).axes == {"a": {"1": "1", "b": "b"}}


@pytest.mark.parametrize(
    ("axis", "line"),
    [
        ("[]", "prompts[0].matrix.a: the axis is empty; expected {label: text} or a list of short values"),
        ("{}", "prompts[0].matrix.a: the axis is empty; expected {label: text} or a list of short values"),
        ("x", "prompts[0].matrix.a: 'x' is text; expected a mapping or a list of text, a number, true or false"),
        ("[x, X]", "prompts[0].matrix.a[1]: the label 'x' is that of prompts[0].matrix.a[0] too, case aside; {label}"),
        (
            "[a b, a-b]",
            "prompts[0].matrix.a[1]: the label 'a-b' is that of prompts[0].matrix.a[0] too, case aside; {label}",
        ),
        ("{x: a, X: b}", "prompts[0].matrix.a.X: the label 'X' is that of prompts[0].matrix.a.x too, case aside"),
        (
            "[日本]",
            "prompts[0].matrix.a[0]: no label can be made of this value: it has no ASCII letter or digit; {label}",
        ),
        (
            f"[{'x' * 41}]",
            "prompts[0].matrix.a[0]: the value is too long to be its own label, which is at most 40 characters; {label}",
        ),
        ("{a b: x}", "prompts[0].matrix.a.a b: 'a b' does not fit; {rule}"),
        ("{a--b: x}", "prompts[0].matrix.a.a--b: 'a--b' does not fit; {rule}"),
        (f"{{{'x' * 41}: y}}", f"prompts[0].matrix.a.{'x' * 41}: '{'x' * 40}…' is longer than 40 characters; {{rule}}"),
        ("[null]", "prompts[0].matrix.a[0]: this is empty; expected text, a number, true or false"),
        ("{x: [1]}", "prompts[0].matrix.a.x: this is a list; expected text, a whole number, a number or true or false"),
    ],
)
def test_bad_axis_gives_one_clear_line(faults: Faults, axis: str, line: str) -> None:
    """Empty axes, labels that collide or are too long, and values that are no text are told with their place."""
    line = line.replace("{label}", "expected {label: text}")
    line = line.replace("{rule}", "expected letters, digits, '_', '.' and single '-', a letter or digit first")
    (found,) = faults(minimal(prompts=f"[{{name: p, text: hi, matrix: {{a: {axis}}}}}]"))
    assert found.split(": ", 1)[1] == line
