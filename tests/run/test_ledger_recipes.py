"""What docs/ledger.md shows to read and to mend a ledger with is run on one, and gives what is known of it."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

import pytest

from pipeline.endpoint.form import Edit
from pipeline.endpoint.reply import Failure, Reply
from pipeline.manifest.job import Job
from pipeline.run.summary import Summary
from pipeline.run.verify import verify
from tests.pages import ROOT, fenced, read
from tests.run.conftest import Bench, answer, broken, picture, refusal

pytestmark = pytest.mark.anyio

PAGE = read("docs/ledger.md")
SHOWN = "out/catalog.sandbox"
"""The folder that the page's commands name."""


def tokens(put_in: int, come_out: int) -> dict[str, int]:
    return {"input_tokens": put_in, "output_tokens": come_out, "total_tokens": put_in + come_out}


REPLIES = {
    ("cup", "White"): [answer(picture(1), usage=tokens(1000, 4000)), answer(picture(9), usage=tokens(1000, 4100))],
    ("spoon", "White"): [answer(picture(2), usage=tokens(1000, 4200))],
    ("cup", "Scene"): [
        broken(Failure.TIMEOUT, seconds=600.0),
        answer(picture(3), picture(4), usage=tokens(1500, 8000)),
    ],
    ("spoon", "Scene"): [refusal(400, "moderation_blocked")],
}
"""What the endpoint says to each request, one after the other."""

PATHS = [
    "products/plain/007-1.png",
    "products/plain/008-1.png",
    "products/scene/007-1.png",
    "products/scene/007-2.png",
    "products/white/007-1.png",
    "products/white/008-1.png",
]
"""The pictures that count in the end: white 007 was made anew, plain takes over what white has."""
WHITE = {"007": picture(9), "008": picture(2)}
PICTURES = dict(zip(PATHS, [WHITE["007"], WHITE["008"], picture(3), picture(4), *WHITE.values()], strict=True))


def job_of(bench: Bench, *more: dict[str, Any]) -> Job:
    prompts = [{"name": "white", "text": "White"}, {"name": "scene", "text": "Scene", "request": {"n": 2}}, *more]
    sets = [{"name": "products", "table": "products.csv", "key": "{{ row.sku }}", "images": "in/{{ row.file }}"}]
    limits, output = {"concurrency": 1}, {"folder": SHOWN, "spill": "spill"}
    return bench.job(name="catalog", image_sets=sets, prompts=prompts, limits=limits, output=output)


@pytest.fixture
async def catalog(bench: Bench) -> Bench:
    """A job of two days: results, a timeout, a refusal, one result made anew, and two that were taken over."""
    left = defaultdict(deque, {request: deque(replies) for request, replies in REPLIES.items()})

    def say(edit: Edit) -> Reply:
        return left[Path(edit.images[0].path).stem, edit.fields["prompt"]].popleft()

    bench.say, bench.out = say, bench.folder / SHOWN
    bench.images("cup", "spoon")
    (bench.folder / "products.csv").write_text("sku,file\n007,cup.png\n008,spoon.png\n")
    await bench.run(job_of(bench))
    bench._seconds = itertools.count(86_400)
    summary = await bench.run(job_of(bench, {"name": "plain", "text": "White"}), redo="products/007/white")
    assert (summary.tasks["done"], summary.tasks["reused"], summary.tasks["failed"]) == (1, 2, 1)
    return bench


def need(tool: str, *, there: bool) -> None:
    """Skip where a tool is missing; fail where nothing may be skipped."""
    if there:
        return
    if os.environ.get("RETOUCH_REQUIRE_ALL") == "1":
        pytest.fail(f"{tool} is not installed, and RETOUCH_REQUIRE_ALL=1 lets no test be skipped")
    pytest.skip(f"{tool} is not installed: what docs/ledger.md shows of it cannot be run")


def recipes(language: str, comment: str) -> dict[str, str]:
    """The blocks of a language that read a ledger, by their first line, which says what they tell."""
    blocks = [block for block in fenced(PAGE, language) if "ledger" in block and block.startswith(comment)]
    return {block.splitlines()[0].removeprefix(comment).strip(): block for block in blocks}


JQ, SQL, PANDAS = recipes("sh", "#"), recipes("sql", "--"), recipes("python", "# ")


