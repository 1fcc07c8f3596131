"""Which items and tasks of a job a run is about; the same in every run, whatever else the job holds."""

from __future__ import annotations

import fnmatch
import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import compress
from typing import Protocol
from unicodedata import normalize

from msgspec import Struct

from pipeline.tasks.identity import item_digest, shard_of
from pipeline.tasks.task import Item


class Selection(Struct, frozen=True):
    """A part of a job: tasks whose id matches the glob `only` (`*` spans `/` too), the items of `shard` (I, N),
    `sample` items spread over what those leave. `items` picks items by their places: it has a byte for each item of
    each image set, which is not 0 for one that is taken; None takes all."""

    only: str | None = None
    shard: tuple[int, int] | None = None
    sample: int | None = None
    items: tuple[bytes, ...] | None = None

    def of_set(self, number: int, items: Iterator[Item]) -> Iterator[Item]:
        """Those items of an image set that are taken by their places."""
        return items if self.items is None else compress(items, self.items[number])

    def takes_item(self, set_name: str, key: str) -> bool:
        """Whether the shard has the item."""
        return self.shard is None or shard_of(set_name, key, self.shard[1]) == self.shard[0]

    def task_filter(self) -> Callable[[str], bool] | None:
        """Whether `only` takes a task id; None where it takes all."""
        if self.only is None:
            return None
        pattern = re.compile(fnmatch.translate(normalize("NFC", self.only)))
        return lambda task: pattern.match(task) is not None


EVERYTHING = Selection()


class Pick(Protocol):
    """Picks some of a selection's tasks before they are made; it is asked of all of them, once and in order."""

    def passes_over(self, count: int) -> bool:
        """Whether none of the next `count` tasks is wanted; of these nothing more is asked then."""

    def __call__(self, task: str) -> bool:
        """Whether the next task, which has this id, is wanted."""


def sampled(items: Iterable[tuple[str, str]], size: int) -> frozenset[bytes]:
    """The digests of the `size` items, each given by set and key, that are a sample of them all."""
    return frozenset(heapq.nsmallest(size, (item_digest(set_name, key) for set_name, key in items)))
