"""`retouch plan`: what a run would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.cli.options import Whole, job_argument, json_option, sandbox_option, selection, selection_options
from pipeline.errors import one_line

if TYPE_CHECKING:
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
    from pipeline.cli.terminal import out, print_json
    from pipeline.run.api import load
    from pipeline.run.flags import Flags
    from pipeline.run.plan import plan_with
    from pipeline.run.summary import as_json as plain

    flags = Flags(**selection(only, sample, shard), limit=limit, sandbox=sandbox)
    found = plan_with(load(job), flags)
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
    took = f", about {duration(plan.seconds)} at the pace of the last run" if plan.seconds else ""
    lines.append(f"to send: {plan.requests} requests for {plan.images} images{took}")
    if plan.waiting:
        lines.append(f"waiting: {plan.waiting} files are younger than min_age")
    if plan.stale:
        lines.append(f"stale: {plan.stale} outputs that no task names")
    for request in plan.first:
        fields = ", ".join(f"{name}={_short(value)}" for name, value in request.fields.items())
        lines += [f"  {request.task}", f"    {one_line(' + '.join(request.files))}", f"    {fields}"]
    return "\n".join(lines)


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:79]}…"
