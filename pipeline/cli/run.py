"""`retouch run`: send what is not done yet."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import Whole, job_argument, json_option, selection, selection_options

if TYPE_CHECKING:
    from pipeline.run.summary import Summary

SHOWN = 5
"""Failures that are printed after a run."""


@click.command("run")
@job_argument
@selection_options
@click.option("--limit", type=Whole(), metavar="N", help="Only the first N items that have something to send.")
@click.option(
    "--concurrency", type=Whole(), metavar="C", help="Most requests in flight, instead of limits.concurrency."
)
@click.option(
    "--processes", type=Whole(), metavar="N", help="Share the job among N processes, for more than one core can do."
)
@click.option("--retry", metavar="WHAT", help="Try again what 'failed', is 'held', or 'failed,held'.")
@click.option("--redo", metavar="GLOB", help="Buy new results of finished tasks whose id matches.")
@click.option("--yes", is_flag=True, help="Buy again even more finished tasks than rerun.limit allows.")
@click.option("--strict", is_flag=True, help="Check every image first and send nothing if one cannot be used.")
@click.option("--sandbox", is_flag=True, help="Send to an embedded endpoint, into a folder of its own: free.")
@click.option("--faults", default="", metavar="SPEC", help="Faults of the sandbox, such as rate=0.1,reset=0.05.")
@click.option("--max-cost", metavar="DOLLARS", help="Stop before this run may cost more, beside the manifest's caps.")
@click.option("--metrics-file", metavar="PATH", help="Keep Prometheus metrics in a textfile for node_exporter.")
@click.option(
    "--metrics-port", type=Whole(0, 65535), metavar="N", help="Serve Prometheus metrics; 0 takes a free port."
)
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Address that --metrics-port listens on.")
@click.option("-v", "--verbose", is_flag=True, help="Print what is sent and answered as log records, without keys.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors and the summary line only.")
@json_option
def command(
    *,
    job: str,
    only: str | None,
    sample: int | None,
    shard: str | None,
    processes: int | None,
    retry: str | None,
    max_cost: str | None,
    verbose: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Run JOB: send what is not done yet, and go on where an earlier run stopped.

    The first Ctrl-C (or SIGTERM) lets requests in flight finish, the second cancels them, the third exits at once.
    """
    from pipeline.cli.process import settle
    from pipeline.cli.progress import view_for
    from pipeline.cli.records import print_records
    from pipeline.cli.terminal import print_json
    from pipeline.run.api import load, run_with
    from pipeline.run.flags import Flags, parse_cost, parse_retry
    from pipeline.run.summary import as_json as plain

    print_records(verbose=verbose)
    flags = Flags(
        **selection(only, sample, shard),
        retry=parse_retry(retry) if retry is not None else frozenset(),
        max_cost=parse_cost(max_cost) if max_cost is not None else None,
        argv=tuple(sys.argv[1:]),
        **options,
    )
    loaded = load(job)
    import pipeline.run.perform  # noqa: F401 - all that a run needs, before the process settles

    settle()
    view = view_for(quiet=quiet, verbose=verbose)
    if processes is None:
        summary = run_with(loaded, flags, view=view, signals=True)
    else:
        from pipeline.processes.parent import run_in_processes

        summary = run_in_processes(loaded, flags, processes, view=view)
    tell(summary, failure_lines(summary, job, sandbox=flags.sandbox), quiet=quiet)
    if as_json:
        print_json(plain(summary))
    return summary.exit


def tell(summary: Summary, failures: list[str], *, quiet: bool) -> None:
    """What a run came to, on stderr."""
    from pipeline.cli.terminal import say
    from pipeline.run.summary import sentence

    for line in failures:
        say(line)
    if not quiet and summary.ledger is not None:
        say(f"results: {shown(Path(summary.ledger).parent)}")
    say(sentence(summary))
    if summary.error is not None and os.environ.get("RETOUCH_DEBUG"):
        say(summary.error)


def shown(path: Path) -> Path:
    """A path as seen from the working folder, where it lies below it and that folder is still there."""
    try:
        return path.relative_to(Path.cwd())
    except (ValueError, FileNotFoundError):
        return path


def failure_lines(summary: Summary, job: str, *, sandbox: bool) -> list[str]:
    """The first failures, one a line, and where to read the rest."""
    lines = [one.line for one in summary.failures[:SHOWN]]
    if lines:
        command = f"{shlex.quote(job)}{' --sandbox' if sandbox else ''}"
        lines.append(f"hint: `retouch status {command} --failed` lists all, and how to retry")
    return lines
