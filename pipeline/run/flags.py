"""What one run is asked to do, beyond what the manifest says."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from pipeline.errors import JobError, Problem

RETRIED = frozenset({"failed", "held"})
"""States of a task that `--retry` can name."""

MOST_SHARDS = 10_000


@dataclass(frozen=True, slots=True)
class Flags:
    """Options of one run; the defaults are a plain `retouch run JOB`.

    `concurrency` overrides `limits.concurrency`. `limit` is the first N items with something to send, `sample` N items
    spread over the job, `only` a glob on task ids, `shard` is (I, N), 1-based. `retry` reopens tasks that `failed`
    or are `held`, `redo` (a glob) asks for new results of tasks that are done. `yes` goes on where `rerun.limit`
    would stop, `strict` refuses to start with an unusable image. `sandbox` sends everything to an embedded endpoint,
    with the `faults` that `retouch sandbox` knows. `argv` is the command line, for the ledger.
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
    argv: tuple[str, ...] = ()


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
    if flags.faults and not flags.sandbox:
        problems.append(Problem("only the sandbox makes faults", "add --sandbox", "--faults"))
    if problems:
        raise JobError(problems)
