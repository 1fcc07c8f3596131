import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.ledger.records import Record
from tests.cli.conftest import Retouch
from tests.ledger.lines import run, sent, settled, write_ledger


def attempt(
    task: str, outcome: str | None, estimate: str | None, cost: str | None = None, day: int = 1
) -> list[Record]:
    """An attempt's lines, of a task `set/key/prompt`."""
    begun = sent(task)
    begun.at, begun.estimated_cost = f"2026-11-{day:02}T10:00:00.000Z", None if estimate is None else Decimal(estimate)
    if outcome is None:
        return [begun]
    names = task.split("/")
    end = settled(task, outcome, set=names[0], prompt=names[-1], cost=None if cost is None else Decimal(cost))
    end.at = f"2026-11-{day:02}T10:01:00.000Z"
    return [begun, end]


@pytest.fixture
def ledger(folder: Path) -> Path:
    """The ledger of a job that paid on two days, is in doubt of one attempt, and has one under way."""
    (folder / "out").mkdir()
    return write_ledger(
        folder / "out/ledger.jsonl",
        run("shop"),
        *attempt("shoes/a/white", "succeeded", "0.25", "0.1"),
        *attempt("shoes/b/white", "in_doubt", "0.25"),
        *attempt("shoes/a/night", "succeeded", "0.25", "0.2000001", day=2),
        *attempt("shoes/c/night", None, "0.25", day=3),
    )


def test_the_table_shows_money(call: Retouch, ledger: Path) -> None:
    """Confirmed and possible cost apart, by group and in all, without an exponent."""
    assert ledger.exists()
    said = call("usage", "job.yaml", "--by", "prompt")
    assert said.code == 0
    assert [line.split() for line in said.out.splitlines()][1:] == [
        ["night", "1", "0", "1", "0", "0", "0", "0.2000", "0.2500"],
        ["white", "2", "1", "1", "0", "0", "0", "0.1000", "0.2500"],
        ["total", "3", "1", "2", "0", "0", "0", "0.3000", "0.5000"],
    ]
    assert "no price" not in said.out


def test_json_has_exact_amounts(call: Retouch, ledger: Path) -> None:
    """Numbers from decimals, to the last digit, read as they are written."""
    assert ledger.exists()
    said = call("usage", "job.yaml", "--by", "day", "--json")
    assert '"confirmed":0.3000001,' in said.out
    assert said.json["total"]["cost"] == {"confirmed": 0.3000001, "possible": 0.5, "currency": "USD"}
    assert said.json["total"]["unpriced"] == 0
    assert [group["group"]["day"] for group in said.json["groups"]] == ["2026-11-01", "2026-11-02", "2026-11-03"]


def test_csv_has_a_row_for_each_group(call: Retouch, ledger: Path) -> None:
    """A header and the groups, whose columns add up to the whole; without groups one row of all."""
    assert ledger.exists()
    rows = list(csv.DictReader(io.StringIO(call("usage", "job.yaml", "--by", "set,day", "--csv").out)))
    assert [(row["set"], row["day"], row["confirmed"], row["possible"]) for row in rows] == [
        ("shoes", "2026-11-01", "0.1", "0.25"),
        ("shoes", "2026-11-02", "0.2000001", "0"),
        ("shoes", "2026-11-03", "0", "0.25"),
    ]
    (whole,) = csv.DictReader(io.StringIO(call("usage", "job.yaml", "--csv").out))
    assert (whole["succeeded"], whole["in_doubt"], whole["confirmed"], whole["unpriced"]) == (
        "2",
        "1",
        "0.3000001",
        "0",
    )


def test_a_period_of_days(call: Retouch, ledger: Path) -> None:
    """Both days of --since and --until are in it."""
    assert ledger.exists()
    said = call("usage", "job.yaml", "--since", "2026-11-02", "--until", "2026-11-03", "--json")
    assert said.json["total"]["cost"]["confirmed"] == 0.2000001
    assert said.json["total"]["cost"]["possible"] == 0.25


def test_attempts_without_a_price_are_told(call: Retouch, folder: Path) -> None:
    """The table gets a column that counts them; an amount that nobody knows is a dash, in CSV empty, in JSON null."""
    (folder / "out").mkdir()
    write_ledger(folder / "out/ledger.jsonl", run("shop"), *attempt("shoes/a/white", "succeeded", None))
    said = call("usage", "job.yaml")
    assert said.out.splitlines()[0].endswith("US$  possible US$  no price")
    assert said.out.splitlines()[1].split()[-3:] == ["-", "-", "1"]
    assert call("usage", "job.yaml", "--csv").out.splitlines()[1].endswith(",,,1")
    assert call("usage", "job.yaml", "--json").json["total"]["cost"]["confirmed"] is None


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--csv", "--json"), "--csv and --json cannot be given together"),
        (("--since", "tomorrow"), "--since: 'tomorrow' is no date or time; expected a UTC date such as 2026-11-01"),
        (("--since", "2026-11-02", "--until", "2026-11-01"), "--until: nothing lies between"),
        (("--by", "day,hour"), "usage cannot be grouped by 'hour'; expected any of model, prompt, set, day, run, end"),
    ],
)
def test_a_wrong_flag_is_one_clear_line(call: Retouch, flags: tuple[str, ...], words: str) -> None:
    """Exit 2, and what is wrong."""
    said = call("usage", "job.yaml", *flags)
    assert said.code == 2
    assert words in said.err
    assert said.err.count("\n") == 1
