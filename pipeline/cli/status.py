"""`retouch status`: where a job stands, also while it runs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import job_argument, json_option, sandbox_option

if TYPE_CHECKING:
    from pipeline.run.running import Running
    from pipeline.run.status import Status


@click.command("status")
@job_argument
@click.option("--failed", is_flag=True, help="List every task that failed, is held or invalid.")
@sandbox_option
@json_option
def command(*, job: str, failed: bool, sandbox: bool, as_json: bool) -> int:
    """Show where JOB stands. Needs no key, takes no lock, works on a running job."""
    from pipeline.cli.terminal import out, print_json
    from pipeline.run.api import load
    from pipeline.run.status import status
    from pipeline.run.summary import as_json as plain

    found = status(load(job), sandbox=sandbox)
    if as_json:
        print_json(plain(found))
    else:
        out(described(found, job, failed=failed, sandbox=sandbox))
    return 0


def described(status: Status, manifest: str, *, failed: bool, sandbox: bool) -> str:
    """The status as a person reads it."""
    counts = ", ".join(f"{number} {word}" for word, number in status.tasks.items() if number and word != "total")
    lines = [f"{status.job}: {status.tasks['total']} tasks: {counts or 'none'}"]
    lines.append(f"running: {status.running}" if status.running else f"not running; {_runs(status)}")
    if status.now is not None:
        lines.append(f"this run: {_progress(status.now)}")
    elif status.in_flight:
        lines.append(f"in flight: {status.in_flight}")
    lines.append(f"bought: {_bought(status)}")
    if status.waiting:
        lines.append(f"waiting: {status.waiting} files are younger than min_age")
    if failed:
        lines += [f"  {one.line}" for one in status.failures]
    lines += _hints(status, f"{shlex.quote(manifest)}{' --sandbox' if sandbox else ''}", failed=failed)
    return "\n".join(lines)


def _progress(now: Running) -> str:
    from pipeline.run.progress import cost_words, duration

    words = [f"{now.done} done in {duration(now.seconds)}", f"{now.in_flight} in flight"]
    words.append(f"{now.per_minute:.1f} tasks/min")
    if now.cost.confirmed is not None:
        words.append(cost_words(now.cost.confirmed, now.cost.possible, now.cost_at_end))
    if now.used_share is not None:
        words.append(f"{now.used_share:.0%} of rate")
    return ", ".join([*words, f"ETA {duration(now.seconds_left)}"])


def _bought(status: Status) -> str:
    from pipeline.run.summary import spent_words

    usage = status.usage
    words = f"{usage.images} images in {sum(usage.attempts.values())} requests, {usage.usage.total_tokens} tokens"
    cost = usage.cost
    return words if cost.confirmed is None else f"{words}, {spent_words(cost.confirmed, cost.possible)}"


def _runs(status: Status) -> str:
    runs = f"{status.runs} run{'s' * (status.runs != 1)}"
    return f"{runs}, the last began {status.last_run}" if status.runs else "never run"


def _hints(status: Status, command: str, *, failed: bool) -> list[str]:
    again = [word for word in ("failed", "held") if status.tasks[word]]
    hints = []
    if status.failures and not failed:
        hints.append(f"hint: `retouch status {command} --failed` lists what failed")
    if again:
        hints.append(f"hint: `retouch run {command} --retry {','.join(again)}` tries again")
    return hints
