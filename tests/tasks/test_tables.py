"""Tables: rows with their physical lines, and every fault with the line that the user must look at."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import pytest

from pipeline.tasks.delimited import csv_rows, detect_delimiter
from pipeline.tasks.faults import FaultError
from pipeline.tasks.jsonl import jsonl_rows
from pipeline.tasks.rows import Flaw, Row
from pipeline.tasks.tables import ChangedError, read_table, version_of


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def rows_of(text: str, delimiter: str | None = None) -> list[tuple[int, dict[str, str]]]:
    found = list(csv_rows(lines(text), delimiter))
    assert all(isinstance(row, Row) for row in found), found
    return [(row.line, dict(row.cells)) for row in found if isinstance(row, Row)]


def flaws_of(text: str) -> list[Flaw]:
    return [row for row in csv_rows(lines(text)) if isinstance(row, Flaw)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sku,file\n1,a\n", [(2, {"sku": "1", "file": "a"})]),
        ("sku;file\n1;a,b\n", [(2, {"sku": "1", "file": "a,b"})]),
        ("sku\tfile\n1\ta\n", [(2, {"sku": "1", "file": "a"})]),
        ("sku|file\n1|a\n", [(2, {"sku": "1", "file": "a"})]),
        ("sku\n1\n", [(2, {"sku": "1"})]),
        ("sep=;\nsku;a,b\n1;2\n", [(3, {"sku": "1", "a,b": "2"})]),
        ('"sep=|"\r\nsku|b\r\n1|2\r\n', [(3, {"sku": "1", "b": "2"})]),
        ("sku,text\n\n1,a\n\n\n2,b\n", [(3, {"sku": "1", "text": "a"}), (6, {"sku": "2", "text": "b"})]),
        ('sku,text\n1,"a\nb"\n2,c\n', [(2, {"sku": "1", "text": "a\nb"}), (4, {"sku": "2", "text": "c"})]),
        ('sku,text\n1,"say ""hi"""\n', [(2, {"sku": "1", "text": 'say "hi"'})]),
        ('sku,text\n1,5" screen\n', [(2, {"sku": "1", "text": '5" screen'})]),
        (" sku , file \n1,a\n,\n", [(2, {"sku": "1", "file": "a"})]),
        ("sku,file,\n1,a,\n", [(2, {"sku": "1", "file": "a"})]),
        ("\n\nsku,file\n1,a", [(4, {"sku": "1", "file": "a"})]),
    ],
)
def test_rows_carry_their_cells_and_physical_lines(text: str, expected: list[tuple[int, dict[str, str]]]) -> None:
    """A row has a cell for each named column and the line on which it begins; empty rows are none."""
    assert rows_of(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "the table is empty"),
        ("sku,file,sku\n1,a,2\n", 1, "the header has 'sku' 2 times"),
        ("sku,file\n1,a\n2\n", 3, "the row has 1 cell; expected 2"),
        ("sku,file\n1,a\n2,b,c,d\n", 3, "the row has 4 cells; expected 2"),
        ('sku,file\n1,a\n2,"b\n3,c\n4,d\n', 3, "the quote that opens in this line is never closed"),
        ('sku,a,b\n1,"x\ny","z\n2,c,d\n', 3, "the quote that opens in this line is never closed"),
        ('sku,file\n1,"a\n2,"b",c\n', 3, "the cell begins in line 2"),
        ('sku,file,text\n1,"a\n2,b,c"\n', 2, "a cell spans the lines 2 to 3: is a quote left open?"),
        ("sku,file\n1,a\n2,b\0\n", 3, "the line holds a NUL"),
        ("sku,text\n1," + "x" * 131_073 + "\n", 2, "a cell is longer than 131,072 characters"),
        ('sku,text\n1,"' + "x\n" * 70_000 + '"\n', 2, "is the quote that opens in this line left open?"),
        ("sku,file\n1,a\n2,\udcff\n", 3, "not text in the table's encoding"),
    ],
)
def test_a_csv_fault_names_the_line_to_look_at(text: str, line: int, words: str) -> None:
    """Each fault of delimited text names its physical line, the header being line 1."""
    (flaw,) = flaws_of(text)
    assert flaw.line == line
    assert words in f"{flaw.what}; {flaw.expected}"


