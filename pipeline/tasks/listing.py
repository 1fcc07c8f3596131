"""The items of an image set, as often as they are asked for, in an order that never changes.

1. Of files only paths are held; a table's rows are read anew each time, and never held together.
2. A table that changed since the job was checked is not read on, also not while it is read: what was checked is what
   is sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

from msgspec import Struct

from pipeline.errors import JobError, Problem
from pipeline.manifest.job import Job
from pipeline.manifest.models import Table
from pipeline.tasks.compiled import Report, Source
from pipeline.tasks.faults import FaultError
from pipeline.tasks.globs import has_magic
from pipeline.tasks.identity import item_id
from pipeline.tasks.naming import composed
from pipeline.tasks.rows import Flaw, Row
from pipeline.tasks.sources import Files, Shelves
from pipeline.tasks.tables import ChangedError, Version, read_table
from pipeline.tasks.task import Item, Task
from pipeline.tasks.templates import Named

MOST_IMAGES = 16
"""Most images of a request, as the endpoint's reference says."""


class Listing(Protocol):
    """What an image set holds; `waiting` counts files or folders that are too young."""

    @property
    def source(self) -> Source: ...
    @property
    def waiting(self) -> int: ...

    def items(self, report: Report) -> Iterator[Item]:
        """The items in order. Reports what is wrong with single ones and leaves those out; raises JobError."""
        ...

    def problem(self, item: Item, fault: FaultError) -> Problem:
        """A problem where the item comes from: the table's line, or the file."""
        ...


class FileListing(Struct, frozen=True):
    """Files, each an item."""

    job: Job
    source: Source
    files: Files

    @property
    def waiting(self) -> int:
        return self.files.waiting

    def items(self, report: Report) -> Iterator[Item]:
        for path, start in zip(self.files.paths, self.files.starts, strict=True):
            yield from _item(self, (path,), os.path.splitext(path[start:])[0], report)

    def problem(self, item: Item, fault: FaultError) -> Problem:
        return Problem(fault.what, fault.expected, fault.where, _shown(self.job, item.images[0]))


class FolderListing(Struct, frozen=True):
    """Folders, each an item with all its matched files; their order is that of the folders' paths."""

    job: Job
    source: Source
    files: Files

    @property
    def waiting(self) -> int:
        return self.files.waiting

    def items(self, report: Report) -> Iterator[Item]:
        folders: dict[str, list[int]] = {}
        for at, path in enumerate(self.files.paths):
            folders.setdefault(os.path.dirname(path), []).append(at)
        for folder in sorted(folders):
            paths = tuple(self.files.paths[at] for at in folders[folder])
            key = folder[self.files.starts[folders[folder][0]] :]
            yield from _item(self, paths, key or os.path.basename(os.path.join(self.job.folder, folder)), report)

    def problem(self, item: Item, fault: FaultError) -> Problem:
        folder = os.path.dirname(item.images[0])
        return Problem(fault.what, fault.expected, fault.where, _shown(self.job, folder))


class TableListing(Struct, frozen=True):
    """A table, each row an item."""

    job: Job
    source: Source
    shelves: Shelves
    version: Version
    waiting: int = 0

    def items(self, report: Report) -> Iterator[Item]:
        for row in self._rows(report):
            if isinstance(row, Flaw):
                report(self._at(row.line, FaultError(row.what, row.expected, row.where)))
                continue
            try:
                yield self._item(row)
            except FaultError as fault:
                report(self._at(row.line, fault))

    def doubts(self) -> Iterator[Problem]:
        """Rows that are well formed and may all the same not be what was meant. Raises JobError as `items` does."""
        for row in self._rows(lambda _: None):
            if isinstance(row, Row) and row.doubt:
                yield self._at(row.line, FaultError(row.doubt, "is a quote left open?"))

    def problem(self, item: Item, fault: FaultError) -> Problem:
        return self._at(item.line, fault)

    def _rows(self, report: Report) -> Iterator[Row | Flaw]:
        table = table_of(self.source)
        path = str(self.job.folder / table.path)
        try:
            yield from read_table(path, table.delimiter, table.encoding, self.version)
        except ChangedError as changed:
            raise JobError([self._at(0, changed)]) from changed
        except FaultError as fault:
            report(self.job.problem(f"{self.source.where}.table", fault.what, fault.expected))

    def _at(self, line: int, fault: FaultError) -> Problem:
        file = _shown(self.job, table_of(self.source).path)
        return Problem(fault.what, fault.expected, fault.where, file, line)

    def _item(self, row: Row) -> Item:
        """Raises FaultError for templates that this row does not fit; its images are judged by the item's `problem`."""
        own, values = self.source.set, {"set": self.source.set.name, "row": Named("column", row.cells)}
        key = composed(self.source.key.render(values)) if self.source.key else ""
        values["key"] = key
        patterns = [template.render(values).strip() for template in self.source.images]
        images: dict[str, None] = {}
        problem = None if any(patterns) else f"the row names no image; expected 1 to {MOST_IMAGES}"
        for pattern in filter(None, patterns):
            found = self._found(pattern)
            problem = problem if found else _nothing(pattern)
            images.update(dict.fromkeys(found))
        return _limited(Item(own.name, key, tuple(images), row.cells, row.line, problem))

    def _found(self, pattern: str) -> list[str]:
        """What a row's image names: a file literally named so, else what it matches as a glob."""
        folder = str(self.job.folder)
        path = os.path.join(folder, pattern)
        if "\0" in pattern or "://" in pattern:
            return []
        if not has_magic(pattern) or os.path.isfile(path):
            return [path]
        try:
            return self.shelves.find(folder, pattern)
        except FaultError:
            return []


