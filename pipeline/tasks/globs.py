"""Glob patterns: parsed once, then followed folder by folder, so that only folders that can match are read.

1. `*`, `?` and `[...]` stay within one path segment; `**` as a whole segment spans any number of them.
2. `{jpg,png}` stands for each of its alternatives, nested ones too.
3. Letter case and Unicode composition do not matter, except in the fixed part, which names a folder literally.
4. Names that begin with a dot are the walker's business: no pattern here is asked about one.
"""

from __future__ import annotations

import fnmatch
import os.path
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from unicodedata import normalize

from msgspec import Struct

from pipeline.tasks.faults import FaultError

MOST_ALTERNATIVES = 1000
_MAGIC = re.compile(r"[*?\[{]")

State = tuple[int, int]
"""An alternative, and how many of its segments a path has passed."""
States = frozenset[State]


class Segment(Struct, frozen=True):
    """One path segment of a pattern; `match` is None for `**`. `prefix` begins every match, in lower case."""

    match: Callable[[str], object] | None
    prefix: str = ""


class Glob(Struct, frozen=True):
    """Alternatives below one `root`: the fixed part, which no wildcard precedes (empty: where paths start)."""

    root: str
    alternatives: tuple[tuple[Segment, ...], ...]

    def start(self) -> States:
        """The states at the root."""
        return self._closed((number, 0) for number in range(len(self.alternatives)))

    def enter(self, states: States, name: str) -> States:
        """The states in the folder `name`; empty where nothing below it can match."""
        name = _composed(name)
        return self._closed(
            (number, at if segment.match is None else at + 1)
            for number, at, segment in self._open(states)
            if segment.match is None or segment.match(name)
        )

    def takes(self, states: States, name: str) -> bool:
        """Whether the file `name` matches."""
        name = _composed(name)
        return any(
            at + 1 == len(self.alternatives[number]) and (segment.match is None or segment.match(name))
            for number, at, segment in self._open(states)
        )

    def ended(self, states: States) -> bool:
        """Whether the pattern is used up: of an exclusion, that all below is excluded."""
        return any(at == len(self.alternatives[number]) for number, at in states)

    def prefix(self, states: States) -> str:
        """What every name that matches next begins with, in lower case."""
        prefixes = [segment.prefix for _, _, segment in self._open(states)]
        first, last = min(prefixes, default=""), max(prefixes, default="")
        return first[
            : next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
        ]

    def _open(self, states: States) -> Iterator[tuple[int, int, Segment]]:
        for number, at in states:
            if at < len(self.alternatives[number]):
                yield number, at, self.alternatives[number][at]

    def _closed(self, states: Iterable[State]) -> States:
        """With every state that a `**` of no segments leads to."""
        reached: set[State] = set()
        for number, at in states:
            names = takewhile(lambda segment: segment.match is None, self.alternatives[number][at:])
            reached.update((number, further) for further in range(at, at + 1 + sum(1 for _ in names)))
        return frozenset(reached)


def has_magic(text: str) -> bool:
    """Whether a path holds a character that means something in a glob."""
    return _MAGIC.search(text) is not None


def fixed_part(pattern: str) -> str:
    """The folders before the first segment with a wildcard or brace; the last segment never belongs to them."""
    return _split(pattern)[0]


def parse_glob(pattern: str) -> Glob:
    """Raises FaultError for an empty pattern, `..` after a wildcard and braces with too many alternatives."""
    if not pattern or pattern.endswith("/") or "\0" in pattern:
        raise FaultError(f"{pattern!r} names no files", "expected a pattern of files such as photos/**/*.{jpg,png}")
    root, rest = _split(pattern)
    return Glob(root, tuple(_segments(each, pattern) for each in expand_braces(rest)))


def _split(pattern: str) -> tuple[str, str]:
    segments = pattern.split("/")
    fixed = next((at for at, segment in enumerate(segments[:-1]) if has_magic(segment)), len(segments) - 1)
    root = "/".join(segment for segment in segments[:fixed] if segment not in ("", "."))
    return "/" * pattern.startswith("/") + root, "/".join(segments[fixed:])


def merged(globs: Iterable[Glob], root: str) -> Glob:
    """One pattern for all that share a root."""
    return Glob(root, tuple(alternative for glob in globs for alternative in glob.alternatives))


def exclusion(pattern: str, base: str) -> Glob:
    """A pattern of what to leave out, over absolute paths.

    A relative pattern starts from `base`, an absolute folder; one without a slash fits names at any depth.
    Raises FaultError as `parse_glob` does.
    """
    anchored = pattern if "/" in pattern else f"**/{pattern}"
    if anchored.startswith(("/", "../")):
        base, anchored = "/", os.path.normpath(os.path.join(base, anchored)).lstrip("/")
    above = tuple(_literal(name) for name in base.split("/") if name)
    return Glob("/", tuple((*above, *_segments(each, pattern)) for each in expand_braces(anchored)))


def expand_braces(pattern: str) -> list[str]:
    """`a.{jpg,png}` as `a.jpg`, `a.png`; a brace without its partner stays as it is.

    Raises FaultError above MOST_ALTERNATIVES.
    """
    pending, done = [pattern], []
    while pending:
        text = pending.pop()
        group = _innermost(text)
        if group is None:
            done.append(text)
        else:
            options = text[group.start() + 1 : group.end() - 1].split(",")
            pending += [text[: group.start()] + option + text[group.end() :] for option in reversed(options)]
        if len(pending) + len(done) > MOST_ALTERNATIVES:
            raise FaultError(
                f"the braces of {pattern[:80]!r} stand for over {MOST_ALTERNATIVES} patterns", "expected fewer of them"
            )
    return list(dict.fromkeys(done))


def _innermost(text: str) -> re.Match[str] | None:
    return re.search(r"\{[^{}]*\}", text)


def _segments(alternative: str, pattern: str) -> tuple[Segment, ...]:
    names = [name for name in alternative.split("/") if name not in ("", ".")]
    if ".." in names:
        raise FaultError(f"{pattern!r} goes up after a wildcard", "expected `..` only at the beginning of a pattern")
    return tuple(_segment(name) for name in names)


def _segment(text: str) -> Segment:
    if text == "**":
        return Segment(None)
    text = _composed(text)
    plain = _MAGIC.split(text, maxsplit=1)[0]
    prefix = re.split(r"[^\x00-\x7f]", plain, maxsplit=1)[0].lower()
    return Segment(re.compile(fnmatch.translate(text), re.IGNORECASE).match, prefix)


def _literal(name: str) -> Segment:
    composed = _composed(name)
    return Segment(lambda other: other == composed)


def _composed(name: str) -> str:
    return name if name.isascii() else normalize("NFC", name)
