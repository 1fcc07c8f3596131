"""Options that several verbs share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pipeline.errors import one_line

F = TypeVar("F", bound=Callable[..., Any])


def one_job(ctx: click.Context, _param: click.Parameter, names: tuple[str, ...]) -> str:
    """The one manifest that is named. Raises UsageError for none, for several, and for stdin."""
    named = [name for name in names if name]
    if not named:
        raise click.UsageError(f"no manifest is named; expected `retouch {ctx.info_name} JOB`, such as job.yaml", ctx)
    if len(named) > 1:
        raise click.UsageError(f"{len(named)} manifests are named: {one_line(', '.join(named))}; expected one", ctx)
    if named[0] == "-":
        what = "a manifest is not read from stdin"
        raise click.UsageError(f"{what}; expected a file, as its paths start from its folder", ctx)
    return named[0]


class Whole(click.ParamType[int]):
    """A whole number in decimal digits, which are also what a manifest takes: neither `1_000` nor `1e3`."""

    name = "integer"

    def __init__(self, least: int | None = None, most: int | None = None) -> None:
        self._least, self._most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Raises UsageError for what is no number, and for one out of range."""
        flag = param.opts[0] if param is not None else "the value"
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"-?[0-9]{1,30}", value):
            raise click.UsageError(f"{flag}: {value!r} is no whole number; expected one such as 8", ctx)
        number = int(value)
        if self._least is not None and self._most is not None and not self._least <= number <= self._most:
            word = "small" if number < self._least else "large"
            expected = f"expected a whole number from {self._least} to {self._most}"
            raise click.UsageError(f"{flag}: {number} is too {word}; {expected}", ctx)
        return number


job_argument = click.argument("job", metavar="JOB", nargs=-1, callback=one_job)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
sandbox_option = click.option("--sandbox", is_flag=True, help="Look at the folder of `run --sandbox`.")

_PERIOD = (
    click.option("--since", metavar="TIME", help="Only attempts from then on: a UTC date, or a time such as …T12:00Z."),
    click.option("--until", metavar="TIME", help="Only attempts up to the end of that UTC date, or before that time."),
)


def period_options(command: F) -> F:
    """--since and --until."""
    for option in reversed(_PERIOD):
        command = option(command)
    return command


_SELECTION = (
    click.option("--only", metavar="GLOB", help="Only tasks whose id matches, such as 'shoes/*/white-background'."),
    click.option(
        "--sample", type=Whole(), metavar="N", help="Only N items, spread over the job, always the same ones."
    ),
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
