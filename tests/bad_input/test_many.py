"""Where many things are wrong at once: all are told together, in order, each once, and a flood is cut and counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import JobError, Problem, listed
from tests.bad_input.conftest import BenchOf

ROWS = "[{name: bags, table: bags.csv, key: '{{ row.sku }}', images: 'in/{{ row.file }}.png'}]"


def test_150_bad_images_are_100_lines_and_a_count(bench: BenchOf, folder: Path) -> None:
    """In the order of their names, from `validate` and `--strict` alike; `--json` has them all."""
    for number in range(150):
        (folder / f"in/bad-{number:03}.png").touch()
    lines = [f"in/bad-{n:03}.png: shoes/bad-{n:03}/white: is empty; expected an image" for n in range(100)]
    job = bench()
    job.refused(*lines, "and 50 more problems")
    found = job.call("validate", "job.yaml", "--json").json
    assert [one["file"] for one in found["problems"]] == [f"in/bad-{number:03}.png" for number in range(150)]
    assert (found["exit"], found["unlisted"], found["files"]) == (2, 0, 152)
    assert found["error"].splitlines() == [*lines, "and 50 more problems"]


def test_more_problems_than_are_kept_are_counted(bench: BenchOf, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays flat, whatever a wrong path makes of a million rows."""
    monkeypatch.setattr("pipeline.run.validate.KEPT", 20)
    for number in range(150):
        (folder / f"in/bad-{number:03}.png").touch()
    said = bench().call("validate", "job.yaml", "--json")
    assert (len(said.json["problems"]), said.json["unlisted"], said.code) == (20, 130, 2)
    assert said.err.splitlines()[20:] == ["error: and 130 more problems"]


def test_500_rows_with_the_same_fault_are_two_lines_with_counts(bench: BenchOf, folder: Path) -> None:
    """The first of each kind names its line."""
    rows = "".join(f"A{n}\n" if n % 2 else f"A{n},0,x\n" for n in range(500))
    (folder / "bags.csv").write_text(f"sku,file\n{rows}")
    assert bench(image_sets=ROWS).lines("run", "job.yaml") == (
        2,
        [
            "bags.csv:2: the row has 3 cells (and 249 more like it); expected 2, as the header has",
            "bags.csv:3: the row has 1 cell (and 249 more like it); expected 2, as the header has",
        ],
        0,
    )


def test_different_faults_of_one_place_are_ten_lines_and_a_count(bench: BenchOf, folder: Path) -> None:
    """Each of them names its line, the first of the others too."""
    (folder / "bags.csv").write_text("sku,file\n" + "".join(f"../A{n},0\n" for n in range(2, 302)))
    code, lines, _ = bench(image_sets=ROWS).lines("plan", "job.yaml")
    what = "is no relative path; expected names with single '/' between them, and no '..'"
    assert code == 2
    assert lines == [
        *(f"bags.csv:{n}: image_sets[0].key: the key '../A{n}' {what}" for n in range(2, 12)),
        "bags.csv:12: image_sets[0].key: and 290 more problems of this place, from here on",
    ]


def test_200_wrong_entries_of_a_manifest_are_100_lines_and_a_count(bench: BenchOf) -> None:
    """In the order of the file."""
    entries = "".join(f"\n  - {{name: p{n}, text: x, repeat: 0}}" for n in range(200))
    code, lines, _ = bench(prompts=entries).lines("validate", "job.yaml")
    said = "0 is too small; expected a whole number from 1 to 10000"
    assert code == 2
    assert lines == [
        *(
            f"job.yaml:{n + 6}:{len(f'  - {{name: p{n}, text: x, ') + 1}: prompts[{n}].repeat: {said}"
            for n in range(100)
        ),
        "and 100 more problems",
    ]


def test_the_manifest_the_table_and_the_images_are_told_together(bench: BenchOf, folder: Path) -> None:
    """Only `validate` looks at the images of a job that is wrong already, so that one look finds everything."""
    (folder / "bags.csv").write_text("sku,file\nA1,0\nA2\nA3,9\n")
    (folder / "in/1.png").write_bytes(b"text")
    shoes = '{name: shoes, images: "in/1.png"}, {name: none, images: "in/*.webp"}'
    wrong = bench(image_sets=f"[{shoes}, {ROWS[1:]}", endpoint="{ca_bundle: ca.pem}")
    told = [
        "job.yaml:4:62: image_sets[1].images: no file matches; expected items, or `allow_empty: true`",
        "bags.csv:3: the row has 1 cell; expected 2, as the header has",
    ]
    images = [
        "in/1.png: shoes/1/white: is no image by its first bytes; expected png, jpeg or webp",
        "bags.csv:4: bags/A3/white: in/9.png does not exist; expected an image file",
    ]
    bundle = f"job.yaml:7:12: endpoint.ca_bundle: cannot use {folder}/ca.pem: No such file or directory"
    assert wrong.lines("validate", "job.yaml") == (
        2,
        [*told, f"{bundle}; expected a PEM file with certificates", *images],
        0,
    )
    assert wrong.lines("run", "job.yaml") == (2, told, 0)


def test_an_equal_line_is_told_once_and_a_flood_is_counted() -> None:
    """The lines of an error that is caught in Python are those that are printed."""
    problems = [Problem(f"wrong {number}") for number in range(103)]
    error = JobError([problems[0], *problems])
    assert len(error.problems) == 104
    assert str(error).splitlines() == [*map(str, problems[:100]), "and 3 more problems"]
    assert list(listed([problems[0]], 1)) == ["wrong 0", "and 1 more problem"]
    assert list(listed(())) == []
