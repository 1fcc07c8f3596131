"""Templates: what they give, what they refuse, and that nothing leads out of them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pipeline.tasks.faults import FaultError
from pipeline.tasks.templates import Named, compile_template, compile_value

KNOWN = frozenset({"set", "key", "row", "matrix", "file"})
VALUES: dict[str, Any] = {
    "set": "bags",
    "key": "a/b",
    "row": Named("column", {"sku": "007", "Artikel-Nr.": "x", "items": "12", "n": "3", "null": None, "cut": {"a": 1}}),
    "matrix": Named("axis", {"light": "dawn"}),
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("plain", "plain"),
        ("{{ set }}/{{ key }}", "bags/a/b"),
        ("{{ row.sku }} {{ row['Artikel-Nr.'] }}", "007 x"),
        ("{{ row.items }} {{ row['items'] }}", "12 12"),
        ("{{ row.cut.a }}", "1"),
        ("{{ row.colour | default('red') }}", "red"),
        ("{{ row.null | default('none') }}", "none"),
        ("{% if matrix.light == 'dawn' %}early{% else %}late{% endif %}", "early"),
        ("{% for i in range(3) %}{{ loop.index }}{% endfor %}", "123"),
        ("{{ '%03d' | format(row.n | int) }}", "003"),
        ("{{ '%03d' % (row.n | int) }}", "003"),
        ("{{ row.sku.zfill(5) }}{{ row.sku.upper() }}", "00007007"),
        ("{{ key.split('/')[1] }}", "b"),
        ("{{ 2 * 3 }}{{ 'ab' * 2 }}{{ 2 ** 10 }}", "6abab1024"),
        ("two\nlines\n", "two\nlines\n"),
    ],
)
def test_a_template_gives_this_text(source: str, expected: str) -> None:
    """Fields, columns of any name, filters and simple statements."""
    assert compile_template(source, "here", KNOWN).render(VALUES) == expected


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ row.color }}", "there is no column 'color'"),
        ("{{ row.sku_ }}", "did you mean 'sku'?"),
        ("{{ row.null }}", "the column 'null' is null here"),
        ("{{ matrix.floor }}", "there is no axis 'floor'"),
        ("{{ file.path }}", "'file' is undefined"),
        ("{{ ''.__class__ }}", "unsafe"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ row.__class__ }}", "there is no column '__class__'"),
        ("{{ row['__init__'] }}", "there is no column"),
        ("{{ row.cut.keys }}", "there is no value 'keys'"),
        ("{{ '{0.__class__}'.format(row) }}", "unsafe"),
        ("{{ '{:>999999999}'.format(1) }}", "unsafe"),
        ("{{ ''['format']('x') }}", "unsafe"),
        ("{{ range.__globals__ }}", "unsafe"),
        ("{{ 'a' * 10**9 }}", "too large"),
        ("{{ 10 ** 10 ** 1000 }}", "too large"),
        ("{{ '%999999999d' % 1 }}", "too large"),
        ("{{ '%*d' % (999999999, 1) }}", "too large"),
        ("{{ '%999999999d' | format(1) }}", "too large"),
        ("{{ 'a'.ljust(999999999) }}", "a number over 10,000 in a call"),
        ("{% for i in range(10000) %}{{ 'x' * 100 }}{% endfor %}", "the text has over 200,000 characters"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ key + 1 }}", "can only concatenate"),
        ("{{ 'x' | int(default='y') + 1 }}", "can only concatenate"),
    ],
)
def test_a_template_that_fails_says_why_at_once(source: str, words: str) -> None:
    """Undefined, null, unsafe, endless and wrong: a fault with its place, never a wrong text."""
    began = time.monotonic()
    with pytest.raises(FaultError) as caught:
        compile_template(source, "here", KNOWN).render(VALUES)
    assert words in f"{caught.value.what}; {caught.value.expected}"
    assert caught.value.where == "here"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ keey }}", "{{ keey }} is no field that is known here; did you mean 'key'?"),
        ("{{ index }}", "an output's number is known only in output.path"),
        ("{{ key", "the template is wrong"),
        ("one\ntwo {{ key\n", "in line"),
        ("{{ key | nope }}", "No filter named 'nope'"),
        ("{{ [1, 2] | random }}", "No filter named 'random'"),
        ("{{ lipsum() }}", "{{ lipsum }} is no field"),
        ("{% include 'x' %}", "the statement include"),
        ("{% import 'x' as y %}", "the statement import"),
        ("{% macro f() %}{% endmacro %}", "the statement macro"),
        ("{% for i in range(9) %}{% for j in range(9) %}{% endfor %}{% endfor %}", "a loop within a loop"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deeply"),
    ],
)
def test_a_wrong_template_is_found_when_it_is_compiled(source: str, words: str) -> None:
    """Syntax, unknown fields, filters and statements are found before any item is read."""
    with pytest.raises(FaultError) as caught:
        compile_template(source, "here", KNOWN)
    assert words in f"{caught.value.what}; {caught.value.expected}"


def test_a_fault_is_general_where_no_item_can_help() -> None:
    """A fault of a template without a field of items belongs to the manifest."""
    for source, general in (("{{ matrix.x }}", True), ("{{ row.x }}", False)):
        with pytest.raises(FaultError) as caught:
            compile_template(source, "here", KNOWN).render(VALUES)
        assert caught.value.general is general


def test_a_template_knows_which_fields_it_uses() -> None:
    """`uses` decides what is rendered once and what for each item."""
    assert compile_template("{{ row.a }} {{ range(3) | list }} {{ set }}", "here", KNOWN).uses == {"row", "set"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{{ row.n | int }}", 3),
        ("{{ (row.n | int) / 2 }}", 1.5),
        ("{{ row.n == '3' }}", True),
        ("{{- row.n | int -}}", 3),
        ("{{ row.sku }}", "007"),
        ("seed {{ row.n }}", "seed 3"),
        ("{{ row.n }}{{ row.n }}", "33"),
        ("{# note #}{{ row.n | int }}", "3"),
        ("{{ '}}' }}", "}}"),
        ("plain\n", "plain\n"),
        (7, 7),
        (None, None),
        ({"a": ["{{ key }}", {"b": "{{ row.n | int }}"}], "c": 1.5}, {"a": ["a/b", {"b": 3}], "c": 1.5}),
        ("{{ row.cut }}", {"a": 1}),
    ],
)
def test_a_value_of_extra_body_keeps_its_type(value: Any, expected: Any) -> None:
    """One whole expression keeps its type; text around it makes text; numbers stay numbers."""
    found = compile_value(value, "here", KNOWN).render(VALUES)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("value", ["{{ row.nope }}", "{{ range }}", "{{ ''.__class__ }}", "{{ 1e308 * 10 }}"])
def test_a_value_that_cannot_be_sent_is_a_fault(value: str) -> None:
    """An undefined field, a function and infinity are faults when they are rendered."""
    with pytest.raises(FaultError):
        compile_value(value, "here", KNOWN).render(VALUES)


def test_infinity_in_the_manifest_is_a_fault() -> None:
    """YAML has .inf; JSON does not."""
    with pytest.raises(FaultError, match="cannot be sent"):
        compile_value([float("inf")], "here", KNOWN)
