"""Sharing out a job: which process has which items, and its part of each limit."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NoReturn, TypeVar

from msgspec.structs import replace

from pipeline.errors import JobError, Problem
from pipeline.manifest.endpoints import EndpointLimits
from pipeline.manifest.job import Job
from pipeline.manifest.models import Limits
from pipeline.tasks.expand import Prepared
from pipeline.tasks.select import Selection
from pipeline.tasks.task import Item

_LOOKED_AT: Final = 1024
"""Bytes from an image's beginning and from its middle that are read: with its length they tell most images apart."""

_REMEMBERED: Final = 100_000
"""Images that are given out by turns; of more chance makes shares that are as even. Bounds memory."""

L = TypeVar("L", Limits, EndpointLimits)


def items_of(prepared: Prepared, selection: Selection, count: int) -> list[tuple[bytes, ...]]:
    """For each of `count` processes its items, as `Selection` takes them; what is not selected is nobody's.

    Images that may be the same go to the same process: their lengths and some of their bytes are. The first image of an
    item decides. It is looked at once, here, so that no later change makes an item two processes' or nobody's.
    Raises JobError where a table changed meanwhile.
    """
    takes, owner_of = prepared.item_filter(selection), _Owners(count)
    owners = [
        bytes(owner_of(item) if takes(item) else 0 for item in listing.items(_refuse)) for listing in prepared.listings
    ]
    return [tuple(each.translate(_only(number)) for each in owners) for number in range(1, count + 1)]


class _Owners:
    """Gives images to processes by turns, and one that was there before to the process that has it."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._known: dict[bytes, int] = {}

    def __call__(self, item: Item) -> int:
        """The number of the process, from 1 on, that has an item."""
        sign = sha256(_sign(item.images[0]) if item.images else b"").digest()[:16]
        if len(self._known) < _REMEMBERED:
            return self._known.setdefault(sign, len(self._known) % self._count + 1)
        return self._known.get(sign) or int.from_bytes(sign, "big") % self._count + 1


def _sign(path: str) -> bytes:
    """What is the same for images that are the same; empty for what cannot be read, which nobody sends."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        size = os.fstat(fd).st_size
        return b"%d " % size + os.pread(fd, _LOOKED_AT, 0) + os.pread(fd, _LOOKED_AT, size // 2)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _only(number: int) -> bytes:
    """A table for `bytes.translate`: 1 for a number, 0 for all others."""
    return bytes(at == number for at in range(256))


def _refuse(problem: Problem) -> NoReturn:
    raise JobError([problem])


def most_processes(job: Job) -> int:
    """How many processes may share the job: each needs a request that it may have in flight, at every endpoint."""
    limits = [job.manifest.limits.concurrency, *(each.limits.concurrency for each in job.manifest.endpoints or ())]
    return min(limit for limit in limits if limit is not None)


def part_of_job(job: Job, number: int, count: int) -> Job:
    """The job with process `number`'s part, from 1 to `count`, of what all together may have under way."""
    manifest = job.manifest
    changed = {
        "limits": _part(manifest.limits, number, count),
        "endpoints": manifest.endpoints
        and [each.model_copy(update={"limits": _part(each.limits, number, count)}) for each in manifest.endpoints],
    }
    return replace(job, manifest=manifest.model_copy(update=changed))


def _part(limits: L, number: int, count: int) -> L:
    changed: dict[str, float] = dict(_rates(limits, count))
    if limits.concurrency is not None:
        changed["concurrency"] = limits.concurrency // count + (number <= limits.concurrency % count)
    return limits.model_copy(update=changed)


def _rates(limits: Limits | EndpointLimits, count: int) -> Iterator[tuple[str, float]]:
    for name in ("requests_per_minute", "images_per_minute", "tokens_per_minute"):
        if (rate := getattr(limits, name)) is not None:
            yield name, rate / count
