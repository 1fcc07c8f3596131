"""What is wrong with a job's sets, tables, templates and names: raised where it is met, collected in one place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pipeline.errors import Problem

LISTED = 10
"""How many different problems of one place are listed; the others are counted."""


class FaultError(Exception):
    """Something wrong whose place the raiser does not fully know.

    `where` is a dotted place of the manifest, if known. `general` says that it holds for every item alike, so that
    it belongs to the manifest and not to the item that happened to meet it.
    """

    def __init__(self, what: str, expected: str = "", where: str = "", general: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.where = where
        self.general = general


class Findings:
    """Problems, file by file and line by line: equal ones are counted, and a flood of different ones is cut.

    `first` is the file whose problems come first; the others follow in the order in which they were met.
    """

    def __init__(self, first: str = "") -> None:
        self._first = first
        self._met: dict[tuple[str, str, str], tuple[Problem, int]] = {}
        self._listed: dict[tuple[str, str], int] = {}
        self._unlisted: dict[tuple[str, str], tuple[Problem, int]] = {}

    def add(self, problem: Problem, group: str = "") -> None:
        """Take a problem in; two of one `group` (an image set) with the same place and words are one, counted."""
        place = (group, problem.where)
        met = (*place, problem.what)
        if met in self._met:
            first, count = self._met[met]
            self._met[met] = (first, count + 1)
        elif self._listed.get(place, 0) < LISTED:
            self._listed[place] = self._listed.get(place, 0) + 1
            self._met[met] = (problem, 1)
        else:
            first, count = self._unlisted.get(place, (problem, 0))
            self._unlisted[place] = (first, count + 1)

    def problems(self) -> tuple[Problem, ...]:
        """What was found, with counts."""
        listed = [_counted(problem, count) for problem, count in self._met.values()]
        listed += [
            first.but(what=f"and {count} more problem{'s' * (count > 1)} of this place, from here on", expected="")
            for first, count in self._unlisted.values()
        ]
        files = {file: at for at, file in enumerate(dict.fromkeys([self._first, *(each.file for each in listed)]))}
        return tuple(sorted(listed, key=lambda problem: (files[problem.file], problem.line, problem.column)))


def _counted(problem: Problem, count: int) -> Problem:
    return problem if count == 1 else problem.but(what=f"{problem.what} (and {count - 1} more like it)")


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`did you mean 'colour'?` where a name is near, else the first few names there are."""
    known = list(names)
    folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), folded, 1)
    if near:
        return f"did you mean {folded[near[0]]!r}?"
    return f"there are: {', '.join(known[:8])}{', …' * (len(known) > 8)}" if known else ""
