# ruff: noqa: E501 - an expected message is one line
"""Tables that cannot be read as they were meant: each fault names the file and its physical line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bad_input.conftest import Refused
from tests.bad_input.row import Make, Row, job


def table(
    name: str, *lines: str, rows: str | bytes | Make | None, text: str = "White background", **changes: str
) -> Row:
    """A job over `bags.csv` with these bytes."""
    sections = {"table": "bags.csv", "key": '"{{ row.sku }}"', "images": '"in/{{ row.file }}.png"'} | changes
    own = ", ".join(f"{key}: {value}" for key, value in sections.items())
    path = sections["table"].strip("{}").removeprefix("path: ").partition(",")[0]
    manifest = job(image_sets=f"[{{name: bags, {own}}}]", prompts=f"[{{name: white, text: '{text}'}}]")
    return Row(name, lines, {"job.yaml": manifest} | ({} if rows is None else {path: rows}))


def jsonl(name: str, *lines: str, rows: str | bytes, text: str = "White background") -> Row:
    """A job over `bags.jsonl`."""
    return table(name, *lines, rows=rows, text=text, table="bags.jsonl")


def longer(characters: int) -> str:
    return f"sku,file,note\n1,0,{'x' * characters}\n"


def looping(path: Path) -> None:
    path.symlink_to(path.name)


FILES = [
    table(
        "no file",
        "job.yaml:4:27: image_sets[0].table: cannot read the table {folder}/bags.csv: No such file or directory; expected a .csv, .tsv or .jsonl file",
        rows=None,
    ),
    table(
        "a folder",
        "job.yaml:4:27: image_sets[0].table: the table {folder}/bags.csv is not a regular file; expected a .csv, .tsv or .jsonl file",
        rows=Path.mkdir,
    ),
    table(
        "a pipe",
        "job.yaml:4:27: image_sets[0].table: the table {folder}/bags.csv is not a regular file; expected a .csv, .tsv or .jsonl file",
        rows=os.mkfifo,
    ),
    table(
        "a device",
        "job.yaml:4:27: image_sets[0].table: the table {folder}/bags.csv is not a regular file; expected a .csv, .tsv or .jsonl file",
        rows=lambda path: path.symlink_to("/dev/zero"),
    ),
    table(
        "a circle of links",
        "job.yaml:4:27: image_sets[0].table: cannot read the table {folder}/bags.csv: Too many levels of symbolic links; expected a .csv, .tsv or .jsonl file",
        rows=looping,
    ),
    table(
        "a spreadsheet",
        "job.yaml:4:27: image_sets[0].table: 'bags.xlsx' is no table that can be read; expected a .csv, .tsv or .jsonl file",
        rows=b"PK\x03\x04",
        table="bags.xlsx",
    ),
    table(
        "no extension",
        "job.yaml:4:27: image_sets[0].table: 'bags' is no table that can be read; expected a .csv, .tsv or .jsonl file",
        rows="sku,file\n1,0\n",
        table="bags",
    ),
    table(
        "an unknown encoding",
        "job.yaml:4:27: image_sets[0].table: 'utf-9' is no text encoding; expected one such as utf-8, cp1252 or utf-16",
        rows="sku,file\n1,0\n",
        table="{path: bags.csv, encoding: utf-9}",
    ),
    table(
        "an encoding of bytes",
        "job.yaml:4:27: image_sets[0].table: 'hex' is no text encoding; expected one such as utf-8, cp1252 or utf-16",
        rows="sku,file\n1,0\n",
        table="{path: bags.csv, encoding: hex}",
    ),
    table("empty", "bags.csv:1: the table is empty; expected a header line, then one line for each item", rows=b""),
    table(
        "a byte order mark and nothing",
        "bags.csv:1: the table is empty; expected a header line, then one line for each item",
        rows=b"\xef\xbb\xbf",
    ),
    table(
        "line breaks only",
        "bags.csv:1: the table is empty; expected a header line, then one line for each item",
        rows="\n\n\n",
    ),
    table(
        "a header only",
        "job.yaml:4:27: image_sets[0].table: the table has no rows; expected items, or `allow_empty: true`",
        rows="sku,file\n",
    ),
    table(
        "empty rows only",
        "job.yaml:4:27: image_sets[0].table: the table has no rows; expected items, or `allow_empty: true`",
        rows="sku,file\n,\n,\n",
    ),
]
HEADERS = [
    table(
        "a missing column",
        "bags.csv:2: image_sets[0].key: there is no column 'sku' (and 1 more like it); did you mean 'SKU'?",
        rows="SKU,file\nA1,0\nA2,1\n",
    ),
    table(
        "a missing column like none",
        "bags.csv:2: image_sets[0].key: there is no column 'sku'; there are: article, file",
        rows="article,file\nA1,0\n",
    ),
    table(
        "a missing column of images",
        "bags.csv:2: image_sets[0].images: there is no column 'file' (and 1 more like it); there are: sku, photo",
        rows="sku,photo\nA1,0\nA2,1\n",
    ),
    table(
        "a missing column of the prompt",
        "bags.csv:2: prompts[0].text: there is no column 'colour'; there are: sku, file",
        rows="sku,file\nA1,0\n",
        text="A {{ row.colour }} bag",
    ),
    table(
        "a header twice",
        "bags.csv:1: column sku: the header has 'sku' 2 times; expected one name for each column",
        rows="sku,file,sku\nA1,0,x\n",
    ),
    table(
        "a header twice by spaces",
        "bags.csv:1: column sku: the header has 'sku' 2 times; expected one name for each column",
        rows="sku,file, sku\nA1,0,x\n",
    ),
    table(
        "two headers twice",
        "bags.csv:1: column sku: the header has 'sku' 2 times; expected one name for each column",
        "bags.csv:1: column file: the header has 'file' 2 times; expected one name for each column",
        rows="sku,file,sku,file\nA1,0,A1,0\n",
    ),
    table(
        "a byte order mark before the header in quotes",
        "bags.csv:3: the row has 1 cell; expected 2, as the header has",
        rows=b'\xef\xbb\xbf"sku","file"\nA1,0\nA2\n',
    ),
    table(
        "two byte order marks",
        "bags.csv:2: image_sets[0].key: there is no column 'sku'; did you mean '\\ufeffsku'?",
        rows=b"\xef\xbb\xbf\xef\xbb\xbfsku,file\nA1,0\n",
    ),
    table(
        "no header", "bags.csv:2: image_sets[0].key: there is no column 'sku'; there are: A1, 0", rows="A1,0\nA2,1\n"
    ),
    table(
        "the wrong delimiter",
        "bags.csv:2: image_sets[0].key: there is no column 'sku'; there are: sku;file",
        rows="sku;file\nA1;0\n",
        table="{path: bags.csv, delimiter: ','}",
    ),
]
CELLS = [
    table("too few cells", "bags.csv:3: the row has 1 cell; expected 2, as the header has", rows="sku,file\nA1,0\nA2\n"),
    table("too many cells", "bags.csv:3: the row has 4 cells; expected 2, as the header has", rows="sku,file\nA1,0\nA2,1,x,y\n"),
    table("too few and too many", "bags.csv:2: the row has 1 cell; expected 2, as the header has", "bags.csv:3: the row has 3 cells; expected 2, as the header has", rows="sku,file\nA1\nA2,1,x\n"),
    table("a comma that is not in quotes", "bags.csv:2: the row has 4 cells; expected 3, as the header has", rows="sku,file,note\nA1,0,red, large\n"),
    table("a quote left open to the end", 'bags.csv:3: the quote that opens in this line is never closed; expected a closing ", or "" for one in a cell', rows='sku,file\nA1,0\nA2,"1\nA3,0\n'),
    table("a quote left open that merges rows", 'bags.csv:3: the text goes on after a closing quote; expected "" for a quote in a cell; the cell begins in line 2', rows='sku,file\nA1,"0\nA2,"1\nA3,0\n'),
    table("a quote left open and closed in a later row", 'bags.csv:3: the text goes on after a closing quote; expected "" for a quote in a cell; the cell begins in line 2', rows='sku,file,note\nA1,0,"12 inch\nA2,1,"30 inch"\nA3,0,x\n'),
    table("a quote left open that merges rows of too many cells", "bags.csv:2: the row has 4 cells; expected 3, as the header has; a cell spans the lines 2 to 3: is a quote left open?", rows='sku,file,note\nA1,"0,x\nA2,1",30,y\nA3,0,z\n'),
    table("text after a closing quote", 'bags.csv:2: the text goes on after a closing quote; expected "" for a quote in a cell', rows='sku,file\n"A1"x,0\n'),
    table("a cell over 131,072 characters", "bags.csv:2: a cell is longer than 131,072 characters; expected a shorter one", rows=longer(131_073)),
    table("a cell over 131,072 characters by a quote", "bags.csv:2: a cell is longer than 131,072 characters; expected a shorter one; is the quote that opens in this line left open?", rows='sku,file,note\nA1,0,"' + "x\n" * 70_000 + '"\n'),
    table("a line over 16 MB", "bags.csv:2: the line is longer than 16,000,000 characters; expected a table of shorter lines", rows=longer(16_000_000)),
    table("a NUL", "bags.csv:3: the line holds a NUL; expected text; of a UTF-16 file, say `encoding: utf-16`", rows=b"sku,file\nA1,0\nA2,1\0\n"),
    table("utf-16 that is not said", "bags.csv:1: the line holds a NUL; expected text; of a UTF-16 file, say `encoding: utf-16`", rows="sku,file\nA1,0\n".encode("utf-16")),
    table("latin-1 that is not said", "bags.csv:2: the line is not text in the table's encoding; expected UTF-8, or say `encoding`, such as cp1252", rows="sku,file,note\nA1,0,gr\xfcn\n".encode("latin-1")),
    table("utf-8 where another is said", "bags.csv:2: the line is not text in the table's encoding; expected UTF-8, or say `encoding`, such as cp1252", rows="sku,file,note\nA1,0,ÄÍ\n", table="{path: bags.csv, encoding: cp1252}"),
    table("half a utf-16 file", "bags.csv:2: the line is not text in the table's encoding; expected UTF-8, or say `encoding`, such as cp1252", rows="sku,file\nA1,0\n".encode("utf-16")[:-1], table="{path: bags.csv, encoding: utf-16}"),
    table("a lone surrogate", "bags.csv:2: the line is not text in the table's encoding; expected UTF-8, or say `encoding`, such as cp1252", rows=b"sku,file,note\nA1,0,\xed\xa0\xbd\n"),
    table("half of a pair in latin-1", "bags.csv:3: the line is not text in the table's encoding; expected UTF-8, or say `encoding`, such as cp1252", rows=b"sku,file\nA1,0\n\xff,1\n"),
]  # fmt: skip
KEYS = [
    table(
        "two equal keys",
        "bags.csv:4: image_sets[0].key: line 4 has the key 'A1', and line 2 has 'A1'; expected keys that differ in more than case",
        rows="sku,file\nA1,0\nA2,1\nA1,1\n",
    ),
    table(
        "two keys that differ in case",
        "bags.csv:3: image_sets[0].key: line 3 has the key 'STRASSE', and line 2 has 'strasse'; expected keys that differ in more than case",
        rows="sku,file\nstrasse,0\nSTRASSE,1\n",
    ),
    table(
        "two keys that differ by case folding",
        "bags.csv:3: image_sets[0].key: line 3 has the key 'STRASSE', and line 2 has 'straße'; expected keys that differ in more than case",
        rows="sku,file\nstraße,0\nSTRASSE,1\n",
    ),
    table(
        "two keys that differ in composition",
        "bags.csv:3: image_sets[0].key: line 3 has the key 'café', and line 2 has 'café'; expected keys that differ in more than case",
        rows="sku,file\ncaf\u00e9,0\ncafe\u0301,1\n",
    ),
    table(
        "three equal keys",
        "bags.csv:3: image_sets[0].key: line 3 has the key 'A1', and line 2 has 'A1'; expected keys that differ in more than case",
        rows="sku,file\nA1,0\nA1,1\nA1,0\n",
    ),
    table(
        "an empty key",
        "bags.csv:3: image_sets[0].key: the key is empty; expected a name for the item",
        rows="sku,file\nA1,0\n,1\n",
    ),
    table(
        "a key with spaces around it",
        "bags.csv:2: image_sets[0].key: the key ' A1' begins or ends with a space; expected {{ … | trim }}",
        rows="sku,file\n A1,0\n",
    ),
    table(
        "a key that goes up",
        "bags.csv:2: image_sets[0].key: the key '../../etc/A1' is no relative path; expected names with single '/' between them, and no '..'",
        rows="sku,file\n../../etc/A1,0\n",
    ),
    table(
        "an absolute key",
        "bags.csv:2: image_sets[0].key: the key '/etc/A1' is no relative path; expected names with single '/' between them, and no '..'",
        rows="sku,file\n/etc/A1,0\n",
    ),
    table(
        "a key with a line break",
        "bags.csv:2: image_sets[0].key: the key 'A\\n1' holds a control character; expected a name for the item",
        rows='sku,file\n"A\n1",0\n',
    ),
    table(
        "a key with a control character",
        "bags.csv:2: image_sets[0].key: the key 'A\\x1b[31m1' holds a control character; expected a name for the item",
        rows="sku,file\nA\x1b[31m1,0\n",
    ),
    table(
        "a key that begins with -",
        "bags.csv:2: output.path: the output path 'bags/white/-1-1' has a segment that begins with '-'; expected another first character",
        rows="sku,file\n-1,0\n",
        table="bags.csv",
        key='"{{ row.sku }}"',
    ),
    table(
        "a hidden key",
        "bags.csv:2: output.path: the output path 'bags/white/.A1-1' has a segment that begins with '.'; expected another first character",
        rows="sku,file\n.A1,0\n",
    ),
    table(
        "a key of 600 bytes",
        "bags.csv:2: image_sets[0].key: the key 'a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/'… is longer than 500 bytes; expected a shorter name",
        rows=f"sku,file\n{'a/' * 300}a,0\n",
    ),
    table(
        "a key with a segment of 250 bytes",
        "bags.csv:2: output.path: the output path 'bags/white/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'… ends with too long a name; expected at most 241 bytes",
        rows=f"sku,file\n{'a' * 250},0\n",
    ),
]
PROMPTS = [
    table("an empty prompt", "bags.csv:3: prompts[0].text: the prompt is empty; expected text", rows="sku,file,text\nA1,0,white\nA2,1,\n", text="{{ row.text }}"),
    table("a blank prompt", "bags.csv:2: prompts[0].text: the prompt is empty; expected text", rows='sku,file,text\nA1,0," "\n', text="{{ row.text }}"),
    table("a prompt over 32,000 characters", "bags.csv:3: prompts[0].text: the prompt has 32,001 characters; expected at most 32,000", rows=f"sku,file,text\nA1,0,white\nA2,1,{'x' * 32_001}\n", text="{{ row.text }}"),
    table("a null in a prompt", "bags.jsonl:1: prompts[0].text: the column 'colour' is null here; expected a value", rows='{"sku": "A1", "file": 0, "colour": null}\n', text="{{ row.colour }}", table="bags.jsonl"),
    table("a division by a row's zero", "bags.csv:2: prompts[0].text: division by zero", rows="sku,file,n\nA1,0,0\n", text="{{ 1 / (row.n | int) }}"),
    table("the table's own braces are no template", "bags.csv:3: the row has 1 cell; expected 3, as the header has", rows="sku,file,text\nA1,0,{{ key }}\nA2\n", text="{{ row.text }}"),
]  # fmt: skip
JSONL = [
    jsonl(
        "a blank line",
        "bags.jsonl:2: the line is blank; expected one JSON object in each line",
        rows='{"sku": "A1", "file": 0}\n\n{"sku": "A2", "file": 1}\n',
    ),
    jsonl(
        "NaN",
        "bags.jsonl:2: the line is not JSON: NaN is no JSON number; expected one JSON object in each line",
        rows='{"sku": "A1", "file": 0}\n{"sku": "A2", "file": NaN}\n',
    ),
    jsonl(
        "infinity",
        "bags.jsonl:1: the line is not JSON: -Infinity is no JSON number; expected one JSON object in each line",
        rows='{"sku": "A1", "file": -Infinity}\n',
    ),
    jsonl(
        "a number too large",
        "bags.jsonl:1: the line is not JSON: 1e999 is too large; expected one JSON object in each line",
        rows='{"sku": "A1", "file": 0, "n": 1e999}\n',
    ),
    jsonl(
        "a number of 5,000 digits",
        "bags.jsonl:1: the line is not JSON: a number has too many digits; expected one JSON object in each line",
        rows=f'{{"sku": "A1", "file": 0, "n": {"9" * 5000}}}\n',
    ),
    jsonl(
        "a line cut short",
        "bags.jsonl:2: the line is not JSON: Unterminated string at character 15; expected one JSON object in each line",
        rows='{"sku": "A1", "file": 0}\n{"sku": "A2", "fi',
    ),
    jsonl(
        "single quotes",
        "bags.jsonl:1: the line is not JSON: Expecting property name enclosed in double quotes at character 2; expected one JSON object in each line",
        rows="{'sku': 'A1'}\n",
    ),
    jsonl(
        "two objects on a line",
        "bags.jsonl:1: the line is not JSON: Extra data at character 26; expected one JSON object in each line",
        rows='{"sku": "A1", "file": 0} {"sku": "A2", "file": 1}\n',
    ),
    jsonl(
        "one array over all",
        "bags.jsonl:1: the line holds an array; expected one JSON object in each line",
        rows='[{"sku": "A1", "file": 0}]\n',
    ),
    jsonl(
        "an array over lines",
        "bags.jsonl:1: the line is not JSON: Expecting value at character 3; expected one JSON object in each line",
        rows='[\n{"sku": "A1", "file": 0}\n]\n',
    ),
    jsonl("a number", "bags.jsonl:1: the line holds a number; expected one JSON object in each line", rows="7\n"),
    jsonl("null", "bags.jsonl:1: the line holds null; expected one JSON object in each line", rows="null\n"),
    jsonl("text", "bags.jsonl:1: the line holds text; expected one JSON object in each line", rows='"A1"\n'),
    jsonl(
        "a key twice",
        "bags.jsonl:1: the line is not JSON: 'sku' stands in it twice; expected one JSON object in each line",
        rows='{"sku": "A1", "sku": "A2", "file": 0}\n',
    ),
    jsonl(
        "half a surrogate pair",
        "bags.jsonl:1: the line holds half a surrogate pair; expected whole characters",
        rows='{"sku": "A1", "file": 0, "note": "\\ud83d"}\n',
    ),
    jsonl(
        "latin-1",
        "bags.jsonl:1: the line is not text in the table's encoding; expected UTF-8, or say `encoding`, such as cp1252",
        rows='{"sku": "A1", "file": 0, "note": "gr\xfcn"}\n'.encode("latin-1"),
    ),
    jsonl(
        "a NUL",
        "bags.jsonl:1: the line holds a NUL; expected text; of a UTF-16 file, say `encoding: utf-16`",
        rows=b'{"sku": "A1", "file": 0}\0\n',
    ),
    jsonl(
        "100,000 brackets",
        "bags.jsonl:1: the line is not JSON: it is nested too deeply; expected one JSON object in each line",
        rows="[" * 100_000 + "\n",
    ),
    jsonl(
        "empty",
        "job.yaml:4:27: image_sets[0].table: the table has no rows; expected items, or `allow_empty: true`",
        rows=b"",
    ),
    jsonl(
        "a missing field",
        "bags.jsonl:2: image_sets[0].key: there is no column 'sku'; did you mean 'SKU'?",
        rows='{"sku": "A1", "file": 0}\n{"SKU": "A2", "file": 1}\n',
    ),
    jsonl(
        "a null key",
        "bags.jsonl:1: image_sets[0].key: the column 'sku' is null here; expected a value",
        rows='{"sku": null, "file": 0}\n',
    ),
    jsonl(
        "csv",
        "bags.jsonl:1: the line is not JSON: Expecting value at character 1; expected one JSON object in each line",
        rows="sku,file\nA1,0\n",
    ),
]
SETS = [
    table("exclude of a table", "job.yaml:4:99: image_sets[0].exclude: exclude is for sets of files; expected none here", rows="sku,file\nA1,0\n", exclude="[x]"),
    table("min_age of a table", "job.yaml:4:99: image_sets[0].min_age: min_age is for sets of files; expected none here", rows="sku,file\nA1,0\n", min_age="60s"),
    table("file in a key", "job.yaml:4:44: image_sets[0].key: {{ file }} is no field that is known here; there are: row, set", rows="sku,file\nA1,0\n", key='"{{ file.stem }}"'),
    table("a key that is no template", "bags.csv:3: image_sets[0].key: line 3 has the key 'bag', and line 2 has 'bag'; expected keys that differ in more than case", rows="sku,file\nA1,0\nA2,1\n", key="bag"),
    table("two faults of the manifest and two of the table", "job.yaml:4:99: image_sets[0].mask: there is no file 'none.png'; expected an image's path", "job.yaml:5:25: prompts[0].text: {{ nope }} is no field that is known here; there are: file, key, prompt, row, seed, set, variant", "bags.csv:2: the row has 1 cell; expected 2, as the header has", "bags.csv:4: image_sets[0].key: line 4 has the key 'A2', and line 3 has 'A2'; expected keys that differ in more than case", rows="sku,file\nA1\nA2,0\nA2,1\n", text="{{ row.colour }} {{ nope }}", mask="none.png"),
]  # fmt: skip


@pytest.mark.parametrize("row", [*FILES, *HEADERS, *CELLS, *KEYS, *PROMPTS, *JSONL, *SETS], ids=str)
def test_a_bad_table_is_refused(refused: Refused, row: Row) -> None:
    """One line names the file and its line, what is wrong and what was expected; exit 2, nothing sent."""
    refused(row)
