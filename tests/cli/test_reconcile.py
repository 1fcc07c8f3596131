from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.ledger.records import Record
from tests.cli.conftest import Retouch
from tests.ledger.lines import run, sent, settled, write_ledger


def attempt(task: str, outcome: str, **more: Any) -> list[Record]:
    begun = sent(task)
    begun.at = "2026-11-01T10:00:00.000Z"
    end = settled(task, outcome, model="gpt-image-1.5", **more)
    end.at = begun.at
    return [begun, end]


@pytest.fixture
def ledger(folder: Path) -> Path:
    """The ledger of a job with one result and one attempt in doubt."""
    (folder / "out").mkdir()
    usage = {"input_tokens": 200, "output_tokens": 1056, "total_tokens": 1256}
    return write_ledger(
        folder / "out/ledger.jsonl",
        run("shop"),
        *attempt("shoes/a/white", "succeeded", usage=usage, cost=Decimal("0.0354")),
        *attempt("shoes/b/white", "in_doubt"),
    )


def export(folder: Path, text: str, name: str = "usage.csv") -> str:
    (folder / name).write_text(text)
    return name


HEAD = "date,model,num_model_requests,input_tokens,output_tokens\n"


def test_an_export_that_agrees(call: Retouch, folder: Path, ledger: Path) -> None:
    """A row by day and model, with both sides, and a last line that says so; exit 0."""
    assert ledger.exists()
    said = call("reconcile", "job.yaml", export(folder, HEAD + "2026-11-01,gpt-image-1.5-2026-01-01,1,200,1056\n"))
    assert (said.code, said.err) == (0, "")
    head, row, verdict = said.out.splitlines()
    assert head.split() == ["day", "model", "requests", "export", "tokens", "export", "US$", "export", "finding"]
    assert row.split() == ["2026-11-01", "gpt-image-1.5", "1", "1", "1,256", "1,256", "0.0354", "-", "agrees"]
    assert verdict == "all agree"


@pytest.mark.parametrize(
    ("rows", "words", "verdict", "agrees"),
    [
        (
            "2026-11-01,gpt-image-1.5,2,400,2112\n",
            "1 in doubt could explain",
            "all agree, but for 1 that attempts without usage could explain",
            True,
        ),
        (
            "2026-11-01,gpt-image-1.5,1,200,1000\n",
            "differs in output tokens, total tokens; 1 in doubt",
            "1 of 1 lines differ, and nothing in the ledger explains it",
            False,
        ),
        (
            "2026-11-01,gpt-image-1.5,1,200,1056\n2026-11-02,gpt-image-2,3,9,9\n",
            "only in the export",
            "1 of 2 lines differ, and nothing in the ledger explains it",
            False,
        ),
        (
            "2026-11-02,gpt-image-2,3,9,9\n",
            "only in the ledger",
            "2 of 2 lines differ, and nothing in the ledger explains it",
            False,
        ),
    ],
)
def test_what_differs_is_told(
    call: Retouch, folder: Path, ledger: Path, rows: str, words: str, verdict: str, agrees: bool
) -> None:
    """In words and in `agrees`; a difference is an answer, so the exit code stays 0."""
    assert ledger.exists()
    name = export(folder, HEAD + rows)
    said = call("reconcile", "job.yaml", name)
    assert (said.code, said.out.splitlines()[-1]) == (0, verdict)
    assert any(line.endswith(words) for line in said.out.splitlines())
    found = call("reconcile", "job.yaml", name, "--json")
    assert (found.code, found.json["agrees"]) == (0, agrees)


def test_the_json_of_a_comparison(call: Retouch, folder: Path, ledger: Path) -> None:
    """Both sides of each line, null where a side says nothing."""
    assert ledger.exists()
    name = export(folder, HEAD + "2026-11-01,gpt-image-1.5,2,400,2112\n")
    assert call("reconcile", "job.yaml", name, "--json").json == {
        "agrees": True,
        "findings": {"agrees": 0, "in doubt": 1, "differs": 0, "ledger only": 0, "provider only": 0},
        "lines": [
            {
                "day": "2026-11-01",
                "model": "gpt-image-1.5",
                "finding": "in doubt",
                "ledger": {
                    "requests": 1,
                    "input_tokens": 200,
                    "output_tokens": 1056,
                    "total_tokens": 1256,
                    "cost": 0.0354,
                },
                "provider": {
                    "requests": 2,
                    "input_tokens": 400,
                    "output_tokens": 2112,
                    "total_tokens": 2512,
                    "cost": None,
                },
                "in_doubt": 1,
                "unmetered": 0,
                "differences": ["requests", "input_tokens", "output_tokens", "total_tokens"],
            }
        ],
    }


def test_a_period_and_an_endpoint(call: Retouch, folder: Path, ledger: Path) -> None:
    """The flags leave out days, and what went elsewhere."""
    assert ledger.exists()
    name = export(folder, HEAD + "2026-11-02,gpt-image-2,3,9,9\n")
    assert call("reconcile", "job.yaml", name, "--since", "2026-11-03").out.startswith("neither the ledger nor the")
    lines = call("reconcile", "job.yaml", name, "--endpoint", "elsewhere", "--json").json["lines"]
    assert [line["finding"] for line in lines] == ["provider only"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("job.yaml",), "1 file named; expected `retouch reconcile JOB FILE`, such as job.yaml usage.csv"),
        (("job.yaml", "a.csv", "b.csv"), "3 files named"),
        (("job.yaml", "nowhere.csv"), "cannot read the table nowhere.csv"),
        (("job.yaml", "job.yaml"), "'job.yaml' is no table that can be read"),
        (("-", "usage.csv"), "a manifest is not read from stdin"),
        (("job.yaml", "usage.csv"), "usage.csv:2: column requests: '-5' is no count; expected a whole number such as"),
        (("job.yaml", "usage.csv", "--until", "soon"), "--until: 'soon' is no date or time"),
    ],
)
def test_a_wrong_command_is_one_clear_line(call: Retouch, folder: Path, arguments: tuple[str, ...], words: str) -> None:
    """Exit 2, one line that says what is wrong, where it is."""
    export(folder, "day,model,requests\n2026-11-01,m,-5\n")
    said = call("reconcile", *arguments)
    assert (said.code, said.out) == (2, "")
    assert words in said.err
    assert said.err.count("\n") == 1
