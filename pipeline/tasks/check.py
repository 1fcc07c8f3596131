"""The pass over all items before the first request: every text is rendered, every name judged, every key compared.

Nothing is held but 16 bytes for each key, for each output where the template itself does not keep outputs apart, and
for each folder whose name could be an output's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Generic, TypeVar

from pipeline.errors import Problem
from pipeline.manifest.job import Job
from pipeline.tasks.asking import Ask
from pipeline.tasks.faults import FaultError, Findings
from pipeline.tasks.listing import Listing
from pipeline.tasks.naming import Naming, check_key, composed, folders_like_files, name_digest, statically_unique
from pipeline.tasks.task import Item, Task
from pipeline.tasks.templates import Template

T = TypeVar("T")
_PAIRS = 20


class Twins(Generic[T]):
    """Finds names that a file system may take for one; remembers the first of a pair only by its digest.

    `later` holds the second of each pair, of the first few pairs.
    """

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self.later: dict[bytes, T] = {}

    def add(self, name: str, bearer: T) -> None:
        """Take in a name and what bears it."""
        digest = name_digest(name)
        if digest in self.seen and len(self.later) < _PAIRS:
            self.later.setdefault(digest, bearer)
        self.seen.add(digest)


class Names:
    """The names of outputs that have to be compared.

    `outputs` are all, by their tasks, or None where the template keeps them apart. `folders` are the digests of those
    that end as an output does, without that ending.
    """

    def __init__(self, outputs: Twins[str] | None) -> None:
        self.outputs = outputs
        self.folders: set[bytes] = set()

    def wants(self, item: Item) -> bool:
        """Whether an item's outputs may be among them: in a template that keeps outputs apart only keys hold a `/`."""
        return self.outputs is not None or ("/" in item.key and bool(folders_like_files(item.key)))

    def add(self, path: str, task: str) -> None:
        """Take in an output's path and its task's id."""
        if self.outputs is not None:
            self.outputs.add(path, task)
        self.folders.update(map(name_digest, folders_like_files(path)))


def check_set(job: Job, listing: Listing, asks: Sequence[Ask], names: Names, findings: Findings) -> int:
    """Judges a set's items and their tasks, and counts the items; `names` collects the outputs' if they can clash."""
    check = _SetCheck(job, listing, asks, names, findings)
    count = 0
    for item in listing.items(check.report):
        check.item(item, first=count == 0)
        count += 1
    check.keys_of_twins()
    if not count and not listing.waiting and not listing.source.set.allow_empty and not check.reported:
        check.report(_empty(job, listing))
    return count


def check_names(job: Job, names: Names, tasks: Callable[[], Iterable[Task]], findings: Findings) -> None:
    """Reports outputs of one name, and outputs that are others' folders, with both tasks; `tasks` begins them anew."""
    if names.outputs is not None and names.outputs.later:
        _check_twins(job, dict(names.outputs.later), tasks(), findings)
    folders = names.folders if names.outputs is None else names.folders & names.outputs.seen
    if folders:
        _check_folders(job, folders, tasks(), findings)


def _check_twins(job: Job, later: dict[bytes, str], tasks: Iterable[Task], findings: Findings) -> None:
    """Goes through the tasks again to find the first of each pair."""
    for task in tasks:
        for path in task.paths:
            other = later.pop(name_digest(path), None)
            if other is not None:
                what = f"the tasks {task.id} and {other} would both make {path}"
                if task.id == other:
                    what = f"the images of the task {other} would all be {path}"
                findings.add(job.problem("output.path", what, "expected a template that tells them apart"))
        if not later:
            return


def _check_folders(job: Job, folders: set[bytes], tasks: Iterable[Task], findings: Findings) -> None:
    """Goes through the tasks again to find who makes the file, and who needs the folder."""
    files: dict[bytes, Task] = {}
    within: dict[bytes, tuple[str, Task]] = {}
    for task in tasks:
        for path in task.paths:
            if (digest := name_digest(path)) in folders:
                files.setdefault(digest, task)
            for stem in folders_like_files(path):
                within.setdefault(name_digest(stem), (path, task))
    for digest in list(within.keys() & files.keys())[:_PAIRS]:
        path, task = within[digest]
        what = f"the task {files[digest].id} may make a file that is a folder of {path}, which {task.id} would make"
        findings.add(job.problem("output.path", what, "expected a template, or keys, that keep them apart"))


def check_surroundings(job: Job) -> Iterator[Problem]:
    """File names that would be read otherwise than as UTF-8, and an output folder that is none or lies in a file."""
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        yield Problem(f"the locale reads file names as {encoding}", "set LC_ALL=C.UTF-8 or PYTHONUTF8=1", "environment")
    for path in (job.output, *job.output.parents):
        if os.path.lexists(path):
            if not os.path.isdir(path):
                yield job.problem("output.folder", f"{path} is not a folder", "expected a folder, or a free name")
            return


