"""Delimited text (CSV, TSV) as rows, read as a stream.

1. A row that is given out has a cell for each column of the header, neither more nor fewer.
2. What is wrong names the physical line, on which the header is line 1 and a cell may span several.
3. Nothing is repaired: a quote left open, or text after a closing quote, ends the reading.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from unicodedata import normalize

from pipeline.tasks.rows import DamageError, Flaw, Row, checked_lines

LONGEST_CELL = 131_072
_SAMPLE = 30
"""How many lines the delimiter is detected on."""
_DELIMITERS = ",;\t|"


def csv_rows(lines: Iterable[str], delimiter: str | None = None) -> Iterator[Row | Flaw]:
    """Rows of delimited text whose first record is the header; a first line `sep=;` names the delimiter.

    Empty lines, and rows with nothing but empty cells, are no items. Columns without a name are left out.
    """
    tape = _Tape(lines)
    try:
        given = tape.skip_separator()
        delimiter = delimiter or given or detect_delimiter(tape.sample())
        records = _records(tape, delimiter)
        line, names = next(records, (1, []))
        columns = [normalize("NFC", name.strip()) for name in names]
        flaws = _header_flaws(columns, line)
        yield from flaws
        if not flaws:
            for line, cells in records:
                yield from _row(columns, line, cells, _doubt(tape.record, line, len(columns), delimiter))
    except DamageError as damage:
        yield damage.flaw


def detect_delimiter(lines: Sequence[str]) -> str:
    """The delimiter under which the header has most columns and the other lines agree with it; a comma if none does."""
    return max(_DELIMITERS, key=lambda delimiter: _agreement(lines, delimiter))


def _agreement(lines: Sequence[str], delimiter: str) -> float:
    try:
        widths = [len(cells) for cells in csv.reader(lines, delimiter=delimiter) if cells]
    except csv.Error:
        return 0
    return widths[0] * widths.count(widths[0]) / len(widths) if widths and widths[0] > 1 else 0


class _Tape:
    """Hands lines to csv.reader, counts them, and keeps those of the record that is being read."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines: Iterator[str] = checked_lines(lines)
        self.line = 0
        self.record: list[str] = []

    def __iter__(self) -> _Tape:
        return self

    def __next__(self) -> str:
        text = next(self._lines)
        self.line += 1
        self.record.append(text)
        return text

    def skip_separator(self) -> str | None:
        """The delimiter of a first line such as `sep=;`, which then counts as read."""
        first = next(self._lines, "")
        match = re.fullmatch(r'"?sep=(.)"?\r?\n?', first)
        if match is None:
            self._lines = chain([first] if first else [], self._lines)
            return None
        self.line = 1
        return match[1]

    def sample(self) -> list[str]:
        """The next few lines, without reading them."""
        lines = list(islice(self._lines, _SAMPLE))
        self._lines = chain(lines, self._lines)
        return lines


def _records(tape: _Tape, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with its first line, empty lines left out."""
    reader = csv.reader(tape, delimiter=delimiter, strict=True)
    while True:
        tape.record.clear()
        line = tape.line + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DamageError(_misread(str(error), line, tape.record, delimiter)) from error
        if any(cells):
            yield line, cells


def _misread(error: str, line: int, record: Sequence[str], delimiter: str) -> Flaw:
    opened = line + _open_quote(record, delimiter)
    if "unexpected end" in error:
        return Flaw(
            opened, "the quote that opens in this line is never closed", 'expected a closing ", or "" for one in a cell'
        )
    if "field larger" in error:
        what = f"a cell is longer than {LONGEST_CELL:,} characters"
        merged = "; is the quote that opens in this line left open?" if len(record) > 1 else ""
        return Flaw(opened, what, f"expected a shorter one{merged}")
    what = "the text goes on after a closing quote" if "expected after" in error else error
    here = line + len(record) - 1
    begins = f"; the cell begins in line {opened}" if here != opened else ""
    return Flaw(here, what, f'expected "" for a quote in a cell{begins}')


def _open_quote(record: Sequence[str], delimiter: str) -> int:
    """In which line of a record its last quoted cell begins; a quote within an unquoted cell is plain text."""
    opened, state = 0, "start"
    for at, text in enumerate(record):
        for character in text:
            if state == "quoted":
                state = "closed" if character == '"' else state
            elif character == '"' and state != "plain":
                opened = at if state == "start" else opened
                state = "quoted"
            else:
                state = "start" if character == delimiter else "plain"
    return opened


def _header_flaws(columns: Sequence[str], line: int) -> list[Flaw]:
    if not columns:
        return [Flaw(line, "the table is empty", "expected a header line, then one line for each item")]
    return [
        Flaw(line, f"the header has {name!r} {count} times", "expected one name for each column", f"column {name}")
        for name, count in Counter(columns).items()
        if name and count > 1
    ]


def _doubt(record: Sequence[str], line: int, columns: int, delimiter: str) -> str:
    """Why a record over several lines may be rows that a quote left open has merged: one of them would be a row.

    Where a cell over several lines ends as it should, its closing quote is in what would be the first cell.
    """
    for at, text in enumerate(record[1:], line + 1) if columns > 1 else ():
        cells = next(csv.reader([text], delimiter=delimiter), [])
        if len(cells) == columns and '"' not in cells[0]:
            return f"a cell spans the lines {line} to {line + len(record) - 1}, and line {at} looks like a row"
    return ""


def _row(columns: Sequence[str], line: int, cells: Sequence[str], doubt: str) -> Iterator[Row | Flaw]:
    if len(cells) == len(columns):
        yield Row(line, {name: cell for name, cell in zip(columns, cells, strict=True) if name}, doubt)
        return
    ends = line + sum(cell.count("\n") for cell in cells)
    merged = f"; a cell spans the lines {line} to {ends}: is a quote left open?" if ends > line else ""
    what = f"the row has {len(cells)} cell{'s' * (len(cells) != 1)}"
    yield Flaw(line, what, f"expected {len(columns)}, as the header has{merged}")