def _nothing(pattern: str) -> str:
    if "://" in pattern:
        return f"{pattern[:200]!r} is a URL; expected a file, as nothing is fetched"
    return f"no file matches {pattern[:200]!r}; expected an image"


def table_of(source: Source) -> Table:
    """The table of a set that has one."""
    table = source.set.table
    assert table is not None
    return Table(path=table) if isinstance(table, str) else table


def file_parts(folder: str, path: str) -> Named:
    """What `file` means in a template; paths are below the manifest's folder where they lie there."""
    shown = below(folder, path)
    parent, name = os.path.split(shown)
    return Named("field of file", {"path": shown, "name": name, "stem": os.path.splitext(name)[0], "folder": parent})


def below(folder: str, path: str) -> str:
    """A path as seen from a folder where it lies below it, else as it is."""
    return path.removeprefix(folder.rstrip("/") + "/")


def item_problem(job: Job, item: Item) -> Problem:
    """The problem of an item that is unusable whatever its files hold, at its table's line or its folder."""
    what, _, expected = (item.problem or "").rpartition("; ")
    where = item_id(item.set, item.key)
    if item.line:
        return Problem(what, expected, where, _table_shown(job, item), item.line)
    return Problem(what, expected, where, _shown(job, os.path.dirname(item.images[0])))


def file_problem(job: Job, task: Task, path: str, what: str, expected: str = "") -> Problem:
    """A problem of one of a task's files, at the line of the table that its item is from, else at the file."""
    shown = _shown(job, path)
    if task.item.line:
        return Problem(f"{shown} {what}", expected, task.id, _table_shown(job, task.item), task.item.line)
    return Problem(what, expected, task.id, shown)


def _table_shown(job: Job, item: Item) -> str:
    own = next(each for each in job.manifest.image_sets if each.name == item.set)
    return _shown(job, own.table if isinstance(own.table, str) else own.table.path if own.table else "")


def _shown(job: Job, path: str) -> str:
    """A path as the user would write it from where the manifest was named."""
    return _normal(os.path.dirname(job.path), below(str(job.folder), path))


@lru_cache(maxsize=64)
def _normal(folder: str, path: str) -> str:
    """Joined once for a table whose every line is wrong."""
    return os.path.normpath(os.path.join(folder, path))


def _item(listing: FileListing | FolderListing, paths: tuple[str, ...], key: str, report: Report) -> Iterator[Item]:
    folder, source = str(listing.job.folder), listing.source
    item = Item(source.set.name, composed(key), tuple(os.path.join(folder, path) for path in paths))
    if source.key is not None:
        try:
            values = {"set": item.set, "file": file_parts(folder, item.images[0])}
            item = Item(item.set, composed(source.key.render(values)), item.images)
        except FaultError as fault:
            report(listing.problem(item, fault))
            return
    yield _limited(item)


def _limited(item: Item) -> Item:
    """The item, unusable if it has too many images."""
    if len(item.images) <= MOST_IMAGES:
        return item
    problem = f"the item has {len(item.images)} images; expected at most {MOST_IMAGES}"
    return Item(item.set, item.key, item.images[:MOST_IMAGES], item.row, item.line, item.problem or problem)
