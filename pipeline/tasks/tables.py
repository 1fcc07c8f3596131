"""Tables whose rows are items: opened, and read as a stream by their file's extension.

1. All rows of a reading are of one version of the file: it is looked at again after each block that was read, and at
   its end, before any row of that block is given out.
2. A file that is replaced under its name while it is read, as a careful editor does, is read to its end as it was.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator
from functools import partial
from io import BufferedReader, FileIO, TextIOWrapper
from typing import TextIO

from msgspec import Struct

from pipeline.tasks.delimited import csv_rows
from pipeline.tasks.faults import FaultError
from pipeline.tasks.jsonl import jsonl_rows
from pipeline.tasks.rows import LONGEST_LINE, Flaw, Row

_BLOCK = 1 << 16
"""Bytes that are read at once."""

_NOTATIONS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "unicode_escape"})
"""Codecs that Python counts among the text encodings, and that no table is written in."""


class ChangedError(FaultError):
    """A table is not the one that it was."""

    def __init__(self) -> None:
        super().__init__("the table changed after the job was checked", "start the run again")


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
    return _version(found)


def read_table(
    path: str, delimiter: str | None = None, encoding: str | None = None, version: Version | None = None
) -> Iterator[Row | Flaw]:
    """The rows of a file, by its extension; `version` is the one that is wanted, else the present one is.

    Raises:
        ChangedError: the file has another version, or gets one while it is read.
        FaultError: it cannot be opened or read as a table at all.
    """
    present = version_of(path)
    if version is not None and present != version:
        raise ChangedError
    extension = os.path.splitext(path)[1].lower()
    if extension not in (".csv", ".tsv", ".jsonl", ".ndjson"):
        raise FaultError(
            f"{os.path.basename(path)!r} is no table that can be read", "expected a .csv, .tsv or .jsonl file"
        )
    jsonl = extension not in (".csv", ".tsv")
    delimiter = delimiter or ("\t" if extension == ".tsv" else None)
    try:
        with _opened(path, present, encoding, "\n" if jsonl else "") as file:
            lines = iter(partial(file.readline, LONGEST_LINE), "")
            yield from jsonl_rows(lines) if jsonl else csv_rows(lines, delimiter)
    except OSError as error:
        raise FaultError(f"cannot read the table {path}: {error.strerror}", "expected a readable file") from error


class _Blocks(BufferedReader):
    """A file's bytes as long as it has a version; raises ChangedError."""

    def __init__(self, path: str, version: Version) -> None:
        super().__init__(FileIO(path))
        self._version = version

    def read1(self, _size: int = -1, /) -> bytes:
        """The next block, as text is decoded from any."""
        block = super().read1(_BLOCK)
        if _version(os.fstat(self.fileno())) != self._version:
            raise ChangedError
        return block


def _version(state: os.stat_result) -> Version:
    return Version(state.st_size, state.st_mtime_ns, state.st_ino)


def _opened(path: str, version: Version, encoding: str | None, newline: str) -> TextIO:
    """Bytes that are not text come through as surrogates, so that they can be found line by line."""
    try:
        codec = codecs.lookup(encoding or "utf-8").name
        if codec in _NOTATIONS:
            raise LookupError(codec)
        codec = "utf-8-sig" if codec == "utf-8" else codec
        file = _Blocks(path, version)
        try:
            return TextIOWrapper(file, encoding=codec, errors="surrogateescape", newline=newline)
        except BaseException:
            file.close()
            raise
    except LookupError as error:
        raise FaultError(f"{encoding!r} is no text encoding", "expected one such as utf-8, cp1252 or utf-16") from error