def output_of(command: list[str], folder: Path) -> str:
    """What a command prints, in a time zone that is a day ahead of UTC's for most of it."""
    environ = {**os.environ, "TZ": "Pacific/Kiritimati", "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def task_of(path: str) -> str:
    """`products/007/white` for `products/white/007-1.png`."""
    return re.sub(r"(\w+)/(\w+)/(\d+)-.*", r"\1/\3/\2", path)


WITH_JQ = {
    "Which picture came of which row": """
        007 white 5000 products/white/007-1.png
        008 white 5200 products/white/008-1.png
        007 scene 9500 products/scene/007-1.png
        007 white 5100 products/white/007-1.png""",
    "What failed, and why": """
        2026-01-01T00:00:10.000Z products/007/scene in_doubt timeout
        2026-01-01T00:00:10.000Z products/008/scene refused moderation_blocked""",
    "What may have been billed and brought nothing": "2026-01-01T00:00:10.000Z products/007/scene timeout 2",
    "The pictures that count now: those of each task's last result": """
        products/white/007-1.png products/white/008-1.png products/scene/007-1.png products/scene/007-2.png
        products/plain/008-1.png products/plain/007-1.png""",
    "Tokens by prompt": "scene 1 9500 white 3 15300",
}
WITH_SQL: dict[str, list[tuple[Any, ...]]] = {
    "Tokens by prompt": [("white", 3, 3, 15300), ("scene", 3, 2, 9500)],
    "Cost by day": [("2026-01-01", 5, (3500 * 8 + 16200 * 32) / 1e6, 1), ("2026-01-02", 1, 0.1392, 0)],
    "Tasks whose last attempt brought nothing": [
        ("products/008/scene", "refused", "moderation_blocked", "said moderation_blocked")
    ],
    "The pictures that count now": [(task_of(path), path, len(data), sha(data)) for path, data in PICTURES.items()],
}
WITH_PANDAS = {
    "How long requests took": "count median max prompt scene 3 1.0 600.0 white 3 1.0 1.0",
    "The pictures that count now, one a row": "task path width height "
    + " ".join(f"{task_of(path)} {path} 16 12" for path in PATHS),
}


def test_every_recipe_of_the_page_is_run() -> None:
    """One that is added has to be given what it should print."""
    assert [JQ.keys(), SQL.keys(), PANDAS.keys()] == [WITH_JQ.keys(), WITH_SQL.keys(), WITH_PANDAS.keys()]


@pytest.mark.parametrize("name", WITH_JQ)
async def test_a_recipe_for_jq(catalog: Bench, name: str) -> None:
    """Its lines and cells are what the endpoint said."""
    need("jq", there=shutil.which("jq") is not None)
    told = re.sub(r"00:00:\d\d", "00:00:10", output_of(["bash", "-euo", "pipefail", "-c", JQ[name]], catalog.folder))
    assert told.split() == WITH_JQ[name].split()


async def test_jq_puts_the_ledgers_of_shards_in_order(catalog: Bench) -> None:
    """By their times, every line once."""
    need("jq", there=shutil.which("jq") is not None)
    ledger = catalog.out / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    seconds = [int(json.loads(line)["at"][17:19]) for line in lines]  # lines of one write have the same time
    for shard in (1, 2):
        part = [line for line, second in zip(lines, seconds, strict=True) if second % 2 == shard - 1]
        (catalog.out / f"ledger-{shard}-of-2.jsonl").write_bytes(b"".join(part))
    (command,) = re.findall(r"`(cat out/…/ledger-\*\.jsonl [^`]+)`", PAGE)
    told = output_of(["bash", "-c", command.replace("out/…", SHOWN)], catalog.folder)
    assert told == output_of(["jq", "-c", ".", str(ledger)], catalog.folder)


RUN_SQL = """
import json, sys, duckdb
rows = duckdb.sql(sys.stdin.read()).fetchall()
print(json.dumps([[str(cell) if hasattr(cell, "isoformat") else cell for cell in row] for row in rows], default=int))
"""


@pytest.mark.parametrize("name", WITH_SQL)
async def test_a_recipe_for_duckdb(catalog: Bench, name: str) -> None:
    """Its rows are what the endpoint said; a day is UTC's, wherever it is asked."""
    need("duckdb", there=importlib.util.find_spec("duckdb") is not None)
    (catalog.folder / "query.sql").write_text(SQL[name])
    told = output_of(["bash", "-c", f"'{sys.executable}' -c '{RUN_SQL}' < query.sql"], catalog.folder)
    assert [tuple(row) for row in json.loads(told)] == WITH_SQL[name]


@pytest.mark.parametrize("name", WITH_PANDAS)
async def test_a_recipe_for_pandas(catalog: Bench, name: str) -> None:
    """Its table holds what the endpoint said, and keys stay text; no warning is given."""
    need("pandas", there=importlib.util.find_spec("pandas") is not None)
    told = output_of([sys.executable, "-W", "error", "-c", PANDAS[name]], catalog.folder)
    assert told.split() == WITH_PANDAS[name].split()


async def test_the_checksum_program_of_the_page_tells_a_whole_ledger_from_a_damaged_one(catalog: Bench) -> None:
    """As it stands there."""
    (program,) = [block for block in fenced(PAGE, "python") if "zlib" in block]
    command = [sys.executable, "-c", program]
    assert output_of(command, catalog.folder) == ""
    spoil(catalog, 3)
    with pytest.raises(AssertionError, match="AssertionError"):
        output_of(command, catalog.folder)


def spoil(bench: Bench, number: int) -> None:
    """Flip a bit of the ledger's line of this number, from 1."""
    path = bench.out / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace(b'"at":"2', b'"at":"3')
    path.write_bytes(b"".join(lines))


def mending(tool: str, **words: object) -> str:
    """The page's command of a tool that mends a ledger, with these words put in."""
    (command,) = re.findall(rf"^   (.*\b{tool} .*)$", PAGE, re.MULTILINE)
    for word, value in words.items():
        command = command.replace(word, str(value))
    return str(command)


async def test_the_page_mends_a_ledger_from_a_backup(catalog: Bench) -> None:
    """An older copy, with what `verify` named put in: not a byte differs afterwards."""
    ledger = catalog.out / "ledger.jsonl"
    whole = ledger.read_bytes()
    (catalog.folder / "backup.jsonl").write_bytes(whole[: len(whole) * 2 // 3])
    spoil(catalog, 3)
    (damage,) = verify(job_of(catalog)).ledgers[0].damaged
    assert damage.line == 3
    output_of(["bash", "-c", mending("dd", OFFSET=damage.offset, LENGTH=damage.bytes)], catalog.folder)
    assert ledger.read_bytes() == whole


@pytest.mark.parametrize(
    ("line", "foreign", "sent", "reused"),
    [
        ('{"type":"run"', 0, 0, 0),
        ('{"type":"sent"', 0, 0, 0),
        ('"task":"products/007/scene".*"outcome":"succeeded"', 2, 1, 0),
        ('"outcome":"refused"', 0, 1, 0),
        ('{"type":"reused"', 1, 0, 1),
        ('{"type":"reopened"', 0, 0, 2),
    ],
)
async def test_a_line_that_is_left_out_costs_what_the_page_says(
    catalog: Bench, line: str, foreign: int, sent: int, reused: int
) -> None:
    """The last such line. Its pictures stand in the way as foreign files; moved away, they come again."""
    job = job_of(catalog, {"name": "plain", "text": "White"})
    lines = (catalog.out / "ledger.jsonl").read_text().splitlines()
    spoil(catalog, max(number for number, text in enumerate(lines, 1) if re.search(line, text)))
    (damage,) = verify(job).ledgers[0].damaged
    output_of(["bash", "-c", mending("sed", NUMBER=damage.line)], catalog.folder)
    assert verify(job).exit == 0
    catalog.say = lambda edit: answer(picture(50), picture(51))
    posts, moved, taken_over = len(catalog.posts), 0, 0
    for _ in range(3):
        summary = await catalog.run(job)
        posts, taken_over = len(catalog.posts), taken_over + summary.tasks["reused"]
        if not summary.tasks["invalid"]:
            break
        assert posts == 0
        moved += move_foreign(summary)
    assert (moved, posts, taken_over, summary.tasks["invalid"]) == (foreign, sent, reused, 0)
    assert verify(job).exit == 0


def move_foreign(summary: Summary) -> int:
    """Move what has the names of results out of the way, as the messages say; how many files."""
    named = [failure.message or "" for failure in summary.failures if failure.code == "name_taken"]
    for message in named:
        Path(message.partition(" is not of this job")[0]).unlink()
    return len(named)


def test_the_readme_reads_the_ledger_as_the_page_does() -> None:
    """Its jq line is the page's; its DuckDB query the page's shortest way to say it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert JQ["What failed, and why"].splitlines()[1] in readme
    assert re.search(r"duckdb -c \"SELECT prompt, count\(\*\) AS requests, sum\(usage\.total_tokens\)", readme)
