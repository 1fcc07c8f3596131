"""A share of a run: what one of several processes does of a job, and how it hears of the others.

To the ledger and the lock a share is a shard. It differs in which items it has, and in that none is sent before all
processes were looked at together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from msgspec import Struct

from pipeline.run.context import Context
from pipeline.tasks.expand import Prepared


class Weight(Struct, frozen=True):
    """What a look at the past found: so many tasks were done before, and of these so many would be bought again."""

    done_before: int = 0
    again: int = 0

    def __add__(self, other: Weight) -> Weight:
        return Weight(self.done_before + other.done_before, self.again + other.again)


class StoodDownError(Exception):
    """Another process of the run cannot begin, so that this one sends nothing."""


class Share(Struct, frozen=True):
    """The job as it was prepared for all, and the share's `items`, as `Selection` takes them.

    `listen` obeys who started the process until it is cancelled. `weigh` gives, for what this process found, what all
    found together; it raises StoodDownError.
    """

    prepared: Prepared
    items: tuple[bytes, ...]
    listen: Callable[[Context], Coroutine[Any, Any, None]]
    weigh: Callable[[Weight], Awaitable[Weight]]
