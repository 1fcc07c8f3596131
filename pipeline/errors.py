"""The exceptions that a caller of Retouch can meet, and nothing else.

RetouchError
├── JobError        manifest, tables, names or flags are wrong; nothing was sent
├── LockedError     another run holds the output folder
├── StorageError    the disk or the ledger cannot be relied on
└── RebuyError      more finished work would be bought again than `rerun.limit` allows

Each module maps the exceptions of the libraries that it uses to these, `from exc`. Only
`pipeline.cli` turns them into exit codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

MOST_LISTED: Final = 100
"""Problems that are printed at once; nobody mends more before the next look."""


class RetouchError(Exception):
    """Base of every error that Retouch raises on purpose; its text is written for the user."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a job, in the user's terms.

    `line` and `column` are 1-based; 0 where the place has none (a flag, a missing file).
    `expected` says what would be right, and carries the nearest known name where there is one.
    """

    what: str
    expected: str = ""
    where: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    def but(self, **changed: Any) -> Problem:
        """The same but for these fields."""
        return replace(self, **changed)

    def __str__(self) -> str:
        place = self.file
        if self.file and self.line:
            place += f":{self.line}" + (f":{self.column}" if self.column else "")
        head = "".join(f"{part}: " for part in (place, self.where) if part)
        return one_line(f"{head}{self.what}" + (f"; {self.expected}" if self.expected else ""))


def one_line(text: str) -> str:
    """The text with line breaks and what else cannot be seen written as escapes: names may hold anything."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def listed(problems: Sequence[Problem], unlisted: int = 0) -> Iterator[str]:
    """The problems as lines for a person, of many the first; `unlisted` is how many more there are already."""
    lines = list(dict.fromkeys(map(str, problems)))
    yield from lines[:MOST_LISTED]
    if rest := len(lines[MOST_LISTED:]) + unlisted:
        yield f"and {rest:,} more problem{'s' * (rest > 1)}"


class JobError(RetouchError):
    """Everything that is wrong with a job, found before the first request and reported together."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(listed(self.problems)))

    def __reduce__(self) -> tuple[type[JobError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class LockedError(RetouchError):
    """Another process holds the lock of the output folder."""


class StorageError(RetouchError):
    """The output folder, the ledger or the disk below them cannot be relied on."""


class RebuyError(RetouchError):
    """More finished tasks would be bought again than `rerun.limit` allows."""
