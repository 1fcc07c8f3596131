"""Rows of tables and what is wrong with them, each at its physical line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

LONGEST_LINE = 16_000_000
"""Characters of one line that are read at most."""


class Row(Struct, frozen=True):
    """A row's cells by column, and the physical line on which it begins; `doubt` says why it may be two rows in one."""

    line: int
    cells: Mapping[str, Any]
    doubt: str = ""


class Flaw(Struct, frozen=True):
    """Something wrong at a physical line; `where` names a column, if one is meant."""

    line: int
    what: str
    expected: str = ""
    where: str = ""


class DamageError(Exception):
    """The reading of a table cannot go on after this flaw."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw.what)
        self.flaw = flaw


def checked_lines(lines: Iterable[str]) -> Iterator[str]:
    """The lines, up to the first that is not whole text."""
    line = 1
    try:
        for text in lines:
            if len(text) >= LONGEST_LINE:
                what = f"the line is longer than {LONGEST_LINE:,} characters"
                raise DamageError(Flaw(line, what, "expected a table of shorter lines"))
            if "\0" in text:
                raise DamageError(
                    Flaw(line, "the line holds a NUL", "expected text; of a UTF-16 file, say `encoding: utf-16`")
                )
            if not (text.isascii() or encodable(text)):
                raise DamageError(_undecodable(line))
            yield text
            line += 1
    except UnicodeError as error:
        raise DamageError(_undecodable(line)) from error


def encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _undecodable(line: int) -> Flaw:
    return Flaw(
        line, "the line is not text in the table's encoding", "expected UTF-8, or say `encoding`, such as cp1252"
    )
