# ruff: noqa: E501 - an expected message is one line
"""Flags, arguments and variables that cannot be meant: every flag of every verb."""

from __future__ import annotations

import os

import pytest

from tests.bad_input.conftest import Refused
from tests.bad_input.row import VERBS, Row, of_flags

SELECTING = ("plan", "run")


def of_words(words: str, *lines: str, code: int = 2) -> Row:
    """A whole command line; its first word is the verb."""
    verb, *argv = words.split(" ")
    return Row(words or "empty", lines, argv=tuple(argv), verbs=(verb,), code=code)


def of_job_named(name: str, *lines: str, files: dict[str, object] | None = None) -> Row:
    return Row(f"the manifest {name!r}", lines, files or {}, argv=(name,))  # type: ignore[arg-type]  # what Row takes


SELECTION = [
    of_flags("--limit 0", "--limit: 0 is too small; expected a whole number from 1 on", verbs=SELECTING),
    of_flags("--limit -1", "--limit: -1 is too small; expected a whole number from 1 on", verbs=SELECTING),
    of_flags("--limit 1e9", "--limit: '1e9' is no whole number; expected one such as 8", verbs=SELECTING),
    of_flags("--limit abc", "--limit: 'abc' is no whole number; expected one such as 8", verbs=SELECTING),
    of_flags("--limit 1_000", "--limit: '1_000' is no whole number; expected one such as 8", verbs=SELECTING),
    of_flags("--limit ٣", "--limit: '٣' is no whole number; expected one such as 8", verbs=SELECTING),
    of_flags("--limit=", "--limit: '' is no whole number; expected one such as 8", verbs=SELECTING),
    of_flags("--sample 0", "--sample: 0 is too small; expected a whole number from 1 on", verbs=SELECTING),
    of_flags("--sample -1", "--sample: -1 is too small; expected a whole number from 1 on", verbs=SELECTING),
    of_flags("--sample 50%", "--sample: '50%' is no whole number; expected one such as 8", verbs=SELECTING),
    of_flags(
        "--shard 0/2", "--shard: '0/2' is not a shard; expected I/N, 1 <= I <= N <= 10000, such as 2/3", verbs=SELECTING
    ),
    of_flags(
        "--shard 3/2", "--shard: '3/2' is not a shard; expected I/N, 1 <= I <= N <= 10000, such as 2/3", verbs=SELECTING
    ),
    of_flags(
        "--shard 1/0", "--shard: '1/0' is not a shard; expected I/N, 1 <= I <= N <= 10000, such as 2/3", verbs=SELECTING
    ),
    of_flags(
        "--shard 1", "--shard: '1' is not a shard; expected I/N, 1 <= I <= N <= 10000, such as 2/3", verbs=SELECTING
    ),
    of_flags(
        "--shard 1/2/3",
        "--shard: '1/2/3' is not a shard; expected I/N, 1 <= I <= N <= 10000, such as 2/3",
        verbs=SELECTING,
    ),
    of_flags(
        "--shard -1/2",
        "--shard: '-1/2' is not a shard; expected I/N, 1 <= I <= N <= 10000, such as 2/3",
        verbs=SELECTING,
    ),
    of_flags(
        "--shard 1/10001",
        "--shard: '1/10001' is not a shard; expected I/N, 1 <= I <= N <= 10000, such as 2/3",
        verbs=SELECTING,
    ),
    of_flags(
        "--shard ١/٢", "--shard: '١/٢' is not a shard; expected I/N, 1 <= I <= N <= 10000, such as 2/3", verbs=SELECTING
    ),
    of_flags(
        "--shard a/b", "--shard: 'a/b' is not a shard; expected I/N, 1 <= I <= N <= 10000, such as 2/3", verbs=SELECTING
    ),
    of_flags(
        "--shard=", "--shard: '' is not a shard; expected I/N, 1 <= I <= N <= 10000, such as 2/3", verbs=SELECTING
    ),
    of_flags(
        "--only shoes",
        "--only: 'shoes' matches no task id; expected a glob of whole ids, which are like shoes/0/white",
        verbs=SELECTING,
    ),
    of_flags(
        "--only=",
        "--only: '' matches no task id; expected a glob of whole ids, which are like shoes/0/white",
        verbs=SELECTING,
    ),
    of_flags(
        "--only bags/*",
        "--only: 'bags/*' matches no task id; expected a glob of whole ids, which are like shoes/0/white",
        verbs=SELECTING,
    ),
    of_flags(
        "--only [",
        "--only: '[' matches no task id; expected a glob of whole ids, which are like shoes/0/white",
        verbs=SELECTING,
    ),
    of_flags(
        "--limit 0 --sample 0",
        "--limit: 0 is too small; expected a whole number from 1 on",
        "--sample: 0 is too small; expected a whole number from 1 on",
        verbs=SELECTING,
    ),
    of_flags("--limit 1 --limit", "Option '--limit' requires an argument.", verbs=SELECTING),
]
RUNNING = [
    of_flags("--concurrency 0", "--concurrency: 0 is too small; expected a whole number from 1 to 4096"),
    of_flags("--concurrency -1", "--concurrency: -1 is too small; expected a whole number from 1 to 4096"),
    of_flags("--concurrency 4097", "--concurrency: 4097 is too large; expected a whole number from 1 to 4096"),
    of_flags(
        "--concurrency 1000000000", "--concurrency: 1000000000 is too large; expected a whole number from 1 to 4096"
    ),
    of_flags("--concurrency 1e9", "--concurrency: '1e9' is no whole number; expected one such as 8"),
    of_flags("--concurrency abc", "--concurrency: 'abc' is no whole number; expected one such as 8"),
    of_flags("--concurrency 2.5", "--concurrency: '2.5' is no whole number; expected one such as 8"),
    of_flags("--concurrency=", "--concurrency: '' is no whole number; expected one such as 8"),
    of_flags("--concurrency 1_000", "--concurrency: '1_000' is no whole number; expected one such as 8"),
    of_flags("--retry nonsense", "--retry: 'nonsense' is no state to retry; expected failed, held or both"),
    of_flags(
        "--retry fialed",
        "--retry: 'fialed' is no state to retry; expected failed, held or both; did you mean 'failed'?",
    ),
    of_flags("--retry done", "--retry: 'done' is no state to retry; expected failed, held or both"),
    of_flags("--retry=", "--retry: '' is no state to retry; expected failed, held or both"),
    of_flags("--retry failed,", "--retry: '' is no state to retry; expected failed, held or both"),
    of_flags("--retry", "Option '--retry' requires an argument."),
    of_flags(
        "--redo */wite",
        "--redo: '*/wite' matches no task id; expected a glob of whole ids, which are like shoes/0/white",
    ),
    of_flags("--redo=", "--redo: '' matches no task id; expected a glob of whole ids, which are like shoes/0/white"),
    of_flags(
        "--redo */wite --only */wite",
        "--only: '*/wite' matches no task id; expected a glob of whole ids, which are like shoes/0/white",
        "--redo: '*/wite' matches no task id; expected a glob of whole ids, which are like shoes/0/white",
    ),
    of_flags("--faults rate=0.1", "--faults: only the sandbox makes faults; add --sandbox"),
    of_flags(
        "--sandbox --faults nonsense",
        "--faults: unknown fault 'nonsense'; did you mean 'seed'? known keys: rate, quota, billing, moderation, unauthorized, redirect, error-500, error-503, error-502-html, reset, disconnect, reset-body, truncate, hang, drip, bad-base64, undecodable, error-200, html-200, empty-200, no-usage, zero-usage, wrong-size, wrong-format, short-count, slow, retry-after, seed, latency",
    ),
    of_flags("--sandbox --faults rate=2", "--faults: fault rate=2: a chance lies between 0 and 1, such as 0.1"),
    of_flags("--sandbox --faults rate=", "--faults: fault 'rate' has no value; expected rate=VALUE"),
    of_flags("--yes=true", "Option '--yes' does not take a value."),
    of_flags("--max-cost five", "--max-cost: 'five' is no amount; expected US dollars such as 12.50"),
    of_flags("--concurency 3", "No such option '--concurency'. Did you mean '--concurrency'?"),
    of_flags("--dry-run", "No such option '--dry-run'."),
    of_flags("-x", "No such option '-x'."),
    of_flags(
        "other.yaml",
        "2 manifests are named: job.yaml, other.yaml; expected one",
        verbs=(*VERBS, "status", "usage", "verify"),
    ),
]
COMMANDS = [
    of_words("rn job.yaml", "there is no verb 'rn'; did you mean 'run'?"),
    of_words(
        "frobnicate job.yaml",
        "there is no verb 'frobnicate'; expected one of init, validate, plan, run, status, usage, reconcile, verify, schema, sandbox",
    ),
    of_words(
        "job.yaml",
        "there is no verb 'job.yaml'; expected one of init, validate, plan, run, status, usage, reconcile, verify, schema, sandbox",
    ),
    of_words("run", "no manifest is named; expected `retouch run JOB`, such as job.yaml"),
    of_words("validate", "no manifest is named; expected `retouch validate JOB`, such as job.yaml"),
    of_words("plan", "no manifest is named; expected `retouch plan JOB`, such as job.yaml"),
    of_words("status", "no manifest is named; expected `retouch status JOB`, such as job.yaml"),
    of_words("usage", "no manifest is named; expected `retouch usage JOB`, such as job.yaml"),
    of_words("verify", "no manifest is named; expected `retouch verify JOB`, such as job.yaml"),
    of_words("validate job.yaml --limit 3", "No such option '--limit'."),
    of_words("status job.yaml --by model", "No such option '--by'."),
    of_words("usage job.yaml --by modell", "--by: usage cannot be grouped by 'modell'; did you mean 'model'?"),
    of_words(
        "usage job.yaml --by colour",
        "--by: usage cannot be grouped by 'colour'; expected any of model, prompt, set, day, run, endpoint",
    ),
    of_words(
        "usage job.yaml --by model,colour",
        "--by: usage cannot be grouped by 'colour'; expected any of model, prompt, set, day, run, endpoint",
    ),
    of_words("usage job.yaml --by", "Option '--by' requires an argument."),
    of_words("verify job.yaml --only", "Option '--only' requires an argument."),
    of_words("schema job.yaml", "Got unexpected extra argument (job.yaml)"),
    of_words("init job.yaml", "job.yaml exists already; name another file, or move it away"),
    of_words("init in", "in exists already; name another file, or move it away"),
    of_words(
        "init nowhere/job.yaml", "nowhere/job.yaml cannot be written: No such file or directory; name another place"
    ),
    of_words("init a.yaml b.yaml", "Got unexpected extra argument (b.yaml)"),
    of_words("init job.yaml/x", "job.yaml/x cannot be written: Not a directory; name another place"),
    of_words("sandbox --port 65536", "--port: 65536 is too large; expected a whole number from 0 to 65535"),
    of_words("sandbox --port -1", "--port: -1 is too small; expected a whole number from 0 to 65535"),
    of_words("sandbox --port http", "--port: 'http' is no whole number; expected one such as 8"),
    of_words(
        "sandbox --faults nonsense=1",
        "--faults: unknown fault 'nonsense'; did you mean 'seed'? known keys: rate, quota, billing, moderation, unauthorized, redirect, error-500, error-503, error-502-html, reset, disconnect, reset-body, truncate, hang, drip, bad-base64, undecodable, error-200, html-200, empty-200, no-usage, zero-usage, wrong-size, wrong-format, short-count, slow, retry-after, seed, latency",
    ),
    of_words(
        "sandbox --latency soon", "--latency: 'soon' is not a number of seconds; expected 0 or more, such as 0.5 or 2s"
    ),
    of_words(
        "sandbox --host not.a.host.invalid --port 0",
        "cannot listen on not.a.host.invalid port 0: Name or service not known; --port 0 takes a free one",
    ),
    of_words("sandbox job.yaml", "Got unexpected extra argument (job.yaml)"),
]
MANIFESTS = [
    of_job_named("nowhere.yaml", "nowhere.yaml: cannot be read: No such file or directory; expected a readable file"),
    of_job_named("in", "in: is a folder; expected a file"),
    of_job_named(".", ".: is a folder; expected a file"),
    Row(
        "the manifest ''",
        ("no manifest is named; expected `retouch run JOB`, such as job.yaml",),
        argv=("",),
        verbs=("run",),
    ),
    of_job_named("-", "a manifest is not read from stdin; expected a file, as its paths start from its folder"),
    of_job_named("job.yaml/", "job.yaml/: cannot be read: Not a directory; expected a readable file"),
    of_job_named("/dev/null", "/dev/null: is not a regular file; expected a file"),
    of_job_named("/dev/zero", "/dev/zero: is not a regular file; expected a file"),
    of_job_named("pipe.yaml", "pipe.yaml: is not a regular file; expected a file", files={"pipe.yaml": os.mkfifo}),
    of_job_named(
        "loop.yaml",
        "loop.yaml: cannot be read: Too many levels of symbolic links; expected a readable file",
        files={"loop.yaml": lambda path: path.symlink_to("loop.yaml")},
    ),
    of_job_named(
        "gone.yaml",
        "gone.yaml: cannot be read: No such file or directory; expected a readable file",
        files={"gone.yaml": lambda path: path.symlink_to("nowhere.yaml")},
    ),
    of_job_named("in/0.png", "in/0.png:1:1: byte 0 (0x89) is not UTF-8; save the file as UTF-8"),
    of_job_named(
        "x" * 300,
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: cannot be read: File name too long; expected a readable file",
    ),
    of_job_named("a\nb.yaml", "a\\nb.yaml: cannot be read: No such file or directory; expected a readable file"),
    of_job_named(
        "\x1b[31m.yaml", "\\x1b[31m.yaml: cannot be read: No such file or directory; expected a readable file"
    ),
    of_job_named("\udcff.yaml", "\\udcff.yaml: cannot be read: No such file or directory; expected a readable file"),
]


@pytest.mark.parametrize("row", [*SELECTION, *RUNNING, *COMMANDS, *MANIFESTS], ids=str)
def test_a_bad_command_line_is_refused(refused: Refused, row: Row) -> None:
    """One line says which word is wrong and what was expected; exit 2, nothing sent and nothing made."""
    refused(row)
