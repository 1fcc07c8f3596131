"""`--limit N`: the first N items that have something to send."""

from __future__ import annotations

from pipeline.tasks.task import Task


class ItemLimit:
    """Lets through the tasks of the first N items that ask; without N those of all."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._items: set[str] = set()

    def admits(self, task: Task) -> bool:
        """Whether the task may be sent; it takes a place for its item where it is the item's first."""
        if self._limit is None:
            return True
        name = _name(task)
        if name not in self._items and len(self._items) < self._limit:
            self._items.add(name)
        return name in self._items

    def passes_over(self, task: Task) -> bool:
        """Whether the task cannot be sent any more, as all places are taken: its files need not be read to tell."""
        return self._limit is not None and len(self._items) >= self._limit and _name(task) not in self._items


def _name(task: Task) -> str:
    return f"{task.item.set}/{task.item.key}"
