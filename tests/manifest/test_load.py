# ruff: noqa: E501 - an expected message is one line
from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from pipeline.errors import JobError
from pipeline.manifest.load import load_job
from pipeline.manifest.models import Manifest
from pipeline.manifest.place import Mark
from tests.manifest.conftest import Faults, Load
from tests.manifest.minimal import minimal

SAMPLE = Path(__file__).parent / "sample.yaml"
NAME = "a name of letters, digits, '_', '.' and single '-', a letter or digit first, at most 80 characters"
TOP = "known keys: version, name, endpoint, endpoints, request, image_sets, prompts, order, limits, retries, stop_on, budget, rerun, on_invalid, output"


def test_full_sample_loads() -> None:
    """The documented manifest with every section is a job."""
    job = load_job(SAMPLE, {})
    assert job.path == SAMPLE
    assert job.folder == SAMPLE.parent
    assert job.sha256 == hashlib.sha256(SAMPLE.read_bytes()).hexdigest()
    assert job.base_url == "https://api.myrouter.ai/v1"
    assert job.output == SAMPLE.parent / "out/spring-catalog"
    assert list(job.texts) == ["white-background", "lifestyle"]
    assert job.matrix["lifestyle"] == {"light": {"dawn": "soft light at six in the morning", "dusk": "warm low sun"}}
    assert job.request_fields(1)[0] == {"model": "gpt-image-1.5", "size": "1024x1024", "quality": "medium", "n": 2}
    assert job.marks["prompts[0].text"].column == 5
    assert (job.manifest.image_sets[0].min_age, job.manifest.stop_on.failures) == (60.0, 0.2)


def test_relative_path_has_an_absolute_folder(load: Load, tmp_path: Path) -> None:
    """`path` is as the user named it, `folder` absolute."""
    job = load(minimal())
    assert (str(job.path), job.folder) == ("job.yaml", tmp_path)
    assert job.marks["output.folder"] == Mark(6, 10)


