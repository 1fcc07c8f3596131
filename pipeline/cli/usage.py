"""`retouch usage`: what was used, in all and by group."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from pipeline.cli.options import job_argument, json_option, sandbox_option

if TYPE_CHECKING:
    from pipeline.ledger.usage import By, Tally, Usage

GROUPS = ("model", "prompt", "set", "day", "run")
COLUMNS = ("requests", "in doubt", "images", "input tokens", "output tokens", "total tokens")


@click.command("usage")
@job_argument
@click.option("--by", default="", metavar="LIST", help=f"Group by any of {', '.join(GROUPS)}, such as model,day.")
@sandbox_option
@json_option
def command(*, job: str, by: str, sandbox: bool, as_json: bool) -> int:
    """Show what JOB used, from its ledger. Needs no key, takes no lock, works on a running job."""
    from pipeline.cli.terminal import out, print_json
    from pipeline.ledger.replay import Ledgers
    from pipeline.ledger.usage import usage_of
    from pipeline.run.api import load
    from pipeline.run.folders import in_sandbox
    from pipeline.run.summary import as_json as plain

    names = groups(by)
    loaded = load(job)
    folder = (in_sandbox(loaded, None) if sandbox else loaded).output
    found = usage_of((entry.record for entry in Ledgers(folder).entries()), names)
    if as_json:
        print_json(plain(found))
    else:
        out(table(found, names))
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


def table(usage: Usage, names: list[By]) -> str:
    """The usage as aligned columns, the total last."""
    rows = [[*names, *COLUMNS]]
    rows += [[*(value or "-" for value in group.group.values()), *_cells(group)] for group in usage.groups]
    rows.append([*(["total"] + [""] * (len(names) - 1) if names else []), *_cells(usage.total)])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join("  ".join(_aligned(row, widths, len(names))).rstrip() for row in rows)


def _cells(tally: Tally) -> list[str]:
    from pipeline.outcome import Outcome

    tokens = tally.usage
    counts = (
        sum(tally.attempts.values()),
        tally.attempts[Outcome.IN_DOUBT],
        tally.images,
        tokens.input_tokens,
        tokens.output_tokens,
        tokens.total_tokens,
    )
    return [f"{count:,}" for count in counts]


def _aligned(row: list[str], widths: list[int], left: int) -> list[str]:
    cells = zip(row, widths, strict=True)
    return [cell.ljust(width) if at < left else cell.rjust(width) for at, (cell, width) in enumerate(cells)]
