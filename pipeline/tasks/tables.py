"""Tables whose rows are items: opened, and read as a stream by their file's extension."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator
from functools import partial
from typing import TextIO

from msgspec import Struct

from pipeline.tasks.delimited import csv_rows
from pipeline.tasks.faults import FaultError
from pipeline.tasks.jsonl import jsonl_rows
from pipeline.tasks.rows import LONGEST_LINE, Flaw, Row

_NOTATIONS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "unicode_escape"})
"""Codecs that Python counts among the text encodings, and that no table is written in."""


class Version(Struct, frozen=True):
    """Which bytes a table has, as far as its folder tells."""

    size: int
    mtime_ns: int
    inode: int


def version_of(path: str) -> Version:
    """Raises FaultError where there is no regular file; opens nothing, so a FIFO does not block."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise FaultError(
            f"cannot read the table {path}: {error.strerror}", "expected a .csv, .tsv or .jsonl file"
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise FaultError(f"the table {path} is not a regular file", "expected a .csv, .tsv or .jsonl file")
    return Version(found.st_size, found.st_mtime_ns, found.st_ino)


def read_table(path: str, delimiter: str | None = None, encoding: str | None = None) -> Iterator[Row | Flaw]:
    """The rows of a file, by its extension. Raises FaultError where it cannot be opened or read as a table at all."""
    extension = os.path.splitext(path)[1].lower()
    if extension not in (".csv", ".tsv", ".jsonl", ".ndjson"):
        raise FaultError(
            f"{os.path.basename(path)!r} is no table that can be read", "expected a .csv, .tsv or .jsonl file"
        )
    jsonl = extension not in (".csv", ".tsv")
    delimiter = delimiter or ("\t" if extension == ".tsv" else None)
    try:
        with _opened(path, encoding, "\n" if jsonl else "") as file:
            lines = iter(partial(file.readline, LONGEST_LINE), "")
            yield from jsonl_rows(lines) if jsonl else csv_rows(lines, delimiter)
    except OSError as error:
        raise FaultError(f"cannot read the table {path}: {error.strerror}", "expected a readable file") from error


def _opened(path: str, encoding: str | None, newline: str) -> TextIO:
    """Bytes that are not text come through as surrogates, so that they can be found line by line."""
    try:
        codec = codecs.lookup(encoding or "utf-8").name
        if codec in _NOTATIONS:
            raise LookupError(codec)
        return open(
            path, encoding="utf-8-sig" if codec == "utf-8" else codec, errors="surrogateescape", newline=newline
        )
    except LookupError as error:
        raise FaultError(f"{encoding!r} is no text encoding", "expected one such as utf-8, cp1252 or utf-16") from error
