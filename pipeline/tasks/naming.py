"""The names of outputs: paths below the output folder, without extension.

1. A name stays in the output folder and can be made there: no `..`, nothing absolute, no hidden or empty segment, no
   control character, no segment of over 255 bytes, counting the longest extension and the suffix that a name gets
   when a foreign file has taken its place.
2. Names are in NFC, and two tasks never share one, compared after NFC and case folding. Nor is one task's file, with
   any of the extensions that it may get, a folder of another's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from pipeline.mime import EXTENSIONS
from pipeline.tasks.faults import FaultError
from pipeline.tasks.templates import Template

DEFAULT_PATH = "{{ set }}/{{ prompt }}{{ variant }}/{{ key }}-{{ index }}"
_WHERE = "output.path"
_LONGEST_SEGMENT = 255
_LONGEST_PATH = 1000
"""Bytes below the output folder; macOS takes 1,024 for a whole path."""
_LONGEST_KEY = 500
_SHOWN = 80
"""Characters of a name that a message repeats."""
_ADDED = len("~01234567.webp")
_EXTENSION = re.compile(r"\.(png|jpe?g|webp|gif|avif|bmp|tiff?|heic)$", re.IGNORECASE)
_LIKE_A_FILE = re.compile(rf"\.(?:{'|'.join(EXTENSIONS.values())})(?:/|$)", re.IGNORECASE)
"""What ends a folder's name that an output may have too."""
_ORDINARY = re.compile(r"(?:[a-z0-9_][\w.~+=-]{0,200}/)*[a-z0-9_][\w~+=-]{0,200}", re.ASCII | re.IGNORECASE)
"""Paths in which nothing can be wrong, told in one look: all rules below hold for them, but for their length."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FIELD = re.compile(r"\{\{-?\s*(set|prompt|variant|key|index)\s*-?\}\}")
_RENDERED = re.compile(r"(\s*\{[{%#]-|\{[{%#]).*?(-[}%#]\}\s*|[}%#]\})", re.DOTALL)
"""What of a template is not literal text."""
_SAFE_SEGMENTS = frozenset({"<set>", "<prompt>", "<prompt><variant>", "<key>", "<key>-<index>", "<index>"})


class Naming(Struct, frozen=True):
    """How outputs are named; `fast` where it is the default template, which needs no rendering."""

    template: Template
    fast: bool

    def paths(self, values: Mapping[str, Any], images: int) -> tuple[str, ...]:
        """One path for each image asked for. Raises FaultError for a name that cannot be used."""
        if self.fast:
            return self.default_paths(values["set"], values["prompt"], values["variant"], values["key"], images)
        return tuple(check_path(self._path(values, index)) for index in range(1, images + 1))

    def default_paths(self, set_name: str, prompt: str, variant: str, key: str, images: int) -> tuple[str, ...]:
        """As `paths`, by the default template: where `fast`."""
        head = f"{set_name}/{prompt}{variant}/{key}-"
        return tuple([check_path(f"{head}{index}") for index in range(1, images + 1)])

    def _path(self, values: Mapping[str, Any], index: int) -> str:
        return self.template.render({**values, "index": index})


def naming_for(template: Template) -> Naming:
    """Naming by a compiled `output.path`."""
    return Naming(template, template.source == DEFAULT_PATH)


def check_literal(source: str) -> None:
    """Raises FaultError for a template whose literal text alone makes a path that cannot be."""
    if wrong := _wrong_path(_RENDERED.sub("x", source)):
        raise FaultError(f"{_shown(source)} {wrong.what}", wrong.expected, _WHERE, general=True)


def composed(text: str) -> str:
    """The text in NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def name_digest(text: str) -> bytes:
    """16 bytes that are equal for names which a file system may take for one: after NFC and case folding."""
    folded = text.lower() if text.isascii() else composed(composed(text).casefold())
    return blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def check_path(path: str) -> str:
    """The path in NFC. Raises FaultError where it cannot be the name of an output."""
    if len(path) <= _LONGEST_PATH and _ORDINARY.fullmatch(path):
        return path
    path = composed(path)
    if wrong := _wrong_path(path):
        raise FaultError(f"the output path {_shown(path)} {wrong.what}", wrong.expected, _WHERE)
    return path


