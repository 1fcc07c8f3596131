"""Tables: every cell, delimiter, quote and encoding.

A case is one line of JSON, which is laid over a manifest's image set and prompt, and then the table's bytes.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from pipeline.errors import JobError
from pipeline.manifest.load import load_job
from pipeline.tasks.expand import prepare
from tests.fuzz.command import retouch
from tests.fuzz.grounds import furnish, working_in
from tests.fuzz.harness import Check, Kind
from tests.fuzz.mutate import NUMBERS, TEXTS, changed

JOB = "job.yaml"
_ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "utf-7", "shift_jis", "cp037")
_NAMED = (
    None, None, None, "utf-8", "utf-16", "utf-7", "cp1252", "latin-1", "ascii", "idna", "punycode", "rot13", "hex",
    "zlib", "unicode_escape", "raw_unicode_escape", "undefined", "no-such", "cp037", "utf-8-sig", "bz2", "base64",
    "mbcs", "a b",
)  # fmt: skip
_DELIMITERS = (None, None, None, ",", ";", "\t", "|", " ", '"', "\n", "\r", "\0", "a", "é", "😀", "\u2028", "\\")
_COLUMNS = (
    "sku",
    "file",
    "colour",
    "items",
    "keys",
    "__class__",
    "a b",
    "Artikel-Nr.",
    "",
    "é",
    "e\u0301",
    "SKU",
    "\x1f",
)


def table(rng: Random) -> bytes:
    """A table of strange cells, written as one, and its bytes perhaps changed."""
    ext = _mostly(rng, "csv", "tsv", "jsonl", "ndjson", "txt", "CSV")
    laid: dict[str, Any] = {
        "ext": ext,
        "delimiter": _mostly(rng, None, *_DELIMITERS),
        "encoding": _mostly(rng, None, *_NAMED),
        "key": _mostly(rng, "{{ row.sku }}", "{{ row['Artikel-Nr.'] }}", "{{ row.sku | trim }}-{{ row.file }}"),
        "images": _mostly(rng, "in/{{ row.file }}", "in/0.png", "{{ row.file }}", "in/*.png", "{{ row.colour }}"),
        "text": _mostly(rng, "White", "{{ row.colour }}", "{{ row.items }} {{ row.keys }}"),
    }
    columns = ["sku", "file", *rng.sample(_COLUMNS, rng.choice((0, 1, 3)))]
    if rng.random() < 0.02:
        columns += [f"c{number}" for number in range(rng.choice((300, 20_000)))]
    odd = rng.choice((0.0, 0.05, 0.05, 0.5))
    rows = [_row(rng, columns, number, odd) for number in range(_mostly(rng, 2, 0, 1, 5))]
    text = _jsonl(rng, columns, rows) if ext.endswith(("jsonl", "ndjson")) else _delimited(rng, columns, rows, laid)
    own = laid["encoding"] or "utf-8"
    data = text.encode(
        (own if rng.random() < 0.9 else rng.choice(_ENCODINGS)) if _can(text, laid) else "utf-8", "replace"
    )
    if rng.random() < 0.3:
        data = changed(
            rng, data, (), tuple(word.encode() for word in (",", ";", '"', '""', "\n", "\r", "sep=;\n", "\ufeff"))
        )
    return json.dumps(laid).encode() + b"\n" + data


def _mostly(rng: Random, usual: Any, *others: Any) -> Any:
    """The usual value three times out of four, so that not everything is wrong at once."""
    return usual if rng.random() < 0.75 else rng.choice(others)


def _row(rng: Random, columns: Sequence[str], number: int, odd: float) -> list[str]:
    return [cell(rng, name, number, odd) if at < 10 else str(at) for at, name in enumerate(columns)]


def _can(text: str, laid: dict[str, Any]) -> bool:
    try:
        text.encode(laid["encoding"] or "utf-8", "replace")
    except (LookupError, UnicodeError):
        return False
    return True


def cell(rng: Random, column: str, number: int, odd: float = 1.0) -> str:
    """A good cell, or one of any characters; `odd` is the chance of that."""
    if rng.random() >= odd:
        return {"sku": f"k{number}", "file": "0.png"}.get(column, "red")
    if rng.random() < 0.5:
        return rng.choice((*TEXTS, *NUMBERS, "K0", "k0 ", "a/b", "a/../b", ".a", "-a", "con", "x" * 140_000))
    return "".join(character(rng) for _ in range(rng.choice((1, 3, 20, 300))))


def character(rng: Random) -> str:
    """A character, half of the time of a category drawn first, so that the rare ones come up."""
    return chr(rng.randrange(32, 127)) if rng.random() < 0.5 else rng.choice(rng.choice(_by_category()))


@cache
def _by_category() -> tuple[str, ...]:
    """Some characters of every category."""
    found: dict[str, str] = {}
    for code in (*range(0x3000), *range(0xA000, 0x20000, 7), *range(0xE0000, 0x110000, 997)):
        found[unicodedata.category(chr(code))] = found.get(unicodedata.category(chr(code)), "") + chr(code)
    return tuple(found[name] for name in sorted(found))


def _delimited(rng: Random, columns: Sequence[str], rows: Sequence[Sequence[str]], laid: dict[str, Any]) -> str:
    mark = laid["delimiter"] or ("\t" if laid["ext"] == "tsv" else rng.choice(",,,;|"))
    end = rng.choice(("\n", "\r\n", "\r"))
    always = rng.random() < 0.5

    def written(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if always or mark in text or "\n" in text else text

    lines = [mark.join(map(written, columns)), *(mark.join(map(written, row)) for row in rows)]
    return rng.choice(("", "", "sep=;\n", "\ufeff", "\n\n")) + end.join(lines) + rng.choice(("", end, end * 3, '"'))


def _jsonl(rng: Random, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    odd = (None, 1, -0.0, 1e300, True, [1, [2]], {"a": {"b": None}}, "\ud83d", 10**50)
    lines = []
    for row in rows:
        cells: dict[str, Any] = dict(zip(columns, row, strict=True))
        if rng.random() < 0.3:
            cells[rng.choice(columns)] = rng.choice(odd)
        lines.append(json.dumps(cells, ensure_ascii=rng.random() < 0.7).replace('"1e300"', "1e999"))
    if rng.random() < 0.2:
        lines.insert(
            0, rng.choice(("", "[]", "NaN", '{"a": NaN}', '{"a":1,"a":2}', "[" * 100_000, '{"a":' * 9000, "1" * 5000))
        )
    return rng.choice(("\n", "\r\n")).join(lines)


@contextmanager
def opened(folder: Path) -> Iterator[Check]:
    """Checks a job over the table."""
    furnish(folder)
    with working_in(folder):
        yield check


def check(data: bytes) -> str:
    """Exit 0 or 2; each problem with its place; the same tasks each time, each with an id and paths of its own."""
    head, _, body = data.partition(b"\n")
    try:
        laid = json.loads(head)
        name = f"rows.{laid['ext']}"
        Path(JOB).write_text(json.dumps(manifest(laid, name)), "utf-8", "replace")
    except (ValueError, LookupError, TypeError, AttributeError):
        return "not a case"
    Path(name).write_bytes(body)
    said = retouch("plan", JOB, "--json", allowed=frozenset({0, 2}))
    if said.code:
        assert all(": " in line for line in said.errors), said.err
        return "exit 2"
    assert retouch("plan", JOB, "--json").out == said.out, "another plan the second time"
    check_tasks(Path(JOB))
    return "exit 0"


def manifest(laid: dict[str, Any], name: str) -> dict[str, Any]:
    """The manifest that a case's first line stands for."""
    read = {key: laid[key] for key in ("delimiter", "encoding") if laid.get(key) is not None}
    of_set = {"mask": laid.get("mask"), "references": [laid["reference"]] if "reference" in laid else []}
    prompt = {"name": "p", "text": laid.get("text", "White"), "matrix": laid.get("matrix", {})}
    request = {"model": "m", "extra_body": {"x": laid["extra"], "y": [laid["extra"]]} if "extra" in laid else {}}
    return {
        "version": 1,
        "name": "job",
        "endpoint": {"auth": "none"},
        "request": request,
        "image_sets": [
            {"name": "set", "table": {"path": name, **read}, "key": laid.get("key", "{{ row.sku }}")}
            | {"images": laid.get("images", "in/0.png"), **of_set}
        ],
        "prompts": [prompt],
        "output": {
            "folder": "out",
            "path": laid.get("path", "{{ set }}/{{ prompt }}{{ variant }}/{{ key }}-{{ index }}"),
        },
    }


def check_tasks(file: Path) -> None:
    """Ids and paths are whole text on one line, no two alike, and no path leaves the folder."""
    try:
        tasks = list(prepare(load_job(file, os.environ), 0.0).tasks())
    except JobError as error:
        raise AssertionError(f"refused after it was planned: {error}") from error
    ids = [task.id for task in tasks]
    paths = [path for task in tasks for path in task.paths]
    assert len(set(ids)) == len(ids), "two tasks with one id"
    folded = {unicodedata.normalize("NFC", path).casefold() for path in paths}
    assert len(folded) == len(paths), "two outputs with one name"
    for text in (*ids, *paths):
        text.encode()
        assert not any(unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") for char in text), repr(text)
    for path in paths:
        assert path == unicodedata.normalize("NFC", path)
        assert all(name not in ("", ".", "..") and len(name.encode()) < 250 for name in path.split("/")), repr(path)


KINDS: Sequence[Kind] = (Kind("table", table, opened, megabytes=160),)