BAD = [
    ({"promts": "x"}, f"7:1: promts: unknown key 'promts'; did you mean 'prompts'? {TOP}"),
    ({"zz": "x"}, f"7:1: zz: unknown key 'zz'; {TOP}"),
    ({"version": "2"}, "1:1: version: 2 is not known; expected 1"),
    ({"version": "'1'"}, "1:1: version: '1' is not known; expected 1; write it without quotes"),
    ({"name": "2024"}, f"2:1: name: 2024 is a whole number; expected {NAME}; write it in quotes"),
    ({"name": "a--b"}, f"2:1: name: 'a--b' does not fit; expected {NAME}"),
    ({"name": "../x"}, f"2:1: name: '../x' does not fit; expected {NAME}"),
    ({"name": "-x"}, f"2:1: name: '-x' does not fit; expected {NAME}"),
    ({"name": "x" * 81}, f"2:1: name: '{'x' * 40}…' is longer than 80 characters; expected {NAME}"),
    ({"name": ""}, f"2:1: name: is missing; expected {NAME}"),
    ({"request": "{model: m, n: '3'}"}, "3:21: request.n: '3' is text; expected a whole number from 1 to 10; write it without quotes"),
    ({"request": "{model: m, n: abc}"}, "3:21: request.n: 'abc' is text; expected a whole number from 1 to 10"),
    ({"request": "{model: m, n: 1_0}"}, "3:21: request.n: '1_0' is text; expected a whole number from 1 to 10"),
    ({"request": "{model: m, n: 1.0}"}, "3:21: request.n: 1.0 is a number; expected a whole number from 1 to 10"),
    ({"request": "{model: m, n: 11}"}, "3:21: request.n: 11 is too large; expected a whole number from 1 to 10"),
    ({"request": "{model: m, n: yes}"}, "3:21: request.n: 'yes' is text; expected a whole number from 1 to 10"),
    ({"request": "{model: m, size: 12:30:45}"}, "3:21: request.size: '12:30:45' does not fit; expected auto, or WIDTHxHEIGHT such as 1024x1024"),
    ({"request": "{model: m, size: 1024}"}, "3:21: request.size: 1024 is a whole number; expected auto, or WIDTHxHEIGHT such as 1024x1024; write it in quotes"),
    ({"request": "{model: m, quality: hi}"}, "3:21: request.quality: 'hi' is not known; did you mean 'high'? expected auto, low, medium, high, xhigh or max"),
    ({"request": "{model: 2024-01-01, user: 5}"}, "3:30: request.user: 5 is a whole number; expected text; write it in quotes"),
    ({"request": "m"}, "3:1: request: 'm' is text; expected a mapping"),
    ({"image_sets": "[]"}, "4:1: image_sets: this is empty; expected a list of mappings"),
    ({"image_sets": "{name: a}"}, "4:1: image_sets: this is a mapping; expected a list of mappings"),
    ({"image_sets": "[null]"}, "4:14: image_sets[0]: this is empty; expected a mapping"),
    ({"image_sets": "[{name: a, images: [x, 3]}]"}, "4:36: image_sets[0].images[1]: 3 is a whole number; expected text; write it in quotes"),
    ({"image_sets": "[{name: a, images: {b: c}}]"}, "4:24: image_sets[0].images: this is a mapping; expected text or a list of text"),
    ({"image_sets": "[{name: a, images: []}]"}, "4:24: image_sets[0].images: this is empty; expected text or a list of text"),
    ({"image_sets": "[{name: a, images: x, exclude: y}]"}, "4:35: image_sets[0].exclude: 'y' is text; expected a list of text"),
    ({"image_sets": "[{name: a, images: x, allow_empty: no}]"}, "4:35: image_sets[0].allow_empty: 'no' is text; expected true or false"),
    ({"image_sets": "[{name: a, images: x, key: k, table: {pth: x}}]"}, "4:51: image_sets[0].table.pth: unknown key 'pth'; did you mean 'path'? known keys: path, delimiter, encoding"),
    ({"prompts": "[{name: p, txt: x}]"}, "5:21: prompts[0].txt: unknown key 'txt'; did you mean 'text'? known keys: name, text, text_file, image_sets, references, mask, matrix, request, repeat"),
    ({"prompts": "[{nme: p, text: x}]"}, "5:12: prompts[0].nme: unknown key 'nme'; did you mean 'name'? known keys: name, text, text_file, image_sets, references, mask, matrix, request, repeat"),
    ({"prompts": "[{text: x}]"}, f"5:11: prompts[0].name: is missing; expected {NAME}"),
    ({"prompts": "[{name: p, text: ''}]"}, "5:21: prompts[0].text: '' is empty; expected text"),
    ({"prompts": "[{name: p, text: x, repeat: 0}]"}, "5:30: prompts[0].repeat: 0 is too small; expected a whole number from 1 to 10000"),
    ({"limits": "{concurrency: 0}"}, "7:10: limits.concurrency: 0 is too small; expected a whole number from 1 to 4096"),
    ({"limits": "{concurrency: -1}"}, "7:10: limits.concurrency: -1 is too small; expected a whole number from 1 to 4096"),
    ({"limits": "{concurrency: 1e9}"}, "7:10: limits.concurrency: 1e9 is a number; expected a whole number from 1 to 4096"),
    ({"limits": "{timeout: 0}"}, "7:10: limits.timeout: 0 is too small; expected a duration above 0, such as 90s, 50m or 2h"),
    ({"limits": "{timeout: 1h30m}"}, "7:10: limits.timeout: '1h30m' does not fit; expected a duration above 0, such as 90s, 50m or 2h"),
    ({"limits": "{timeout: true}"}, "7:10: limits.timeout: true is a truth value; expected a duration above 0, such as 90s, 50m or 2h"),
    ({"retries": "{max_wait: -5}"}, "7:11: retries.max_wait: -5 is too small; expected a duration above 0, such as 90s, 50m or 2h"),
    ({"retries": "3"}, "7:1: retries: 3 is a whole number; expected a mapping with max_attempts, max_wait, in_doubt"),
    ({"stop_on": "{failures: 120%}"}, "7:11: stop_on.failures: '120%' is too large; expected a percentage such as 20%, or a number from 0 to 1"),
    ({"budget": "{max_images: 0}"}, "7:10: budget.max_images: 0 is too small; expected a whole number above 0"),
    ({"output": ""}, "6:1: output: is missing; expected a mapping with folder, path, spill, check"),
    ({"output": "{folder: out, check: quick}"}, "6:23: output.check: 'quick' is not known; expected full or fast"),
    ({"output": "{folder: '${NONE}/x'}"}, "6:10: output.folder: the variable NONE is not set; set it, or give a default: ${NONE:-default}"),
    ({"api_key": "hunter2hunter2"}, "7:1: api_key: unknown key 'api_key'; never put the key in the manifest; name the variable that holds it with api_key_env"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "line"), BAD, ids=[str(changes)[:50] for changes, _ in BAD])
def test_value_that_the_format_does_not_allow_gives_one_clear_line(
    faults: Faults, changes: dict[str, str], line: str
) -> None:
    """Each wrong key, type and value has its line, with what was expected there."""
    assert faults(minimal(**changes)) == [line]


def test_everything_wrong_is_told_together_in_the_files_order(faults: Faults) -> None:
    """Faults of the syntax tree, the variables, the schema, the rules and the files come in one report."""
    text = minimal(
        endpoint="{auth: {headr: x}, base_url: nowhere}",
        image_sets="[{name: a, images: '${NONE}'}, {name: A, images: x}]",
        prompts="[{name: p, text_file: none.txt, image_sets: [b], matrix: {m: []}}]",
        limits="{concurrency: 0, concurrency: 1}",
        order="null",
        budget="{max_cost: 0}",
        rerun="!tag {limit: 2}",
    )
    assert [":".join(line.split(": ")[:2]) for line in faults(text)] == [
        "4:24:image_sets[0].images",
        "4:45:image_sets[1].name",
        "5:21:prompts[0].text_file",
        "5:55:prompts[0].image_sets[0]",
        "5:68:prompts[0].matrix.m",
        "7:19:endpoint.auth.headr",
        "7:30:endpoint.base_url",
        "8:26:limits.concurrency",
        "10:10:budget.max_cost",
        "11:8:the tag !tag is not allowed; expected plain YAML, text in quotes",
        "11:14:rerun.limit",
    ]


