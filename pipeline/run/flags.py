"""What one run is asked to do, beyond what the manifest says."""

from __future__ import annotations

import difflib
import re
from decimal import Decimal
from typing import Any, get_type_hints

import msgspec
from msgspec import Struct

from pipeline.errors import JobError, Problem
from pipeline.tasks.expand import Prepared
from pipeline.tasks.select import Selection

RETRIED = frozenset({"failed", "held"})
"""States of a task that `--retry` can name."""

MOST_SHARDS = 10_000


class Flags(Struct, frozen=True):
    """Options of one run; the defaults are a plain `retouch run JOB`.

    `concurrency` overrides `limits.concurrency`. `limit` is the first N items with something to send, `sample` N items
    spread over the job, `only` a glob on task ids, `shard` is (I, N), 1-based. `retry` reopens tasks that `failed`
    or are `held`, `redo` (a glob) asks for new results of tasks that are done. `yes` goes on where `rerun.limit`
    would stop, `strict` refuses to start with an unusable image. `sandbox` sends everything to an embedded endpoint,
    with the `faults` that `retouch sandbox` knows. `max_cost` is one more cap, in US dollars, on what this run may come
    to. `metrics_file` is a textfile for node_exporter, `metrics_port` (0: a free one) of `metrics_host` serves the
    same. `argv` is the command line, for the ledger.
    """

    concurrency: int | None = None
    limit: int | None = None
    sample: int | None = None
    only: str | None = None
    shard: tuple[int, int] | None = None
    retry: frozenset[str] = frozenset()
    redo: str | None = None
    yes: bool = False
    strict: bool = False
    sandbox: bool = False
    faults: str = ""
    max_cost: Decimal | None = None
    metrics_file: str | None = None
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    argv: tuple[str, ...] = ()


_FITTING = {
    "concurrency": "a whole number",
    "limit": "a whole number",
    "sample": "a whole number",
    "shard": "two whole numbers (I, N), such as (2, 3)",
    "retry": 'a set such as {"failed"}',
    "max_cost": 'an amount such as Decimal("12.50")',
    "metrics_port": "a whole number",
    "yes": "True or False",
    "strict": "True or False",
    "sandbox": "True or False",
}
"""What fits a flag, where that is not text."""


def flags_of(named: dict[str, Any]) -> Flags:
    """Flags by their names, as Python callers give them. Raises JobError for one that does not exist or fit."""
    problems, given = [], {}
    kinds = get_type_hints(Flags)
    for name, value in named.items():
        try:
            given[name] = msgspec.convert(value, kinds[name])
        except KeyError:
            problems.append(_no_flag(name))
        except msgspec.ValidationError:
            problems.append(Problem(f"{value!r} does not fit", f"expected {_FITTING.get(name, 'text')}", name))
    if problems:
        raise JobError(problems)
    return Flags(**given)


def _no_flag(name: str) -> Problem:
    known = list(Flags.__struct_fields__)
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected any of {', '.join(known)}"
    return Problem(f"there is no flag {name!r}", hint)


def parse_shard(text: str) -> tuple[int, int]:
    """`2/3` as (2, 3); raises JobError for anything that is not a shard."""
    match = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text)
    if match is None or not _is_shard((int(match[1]), int(match[2]))):
        raise JobError([_no_shard(text)])
    return int(match[1]), int(match[2])


def _is_shard(shard: tuple[int, int]) -> bool:
    return 1 <= shard[0] <= shard[1] <= MOST_SHARDS


def _no_shard(text: str) -> Problem:
    return Problem(f"{text!r} is not a shard", f"expected I/N, 1 <= I <= N <= {MOST_SHARDS}, such as 2/3", "--shard")


def parse_cost(text: str) -> Decimal:
    """`12.50` as that many US dollars, exactly; raises JobError for anything else."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,12})?", text):
        raise JobError([Problem(f"{text!r} is no amount", "expected US dollars such as 12.50", "--max-cost")])
    return Decimal(text)


def parse_retry(text: str) -> frozenset[str]:
    """`failed,held` as a set; raises JobError for another word."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in RETRIED:
            near = difflib.get_close_matches(word, sorted(RETRIED), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            expected = f"expected failed, held or both{hint}"
            raise JobError([Problem(f"{word!r} is no state to retry", expected, "--retry")])
    return frozenset(words)


def check_flags(flags: Flags) -> None:
    """Raises JobError for values out of range, which the Python API can give too, and for flags without their flag."""
    problems = [
        Problem(f"{value} is too small", "expected a whole number from 1 on", f"--{name}")
        for name, value in (("limit", flags.limit), ("sample", flags.sample))
        if value is not None and value < 1
    ]
    if flags.shard is not None and not _is_shard(flags.shard):
        problems.append(_no_shard("{}/{}".format(*flags.shard)))
    if not set(flags.retry) <= RETRIED:
        problems.append(Problem(f"{flags.retry!r} cannot be retried", 'expected a set such as {"failed"}', "--retry"))
    if flags.max_cost is not None and not (flags.max_cost.is_finite() and flags.max_cost >= 0):
        problems.append(Problem(f"{flags.max_cost} is no amount", "expected US dollars from 0 on", "--max-cost"))
    if flags.metrics_port is not None and not 0 <= flags.metrics_port <= 65535:
        problems.append(Problem(f"{flags.metrics_port} is no port", "expected 0 to 65535", "--metrics-port"))
    if flags.faults and not flags.sandbox:
        problems.append(Problem("only the sandbox makes faults", "add --sandbox", "--faults"))
    if problems:
        raise JobError(problems)


def check_globs(flags: Flags, prepared: Prepared) -> None:
    """Raises JobError for a glob that matches no task of the job: mistyped, it would do nothing and look like success.

    Where a set may be empty, or files are still too young, a glob may match nothing today.
    """
    if not prepared.total or prepared.waiting or any(each.allow_empty for each in prepared.job.manifest.image_sets):
        return
    problems = [
        Problem(
            f"{glob!r} matches no task id",
            f"expected a glob of whole ids, which are like {next(prepared.tasks()).id}",
            f"--{name}",
        )
        for name, glob in (("only", flags.only), ("redo", flags.redo))
        if glob is not None and next(prepared.tasks(Selection(only=glob)), None) is None
    ]
    if problems:
        raise JobError(problems)