def folders_like_files(path: str) -> list[str]:
    """Of the folders on a path those whose names end as an output's, without that ending: no output may be there."""
    return [path[: match.start()] for match in _LIKE_A_FILE.finditer(path)]


def ordinary_folder(path: str) -> bool:
    """Whether ordinary names in this folder, given with its `/`, are ordinary paths: what `check_path` takes as is."""
    return len(path) <= _LONGEST_PATH // 2 and _ORDINARY.fullmatch(f"{path}x") is not None


def ordinary_name(path: str) -> bool:
    """Whether this path is one in every `ordinary_folder`."""
    return len(path) <= _LONGEST_PATH // 2 and _ORDINARY.fullmatch(path) is not None


def check_key(key: str, where: str) -> None:
    """Raises FaultError where a key cannot be one; it may hold `/`, and the rest is judged as part of a path."""
    if not key:
        raise FaultError("the key is empty", "expected a name for the item", where)
    if wrong := _wrong_key(key):
        raise FaultError(f"the key {_shown(key)} {wrong.what}", wrong.expected, where)


def statically_unique(source: str, needed: Iterable[str], names: Iterable[Sequence[str]]) -> bool:
    """Whether different tasks cannot get one name, whatever their keys are, as long as keys are unique in a set.

    `needed` are the fields that tell tasks apart. Each must fill a segment of its own, or stand in one of the few
    joins that can be taken apart again (`a-b` + `c` and `a` + `b-c` cannot). `names` are the groups of names (sets,
    prompts, an axis's labels) that must not differ in letter case alone.
    """
    shape = _FIELD.sub(r"<\1>", source)
    segments = shape.split("/")
    plain = all(segment in _SAFE_SEGMENTS or not re.search(r"[<>{}]", segment) for segment in segments)
    present = re.findall(r"<(\w+)>", shape)
    once = len(present) == len(set(present))
    distinct = all(len({name_digest(name) for name in group}) == len(group) for group in names)
    parted = not any(name.startswith("-") or "--" in name for group in names for name in group)
    return plain and once and distinct and parted and set(needed) <= set(present)


class _Wrong(Struct, frozen=True):
    what: str
    expected: str


def _shown(text: str) -> str:
    """A name in quotes as a message shows it."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}…"


def _wrong_path(path: str) -> _Wrong | None:
    segments = path.split("/")
    if path.startswith("/"):
        return _Wrong("begins with '/'", "expected a path in the output folder")
    if extension := _EXTENSION.search(segments[-1]):
        return _Wrong(f"ends with {extension[0]!r}", "expected no extension: it follows the image's format")
    if len(segments[-1].encode("utf-8", "replace")) + _ADDED > _LONGEST_SEGMENT:
        return _Wrong("ends with too long a name", f"expected at most {_LONGEST_SEGMENT - _ADDED} bytes")
    if len(path.encode("utf-8", "replace")) > _LONGEST_PATH:
        return _Wrong("is too long", f"expected at most {_LONGEST_PATH} bytes")
    return next(filter(None, map(_wrong_segment, segments)), None)


def _wrong_key(key: str) -> _Wrong | None:
    if key != key.strip():
        return _Wrong("begins or ends with a space", "expected {{ … | trim }}")
    if _CONTROL.search(key):
        return _Wrong("holds a control character", "expected a name for the item")
    if any(segment in ("", ".", "..") for segment in key.split("/")):
        return _Wrong("is no relative path", "expected names with single '/' between them, and no '..'")
    if len(key.encode()) > _LONGEST_KEY:
        return _Wrong(f"is longer than {_LONGEST_KEY} bytes", "expected a shorter name")
    return None


def _wrong_segment(segment: str) -> _Wrong | None:
    if segment in ("", ".", ".."):
        what = "has an empty segment" if not segment else f"has a segment {segment!r}"
        return _Wrong(what, "expected a path in the output folder")
    if _CONTROL.search(segment):
        return _Wrong("holds a control character", "expected a path that can be typed")
    if segment != segment.strip():
        return _Wrong("has a segment that begins or ends with a space", "expected {{ … | trim }}")
    if segment[0] in ".-":
        return _Wrong(f"has a segment that begins with {segment[0]!r}", "expected another first character")
    if len(segment.encode()) > _LONGEST_SEGMENT:
        return _Wrong(f"has a name of over {_LONGEST_SEGMENT} bytes", "expected shorter ones")
    return None
