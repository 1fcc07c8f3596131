"""`retouch plan`: what a run would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.cli.options import Whole, job_argument, json_option, sandbox_option, selection, selection_options
from pipeline.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from pipeline.run.estimate import Estimate, Tokens
    from pipeline.run.plan import Plan

MEANINGS = {
    "new": "nothing known under this id",
    "changed": "prompt, fields or image changed",
    "missing": "paid for, but the picture is gone",
    "reused": "paid for under another name: copied, free",
    "done": "nothing to do",
    "failed": "failed before: --retry failed tries again",
    "held": "may have been billed: --retry held tries again",
    "invalid": "the image cannot be used",
}


@click.command("plan")
@job_argument
@selection_options
@click.option("--limit", type=Whole(), metavar="N", help="Only the first N items that have something to send.")
@sandbox_option
@json_option
def command(
    *,
    job: str,
    only: str | None,
    sample: int | None,
    shard: str | None,
    limit: int | None,
    sandbox: bool,
    as_json: bool,
) -> int:
    """Show what a run of JOB would do. Sends nothing, needs no key, takes no lock, works on a running job."""
    from pipeline.cli.terminal import out, print_json, say
    from pipeline.run.api import load
    from pipeline.run.flags import Flags
    from pipeline.run.plan import plan_with
    from pipeline.run.summary import as_json as plain

    flags = Flags(**selection(only, sample, shard), limit=limit, sandbox=sandbox)
    found = plan_with(load(job), flags)
    for warning in found.warnings:
        say(f"warning: {warning}")
    if as_json:
        print_json(plain(found))
    else:
        out(described(found))
    return 0


def described(plan: Plan) -> str:
    """The plan as a person reads it."""
    from pipeline.run.progress import duration

    lines = [f"{plan.job}: {plan.tasks['total']} tasks"]
    lines += [f"  {plan.tasks[kind]:>8} {kind:<8} {meaning}" for kind, meaning in MEANINGS.items() if plan.tasks[kind]]
    took = f", about {duration(plan.seconds)} at the known pace and rates" if plan.seconds else ""
    lines.append(f"to send: {plan.requests} requests for {plan.images} images{took}")
    if plan.groups:
        lines += _table(plan)
    if plan.paid:
        told = f"{plan.paid.results:,} results before: estimated {_price(plan.paid.estimate)}"
        lines.append(f"{told}, paid {_dollars(plan.paid.paid)}")
    if plan.waiting:
        lines.append(f"waiting: {plan.waiting} files are younger than min_age")
    if plan.stale:
        lines.append(f"stale: {plan.stale} outputs that no task names")
    for request in plan.first:
        fields = ", ".join(f"{name}={_short(value)}" for name, value in request.fields.items())
        lines += [f"  {request.task}", f"    {one_line(' + '.join(request.files))}", f"    {fields}"]
    return "\n".join(lines)


def _table(plan: Plan) -> Iterator[str]:
    """What is to be sent by image set and prompt, and where the figures are from."""
    rows = [("image set", "prompt", "requests", "images", "tokens", "price")]
    for each in plan.groups:
        counts = (f"{each.requests:,}", f"{each.images:,}", _tokens(each.tokens))
        rows.append((each.set, each.prompt, *counts, _price(each.estimate)))
    rows.append(("total", "", f"{plan.requests:,}", f"{plan.images:,}", _tokens(plan.tokens), _price(plan.estimate)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        names = [cell.ljust(width) for cell, width in zip(row[:2], widths, strict=False)]
        figures = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        yield f"  {'  '.join([*names, *figures])}"
    if known := sum(each.history for each in plan.groups):
        yield f"  tokens of {known:,} requests as in earlier results of this job, the others by the models' rules"
    for origin in plan.origins:
        yield f"  prices of {origin.model}: {origin.source or 'not known; name them in endpoint.prices'}"


def _tokens(tokens: Tokens) -> str:
    if tokens.low is None:
        return "not known"
    return _range(f"{tokens.low:,}", None if tokens.high is None else f"{tokens.high:,}")


def _price(estimate: Estimate) -> str:
    if estimate.low is None:
        return "not known"
    return _range(_dollars(estimate.low), None if estimate.high is None else _dollars(estimate.high))


def _range(low: str, high: str | None) -> str:
    if high is None:
        return f"{low} or more"
    return low if low == high else f"{low}–{high}"


def _dollars(amount: Decimal) -> str:
    """Cents, and below a dollar hundredths of them."""
    return f"${amount:,.2f}" if amount >= 1 or not amount else f"${amount:.4f}"


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:79]}…"
