"""What a run would do: every task in exactly one count, and nothing sent."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from msgspec import Struct, field

from pipeline.errors import Problem
from pipeline.ledger.digests import DigestIndex, digest, fingerprint_digest
from pipeline.manifest.job import Job
from pipeline.outputs.folder import OWN
from pipeline.run.decide import Class, Verb
from pipeline.run.estimate import Account, Estimate, Estimator, Group, Paid, Sum, Tokens
from pipeline.run.examine import Examined
from pipeline.run.flags import Flags, check_flags, check_globs, flags_of
from pipeline.run.folders import in_sandbox
from pipeline.run.groups import Groups
from pipeline.run.inputs import Look
from pipeline.run.limit import ItemLimit
from pipeline.run.model_checks import Checked, check_models, utc_day
from pipeline.run.reading import Reading, open_reading
from pipeline.tasks.expand import Prepared, prepare
from pipeline.tasks.select import Selection

FIRST = 3
"""Requests that are shown."""


class PlannedRequest(Struct, frozen=True):
    """One request that would be sent: its task, its text fields, its files and where its images would go."""

    task: str
    fields: dict[str, Any]
    files: tuple[str, ...]
    paths: tuple[str, ...]


class Origin(Struct, frozen=True):
    """Where the price of a model is from, and of when; None where none is known."""

    model: str
    source: str | None


class Plan(Struct, frozen=True):
    """What a run would do, as `plan --json` prints it.

    `tasks` counts each task once, by where it stands. `stale` counts outputs that no task names, `images` those that
    would be asked for in `requests` requests. `waiting` counts files that are younger than `min_age`. `seconds` is how
    long that takes at the pace of earlier runs and at the manifest's rates, None without either. `groups` tell `tokens`
    and `estimate` by image set and prompt. `paid` holds what was bought before against its estimate. `origins` say
    where the models' prices are from.
    """

    job: str
    tasks: dict[str, int]
    stale: int
    images: int
    requests: int
    waiting: int
    seconds: float | None
    tokens: Tokens
    estimate: Estimate
    groups: tuple[Group, ...]
    paid: Paid | None
    origins: tuple[Origin, ...]
    warnings: tuple[Problem, ...]
    first: tuple[PlannedRequest, ...]


def plan(job: Job, **flags: Any) -> Plan:
    """Look at every task of a job; sends nothing, needs no key and takes no lock.

    `flags` are the fields of `Flags`. Raises JobError and StorageError.
    """
    return plan_with(job, flags_of(flags))


def plan_with(job: Job, flags: Flags) -> Plan:
    """`plan`, with flags that are read already."""
    check_flags(flags)
    if flags.sandbox:
        job = in_sandbox(job, None)
    now = time.time()
    models = check_models(job, utc_day(now))
    prepared = prepare(job, now, models.problems)
    check_globs(flags, prepared)
    account = Account(job.folder, Estimator(models.offers))
    with open_reading(job, account.take) as reading:
        counts = _counted(job, prepared, reading, account, flags)
        return _plan(job, prepared, reading, counts, account.result, models)


class _Counts(Struct):
    """What the tasks of a plan add up to; `first` are the first requests."""

    groups: Groups
    kinds: Counter[str] = field(default_factory=Counter)
    first: list[PlannedRequest] = field(default_factory=list)


def _counted(job: Job, prepared: Prepared, reading: Reading, account: Account, flags: Flags) -> _Counts:
    selection = Selection(only=flags.only, shard=flags.shard, sample=flags.sample)
    found = _Counts(Groups(account))
    requests = DigestIndex()
    for work in _selected(prepared, selection, reading, flags):
        found.kinds[work.kind] += 1
        if work.verb is not Verb.SEND or not _is_new(requests, work.fingerprint):
            continue
        found.groups.take(work)
        if len(found.first) < FIRST:
            found.first.append(_request(job, work))
    found.groups.close()
    return found


def _is_new(requests: DigestIndex, fingerprint: str) -> bool:
    """Whether a request is the first of its fingerprint.

    Without one nothing was read, as there is no past to find anything in: each counts as a request.
    """
    before = len(requests)
    return not fingerprint or requests.add(fingerprint_digest(fingerprint)) == before


def _plan(job: Job, prepared: Prepared, reading: Reading, counts: _Counts, paid: Paid | None, models: Checked) -> Plan:
    groups, kinds = counts.groups, counts.kinds
    total = groups.total
    return Plan(
        job=job.manifest.name,
        tasks={"total": kinds.total()} | {str(kind): kinds[kind] for kind in Class},
        stale=_stale(job, prepared, reading),
        images=total.images,
        requests=total.requests,
        waiting=prepared.waiting,
        seconds=expected_seconds(job, reading.pace, total),
        tokens=total.tokens,
        estimate=total.estimate,
        groups=tuple(
            Group(set_name, prompt, each.requests, each.images, each.history, each.tokens, each.estimate)
            for (set_name, prompt), each in groups.sums.items()
        ),
        paid=paid,
        origins=tuple(
            Origin(model, next((offer.origin(model) for offer in models.offers if offer.serves(model)), None))
            for model in groups.models
        ),
        warnings=models.notes,
        first=tuple(counts.first),
    )


def expected_seconds(job: Job, pace: float | None, total: Sum) -> float | None:
    """How long requests take: at the pace of earlier runs, in requests a second, and no faster than the rates allow."""
    tokens = total.tokens
    middle = None if tokens.low is None or tokens.high is None else (tokens.low + tokens.high) / 2
    wanted = {
        "requests_per_minute": total.requests,
        "images_per_minute": total.images,
        "tokens_per_minute": middle,
    }
    bounds = [] if pace is None else [total.requests / pace]
    for name, amount in wanted.items():
        rate = _rate(job, name)
        if rate is not None and amount is not None:
            bounds.append(amount * 60 / rate)
    return max(bounds, default=None)


def _rate(job: Job, name: str) -> int | None:
    """What all endpoints allow together in a minute; None where one has no cap."""
    several = job.manifest.endpoints
    rates = [getattr(each.limits, name) for each in several or (job.manifest,)]
    return None if None in rates else sum(rates)


def _selected(prepared: Prepared, selection: Selection, reading: Reading, flags: Flags) -> Iterator[Examined]:
    limit = ItemLimit(flags.limit)
    look = Look.HEAD if reading.state.untouched else Look.HASH
    for task in prepared.tasks(selection):
        work = reading.examiner.examine(task, Look.STAT if limit.passes_over(task) else look)
        if work.verb is not Verb.SEND or limit.admits(task):
            yield work


def _request(job: Job, work: Examined) -> PlannedRequest:
    folder = f"{job.folder}/"
    files = tuple(file.path.removeprefix(folder) for file in work.inputs)
    return PlannedRequest(work.task.id, dict(work.task.fields), files, work.task.paths)


def _stale(job: Job, prepared: Prepared, reading: Reading) -> int:
    """Outputs of this job in its folder that none of its tasks names."""
    if not reading.state.done:
        return 0
    named = DigestIndex()
    for task in prepared.tasks():
        for path in reading.paths_of(task):
            named.add(digest(path))
    return sum(named.find(digest(path)) < 0 for path in _outputs(str(job.output)) if reading.state.knows_path(path))


def _outputs(root: str) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        if OWN in folders and folder == root:
            folders.remove(OWN)
        start = f"{folder.removeprefix(root)}/".lstrip("/")
        for name in files:
            yield f"{start}{name}"
