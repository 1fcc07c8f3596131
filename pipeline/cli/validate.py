"""`retouch validate`: find all that can be found without the network."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from pipeline.cli.options import job_argument, json_option


@click.command("validate")
@job_argument
@json_option
def command(*, job: str, as_json: bool) -> int:
    """Check JOB: the manifest, its tables, and every image and mask, decoded whole. Sends nothing, needs no key."""
    from pipeline.cli.terminal import complain, out, print_json
    from pipeline.run.api import load
    from pipeline.run.exits import Exit
    from pipeline.run.summary import as_json as plain
    from pipeline.run.validate import validate

    with _counter() as seen:
        found = validate(load(job), seen)
    for problem in found.problems:
        complain(problem)
    if as_json:
        print_json(plain(found))
    elif not found.problems:
        waiting = f"; {found.waiting} are younger than min_age and wait" if found.waiting else ""
        out(f"{found.job}: {found.items} items, {found.tasks} tasks, {found.files} files: all can be sent{waiting}")
    return Exit.USAGE if found.problems else Exit.DONE


@contextmanager
def _counter() -> Iterator[Callable[[int], object]]:
    """Shows how many files were decoded, on a terminal."""
    from tqdm import tqdm

    with tqdm(unit=" files", file=sys.stderr, leave=False, disable=None) as bar:
        yield lambda files: bar.update(files - bar.n)