def test_a_wrong_number_of_cells_does_not_end_the_reading() -> None:
    """Rows after one with too few cells are still judged."""
    assert [flaw.line for flaw in flaws_of("a,b\n1\n2,3\n4,5,6\n")] == [2, 4]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('sku,file,note\n1,a,"12 inch\n2,b,30"\n3,c,x\n', 3),
        ('sku,file,note\n1,a,"12 inch\n2,b,x\n3,c,30"\n', 3),
        ('sku,text\n1,"white\nbackground"\n', 0),
        ('text,sku\n"white\nbackground",1\n', 0),
        ('sku,text,n\n1,"white,\nplain",2\n', 0),
        ('text\n"white\nbackground"\n', 0),
        ("sku,text\n1,a\n2,b\n", 0),
    ],
)
def test_rows_that_a_quote_may_have_merged_are_doubted(text: str, line: int) -> None:
    """A cell that holds what would be a row of its own is read as it stands, and worth a warning."""
    doubts = [row.doubt for row in csv_rows(lines(text)) if isinstance(row, Row) and row.doubt]
    assert doubts == ([doubts[0]] if line else [])
    assert not line or f"and line {line} looks like a row" in doubts[0]


def test_a_cell_of_the_longest_length_is_read() -> None:
    """131,072 characters are allowed."""
    assert len(rows_of("sku,text\n1," + "x" * 131_072 + "\n")[0][1]["text"]) == 131_072


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (["a,b;c,d\n", "1,2;x;y,3\n"], ","),
        (["sku;preis\n", "1;3,50\n", "2;4,20\n"], ";"),
        (["name\n", "a,b\n"], ","),
        (["a;b;c\n", "1;2\n", "3;4;5\n"], ";"),
        (['"a;b";c\n', '"1;2";3\n'], ";"),
        ([], ","),
    ],
)
def test_the_delimiter_is_the_one_that_header_and_rows_agree_on(sample: list[str], expected: str) -> None:
    """Detection takes the delimiter that gives the header columns which the rows share."""
    assert detect_delimiter(sample) == expected


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('{"a": 1}\n\n{"a": 2}\n', 2, "the line is blank"),
        ('{"a": NaN}\n', 1, "NaN is no JSON number"),
        ('{"a": 1e999}\n', 1, "too large"),
        ('{"a": 1}\n{"a": \n', 2, "the line is not JSON"),
        ("[1]\n", 1, "the line holds an array"),
        ('{"a": 1, "a": 2}\n', 1, "'a' stands in it twice"),
        ('{"a": 1}\n{"a": "\\ud83d"}\n', 2, "half a surrogate pair"),
        ('{"a": "\udcff"}\n', 1, "not text in the table's encoding"),
        ("[" * 200_000 + "\n", 1, "the line is not JSON"),
    ],
)
def test_a_jsonl_fault_names_its_line(text: str, line: int, words: str) -> None:
    """Each fault of JSON Lines names its line."""
    flaw = list(jsonl_rows(text.splitlines(keepends=True)))[-1]
    assert isinstance(flaw, Flaw)
    assert flaw.line == line
    assert words in flaw.what


def test_jsonl_keeps_types_and_whole_surrogate_pairs() -> None:
    """Numbers stay numbers, and an escaped pair is one character."""
    (row,) = jsonl_rows(['{"n": 3, "x": [1.5, true], "s": "\\ud83d\\ude00"}\n'])
    assert isinstance(row, Row)
    assert dict(row.cells) == {"n": 3, "x": [1.5, True], "s": "😀"}


def read(path: Path, data: bytes, encoding: str | None = None) -> list[Row | Flaw]:
    path.write_bytes(data)
    return list(read_table(str(path), encoding=encoding))


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    """A UTF-8 file with a BOM reads as one without."""
    (row,) = read(tmp_path / "t.csv", b"\xef\xbb\xbfsku,a\r\n1,2\r\n")
    assert isinstance(row, Row)
    assert dict(row.cells) == {"sku": "1", "a": "2"}


