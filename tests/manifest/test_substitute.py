from __future__ import annotations

from typing import Any

import pytest

from pipeline.manifest.substitute import expand, substitute

ENVIRON = {"HOME": "/home/ann", "EMPTY": "", "A_1": "x"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${HOME}/photos", "/home/ann/photos"),
        ("${A_1}${A_1}", "xx"),
        ("${NONE:-d e}", "d e"),
        ("${NONE:-}", ""),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY}", ""),
        ("$${HOME} $HOME $", "${HOME} $HOME $"),
        ("{{ key }}", "{{ key }}"),
    ],
)
def test_variables_are_replaced(text: str, value: str) -> None:
    """`${NAME}`, its default and its escape, as in a shell."""
    assert expand(text, ENVIRON) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${NONE}", "the variable NONE is not set"),
        ("${}", "'\\$\\{' without a variable's name"),
        ("${HOME", "'\\$\\{' without a variable's name"),
        ("${1A}", "'\\$\\{' without a variable's name"),
        ("${{ key }}", "'\\$\\{' without a variable's name"),
    ],
)
def test_variable_that_cannot_be_replaced_is_named(text: str, words: str) -> None:
    """Unset variables and broken references are errors."""
    with pytest.raises(ValueError, match=words):
        expand(text, ENVIRON)


def manifest(text: str) -> dict[str, Any]:
    """A text in every kind of place."""
    return {
        "name": text,
        "endpoint": {"base_url": text, "headers": {"X": text}},
        "request": {"user": text, "extra_body": {"a": text}},
        "image_sets": [
            {"name": text, "images": text, "table": {"path": text, "delimiter": text}, "key": text},
            {"images": [text], "table": text, "exclude": [text], "mask": text, "references": [text]},
        ],
        "prompts": [
            {"text": text, "text_file": text, "references": [text], "mask": text, "matrix": {"a": {"b": text}}}
        ],
        "output": {"folder": text, "path": text, "spill": text},
    }


def test_only_endpoint_and_paths_are_replaced() -> None:
    """Prompts, keys, names and fields are left as they stand."""
    new, old = "x", "${A_1}"
    assert substitute(manifest(old), ENVIRON).value == {
        "name": old,
        "endpoint": {"base_url": new, "headers": {"X": new}},
        "request": {"user": old, "extra_body": {"a": old}},
        "image_sets": [
            {"name": old, "images": new, "table": {"path": new, "delimiter": old}, "key": old},
            {"images": [new], "table": new, "exclude": [new], "mask": new, "references": [new]},
        ],
        "prompts": [{"text": old, "text_file": new, "references": [new], "mask": new, "matrix": {"a": {"b": old}}}],
        "output": {"folder": new, "path": new, "spill": new},
    }


def test_value_of_a_variable_is_not_replaced_again() -> None:
    """A variable whose value looks like a reference is taken as it is."""
    assert expand("${A}", {"A": "${B}", "B": "x"}) == "${B}"


def test_each_place_has_its_problem() -> None:
    """All unset variables are told, with their places."""
    found = substitute({"output": {"folder": "${A}", "spill": "~/x"}, "endpoint": {"proxy": "${B}"}}, {})
    assert [str(problem) for problem in found.problems] == [
        "output.folder: the variable A is not set; set it, or give a default: ${A:-default}",
        "output.spill: '~' is not expanded in a path; expected ${HOME} instead of it",
        "endpoint.proxy: the variable B is not set; set it, or give a default: ${B:-default}",
    ]
