"""YAML syntax errors in plain English.

PyYAML has two scanners with wordings of their own; the rules below match words that both share.
"""

from __future__ import annotations

import yaml
from msgspec import Struct

from pipeline.errors import Problem


class _Rule(Struct, frozen=True):
    """What to say of an error whose text holds `words`; at the construct's beginning instead of where it broke."""

    words: str
    what: str
    expected: str
    at_beginning: bool = False


_QUOTES = "expected quotes around the whole value"
_RULES = (
    _Rule("mapping values are not allowed", "a second ': ' on this line, or an indentation that does not fit", _QUOTES),
    _Rule(
        "sequence entries are not allowed", "a list cannot begin on its key's line", "expected `- ` on the next line"
    ),
    _Rule("scanning an alias", "'*' at a value's beginning means an alias", _QUOTES, True),
    _Rule("scanning an anchor", "'&' at a value's beginning means an anchor", _QUOTES, True),
    _Rule("undefined alias", "'*' at a value's beginning means an alias, and none has this name", _QUOTES),
    _Rule("duplicate anchor", "this anchor (&) was defined before", "expected another name"),
    _Rule("quoted scalar found unexpected end", "the quote that opens here is not closed", "expected it closed", True),
    _Rule("unknown escape", "'\\' in double quotes begins an escape that YAML does not know", "write \\\\ for '\\'"),
    _Rule("escape code", "an escape that stands for no character", "expected the character itself"),
    _Rule("flow sequence", "the '[' that opens here is not closed, or a ',' is missing in it", "expected ']'", True),
    _Rule("flow mapping", "the '{' that opens here is not closed, or a ',' is missing in it", "expected '}'", True),
    _Rule("expected ':'", "a line without ': '", "expected `key: value`", True),
    _Rule("block collection", "this does not belong to the list above", "expected `- `, indented as the list is"),
    _Rule("block mapping", "this does not belong to the value before it", _QUOTES + ", or the keys' indentation"),
    _Rule("node content", "a value is missing here, or begins with a character that must be in quotes", _QUOTES),
    _Rule("incompatible YAML", "a YAML version that is not known", "leave the %YAML line out"),
    _Rule("tag", "'!' at a value's beginning means a tag", _QUOTES),
)


def explain(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    """The problem that a syntax error of PyYAML stands for."""
    words = " ".join(filter(None, (error.context, error.problem)))
    mark = error.problem_mark or error.context_mark
    line = text.split("\n")[mark.line] if mark and mark.line <= text.count("\n") else ""
    column = mark.column if mark else 0
    if "\t" in line[: column + 1] and not line[:column].strip():
        rule = _Rule("", "a tab in the indentation", "expected spaces")
    elif "cannot start any token" in words:
        rule = _Rule("", f"a value cannot begin with '{line[column : column + 1]}'", _QUOTES)
    else:
        rule = next((rule for rule in _RULES if rule.words in words), _Rule("", f"this is not YAML: {words}", ""))
    if rule.at_beginning and error.context_mark:
        mark = error.context_mark
    return Problem(rule.what, rule.expected, "", file, mark.line + 1 if mark else 0, mark.column + 1 if mark else 0)
