from __future__ import annotations

from typing import Any

import pytest
import yaml

from pipeline.errors import JobError
from pipeline.manifest import document
from pipeline.manifest.document import read_document, scalar
from pipeline.manifest.place import Mark

SCANNERS = [yaml.SafeLoader, *filter(None, [getattr(yaml, "CSafeLoader", None)])]


@pytest.fixture(params=SCANNERS, ids=lambda loader: loader.__name__)
def scanner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "_LOADER", request.param)


def lines(data: str | bytes) -> list[str]:
    """Everything that is wrong with a document, one line each."""
    try:
        found = read_document(data.encode() if isinstance(data, str) else data, "f").problems
    except JobError as error:
        found = error.problems
    return [str(problem) for problem in found]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("3", 3),
        ("-3", -3),
        ("0", 0),
        ("2.50", 2.5),
        ("1e3", 1000.0),
        (".5", 0.5),
    ],
)
def test_plain_scalar_has_the_type_that_it_looks_like(text: str, value: Any) -> None:
    """Booleans, null and decimal numbers are recognised, with their exact type."""
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "yes",
        "on",
        "off",
        "y",
        "True",
        "FALSE",
        "Null",
        "12:30:45",
        "1_000",
        "2024-01-01",
        "0x1F",
        "0o7",
        "007",
        "1.2.3",
        "1e999",
        ".inf",
        ".nan",
        "+",
        "-",
        "1,5",
        "20%",
        "99999999999999999999999999999999",
        "١",
    ],
)
def test_words_that_yaml_1_1_turns_into_other_types_stay_text(text: str) -> None:
    """Nothing that a person writes as text becomes another type."""
    assert scalar(text) == text


def test_values_come_with_marks_and_the_source_of_numbers() -> None:
    """A key's place is the key's own position, a list's item its beginning; numbers keep their source text."""
    found = read_document(b"\xef\xbb\xbfa:\n  - {b: 1.50}\n  - c\nd: no\n1: '2'\n", "f")
    assert found.value == {"a": [{"b": 1.5}, "c"], "d": "no", "1": "2"}
    assert found.marks["a[0].b"] == Mark(2, 6)
    assert found.marks["a[1]"] == Mark(3, 5)
    assert found.marks["d"] == Mark(4, 1)
    assert found.written == {"a[0].b": "1.50"}
    assert not found.problems


def test_anchors_and_aliases_give_the_same_value_twice() -> None:
    """An alias is a copy of what its anchor names."""
    assert read_document(b"a: &x [1, {b: c}]\nd: *x\n", "f").value == {"a": [1, {"b": "c"}], "d": [1, {"b": "c"}]}


