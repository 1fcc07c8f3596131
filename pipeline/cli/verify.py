"""`retouch verify`: read every result again and hold it against the ledger."""

from __future__ import annotations

import shlex
import signal
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import job_argument, json_option, sandbox_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.run.verify import Fault, Verification
    from pipeline.run.verify_ledger import LedgerReport

MEANINGS = {
    "sound": "as the ledger says",
    "waiting": "stored, on their way to their names",
    "stale": "not there, and of tasks that the manifest names no more",
    "missing": "not there",
    "changed": "not what the ledger says",
    "unreadable": "cannot be read",
}
REPLACED = {
    "sound": "set aside in .retouch/replaced/, as their names say",
    "changed": "set aside in .retouch/replaced/, and not what their names say",
    "unreadable": "set aside in .retouch/replaced/, and cannot be read",
}


@click.command("verify")
@job_argument
@click.option("--repair", is_flag=True, help="Move changed files aside, so that the next run makes them again.")
@click.option("--only", metavar="GLOB", help="Only results of tasks whose id matches, and the ledger.")
@sandbox_option
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@json_option
def command(*, job: str, repair: bool, only: str | None, sandbox: bool, quiet: bool, as_json: bool) -> int:
    """Read every result of JOB again and compare it with the ledger, and the ledger with its checksums.

    Works on a running job. Needs no key. Exit 7 where something is damaged or missing.
    """
    from pipeline.cli.progress import view_for
    from pipeline.cli.terminal import out, print_json
    from pipeline.run.api import load
    from pipeline.run.summary import as_json as plain
    from pipeline.run.verify import verify

    try:
        found = verify(load(job), repair, only=only, sandbox=sandbox, view=view_for(quiet=quiet))
    except KeyboardInterrupt:
        # The process ends once the few files that are being read are: one more Ctrl-C ends it at once.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise
    if as_json:
        print_json(plain(found))
    else:
        command = f"{shlex.quote(job)}{' --sandbox' if sandbox else ''}"
        out("\n".join(described(found, command, repair=repair)))
    return found.exit


def described(found: Verification, command: str, *, repair: bool) -> Iterator[str]:
    """The report as a person reads it, line by line; `command` is the job as it was named."""
    from pipeline.run.progress import count

    if not found.ledgers:
        yield f"{found.job}: there is no ledger; nothing was made yet"
        return
    lines = sum(report.lines for report in found.ledgers)
    yield f"{found.job}: {found.outputs['total']} outputs, {lines} ledger lines, {count(found.bytes)}B read"
    yield from _counted(found.outputs, MEANINGS)
    yield from _counted(found.replaced, REPLACED)
    if found.spilled:
        yield f"  {found.spilled:>8} waiting     in the spill folder; the next run takes them in"
    for report in found.ledgers:
        yield from _ledger_lines(report)
    yield from map(_line, found.problems)
    yield from _hints(found, command, repair=repair)


def _counted(counts: dict[str, int], meanings: dict[str, str]) -> Iterator[str]:
    for kind, meaning in meanings.items():
        if counts[kind]:
            yield f"  {counts[kind]:>8} {kind:<10}  {meaning}"


def _ledger_lines(report: LedgerReport) -> Iterator[str]:
    for one in report.damaged:
        yield f"damaged: {report.path}: line {one.line}, byte {one.offset}, {one.bytes} bytes: its checksum is wrong"
    if report.torn:
        yield f"unfinished: {report.path}: its last {report.torn} bytes are being written, or a crash left them"


def _line(fault: Fault) -> str:
    from pipeline.errors import one_line

    whose = f" ({fault.task})" if fault.task else ""
    moved = f"; moved to {fault.moved}" if fault.moved else ""
    return one_line(f"{fault.kind}: {fault.path}{whose}: {fault.message}{moved}")


def _hints(found: Verification, command: str, *, repair: bool) -> Iterator[str]:
    if any(report.damaged for report in found.ledgers):
        unmoved = ", nothing was moved" if repair else ""
        yield f"hint: keep a copy of the ledger and put the damaged bytes back from a backup{unmoved}"
    elif not repair and any(fault.kind == "changed" for fault in found.problems):
        yield f"hint: `retouch verify {command} --repair` moves changed files aside"
    if any(fault.kind == "missing" or fault.moved for fault in found.problems):
        yield f"hint: `retouch run {command}` makes what is missing again, or takes it from a copy"
