"""`retouch usage`: what was used and paid, in all and by group."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from pipeline.cli.options import job_argument, json_option, period_options, sandbox_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.ledger.usage import By, Tally, Usage

GROUPS = ("model", "prompt", "set", "day", "run", "endpoint")
COLUMNS = ("requests", "in doubt", "images", "input tokens", "output tokens", "total tokens", "US$", "possible US$")
UNPRICED = "no price"
"""Heads a column that is there only where some attempts may have been billed and have no known price."""


@click.command("usage")
@job_argument
@click.option("--by", default="", metavar="LIST", help=f"Group by any of {', '.join(GROUPS)}, such as model,day.")
@period_options
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: one row a group, or one row of all.")
@sandbox_option
@json_option
def command(
    *, job: str, by: str, since: str | None, until: str | None, as_csv: bool, sandbox: bool, as_json: bool
) -> int:
    """Show what JOB used and paid, from its ledger. Needs no key, takes no lock, works on a running job."""
    from pipeline.cli.terminal import out, print_json
    from pipeline.ledger.period import period_of
    from pipeline.ledger.replay import Ledgers
    from pipeline.ledger.usage import usage_of
    from pipeline.run.api import load
    from pipeline.run.folders import in_sandbox
    from pipeline.run.summary import as_json as plain

    if as_csv and as_json:
        raise click.UsageError("--csv and --json cannot be given together; expected one of them")
    names, period = groups(by), period_of(since, until)
    loaded = load(job)
    folder = (in_sandbox(loaded, None) if sandbox else loaded).output
    found = usage_of((entry.record for entry in Ledgers(folder).entries()), names, period)
    if as_json:
        print_json(plain(found))
    else:
        out(delimited(found, names) if as_csv else table(found, names))
    return 0


def groups(text: str) -> list[By]:
    """`model,day` as a list; raises JobError for a word that is none of the groups."""
    import difflib

    from pipeline.errors import JobError, Problem

    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in GROUPS:
            near = difflib.get_close_matches(name, GROUPS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected any of {', '.join(GROUPS)}"
            raise JobError([Problem(f"usage cannot be grouped by {name!r}", hint, "--by")])
    return cast("list[By]", names)


def table(usage: Usage, names: Sequence[By]) -> str:
    """The usage as aligned columns, the total last."""
    from pipeline.cli.columns import aligned

    unpriced = usage.total.unpriced > 0
    rows = [[*names, *COLUMNS, *([UNPRICED] if unpriced else [])]]
    rows += [
        [*(value or "-" for value in group.group.values()), *_cells(group, unpriced=unpriced)] for group in usage.groups
    ]
    rows.append(
        [*(["total"] + [""] * (len(names) - 1) if names else []), *_cells(usage.total, unpriced=unpriced)],
    )
    return aligned(rows, frozenset(range(len(names))))


def _cells(tally: Tally, *, unpriced: bool) -> list[str]:
    from pipeline.money import dollars
    from pipeline.outcome import Outcome

    tokens = tally.usage
    counts = [
        sum(tally.attempts.values()),
        tally.attempts[Outcome.IN_DOUBT],
        tally.images,
        tokens.input_tokens,
        tokens.output_tokens,
        tokens.total_tokens,
    ]
    amounts = [tally.cost.confirmed, tally.cost.possible]
    cells = [f"{count:,}" for count in counts] + ["-" if amount is None else dollars(amount) for amount in amounts]
    return [*cells, *([f"{tally.unpriced:,}"] if unpriced else [])]


def delimited(usage: Usage, names: Sequence[By]) -> str:
    """The groups as CSV, of which columns can be summed; without groups one row of all. What is not known is empty."""
    import csv
    import io

    import msgspec

    from pipeline.ledger.usage import ATTEMPTED, Tokens

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    tokens = Tokens.__struct_fields__
    writer.writerow([*names, *ATTEMPTED, "images", *tokens, "confirmed", "possible", "unpriced"])
    rows: Sequence[Tally] = usage.groups if names else [usage.total]
    for group, tally in zip([each.group.values() for each in usage.groups] if names else [()], rows, strict=True):
        amounts = (tally.cost.confirmed, tally.cost.possible)
        writer.writerow(
            [
                *group,
                *(tally.attempts[outcome] for outcome in ATTEMPTED),
                tally.images,
                *msgspec.structs.astuple(tally.usage),
                *("" if amount is None else f"{amount:f}" for amount in amounts),
                tally.unpriced,
            ]
        )
    return text.getvalue().rstrip("\n")
