"""A provider's usage export, read from a table and held against a job's ledger.

Columns are known by any of their usual names; rows of one day and model add up. What cannot be read is an error that
names its line: a row that was passed over would look like a difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec import Struct

from pipeline.errors import JobError, Problem
from pipeline.ledger.period import Period
from pipeline.ledger.reconcile import COUNTS, Account, Billed, Reconciliation, reconcile
from pipeline.ledger.replay import Ledgers
from pipeline.manifest.job import Job
from pipeline.money import believable
from pipeline.run.folders import in_sandbox
from pipeline.tasks.faults import FaultError
from pipeline.tasks.rows import Flaw, Row
from pipeline.tasks.tables import read_table

ALIASES: Mapping[str, tuple[str, ...]] = {
    "day": ("day", "date", "usage_date", "start_date", "start_time", "start_time_iso", "bucket_start", "timestamp"),
    "model": ("model", "model_name", "model_id", "snapshot_id"),
    "requests": ("requests", "num_requests", "num_model_requests", "n_requests", "request_count", "api_requests"),
    "input_tokens": ("input_tokens", "prompt_tokens", "n_context_tokens_total"),
    "output_tokens": ("output_tokens", "completion_tokens", "n_generated_tokens_total"),
    "total_tokens": ("total_tokens", "tokens"),
    "cost": ("cost", "cost_usd", "amount", "amount_usd", "spend", "total_cost"),
}
"""The names of each column, the preferred one first; case, spaces, hyphens and a unit in brackets do not matter."""

_MOST_PROBLEMS = 100


def reconcile_with(
    job: Job, path: str, period: Period | None = None, *, endpoint: str | None = None, sandbox: bool = False
) -> Reconciliation:
    """Hold a job's ledgers against the export at `path`; works on a running job.

    Raises:
        JobError: the export cannot be read, with file and line.
        StorageError: a ledger is damaged.
    """
    folder = (in_sandbox(job, None) if sandbox else job).output
    export = read_export(path)
    return reconcile((entry.record for entry in Ledgers(folder).entries()), export, period, endpoint)


def read_export(path: str) -> list[Billed]:
    """The rows of an export, a .csv, .tsv or .jsonl file. Raises JobError with everything that is wrong in it."""
    rows: list[Billed] = []
    problems: list[Problem] = []
    try:
        for row in _read(path):
            if isinstance(row, Problem):
                problems.append(row)
            else:
                rows.append(row)
            if len(problems) > _MOST_PROBLEMS:
                break
    except FaultError as fault:
        problems.append(Problem(fault.what, fault.expected))
    if problems:
        raise JobError(problems)
    return rows


class _Columns(Struct, frozen=True):
    """Which of a table's columns is which, by the words of `ALIASES`."""

    names: Mapping[str, str]

    def cell(self, row: Row, word: str) -> str:
        """A cell's text; empty where the table has no such column."""
        value = row.cells.get(self.names.get(word, ""))
        return "" if value is None else str(value).strip()


def _read(path: str) -> Iterator[Billed | Problem]:
    columns: _Columns | None = None
    row: Row | Flaw | None = None
    for row in read_table(path):
        if isinstance(row, Flaw):
            yield Problem(row.what, row.expected, row.where, path, row.line)
            continue
        if row.doubt:
            yield Problem(row.doubt, "expected one row a line", "", path, row.line)
            continue
        if columns is None:
            columns = _Columns(_names_of(row.cells))
            missing = _missing(columns.names)
            if missing:
                yield Problem(missing, _expected(), "", path, 1)
                return
        yield from _billed(columns, row, path)
    if row is None:
        yield Problem("the export has no rows", _expected(), "", path)


def _names_of(cells: Mapping[str, Any]) -> dict[str, str]:
    """The table's own name of each word; of several columns that could be meant, the preferred one."""
    plain = {_plain(name): name for name in cells}
    found = {
        word: next((plain[alias] for alias in aliases if alias in plain), None) for word, aliases in ALIASES.items()
    }
    return {word: name for word, name in found.items() if name is not None}


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", re.sub(r"[(\[].*", "", name).strip().casefold())


def _missing(names: Mapping[str, str]) -> str:
    if not {"day", "model"} <= names.keys():
        return f"the export has no column for the {' and the '.join(w for w in ('day', 'model') if w not in names)}"
    return "" if names.keys() & set(COUNTS) else "the export has neither requests nor tokens"


def _expected() -> str:
    return "expected columns such as day, model, requests, input_tokens, output_tokens"


def _billed(columns: _Columns, row: Row, path: str) -> Iterator[Billed | Problem]:
    read: dict[str, Any] = {}
    for word, name in columns.names.items():
        text = columns.cell(row, word)
        try:
            read[word] = _READERS[word](text)
        except ValueError as error:
            yield Problem(f"{text!r} is no {error}", _EXAMPLES[word], f"column {name}", path, row.line)
    if len(read) == len(columns.names):
        account = Account(**{word: value for word, value in read.items() if word not in ("day", "model")})
        account.total_tokens = account.total_tokens if account.total_tokens is not None else _sum(account)
        yield Billed(read["day"], read["model"], account)


def _sum(account: Account) -> int | None:
    both = (account.input_tokens, account.output_tokens)
    return None if both[0] is None or both[1] is None else both[0] + both[1]


def _day(text: str) -> str:
    """A UTC day, from a date, a time with its zone (UTC without one) or Unix seconds."""
    try:
        if re.fullmatch(r"[0-9]{9,10}(\.0*)?", text):
            return datetime.fromtimestamp(int(text.partition(".")[0]), UTC).date().isoformat()
        if re.fullmatch(r"[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}", text):
            return date.fromisoformat(text.replace("/", "-")).isoformat()
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ValueError("day") from error
    return (time if time.tzinfo is None else time.astimezone(UTC)).date().isoformat()


def _model(text: str) -> str:
    if not text:
        raise ValueError("model")
    return text


def _count(text: str) -> int:
    """A whole number; nothing is none. Thousands may be set off by commas, and a table program may have added `.0`."""
    if not re.fullmatch(r"([0-9]{1,18}|[0-9]{1,3}(,[0-9]{3})+)(\.0+)?|", text):
        raise ValueError("count")
    return int(text.partition(".")[0].replace(",", "") or "0")


def _money(text: str) -> Decimal | None:
    if not text:
        return None
    try:
        amount = believable(Decimal(text.removeprefix("$").replace(",", "")))
    except InvalidOperation as error:
        raise ValueError("amount") from error
    if amount is None:
        raise ValueError("amount")
    return amount


_READERS: Mapping[str, Callable[[str], Any]] = {"day": _day, "model": _model, "cost": _money} | dict.fromkeys(
    COUNTS, _count
)
_EXAMPLES = {
    "day": "expected a date such as 2026-11-01, a time with its zone, or Unix seconds",
    "model": "expected its name",
    "cost": "expected US dollars such as 1.25",
} | dict.fromkeys(COUNTS, "expected a whole number such as 1200")