BAD = [
    ("", "f: the manifest is empty; `retouch init` writes one to start from"),
    ("# nothing\n", "f: the manifest is empty; `retouch init` writes one to start from"),
    ("- a\n", "f:1:1: the manifest is not a mapping; expected `key: value` lines, `version: 1` first"),
    ("text\n", "f:1:1: the manifest is not a mapping; expected `key: value` lines, `version: 1` first"),
    ("a: b: c\n", "f:1:5: a second ': ' on this line, or an indentation that does not fit; " + "{quotes}"),
    ("a:\n\t- b\n", "f:2:1: a tab in the indentation; expected spaces"),
    ("\ta: 1\n", "f:1:1: a tab in the indentation; expected spaces"),
    ("a: [1\nb: 2\n", "f:1:4: the '[' that opens here is not closed, or a ',' is missing in it; expected ']'"),
    ("a: {b: 1\nc: 2\n", "f:1:4: the '{' that opens here is not closed, or a ',' is missing in it; expected '}'"),
    ("a: 'x\n\n", "f:1:4: the quote that opens here is not closed; expected it closed"),
    ("a: 'it's'\n", "f:1:8: this does not belong to the value before it; {quotes}, or the keys' indentation"),
    ("a: @x\n", "f:1:4: a value cannot begin with '@'; {quotes}"),
    ("a: %x\n", "f:1:4: a value cannot begin with '%'; {quotes}"),
    ("a: **/*.jpg\n", "f:1:4: '*' at a value's beginning means an alias; {quotes}"),
    ("a: *.jpg\n", "f:1:4: '*' at a value's beginning means an alias; {quotes}"),
    ("a: *x\n", "f:1:4: '*' at a value's beginning means an alias, and none has this name; {quotes}"),
    ("a: &x 1\nb: &x 2\n", "f:2:4: this anchor (&) was defined before; expected another name"),
    ("a: - b\n", "f:1:4: a list cannot begin on its key's line; expected `- ` on the next line"),
    ("- a\nb: 1\n", "f:2:1: this does not belong to the list above; expected `- `, indented as the list is"),
    ("a: 1\nb\n", "f:2:1: a line without ': '; expected `key: value`"),
    ("a: 1\n---\nb: 1\n", "f:2:1: a second document begins here; expected one manifest in a file, without `---`"),
    ("b: 1\na: 1\na: 2\n", "f:3:1: a: the key 'a' stands twice, first on line 2; expected it once"),
    ("1: a\n'1': b\n", "f:2:1: 1: the key '1' stands twice, first on line 1; expected it once"),
    ("a: {b: 1, b: 1}\n", "f:1:11: a.b: the key 'b' stands twice, first on line 1; expected it once"),
    ("a: {{ b }}\n", "f:1:5: a: '{' or '[' begins a key here; {key}"),
    ("a: {<<: {b: 1}}\n", "f:1:5: a: merge keys (<<) are not allowed; {key}"),
    ("'': 1\n", "f:1:1: a key is empty; {key}"),
    ('"a\\0": 1\n', "f:1:1: a key holds a control character; {key}"),
    ("a: !!python/name:os.system x\n", "f:1:4: a: the tag !!python/name:os.system is not allowed; {tag}"),
    ("a: !mine {b: 1}\n", "f:1:4: the tag !mine is not allowed; {tag}"),
    ("!x a: 1\n", "f:1:1: a key has a tag (!); {key}"),
    ("a: &x [*x]\n", "f:1:4: a[0]: an alias refers to what it stands in; expected the text in quotes"),
    ("a: " + "[" * 5000, "f:1:53: nested deeper than 50 levels; {plain}"),
    ("a:\n" + "- " * 60 + "b\n", "f:2:99: nested deeper than 50 levels; {plain}"),
    ("a: x\x00y\n", "f:1:5: control character U+0000; expected plain text, saved as UTF-8"),
    ("a: b\nc: \x1b[1m\n", "f:2:4: control character U+001B; expected plain text"),
    ('a: "\\a"\n', "f:1:4: a: holds U+0007, which is no text; {escapes}"),
]
WORDS = {
    "quotes": "expected quotes around the whole value",
    "key": "expected `key: value`, with quotes around text with {{ }} or [ ]",
    "tag": "expected plain YAML, text in quotes",
    "plain": "expected plain lists and mappings",
    "escapes": "expected no escapes such as \\x00, or \\ud83d for half a character",
}


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize(("text", "line"), BAD, ids=[repr(text[:20]) for text, _ in BAD])
def test_bad_yaml_gives_one_clear_line(text: str, line: str) -> None:
    """Each fault of a manifest's text has one line in plain English, whichever scanner PyYAML has."""
    for word, words in WORDS.items():
        line = line.replace(f"{{{word}}}", words)
    assert lines(text) == [line]


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize(
    "text", ['a: "\\ud83d"\n', 'a: "\\U00110000"\n', 'a: "\\UFFFFFFFF"\n', 'a: "\\q"\n', "a: |2x\n b"]
)
def test_bad_escapes_are_problems_in_both_scanners(text: str) -> None:
    """An escape that stands for no character is a JobError, not a crash."""
    assert len(lines(text)) == 1


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"a: 1\nb: \xe9\n", "f:2:4: byte 8 (0xe9) is not UTF-8; save the file as UTF-8"),
        ("a: é".encode("utf-16"), "f:1:1: the file is UTF-16 or UTF-32; save it as UTF-8"),
        (b"a" * 10_000_001, "f: the manifest is longer than 10 MB; long lists belong in a table"),
    ],
    ids=["latin-1", "utf-16", "long"],
)
def test_bytes_that_are_no_manifest_give_one_clear_line(data: bytes, line: str) -> None:
    """Wrong encodings and lengths are named."""
    assert lines(data) == [line]


def test_alias_bomb_is_cut() -> None:
    """Nine anchors of nine aliases each stop at the limit, not at 9 to the 9th."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 9):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n"
    (line,) = lines(bomb)
    assert line.endswith("more than 100,000 values, aliases expanded; long lists belong in a table")


def test_aliases_cannot_nest_deeper_than_text() -> None:
    """A chain of anchors is as deep as it expands to."""
    chain = "a0: &a0 [x]\n" + "".join(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 60))
    (line,) = lines(chain)
    assert line.endswith("nested deeper than 50 levels, aliases expanded; expected plain lists and mappings")


def test_delimiter_may_be_a_control_character() -> None:
    """Tables with the unit separator exist: `delimiter` takes it as an escape."""
    assert read_document(b'table: {delimiter: "\\x1f"}\n', "f").value == {"table": {"delimiter": "\x1f"}}
