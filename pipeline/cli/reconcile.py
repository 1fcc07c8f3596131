"""`retouch reconcile`: the ledger held against a provider's usage export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.cli.options import json_option, one_job, period_options, sandbox_option

if TYPE_CHECKING:
    from pipeline.ledger.reconcile import Account, Line, Reconciliation

COLUMNS = ("day", "model", "requests", "export", "tokens", "export", "US$", "export", "finding")
TEXT = frozenset({0, 1, len(COLUMNS) - 1})


def _two(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[str, str]:
    """The manifest and the export. Raises UsageError unless both are named."""
    if len(names) != 2:
        expected = "expected `retouch reconcile JOB FILE`, such as job.yaml usage.csv"
        raise click.UsageError(f"{len(names)} file{'s' * (len(names) != 1)} named; {expected}", ctx)
    return one_job(ctx, param, names[:1]), names[1]


@click.command("reconcile")
@click.argument("files", metavar="JOB FILE", nargs=-1, callback=_two)
@period_options
@click.option("--endpoint", metavar="HOST", help="Only attempts that went there, of a job with several endpoints.")
@sandbox_option
@json_option
def command(
    *,
    files: tuple[str, str],
    since: str | None,
    until: str | None,
    endpoint: str | None,
    sandbox: bool,
    as_json: bool,
) -> int:
    """Compare JOB's ledger with FILE, a provider's usage export (CSV), by UTC day and model.

    Needs no key, takes no lock, works on a running job. Exit 0 where it could answer, whatever the answer.
    """
    from pipeline.cli.terminal import out, print_json
    from pipeline.ledger.period import period_of
    from pipeline.run.api import load
    from pipeline.run.reconcile import reconcile_with
    from pipeline.run.summary import as_json as plain

    job, export = files
    period = period_of(since, until)
    found = reconcile_with(load(job), export, period, endpoint=endpoint, sandbox=sandbox)
    if as_json:
        print_json(plain(found))
    else:
        out(described(found))
    return 0


def described(found: Reconciliation) -> str:
    """The comparison as a person reads it: a row for each day and model, then what it comes to."""
    from pipeline.cli.columns import aligned

    if not found.lines:
        return "neither the ledger nor the export has anything in that period"
    rows = [list(COLUMNS), *map(_row, found.lines)]
    return f"{aligned(rows, TEXT)}\n{_verdict(found)}"


def _row(line: Line) -> list[str]:
    from pipeline.errors import one_line

    ours, theirs = line.ledger, line.provider
    pairs = [(_count(side, "requests"), _count(side, "total_tokens"), _cost(side)) for side in (ours, theirs)]
    numbers = [cell for pair in zip(*pairs, strict=True) for cell in pair]
    return [line.day, one_line(line.model or "-"), *numbers, _words(line)]


def _count(side: Account | None, name: str) -> str:
    value = None if side is None else getattr(side, name)
    return "-" if value is None else f"{value:,}"


def _cost(side: Account | None) -> str:
    from pipeline.money import dollars

    return "-" if side is None or side.cost is None else dollars(side.cost)


def _words(line: Line) -> str:
    from pipeline.ledger.reconcile import Finding

    without = [f"{line.in_doubt} in doubt"] if line.in_doubt else []
    without += [f"{line.unmetered} without usage"] if line.unmetered else []
    match line.finding:
        case Finding.DIFFERS:
            names = ", ".join(name.replace("_", " ") for name in line.differences)
            return "; ".join([f"differs in {names}", *without])
        case Finding.IN_DOUBT:
            return f"{' and '.join(without)} could explain"
        case Finding.LEDGER_ONLY:
            return "only in the ledger"
        case Finding.PROVIDER_ONLY:
            return "only in the export"
    return "agrees"


def _verdict(found: Reconciliation) -> str:
    from pipeline.ledger.reconcile import UNEXPLAINED, Finding

    left = sum(found.findings[finding] for finding in UNEXPLAINED)
    if left:
        return f"{left} of {len(found.lines)} lines differ, and nothing in the ledger explains it"
    doubts = found.findings[Finding.IN_DOUBT]
    return "all agree" if not doubts else f"all agree, but for {doubts} that attempts without usage could explain"
