"""Everything that is wrong with a job before the first request: each gets one clear line, all of them together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import Problem
from pipeline.tasks.faults import Findings

Problems = Callable[..., list[str]]
Make = Callable[..., None]

TABLE: dict[str, Any] = {"name": "bags", "table": "bags.csv", "key": "{{ row.sku }}", "images": "in/{{ row.file }}"}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            {"image_sets": [{"name": "s", "images": "in/*.webp"}]},
            "image_sets[0].images: no file matches; expected items",
        ),
        ({"image_sets": [{"name": "s", "images": "in"}]}, "in is a folder, its images are in/**/*.{jpg,png}"),
        ({"image_sets": [{"name": "s", "images": "gone/*"}]}, "image_sets[0].images: cannot list the folder"),
        ({"image_sets": [{"name": "s", "images": "in/*/../x"}]}, "image_sets[0].images: 'in/*/../x' goes up"),
        (
            {"image_sets": [{"name": "s", "images": "in/*", "exclude": ["*/../x"]}]},
            "image_sets[0].exclude: '*/../x' goes",
        ),
        ({"image_sets": [{"name": "s", "images": "in/*", "key": "{{ row.a }}"}]}, "image_sets[0].key: {{ row }} is no"),
        ({"image_sets": [{"name": "s", "images": "in/*", "mask": "gone.png"}]}, "image_sets[0].mask: there is no file"),
        (
            {"image_sets": [{"name": "s", "images": "in/*", "key": "../x"}]},
            "in/a.jpg: image_sets[0].key: the key '../x'",
        ),
        (
            {"prompts": [{"name": "p", "text": "{{ row.a }}"}]},
            "prompts[0].text: {{ row }} is no field that is known here",
        ),
        ({"prompts": [{"name": "p", "text": "{{ index }}"}]}, "known only in output.path"),
        ({"prompts": [{"name": "p", "text": "{{ matrix.x }}"}]}, "this prompt has no matrix"),
        ({"prompts": [{"name": "p", "text": "{{"}]}, "prompts[0].text: the template is wrong"),
        ({"prompts": [{"name": "p", "text": "x" * 32_001}]}, "prompts[0].text: the prompt has 32,001 characters"),
        ({"prompts": [{"name": "p", "text": "{% if false %}x{% endif %}"}]}, "prompts[0].text: the prompt is empty"),
        (
            {"prompts": [{"name": "p", "text": "{{ matrix.light }}", "matrix": {"ligth": ["a"]}}]},
            "job.yaml:1:1: prompts[0].text: there is no axis 'light'; did you mean 'ligth'?",
        ),
        (
            {"prompts": [{"name": "p", "text": "x", "references": ["gone.png"]}]},
            "prompts[0].references[0]: there is no",
        ),
        (
            {"request": {"model": "m", "extra_body": {"a": {"b": "{{ x }}"}}}},
            "request.extra_body.a.b: {{ x }} is no field",
        ),
        (
            {"prompts": [{"name": "p", "text": "x", "request": {"extra_body": {"a": "{{ x }}"}}}]},
            "prompts[0].request.extra_body.a: {{ x }} is no field",
        ),
        ({"output": {"folder": "in/a.jpg"}}, "output.folder:"),
        ({"output": {"folder": "in/a.jpg/out"}}, "in/a.jpg is not a folder"),
        ({"output": {"folder": "in"}}, "in/a.jpg lies in the output folder"),
        ({"output": {"folder": "."}}, "in/a.jpg lies in the output folder"),
        ({"output": {"folder": "o", "path": "{{ key }}.png"}}, "output.path: '{{ key }}.png' ends with '.png'"),
        ({"output": {"folder": "o", "path": "../{{ key }}"}}, "output.path: '../{{ key }}' has a segment '..'"),
        ({"output": {"folder": "o", "path": "/{{ key }}"}}, "job.yaml:1:1: output.path: '/{{ key }}' begins with '/'"),
        ({"output": {"folder": "o", "path": "a//{{ key }}"}}, "has an empty segment"),
        (
            {"output": {"folder": "o", "path": "{{ key }}{{ '/../x' }}"}},
            "in/a.jpg: output.path: the output path 'a/../x' has a segment '..'",
        ),
        ({"output": {"folder": "o", "path": "{{ nope }}"}}, "output.path: {{ nope }} is no field"),
        (
            {"request": {"model": "m", "n": 2}, "output": {"folder": "o", "path": "{{ key }}"}},
            "job.yaml:1:1: output.path: the images of the task set/a/white would all be a",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    files: Make, problems: Problems, parts: dict[str, Any], expected: str
) -> None:
    """One fault gives one line, with the place and what was expected."""
    files("in/a.jpg")
    (found,) = problems(**parts)
    assert expected in found


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("sku,file\n", "job.yaml:1:1: image_sets[0].table: the table has no rows"),
        ("", "bags.csv:1: the table is empty"),
        ("sku,file,sku\n1,a,2\n", "bags.csv:1: column sku: the header has 'sku' 2 times"),
        ("sku,file\n1,a\n2\n", "bags.csv:3: the row has 1 cell; expected 2"),
        ('sku,file\n1,a\n2,"b\n', "bags.csv:3: the quote that opens in this line is never closed"),
        (
            "SKU,file\n1,a\n2,b\n",
            "bags.csv:2: image_sets[0].key: there is no column 'sku' (and 1 more like it); did you",
        ),
        ("sku,file\n1,a\n,b\n", "bags.csv:3: image_sets[0].key: the key is empty"),
        ("sku,file\n1 ,a\n", "begins or ends with a space; expected {{ … | trim }}"),
        ("sku,file\n/1,a\n", "bags.csv:2: image_sets[0].key: the key '/1' is no relative path"),
        ('sku,file\n"1\n2",a\n', "holds a control character"),
        ("sku,file\na,1\nb,2\nA,3\n", "bags.csv:4: image_sets[0].key: line 4 has the key 'A', and line 2 has 'a'"),
        ("sku,file\nä,1\na\u0308,2\n", "bags.csv:3: image_sets[0].key: line 3 has the key 'ä', and line 2 has 'ä'"),
        ("sku,file\n" + "x" * 250 + ",a\n", "bags.csv:2: output.path: the output path"),
        (
            "sku,file\n-1,a\n",
            "bags.csv:2: output.path: the output path 'bags/white/-1-1' has a segment that begins with",
        ),
    ],
)
def test_a_tables_fault_names_the_physical_line(tmp_path: Path, problems: Problems, table: str, expected: str) -> None:
    """One fault of a table gives one line, and the header is line 1."""
    (tmp_path / "bags.csv").write_text(table, encoding="utf-8")
    (found,) = problems(image_sets=[TABLE])
    assert expected in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{{ row.farbe }}",
            "bags.csv:2: prompts[0].text: there is no column 'farbe' (and 1 more like it); there are: sku,",
        ),
        ("{{ row.colour }}", "bags.csv:3: prompts[0].text: the prompt is empty; expected text"),
        ("{{ row.colour * 32001 }}", "bags.csv:2: prompts[0].text: the result of `*` would be too large"),
        (
            "{% for i in range(4) %}{{ row.colour * 1900 }}{% endfor %}x",
            ":2: prompts[0].text: the prompt has 38,001",
        ),
    ],
)
def test_every_rows_prompt_is_judged_before_the_first_request(
    tmp_path: Path, problems: Problems, text: str, expected: str
) -> None:
    """A missing column is told once with a count; an empty or over-long prompt names its row."""
    (tmp_path / "bags.csv").write_text("sku,file,colour\n1,a,green\n2,b,\n")
    prompts = [{"name": "p", "text": text}]
    found = problems(image_sets=[TABLE], prompts=prompts)
    assert expected in found[0]


def test_a_row_that_fails_in_one_variant_only_is_found(tmp_path: Path, problems: Problems) -> None:
    """Where a text joins row and matrix, every variant of every row is rendered."""
    (tmp_path / "bags.csv").write_text("sku,file,a\n1,x,1\n2,x,\n")
    text = "{% if matrix.x == 'two' %}{{ row.a }}{% else %}fine{% endif %}"
    prompts = [{"name": "p", "text": text, "matrix": {"x": {"1": "one", "2": "two"}}}]
    (found,) = problems(image_sets=[TABLE], prompts=prompts)
    assert found == "bags.csv:3: prompts[0].text: the prompt is empty; expected text"


def test_the_problems_of_all_sets_and_prompts_are_told_together(
    tmp_path: Path, files: Make, problems: Problems
) -> None:
    """One call tells all that is wrong, each once."""
    files("in/a.jpg", "in/a.png")
    (tmp_path / "bags.csv").write_text("sku,file\n1,a\n2\n")
    found = problems(
        image_sets=[TABLE, {"name": "files", "images": "in/*"}, {"name": "none", "images": "in/*.webp"}],
        prompts=[{"name": "p", "text": "{{ nope }}"}, {"name": "q", "text": "{{ key }}"}],
        output={"folder": "in/a.jpg"},
    )
    words = ["is not a folder", "{{ nope }}", "bags.csv:3: the row has 1 cell", "has the key", "no file matches"]
    assert len(found) == len(words)
    for word in words:
        assert sum(word in line for line in found) == 1, (word, found)


def test_equal_keys_of_files_name_both_files(tmp_path: Path, files: Make, problems: Problems) -> None:
    """`a.jpg` and `A.png` would share their outputs."""
    files("in/A.png", "in/a.jpg")
    (found,) = problems()
    assert f"{tmp_path}/in/a.jpg has the key 'a', and {tmp_path}/in/A.png has 'A'" in found


def test_two_tasks_of_one_name_are_both_named(files: Make, problems: Problems) -> None:
    """A template that joins fields ambiguously is rendered whole, and both tasks are told."""
    files("a/b-c.jpg", "a-b/c.jpg")
    sets = [{"name": "a", "images": "a/*"}, {"name": "a-b", "images": "a-b/*"}]
    (found,) = problems(image_sets=sets, output={"folder": "out", "path": "{{ set }}-{{ key }}"})
    assert "output.path: the tasks a/b-c/white and a-b/c/white would both make a-b-c" in found


def test_an_ambiguous_template_with_different_names_is_fine(files: Make, prepared: Callable[..., Any]) -> None:
    """Rendering whole refuses only what really clashes."""
    files("in/a.jpg", "in/b.jpg")
    found = prepared(output={"folder": "out", "path": "{{ set }}-{{ key }}"})
    assert [task.paths for task in found.tasks()] == [("set-a",), ("set-b",)]


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        (("x", "x-1.png/y"), None),
        (("x-1.PNG/y", "z", "X"), None),
        (("x", "x-1.webp/y/z"), None),
        (("x.jpg/y", "x"), "{{ key }}"),
        (("white", "white.png/b"), "{{ set }}/{{ key }}"),
    ],
)
def test_an_output_that_is_anothers_folder_is_refused(
    tmp_path: Path, problems: Problems, keys: tuple[str, ...], path: str | None
) -> None:
    """With any extension that it may get; whichever came second would never get its name."""
    output = {"folder": "out"} | ({"path": path} if path else {})
    (found,) = problems(image_sets=[keyed(tmp_path, keys)], output=output)
    file, inside = sorted((key for key in keys if key != "z"), key=len)
    assert f"output.path: the task bags/{file}/white may make a file that is a folder of " in found
    assert f", which bags/{inside}/white would make; expected a template, or keys, that keep them apart" in found


@pytest.mark.parametrize("keys", [("x", "x-1.gif/y"), ("x-1.png/y", "x-1.png/z"), ("x", "y-1.png/x"), ("x.png", "x")])
def test_a_folder_that_is_called_like_a_file_is_fine(
    tmp_path: Path, prepared: Callable[..., Any], keys: tuple[str, ...]
) -> None:
    """Where no task makes that file."""
    assert prepared(image_sets=[keyed(tmp_path, keys)]).total == len(keys)


def keyed(folder: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """A set with these keys."""
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in/a.jpg").write_bytes(b"")
    (folder / "bags.csv").write_text("sku,file\n" + "".join(f"{key},a.jpg\n" for key in keys))
    return TABLE


def test_a_table_that_is_a_fifo_blocks_nothing(tmp_path: Path, problems: Problems) -> None:
    """A special file is refused without being opened."""
    os.mkfifo(tmp_path / "bags.csv")
    (found,) = problems(image_sets=[TABLE])
    assert "image_sets[0].table" in found
    assert "is not a regular file" in found


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("gone.csv", "cannot read the table"),
        ({"path": "bags.csv", "encoding": "utf-9"}, "'utf-9' is no text encoding"),
        ("bags.xlsx", "'bags.xlsx' is no table that can be read"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path, problems: Problems, table: Any, expected: str) -> None:
    """A missing table, an unknown encoding and an unknown kind of file stand at the set's table."""
    (tmp_path / "bags.csv").write_text("sku,file\n1,a\n")
    (tmp_path / "bags.xlsx").touch()
    (found,) = problems(image_sets=[TABLE | {"table": table}])
    assert "image_sets[0].table" in found
    assert expected in found


