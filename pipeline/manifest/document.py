"""Strict YAML: a manifest's bytes as plain values, each with the place where it stands in the file.

1. Only `true` and `false` are booleans, only `null`, `~` and nothing at all are null, only decimal notation is a
   number. Whatever else is not in quotes is the text that was written: `no`, `12:30:45`, `1_000`, `2024-01-01`,
   `0x1F`, `007`. This is YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema) without its
   spellings that people write as words.
2. A key is the text that was written, and stands once in its mapping.
3. Tags, merge keys, a second document, control characters and aliases that refer to themselves are errors.
4. The work is bounded, whatever the file holds: MAX_BYTES, MAX_DEPTH and MAX_VALUES, aliases expanded.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Any

import yaml
from msgspec import Struct, field

from pipeline.errors import JobError, Problem
from pipeline.manifest.place import Mark, below
from pipeline.manifest.syntax import explain

MAX_BYTES = 10_000_000
MAX_DEPTH = 50
MAX_VALUES = 100_000

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
"""Characters that no text of a manifest may hold: all controls but tab, line breaks and U+0085; half characters."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,29})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]{0,29})(\.[0-9]*)?)([eE][-+]?[0-9]{1,2})?")


class Document(Struct, frozen=True):
    """A manifest's values with their marks, the source text of its numbers and booleans, and what is wrong so far.

    `marks` and `written` are by dotted place.
    """

    value: Mapping[str, Any]
    marks: Mapping[str, Mark]
    written: Mapping[str, str]
    problems: tuple[Problem, ...]


def read_document(data: bytes, file: str) -> Document:
    """Parses a manifest's bytes; `file` is the name that problems carry.

    Raises JobError where the file as a whole cannot be read. Problems that leave the rest readable are returned.
    """
    text = _decode(data, file)
    build = _Build(file)
    try:
        _survey(text, build, _LOADER)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        if "nesting depth" in str(error.problem):
            # libyaml reads ahead, up to a limit of its own: PyYAML's own scanner tells where ours was passed.
            _survey(text, _Build(file), yaml.SafeLoader)
        raise JobError([explain(error, text, file)]) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise JobError([Problem(f"this is not YAML: {error}", file=file)]) from error
    if root is None:
        raise JobError([Problem("the manifest is empty", "`retouch init` writes one to start from", "", file)])
    value = build.value(root, "")
    if not isinstance(root, yaml.MappingNode):
        build.problem(root, "", "the manifest is not a mapping", "expected `key: value` lines, `version: 1` first")
        raise JobError(build.problems)
    return Document(value, build.marks, build.written, tuple(build.problems))


