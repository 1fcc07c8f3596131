from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.errors import JobError
from pipeline.ledger.reconcile import Account, Billed
from pipeline.run.reconcile import ALIASES, read_export


def read(folder: Path, text: str, name: str = "usage.csv") -> list[Billed]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_export(str(path))


def problems(folder: Path, text: str, name: str = "usage.csv") -> list[str]:
    """What is said of a wrong export, without the folder."""
    with pytest.raises(JobError) as caught:
        read(folder, text, name)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("day,model,requests,tokens\n2026-11-01,m,2,30\n", Account(requests=2, total_tokens=30)),
        (
            "Date,Model,Num Requests,Input Tokens,Output Tokens\n2026-11-01,m,2,10,20\n",
            Account(requests=2, input_tokens=10, output_tokens=20, total_tokens=30),
        ),
        (
            "start_time;model;num_model_requests;input_tokens;output_tokens;project\n1793491200;m;2;10;20;p\n",
            Account(requests=2, input_tokens=10, output_tokens=20, total_tokens=30),
        ),
        ("usage date,model_name,prompt-tokens\n2026/11/01,m,10\n", Account(input_tokens=10)),
        ("day,model,requests,Cost (USD)\n2026-11-01,m,2,$1.25\n", Account(requests=2, cost=Decimal("1.25"))),
        ("day,model,requests,amount\n2026-11-01,m,2,\n", Account(requests=2)),
        ('timestamp,model,requests\n2026-10-31T23:30:00-01:00,m,"1,234"\n', Account(requests=1234)),
        ("timestamp,model,requests\n2026-11-01T00:30:00Z,m,12.0\n", Account(requests=12)),
        ("\ufeffday,model,requests\n2026-11-01,m,\n", Account(requests=0)),
    ],
)
def test_exports_of_many_kinds(tmp_path: Path, text: str, account: Account) -> None:
    """Names of columns, delimiters, ways to write a day and a number; a sum is made where there is none."""
    assert read(tmp_path, text) == [Billed("2026-11-01", "m", account)]


def test_jsonl_is_read_too(tmp_path: Path) -> None:
    """Typed values are taken as they are."""
    text = '{"date": "2026-11-01", "model": "m", "requests": 3}\n{"date": "2026-11-02", "model": "n", "requests": 4}\n'
    assert [(row.day, row.account.requests) for row in read(tmp_path, text, "usage.jsonl")] == [
        ("2026-11-01", 3),
        ("2026-11-02", 4),
    ]


def test_the_preferred_name_of_several_is_taken(tmp_path: Path) -> None:
    """An export that has a day and the seconds of its beginning is read by its day."""
    (row,) = read(tmp_path, "start_time,date,model,requests\njunk,2026-11-01,m,1\n")
    assert row.day == "2026-11-01"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["usage.csv:1: the table is empty; expected a header line, then one line for each item"]),
        (
            "model,requests\nm,1\n",
            [
                "usage.csv:1: the export has no column for the day; expected columns such as day, model, requests, "
                "input_tokens, output_tokens"
            ],
        ),
        (
            "day,model,cost\n2026-11-01,m,1\n",
            [
                "usage.csv:1: the export has neither requests nor tokens; expected columns such as day, model, "
                "requests, input_tokens, output_tokens"
            ],
        ),
        (
            "day,model,requests\n2026-11-01,m,1\n11/01/2026,,x\n2026-11-01,m\n",
            [
                "usage.csv:3: column day: '11/01/2026' is no day; expected a date such as 2026-11-01, a time with its "
                "zone, or Unix seconds",
                "usage.csv:3: column model: '' is no model; expected its name",
                "usage.csv:3: column requests: 'x' is no count; expected a whole number such as 1200",
                "usage.csv:4: the row has 2 cells; expected 3, as the header has",
            ],
        ),
        (
            "day,model,requests,spend\n2026-11-01,m,1.5,-1\n2026-11-01,m,1,one\n2026-11-01,m,1,NaN\n",
            [
                "usage.csv:2: column requests: '1.5' is no count; expected a whole number such as 1200",
                "usage.csv:2: column spend: '-1' is no amount; expected US dollars such as 1.25",
                "usage.csv:3: column spend: 'one' is no amount; expected US dollars such as 1.25",
                "usage.csv:4: column spend: 'NaN' is no amount; expected US dollars such as 1.25",
            ],
        ),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line(tmp_path: Path, text: str, expected: list[str]) -> None:
    """Every wrong row is told, with file, line and column: one that was passed over would look like a difference."""
    assert problems(tmp_path, text) == expected


def test_an_export_without_rows_is_an_error(tmp_path: Path) -> None:
    """A header alone says nothing of any day; it is more likely a failed download."""
    assert problems(tmp_path, "day,model,requests\n")[0].startswith("usage.csv: the export has no rows")


def test_a_flood_of_wrong_rows_is_cut(tmp_path: Path) -> None:
    """Nobody mends more than the first hundred before the next look."""
    assert len(problems(tmp_path, "day,model,requests\n" + "x,m,1\n" * 5000)) < 110


def test_no_name_is_of_two_columns() -> None:
    """Each alias means one thing."""
    names = [alias for aliases in ALIASES.values() for alias in aliases]
    assert len(names) == len(set(names))