def test_empty_sections_keep_their_defaults(load: Load) -> None:
    """A section whose keys are all commented out is as if it were not there."""
    job = load(minimal(limits="", endpoint="", stop_on="{failures: null}", rerun="null", order="~"))
    assert (job.manifest.limits.concurrency, job.manifest.order) == (16, "items")
    assert (job.manifest.stop_on.failures, job.manifest.stop_on.in_doubt) == (None, 0.1)


@pytest.mark.parametrize(("written", "read"), [("", "fast"), (", check: full", "full"), (", check: fast", "fast")])
def test_how_closely_results_are_looked_at_is_read(load: Load, written: str, read: str) -> None:
    """`fast` where the manifest says nothing; what was read is written and read again as the same."""
    manifest = load(minimal(output=f"{{folder: out{written}}}")).manifest
    assert manifest.output.check == read
    assert Manifest.model_validate(manifest.model_dump()).output.check == read


def test_prompt_is_sent_as_it_stands(load: Load) -> None:
    """No variable is replaced in a prompt, and no word becomes another type."""
    text = "Say ${HOME} — 12:30:45, it's 50% off"
    assert load(minimal(prompts=f'[{{name: p, text: "{text}"}}]'), {"HOME": "x"}).texts["p"] == text


def test_text_file_is_read_beside_the_manifest(load: Load, tmp_path: Path) -> None:
    """The file's text is the template, without its byte order mark."""
    (tmp_path / "p.txt").write_bytes("\ufeffPut {{ key }} on a café table\n".encode())
    job = load(minimal(prompts="[{name: p, text_file: '${NAME}.txt'}]"), {"NAME": "p"})
    assert job.texts["p"] == "Put {{ key }} on a café table\n"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "p.txt cannot be read: No such file or directory; expected a readable file"),
        (b"", "p.txt is empty; expected the prompt's text"),
        (b" \n", "p.txt is empty; expected the prompt's text"),
        (b"caf\xe9", "p.txt is not UTF-8 at byte 3; save it as UTF-8"),
        (b"a\0b", "p.txt holds the control character U+0000; expected plain text"),
        (b"x" * 1_000_001, "p.txt is longer than 1,000,000 bytes; expected less"),
    ],
    ids=["missing", "empty", "blank", "latin-1", "nul", "long"],
)
def test_bad_text_file_gives_one_clear_line(faults: Faults, tmp_path: Path, content: bytes | None, line: str) -> None:
    """What is wrong with the file is told at the manifest's line that names it."""
    path = tmp_path / "p.txt"
    if content is not None:
        path.write_bytes(content)
    assert faults(minimal(prompts="[{name: p, text_file: p.txt}]")) == [f"5:21: prompts[0].text_file: {line}"]


def test_fifo_as_text_file_does_not_block(faults: Faults, tmp_path: Path) -> None:
    """A FIFO that nobody writes to is refused, not waited for."""
    os.mkfifo(tmp_path / "p.txt")
    (line,) = faults(minimal(prompts="[{name: p, text_file: p.txt}]"))
    assert line.endswith("p.txt is not a regular file; expected a file")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("none.yaml", "{path}: cannot be read: No such file or directory; expected a readable file"),
        ("", "{path}: is a folder; expected a file"),
    ],
)
def test_manifest_that_is_no_file_gives_one_clear_line(tmp_path: Path, name: str, line: str) -> None:
    """A missing manifest and a folder are named."""
    path = str(tmp_path / name)
    with pytest.raises(JobError) as caught:
        load_job(path, {})
    assert str(caught.value) == line.replace("{path}", path)


def test_key_is_in_no_message(faults: Faults) -> None:
    """A key that stands anywhere in the manifest is masked, by its value and by its look."""
    environ = {"MY_KEY": "correct-horse-battery"}
    text = minimal(
        endpoint="{api_key_env: MY_KEY}",
        order="correct-horse-battery",
        on_invalid="sk-abcdefghijklmnop",
        **{"sk-abcdefghijklmnop": "correct-horse-battery"},
    )
    lines = faults(text, environ)
    assert len(lines) == 3
    assert "correct-horse" not in str(lines)
    assert "abcdefgh" not in str(lines)


def test_message_with_line_breaks_stays_one_line(faults: Faults) -> None:
    """Text with line breaks and separators is escaped where it is repeated."""
    assert faults(minimal(order='"a\\nb\\u2028c"')) == [
        "7:1: order: 'a\\x0ab\\x2028c' is not known; expected items or prompts"
    ]