def scalar(text: str) -> Any:
    """The value of text that stands without quotes."""
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _decode(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise JobError([Problem("the manifest is longer than 10 MB", "long lists belong in a table", "", file)])
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise JobError([Problem("the file is UTF-16 or UTF-32", "save it as UTF-8", "", file, 1, 1)])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = bytes(error.object[: error.start]).decode()
        what = f"byte {error.start} (0x{error.object[error.start]:02x}) is not UTF-8"
        raise JobError([_at(before, file, what, "save the file as UTF-8")]) from error
    if match := CONTROL.search(text):
        what = f"control character U+{ord(match[0]):04X}"
        expected = "expected plain text" if ord(match[0]) else "expected plain text, saved as UTF-8"
        raise JobError([_at(text[: match.start()], file, what, expected)])
    return text


def _at(before: str, file: str, what: str, expected: str) -> Problem:
    line = before.count("\n") + 1
    return Problem(what, expected, "", file, line, len(before) - before.rfind("\n"))


def _survey(text: str, build: _Build, loader: Any) -> None:
    """Reads the whole file once without recursion: its syntax, depth, tags and number of documents."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        if depth > MAX_DEPTH:
            build.stop(event, "", f"nested deeper than {MAX_DEPTH} levels", "expected plain lists and mappings")
        if documents > 1:
            build.stop(event, "", "a second document begins here", "expected one manifest in a file, without `---`")
        if tag := getattr(event, "tag", None):
            short = tag.replace("tag:yaml.org,2002:", "!!")
            if isinstance(event, yaml.ScalarEvent):
                build.tags[_mark(event)] = short  # told with its place, for which what follows from it is not told
            else:
                build.tagged(event, "", short)


class _Build(Struct):
    """Values under construction from YAML nodes; `within` are the collections around the present one, `tags` those
    of scalars by their place."""

    file: str
    marks: dict[str, Mark] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    within: list[yaml.Node] = field(default_factory=list)
    tags: dict[Mark, str] = field(default_factory=dict)
    count: int = 0

    def value(self, node: yaml.Node, place: str) -> Any:
        self.count += 1
        if self.count > MAX_VALUES:
            self.stop(node, "", f"more than {MAX_VALUES:,} values, aliases expanded", "long lists belong in a table")
        self.marks.setdefault(place, _mark(node))
        if isinstance(node, yaml.ScalarNode):
            if tag := self.tags.pop(_mark(node), None):
                self.tagged(node, place, tag)
            return self.scalar(node, place)
        if node in self.within:
            return self.problem(node, place, "an alias refers to what it stands in", "expected the text in quotes")
        if len(self.within) >= MAX_DEPTH:
            what = f"nested deeper than {MAX_DEPTH} levels, aliases expanded"
            self.stop(node, place, what, "expected plain lists and mappings")
        self.within.append(node)
        value = self.mapping(node, place) if isinstance(node, yaml.MappingNode) else self.sequence(node, place)
        self.within.pop()
        return value

    def scalar(self, node: yaml.ScalarNode, place: str) -> Any:
        match = CONTROL.search(node.value)
        if match and not place.endswith(".delimiter"):
            what = f"holds U+{ord(match[0]):04X}, which is no text"
            return self.problem(node, place, what, "expected no escapes such as \\x00, or \\ud83d for half a character")
        value = node.value if node.style else scalar(node.value)
        if value is not None and not isinstance(value, str):
            self.written[place] = node.value
        return value

    def sequence(self, node: yaml.Node, place: str) -> list[Any]:
        return [self.value(entry, below(place, index)) for index, entry in enumerate(node.value)]

    def mapping(self, node: yaml.MappingNode, place: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key, entry in node.value:
            wrong = "a key has a tag (!)" if self.tags.pop(_mark(key), None) else _wrong_key(key)
            if wrong:
                self.problem(key, place, wrong, "expected `key: value`, with quotes around text with {{ }} or [ ]")
            elif key.value in first:
                what = f"the key '{key.value}' stands twice, first on line {first[key.value]}"
                self.problem(key, below(place, key.value), what, "expected it once")
            else:
                first[key.value] = key.start_mark.line + 1
                inner = below(place, key.value)
                self.marks.setdefault(inner, _mark(key))
                found[key.value] = self.value(entry, inner)
        return found

    def problem(self, node: yaml.Node | yaml.Event, place: str, what: str, expected: str = "") -> None:
        mark = _mark(node)
        self.problems.append(Problem(what, expected, place, self.file, mark.line, mark.column))

    def tagged(self, node: yaml.Node | yaml.Event, place: str, tag: str) -> None:
        self.problem(node, place, f"the tag {tag} is not allowed", "expected plain YAML, text in quotes")

    def stop(self, node: yaml.Node | yaml.Event, place: str, what: str, expected: str = "") -> None:
        self.problem(node, place, what, expected)
        raise JobError(self.problems)


def _mark(node: yaml.Node | yaml.Event) -> Mark:
    mark = node.start_mark
    return Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)


def _wrong_key(key: yaml.Node) -> str:
    if not isinstance(key, yaml.ScalarNode):
        return "'{' or '[' begins a key here"
    if key.value == "<<" and not key.style:
        return "merge keys (<<) are not allowed"
    if CONTROL.search(key.value):
        return "a key holds a control character"
    return "" if key.value else "a key is empty"