@pytest.mark.parametrize(("encoding", "codec"), [("cp1252", "cp1252"), ("UTF-16", "utf-16"), ("utf8", "utf-8-sig")])
def test_a_given_encoding_is_used(tmp_path: Path, encoding: str, codec: str) -> None:
    """`encoding` reads what another tool wrote."""
    (row,) = read(tmp_path / "t.csv", "sku;größe\n1;groß\n".encode(codec), encoding)
    assert isinstance(row, Row)
    assert dict(row.cells) == {"sku": "1", "größe": "groß"}


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_byte_that_is_not_utf_8_is_found_in_its_line(tmp_path: Path, name: str) -> None:
    """Latin-1 bytes under UTF-8 name the line, not a byte offset."""
    text = "sku,a\n1,x\n2,\xfc\n" if name == "t.csv" else '{"a":1}\n{"a":2}\n{"a":"\xfc"}\n'
    flaw = read(tmp_path / name, text.encode("latin-1"))[-1]
    assert isinstance(flaw, Flaw)
    assert (flaw.line, flaw.what) == (3, "the line is not text in the table's encoding")


def test_a_truncated_utf_16_file_is_a_flaw_and_no_traceback(tmp_path: Path) -> None:
    """A decoder that gives up altogether is reported like any undecodable line."""
    flaw = read(tmp_path / "t.csv", "sku,a\n1,x\n".encode("utf-16")[:-1], "utf-16")[-1]
    assert isinstance(flaw, Flaw)


def test_a_jsonl_line_ends_at_a_newline_only(tmp_path: Path) -> None:
    """U+2028, U+0085 and a carriage return within a string split no line."""
    rows = read(tmp_path / "t.jsonl", '{"a": "x\u2028\u0085y"}\n{"a": 2}\r\n'.encode())
    assert [row.line for row in rows] == [1, 2]
    assert isinstance(rows[0], Row)


@pytest.mark.parametrize(
    ("name", "encoding", "words"),
    [
        ("t.xlsx", None, "no table that can be read"),
        ("t.csv", "utf-9", "no text encoding"),
        ("t.csv", "hex", "encoding"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, encoding: str | None, words: str) -> None:
    """An unknown extension or encoding is one clear line."""
    with pytest.raises(FaultError, match=words):
        read(tmp_path / name, b"a,b\n1,2\n", encoding)


def write_rows(path: Path, first: int, count: int = 20_000) -> list[str]:
    """A table of several blocks, written in place; its first cells."""
    names = [f"n{number:07}" for number in range(first, first + count)]
    path.write_text("name,more\n" + "".join(f"{name},red\n" for name in names))
    return names


@pytest.mark.parametrize(("first", "count"), [(0, 20_001), (1, 20_000), (0, 19_000), (7, 0)])
def test_a_table_edited_in_place_while_it_is_read_gives_no_torn_rows(tmp_path: Path, first: int, count: int) -> None:
    path = tmp_path / "t.csv"
    names = write_rows(path, 0)
    rows = read_table(str(path), version=version_of(str(path)))
    seen = [next(rows)]
    write_rows(path, first, count)
    os.utime(path, ns=(1, 1))
    with pytest.raises(ChangedError):
        seen.extend(rows)
    found = [row.cells["name"] for row in seen if isinstance(row, Row)]
    assert len(found) == len(seen) < 10_000
    assert found == names[: len(found)]


def test_a_table_that_grows_when_all_but_its_end_was_read_is_noticed_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    rows = read_table(str(path))
    assert len(list(islice(rows, 2))) == 2
    with path.open("a") as more:
        more.write('{"a": 3}\n')
    with pytest.raises(ChangedError):
        list(rows)


def test_a_table_that_is_replaced_while_it_is_read_is_read_to_its_end_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    names = write_rows(path, 0)
    rows = read_table(str(path))
    seen = [next(rows)]
    write_rows(tmp_path / "new.csv", 5)
    (tmp_path / "new.csv").rename(path)
    seen.extend(rows)
    assert [row.cells["name"] for row in seen if isinstance(row, Row)] == names
