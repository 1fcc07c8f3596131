"""`retouch validate`: find all that can be found without the network."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import job_argument, json_option

if TYPE_CHECKING:
    from pipeline.run.validate import Validation


@click.command("validate")
@job_argument
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@json_option
def command(*, job: str, quiet: bool, as_json: bool) -> int:
    """Check JOB: the manifest, its tables, and every image and mask, decoded whole. Sends nothing, needs no key."""
    from pipeline.cli.progress import view_for
    from pipeline.cli.terminal import complain, out, print_json, say
    from pipeline.errors import JobError, listed
    from pipeline.run.api import load
    from pipeline.run.summary import as_json as plain
    from pipeline.run.validate import refused, validate

    try:
        found = validate(load(job), view_for(quiet=quiet))
    except JobError as error:
        found = refused(error)
    except KeyboardInterrupt:
        # The process ends once the few files that are being decoded are: a second Ctrl-C ends it at once.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise
    for line in listed(found.warnings):
        say(f"warning: {line}")
    for line in (found.error or "").splitlines():
        complain(line)
    if as_json:
        print_json(plain(found))
    elif found.error is None:
        out(described(found))
    return found.exit


def described(found: Validation) -> str:
    """What was looked at, where nothing is wrong."""
    waiting = f"; {found.waiting} are younger than min_age and wait" if found.waiting else ""
    return f"{found.job}: {found.items} items, {found.tasks} tasks, {found.files} files: all can be sent{waiting}"
