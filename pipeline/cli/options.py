"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

job_argument = click.argument("job", metavar="JOB", type=click.Path(path_type=str))
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
sandbox_option = click.option("--sandbox", is_flag=True, help="Look at the folder of `run --sandbox`.")

_SELECTION = (
    click.option("--only", metavar="GLOB", help="Only tasks whose id matches, such as 'shoes/*/white-background'."),
    click.option("--sample", type=int, metavar="N", help="Only N items, spread over the job, always the same ones."),
    click.option("--shard", metavar="I/N", help="Only slice I of N of the items; shards may run at the same time."),
)


def selection_options(command: F) -> F:
    """--only, --sample and --shard."""
    for option in reversed(_SELECTION):
        command = option(command)
    return command


def selection(only: str | None, sample: int | None, shard: str | None) -> dict[str, Any]:
    """The shared selection options as fields of Flags; raises JobError."""
    from pipeline.run.flags import parse_shard

    return {"only": only, "sample": sample, "shard": parse_shard(shard) if shard is not None else None}