def names_can_clash(job: Job, naming: Naming, asks: Sequence[Ask]) -> bool:
    """Whether the template alone does not keep the outputs of different tasks apart."""
    sets = [each.name for each in job.manifest.image_sets]
    prompts = [each.name for each in job.manifest.prompts]
    axes = [list(labels) for ask in asks for labels in ask.asked.axes.values()]
    needed = {
        "key": True,
        "set": len(sets) > 1,
        "prompt": len(prompts) > 1,
        "variant": any(ask.count > 1 for ask in asks),
        "index": any(ask.asked.images > 1 for ask in asks),
    }
    fields = [name for name, is_needed in needed.items() if is_needed]
    return not statically_unique(naming.template.source, fields, [sets, prompts, *axes])


def check_constant(job: Job, templates: Iterable[Template], report: Callable[[Problem], None]) -> Iterator[str]:
    """Reports references and masks that are the same for all tasks and are not there, and gives their paths."""
    for template in templates:
        if template.uses:
            continue
        try:
            path = template.render({}).strip()
        except FaultError as fault:
            report(job.problem(template.where, fault.what, fault.expected))
            continue
        if path and not os.path.exists(job.folder / path):
            report(job.problem(template.where, f"there is no file {path!r}", "expected an image's path"))
            yield os.path.join(job.folder, path)


class _SetCheck:
    def __init__(self, job: Job, listing: Listing, asks: Sequence[Ask], names: Names, findings: Findings) -> None:
        self.job, self.listing, self.asks, self.names, self.findings = job, listing, asks, names, findings
        self.keys = Twins[Item]()
        self.reported = False
        self._key_place = f"{listing.source.where}.key"
        self._met_output = False
        self._is_output = lru_cache(maxsize=1024)(_inside(os.path.realpath(job.output)))

    def report(self, problem: Problem) -> None:
        self.reported = True
        self.findings.add(problem, self.listing.source.set.name)

    def item(self, item: Item, first: bool) -> None:
        try:
            check_key(item.key, self._key_place)
        except FaultError as fault:
            self.report(self.listing.problem(item, fault))
            return
        self.keys.add(item.key, item)
        self._inputs(item)
        for ask in self.asks:
            try:
                self._tasks(ask, item, first)
            except FaultError as fault:
                self.report(self._placed(item, fault))

    def _inputs(self, item: Item) -> None:
        """Reports the first image that is an output: the others are there for the same reason."""
        if self._met_output or not any(self._is_output(os.path.dirname(path)) for path in item.images):
            return
        self._met_output = True
        what = f"{item.images[0]} lies in the output folder"
        self.report(
            self.job.problem(f"{self.listing.source.where}.images", what, "expected inputs elsewhere, or `exclude`")
        )

    def _tasks(self, ask: Ask, item: Item, first: bool) -> None:
        """Renders what can differ: all tasks of the first item, one of each further, or all."""
        wanted = self.names.wants(item)
        if self.names.outputs is None:
            ask.check_longest(item)
        if not (wanted or first or ask.of_item):
            return
        for task in ask.tasks(item):
            for path in task.paths if wanted else ():
                self.names.add(path, task.id)
            if not (wanted or first or ask.of_both):
                return

    def keys_of_twins(self) -> None:
        """Reports keys that are equal, with both their places."""
        later = dict(self.keys.later)
        for item in self.listing.items(lambda _: None) if later else ():
            other = later.pop(name_digest(item.key), None)
            if other is not None:
                what = f"{_whose(other)} has the key {other.key!r}, and {_whose(item)} has {item.key!r}"
                self.report(self.listing.problem(other, FaultError(what, _other_key(item), self._key_place)))

    def _placed(self, item: Item, fault: FaultError) -> Problem:
        if fault.general:
            return self.job.problem(fault.where, fault.what, fault.expected)
        return self.listing.problem(item, fault)


def _whose(item: Item) -> str:
    return f"line {item.line}" if item.line else item.images[0]


def _other_key(item: Item) -> str:
    """What would tell two items apart that have one key."""
    if item.line:
        return "expected keys that differ in more than case"
    return 'expected keys that differ in more than case, as with `key: "{{ file.path }}"`'


def _inside(folder: str) -> Callable[[str], bool]:
    return lambda path: f"{os.path.realpath(path)}/".startswith(f"{folder}/")


def _empty(job: Job, listing: Listing) -> Problem:
    own, where = listing.source.set, listing.source.where
    if own.table is not None:
        return job.problem(f"{where}.table", "the table has no rows", "expected items, or `allow_empty: true`")
    patterns = [own.images] if isinstance(own.images, str) else own.images or []
    folder = next((pattern for pattern in patterns if os.path.isdir(job.folder / pattern)), None)
    hint = f"; {folder} is a folder, its images are {composed(folder)}/**/*.{{jpg,png}}" if folder else ""
    return job.problem(f"{where}.images", "no file matches", f"expected items, or `allow_empty: true`{hint}")
