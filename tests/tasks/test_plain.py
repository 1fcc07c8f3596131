"""What templates give is plain: a value with an address in memory would be another prompt in each run."""

from __future__ import annotations

import pytest

from pipeline.tasks.faults import FaultError
from pipeline.tasks.templates import Named, compile_template, compile_value

KNOWN = frozenset({"key", "row"})
VALUES = {"key": "shoe", "row": Named("column", {"sku": "7", "tags": ["a", "b"]})}


def rendered(source: str) -> str:
    return compile_template(source, "prompts[0].text", KNOWN).render(VALUES)


@pytest.mark.parametrize(
    "source",
    [
        "{{ row }}",
        "{{ [row] }}",
        "{{ {'a': row} }}",
        "{{ key.upper }}",
        "{{ key ~ key.upper }}",
        "{{ '%s' % key.upper }}",
        "{{ '%s' | format(key.upper) }}",
        "{{ [key.upper] | join }}",
        "{{ key.upper | string }}",
        "{{ key.join([key.upper]) }}",
        "{{ range }}",
        "{% for x in [1] %}{{ loop }}{% endfor %}",
        "{% for x in [1] %}{{ loop.cycle }}{% endfor %}",
    ],
)
def test_what_is_no_plain_value_is_refused(source: str) -> None:
    """It would be written as `<… object at 0x7f…>`, and each run would buy everything again."""
    with pytest.raises(FaultError, match="this gives no text or number"):
        rendered(source)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ row.tags }}", "['a', 'b']"),
        ("{{ row.tags | select | join('+') }}", "a+b"),
        ("{{ row.tags | reverse }}", "['b', 'a']"),
        ("{{ key.upper() }}", "SHOE"),
        ("{{ [1, (2, none), {'a': 1.5}] }}", "[1, (2, None), {'a': 1.5}]"),
        ("{{ row.nope | default('x') }}", "x"),
        ("{{ 1 if row.sku == '7' else 2 }}", "1"),
        ("{% for a, b in [(1, 2)] %}{{ a + b }}{% endfor %}", "3"),
    ],
)
def test_plain_values_are_written_as_ever(source: str, text: str) -> None:
    """Texts, numbers and collections of them pass, and what filters make one by one is a list."""
    assert rendered(source) == text


@pytest.mark.parametrize("source", ["{{ [row.nope] }}", "{{ {'a': row.nope} }}", "{{ (row.nope, 1) | join }}"])
def test_what_is_undefined_in_a_collection_is_an_error(source: str) -> None:
    """It was written as the word Undefined."""
    with pytest.raises(FaultError, match="there is no column 'nope'"):
        rendered(source)


@pytest.mark.parametrize("grown", ["[a, a]", "(a, a)", "{'x': a, 'y': a}"])
def test_a_collection_that_doubles_is_stopped_where_it_is_made(grown: str) -> None:
    """Forty lines are two to the fortieth members, though each holds two."""
    source = "{% set a = ['x'] %}" + f"{{% set a = {grown} %}}" * 40 + "{{ a == key }}"
    with pytest.raises(FaultError, match="a value of over 200,000 characters or members"):
        rendered(source)


@pytest.mark.parametrize("source", ["{{ 'a' if true[-1] else 'b' }}", "{{ (1)[::-1] }}", "{{ none | abs }}"])
def test_a_constant_that_cannot_be_worked_out_is_a_fault_of_the_template(source: str) -> None:
    """Jinja2 works constants out when it compiles, where nobody expected its errors; Python warned of some."""
    with pytest.raises(FaultError):
        rendered(source)


def test_an_extra_field_is_plain_too() -> None:
    """A row in a list could not be sent, and ended the run as a bug."""
    with pytest.raises(FaultError, match="this gives no text or number"):
        compile_value("{{ [row] }}", "request.extra_body.x", KNOWN).render(VALUES)
