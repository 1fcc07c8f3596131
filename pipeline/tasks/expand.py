"""Job → lazy iterator of tasks: everything is checked once, then tasks are made whenever they are asked for.

1. `prepare` finds whatever is wrong with sets, tables, templates and names, and reports it together.
2. `Prepared.tasks` gives the same tasks with the same ids, names and order each time, and holds none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from pipeline.errors import JobError, Problem
from pipeline.manifest.job import Job
from pipeline.tasks.asking import Ask
from pipeline.tasks.check import (
    Names,
    Twins,
    check_constant,
    check_names,
    check_set,
    check_surroundings,
    names_can_clash,
)
from pipeline.tasks.compiled import Asked, Compiler, Report, Source
from pipeline.tasks.faults import FaultError, Findings
from pipeline.tasks.identity import item_digest
from pipeline.tasks.listing import FileListing, FolderListing, Listing, TableListing, table_of
from pipeline.tasks.naming import Naming
from pipeline.tasks.select import EVERYTHING, Pick, Selection, sampled
from pipeline.tasks.sources import Shelves, find_files, ripe
from pipeline.tasks.tables import version_of
from pipeline.tasks.task import Item, Task


class Prepared(Struct, frozen=True):
    """A job that was checked: how many `items` and tasks (`total`) it has, and how many files or folders are too young.

    Tasks can be asked for any number of times; each asking goes through the listings anew.
    """

    job: Job
    items: int
    total: int
    waiting: int
    listings: tuple[Listing, ...]
    prompts: tuple[Asked, ...]
    naming: Naming

    def tasks(
        self, selection: Selection = EVERYTHING, report: Report | None = None, pick: Pick | None = None
    ) -> Iterator[Task]:
        """The selected tasks, in the manifest's order. Raises JobError where a table changed meanwhile.

        Of a job with problems, `report` hears of each item that makes no task; those that make some are given.
        What `pick` does not want is not rendered.
        """
        report = report or _refuse
        asks = self.asks()
        takes, chosen_ids = self.item_filter(selection), selection.task_filter()
        wanted = _both(chosen_ids, pick)
        for chosen in _rounds(self, asks):
            for number, (listing, own) in enumerate(zip(self.listings, chosen, strict=True)):
                for item in selection.of_set(number, listing.items(report)) if own else ():
                    for ask in own if takes(item) else ():
                        if pick is not None and pick.passes_over(_count(ask, item, chosen_ids)):
                            continue
                        try:
                            yield from ask.tasks(item, wanted)
                        except FaultError as fault:
                            report(listing.problem(item, fault))

    def count(self, selection: Selection = EVERYTHING) -> int:
        """How many tasks are selected; renders none of them. Raises JobError as `tasks` does."""
        if selection == EVERYTHING:
            return self.total
        takes, wanted = self.item_filter(selection), selection.task_filter()
        chosen = ((item, own) for item, own in _pairs(self, selection) if takes(item))
        return sum(_count(ask, item, wanted) for item, own in chosen for ask in own)

    def item_filter(self, selection: Selection) -> Callable[[Item], bool]:
        """Whether an item is in the shard and the sample; a sample is of the items that have a wanted task."""
        if selection.sample is None:
            return lambda item: selection.takes_item(item.set, item.key)
        wanted = selection.task_filter()
        items = (
            (item.set, item.key)
            for item, own in _pairs(self, selection)
            if selection.takes_item(item.set, item.key)
            and (wanted is None or any(wanted(task) for ask in own for task in ask.ids(item)))
        )
        digests = sampled(items, selection.sample)
        return lambda item: item_digest(item.set, item.key) in digests

    def doubts(self) -> Iterator[Problem]:
        """What is fine as it is written and may not be what was meant. Raises JobError as `tasks` does."""
        for listing in self.listings:
            if isinstance(listing, TableListing):
                yield from listing.doubts()

    def asks(self) -> list[list[Ask]]:
        """For each image set the prompts that are for it, with nothing rendered yet."""
        folder = str(self.job.folder)
        return [
            [
                Ask(folder, listing.source, asked, self.naming)
                for asked in self.prompts
                if listing.source.set.name in asked.sets
            ]
            for listing in self.listings
        ]


class Judged(Struct, frozen=True):
    """A job with all that is wrong with it; `prepared` is what of it can be expanded, None where nothing can.

    `missing` are the paths of files that the problems name already.
    """

    prepared: Prepared | None
    problems: tuple[Problem, ...]
    missing: frozenset[str] = frozenset()


def prepare(job: Job, now: float, found: Iterable[Problem] = ()) -> Prepared:
    """Lists the image sets and judges all items and tasks; `now` is the wall clock in seconds, for `min_age`.

    `found` is what is known to be wrong already. Raises JobError with everything that is wrong.
    """
    judged = judge(job, now, found)
    if judged.prepared is None or judged.problems:
        raise JobError(judged.problems)
    return judged.prepared


def judge(job: Job, now: float, found: Iterable[Problem] = ()) -> Judged:
    """As `prepare`, but returns what is wrong along with what is left."""
    findings = Findings(str(job.path))
    for problem in found:
        findings.add(problem)
    compiler = Compiler(job, findings.add)
    for problem in check_surroundings(job):
        findings.add(problem)
    naming = compiler.naming()
    sources = [source for number in range(len(job.manifest.image_sets)) if (source := compiler.source(number))]
    prompts = tuple(asked for number in range(len(job.manifest.prompts)) if (asked := compiler.asked(number)))
    files = [file for source in sources for file in source.files]
    files += [file for asked in prompts for file in asked.files]
    missing = frozenset(check_constant(job, files, findings.add))
    listings = tuple(each for source in sources if (each := _listing(job, source, now, findings.add)))
    if naming is None:
        return Judged(None, findings.problems())
    prepared = Prepared(job, 0, 0, sum(each.waiting for each in listings), listings, prompts, naming)
    return Judged(_counted(prepared, findings), findings.problems(), missing)


def _counted(prepared: Prepared, findings: Findings) -> Prepared:
    """The job with its counts, once each set was judged."""
    job, asks = prepared.job, prepared.asks()
    clash = names_can_clash(job, prepared.naming, [ask for own in asks for ask in own])
    names = Names(Twins[str]() if clash else None)
    counts = [
        check_set(job, listing, own, names, findings) for listing, own in zip(prepared.listings, asks, strict=True)
    ]
    if not findings.problems():
        check_names(job, names, prepared.tasks, findings)
    total = sum(items * sum(ask.count for ask in own) for items, own in zip(counts, asks, strict=True))
    return replace(prepared, items=sum(counts), total=total)


def _rounds(prepared: Prepared, asks: Sequence[Sequence[Ask]]) -> Iterator[list[list[Ask]]]:
    """What is gone through in one round: every prompt, or one after the other."""
    if prepared.job.manifest.order == "items":
        yield [list(own) for own in asks]
        return
    for asked in prepared.prompts:
        yield [[ask for ask in own if ask.asked is asked] for own in asks]


def _pairs(prepared: Prepared, selection: Selection) -> Iterator[tuple[Item, list[Ask]]]:
    for number, (listing, own) in enumerate(zip(prepared.listings, prepared.asks(), strict=True)):
        for item in selection.of_set(number, listing.items(_refuse)):
            yield item, own


def _count(ask: Ask, item: Item, wanted: Callable[[str], bool] | None) -> int:
    """How many tasks of an item are wanted; renders none."""
    return ask.count if wanted is None else sum(map(wanted, ask.ids(item)))


def _both(first: Callable[[str], bool] | None, then: Callable[[str], bool] | None) -> Callable[[str], bool] | None:
    """Asks the second only of what the first takes."""
    if first is None or then is None:
        return first or then
    return lambda task: first(task) and then(task)


def _refuse(problem: Problem) -> None:
    raise JobError([problem])


def _listing(job: Job, source: Source, now: float, report: Report) -> Listing | None:
    """What an image set holds; None where that cannot be told."""
    own, folder = source.set, str(job.folder)
    if own.table is not None:
        try:
            return TableListing(job, source, Shelves(), version_of(str(job.folder / table_of(source).path)))
        except FaultError as fault:
            report(job.problem(f"{source.where}.table", fault.what, fault.expected))
            return None
    faults: list[FaultError] = []
    patterns = [own.images] if isinstance(own.images, str) else own.images or []
    files = find_files(folder, patterns, own.exclude, faults.append, own.allow_empty)
    for found in faults:
        report(job.problem(f"{source.where}.{found.where or 'images'}", found.what, found.expected))
    if faults:
        return None
    together = own.item == "folder"
    files = ripe(files, folder, own.min_age, now, together)
    return (FolderListing if together else FileListing)(job, source, files)