def test_what_is_for_files_is_refused_for_a_table(tmp_path: Path, problems: Problems) -> None:
    """`exclude` and `min_age` of a table would be ignored otherwise."""
    (tmp_path / "bags.csv").write_text("sku,file\n1,a\n")
    found = problems(image_sets=[TABLE | {"exclude": ["x"], "min_age": "1s"}])
    assert [line.split(": ")[1] for line in found] == ["image_sets[0].exclude", "image_sets[0].min_age"]


def test_an_input_that_a_link_leads_into_the_output_folder_is_found(
    tmp_path: Path, files: Make, problems: Problems
) -> None:
    """Where an input really lies counts, not how its path is spelt."""
    files("out/a.jpg")
    (tmp_path / "in").symlink_to(tmp_path / "out")
    (found,) = problems(image_sets=[{"name": "s", "images": "in/*"}])
    assert "lies in the output folder" in found


@pytest.mark.parametrize("path", ["{{ key -}} ", " {{- key }}", "{{ key }}{# .png #}", "a{{ '/' }}{{ key }}"])
def test_what_a_template_leaves_out_is_no_part_of_its_names(
    files: Make, prepared: Callable[..., Any], path: str
) -> None:
    """White space that Jinja strips, comments and expressions are not judged as literal text."""
    files("in/a.jpg")
    assert prepared(output={"folder": "out", "path": path}).total == 1


def test_a_flood_of_different_problems_is_cut_and_counted() -> None:
    """Ten of a place are listed, the others counted; equal ones count as one."""
    findings = Findings()
    for number in range(15):
        findings.add(Problem(f"wrong {number}", where="here"), "set")
    for _ in range(3):
        findings.add(Problem("same", where="there", line=7), "set")
    lines = [str(problem) for problem in findings.problems()]
    assert lines[9:] == [
        "here: wrong 9",
        "here: and 5 more problems of this place, from here on",
        "there: same (and 2 more like it)",
    ]


def test_problems_stand_in_the_order_of_their_lines() -> None:
    """The manifest's come first, then each file's by line, whatever was looked at first."""
    findings = Findings("job.yaml")
    for file, line in (("b.csv", 7), ("job.yaml", 9), ("a.csv", 1), ("b.csv", 3), ("job.yaml", 2)):
        findings.add(Problem(f"wrong {file} {line}", file=file, line=line))
    found = [(problem.file, problem.line) for problem in findings.problems()]
    assert found == [("job.yaml", 2), ("job.yaml", 9), ("b.csv", 3), ("b.csv", 7), ("a.csv", 1)]
