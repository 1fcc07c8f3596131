"""A run's endpoints, opened from the manifest: each with its own key, way, limits and prices."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

from anyio import CapacityLimiter

from pipeline.control.breaker import Breaker
from pipeline.control.concurrency import LiveLimit
from pipeline.control.rates import Rates
from pipeline.endpoint.key import Key, Keys, read_key
from pipeline.endpoint.models import load_catalogue
from pipeline.endpoint.transport import Transport
from pipeline.errors import JobError
from pipeline.manifest.endpoints import Endpoint, EndpointLimits, NamedEndpoint
from pipeline.manifest.job import Job
from pipeline.manifest.routing import moved
from pipeline.run.context import Chance
from pipeline.run.gate import Gate
from pipeline.run.halt import Halt
from pipeline.run.lane import Lane
from pipeline.run.model_checks import Offer
from pipeline.run.threads import WORKERS

T = TypeVar("T")


def keys_of(job: Job, environ: Mapping[str, str] | None = None) -> Keys:
    """The keys that the job's endpoints want. Raises JobError with all that are missing or unusable."""
    found = os.environ if environ is None else environ
    return Keys(tuple(_each(job, lambda endpoint, *_: read_key(endpoint, found, job.folder))))


def lanes_of(job: Job, keys: Keys, slots: int, halt: Halt, chance: Chance) -> list[Lane]:
    """The ways to the job's endpoints, not open yet; `slots` is the most requests at once.

    Raises JobError for what the manifest says of them that cannot be.
    """
    with _located(job):
        return _each(job, lambda endpoint, place, key: _lane(job, endpoint, place, key, slots, halt, chance), keys)


def check_ways(job: Job) -> None:
    """Raises JobError for what the manifest says of its endpoints that cannot be; keys and models are checked apart."""
    with _located(job):
        _each(job, lambda endpoint, _, key: _transport(job, endpoint, key))


@contextmanager
def _located(job: Job) -> Iterator[None]:
    """Problems inside told with their lines in the manifest."""
    try:
        yield
    except JobError as error:
        raise JobError(map(job.located, error.problems)) from error


def _each(job: Job, make: Callable[[Endpoint, str, Key | None], T], keys: Keys | None = None) -> list[T]:
    """What is made of each endpoint, its place and its key. Raises JobError with what is wrong with any of them."""
    made, problems = [], []
    for index, endpoint in enumerate(job.endpoints):
        place = job.endpoint_place(index)
        try:
            made.append(make(endpoint, place, keys.each[index] if keys else None))
        except JobError as error:
            problems += [moved(problem, place) for problem in error.problems]
    if problems:
        raise JobError(problems)
    return made


def _transport(job: Job, endpoint: Endpoint, key: Key | None) -> Transport:
    timeout, readers = job.manifest.limits.timeout, CapacityLimiter(WORKERS)
    return Transport(job.url_of(endpoint), endpoint, key, timeout=timeout, folder=job.folder, readers=readers)


def _lane(job: Job, endpoint: Endpoint, place: str, key: Key | None, slots: int, halt: Halt, chance: Chance) -> Lane:
    named = endpoint if isinstance(endpoint, NamedEndpoint) else None
    limits = limits_of(job, endpoint)
    now = chance.clock()
    return Lane(
        name=named.name if named else urlsplit(job.url_of(endpoint)).netloc,
        transport=_transport(job, endpoint, key),
        key=key,
        offer=Offer(endpoint, place, load_catalogue(endpoint, job.folder)),
        gate=Gate(named.name if named else "the endpoint", halt, chance.clock),
        rates=Rates(limits.requests_per_minute, limits.images_per_minute, limits.tokens_per_minute, now),
        limit=LiveLimit(min(slots, limits.concurrency or slots), now),
        breaker=Breaker(),
        weight=named.weight if named else 1.0,
    )


def limits_of(job: Job, endpoint: Endpoint) -> EndpointLimits:
    """What one endpoint may have under way: its own limits, or the job's where it is the only one."""
    if isinstance(endpoint, NamedEndpoint):
        return endpoint.limits
    limits = job.manifest.limits
    rates = {
        "requests_per_minute": limits.requests_per_minute,
        "images_per_minute": limits.images_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
    }
    return EndpointLimits().model_copy(update=rates)  # as they are: a process's part need not be a whole number
