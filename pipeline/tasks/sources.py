"""The files of image sets: walks folders, and nothing is opened or decoded here.

1. A folder is listed once for each fixed part; the order of a set is the code points of its paths, whatever the
   order on disk.
2. Names that begin with a dot are neither matched nor entered.
3. Symbolic links to files and folders are followed; a folder that is among its own parents is not entered again.
4. What is not a folder counts as a file: a FIFO or a dangling link is judged when its bytes are wanted, not here.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

from msgspec import Struct, field
from msgspec.structs import replace

from pipeline.tasks.faults import FaultError
from pipeline.tasks.globs import Glob, States, exclusion, merged, parse_glob


class Entry(Struct, frozen=True):
    """A name in a folder, and whether it is (or links to) a folder."""

    name: str
    folder: bool


Entries = Callable[[str, str], Iterable[Entry]]
"""The entries of a folder whose lower-case names begin with a prefix, or more of them. Raises OSError."""


class Files(Struct, frozen=True):
    """Matched files, sorted and compact: `paths` below the manifest's folder (absolute where they lie elsewhere),
    `starts` how long each path's fixed part is. `waiting` counts files or folders that are too young."""

    paths: list[str] = field(default_factory=list)
    starts: array[int] = field(default_factory=lambda: array("H"))
    waiting: int = 0


class _Spot(Struct, frozen=True):
    path: str
    states: States
    excluded: States
    parents: frozenset[tuple[int, int]]


def find_files(
    folder: str,
    patterns: Sequence[str],
    exclude: Sequence[str],
    report: Callable[[FaultError], None],
    optional: bool = False,
) -> Files:
    """The files below `folder` that a pattern matches and no `exclude` does; a file matched twice counts once.

    Reports wrong patterns (`where` tells those of `exclude`), folders that cannot be listed (unless `optional` and
    missing), and names that are not UTF-8.
    """
    inside = folder.rstrip("/") + "/"
    roots: dict[str, list[Glob]] = {}
    for glob in _parsed(patterns, report):
        roots.setdefault("" if glob.root == folder else glob.root.removeprefix(inside), []).append(glob)
    found: dict[str, int] = {}
    for root, globs in roots.items():
        top = os.path.join(folder, root)
        if optional and not os.path.lexists(top):
            continue
        start = len(root) + (root not in ("", "/"))
        for path in walk(top, merged(globs, root), _exclusions(folder, top, exclude, report), scan, report):
            if _readable(path, report):
                found.setdefault(path.removeprefix(inside), start)
    paths = sorted(found)
    return Files(paths, array("H", (found[path] for path in paths)))


def ripe(files: Files, folder: str, min_age: float | None, now: float, together: bool) -> Files:
    """The files that are at least `min_age` seconds old at `now`; `together` lets one young file hold its folder back.

    A file that is gone or cannot be asked is not held back: it is judged when its bytes are wanted.
    """
    if min_age is None:
        return files
    young = {at for at, path in enumerate(files.paths) if _modified(os.path.join(folder, path)) > now - min_age}
    held = {os.path.dirname(files.paths[at]) for at in young} if together else set()
    kept = [
        at
        for at, path in enumerate(files.paths)
        if at not in young and not (together and os.path.dirname(path) in held)
    ]
    starts = array("H", (files.starts[at] for at in kept))
    return Files([files.paths[at] for at in kept], starts, len(held) if together else len(young))


def walk(
    top: str, glob: Glob, exclude: Glob | None, entries: Entries, report: Callable[[FaultError], None]
) -> Iterator[str]:
    """Paths of matching files below the absolute folder `top`, in no promised order."""
    pending = [_Spot(top.rstrip("/"), glob.start(), _entered(exclude, top), frozenset())]
    while pending:
        spot = pending.pop()
        try:
            listed = _listed(spot, glob, exclude, entries)
        except OSError as error:
            report(
                FaultError(
                    f"cannot list the folder {spot.path}: {error.strerror}", "expected an existing, readable folder"
                )
            )
            continue
        for found in listed:
            if isinstance(found, str):
                yield found
            else:
                pending.append(found)


def _listed(spot: _Spot, glob: Glob, exclude: Glob | None, entries: Entries) -> Iterable[str | _Spot]:
    """The files of a folder that match, and the folders that may hold more; raises OSError before the first of them."""
    stat = os.stat(spot.path or "/")
    identity = (stat.st_dev, stat.st_ino)
    if identity in spot.parents or (exclude is not None and exclude.ended(spot.excluded)):
        return ()
    names = list(entries(spot.path or "/", glob.prefix(spot.states)))
    return _matched(names, replace(spot, parents=spot.parents | {identity}), glob, exclude)


def _matched(names: Iterable[Entry], spot: _Spot, glob: Glob, exclude: Glob | None) -> Iterator[str | _Spot]:
    for entry in names:
        path = f"{spot.path}/{entry.name}"
        if not entry.folder:
            if glob.takes(spot.states, entry.name) and not (exclude and exclude.takes(spot.excluded, entry.name)):
                yield path
        elif states := glob.enter(spot.states, entry.name):
            excluded = exclude.enter(spot.excluded, entry.name) if exclude else spot.excluded
            yield _Spot(path, states, excluded, spot.parents)


def scan(path: str, _prefix: str) -> Iterator[Entry]:
    """The visible entries of a folder, as they come; raises OSError."""
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield Entry(entry.name, _is_folder(entry))


class Shelves:
    """The entries of the folders that were asked for last, sorted, so that many globs in one folder cost little each.

    A catalogue of 50,000 rows, each with a glob in the same folder, would otherwise read that folder 50,000 times.
    """

    def __init__(self) -> None:
        self._shelf = lru_cache(maxsize=64)(_shelf)

    def entries(self, path: str, prefix: str) -> list[Entry]:
        """The entries whose lower-case names begin with `prefix`; raises OSError."""
        names, entries = self._shelf(path)
        return entries[bisect_left(names, prefix) : bisect_left(names, prefix + chr(0x10FFFF))]

    def find(self, folder: str, pattern: str) -> list[str]:
        """The absolute paths that one glob matches, sorted; nothing where its fixed part does not exist.

        Raises FaultError for a wrong pattern.
        """
        glob = parse_glob(pattern)
        return sorted(walk(os.path.join(folder, glob.root), glob, None, self.entries, lambda _: None))


def _shelf(path: str) -> tuple[list[str], list[Entry]]:
    entries = sorted(scan(path, ""), key=lambda entry: entry.name.lower())
    return [entry.name.lower() for entry in entries], entries


def _parsed(patterns: Sequence[str], report: Callable[[FaultError], None]) -> Iterator[Glob]:
    for pattern in patterns:
        try:
            yield parse_glob(pattern)
        except FaultError as fault:
            report(fault)


def _exclusions(folder: str, top: str, patterns: Sequence[str], report: Callable[[FaultError], None]) -> Glob | None:
    """Relative patterns start from the manifest's folder, or from the fixed part where that lies elsewhere."""
    globs = []
    top = os.path.normpath(top)
    base = folder if top == folder or top.startswith(folder.rstrip("/") + "/") else top
    for pattern in patterns:
        try:
            globs.append(exclusion(pattern, base))
        except FaultError as fault:
            report(FaultError(fault.what, fault.expected, "exclude"))
    return merged(globs, "/") if globs else None


def _entered(exclude: Glob | None, top: str) -> States:
    """How far the exclusions have got at `top`, stopping where one of them takes all below."""
    if exclude is None:
        return frozenset()
    states = exclude.start()
    for name in os.path.normpath(top).split("/"):
        if name and not exclude.ended(states):
            states = exclude.enter(states, name)
    return states


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return float("-inf")


def _readable(path: str, report: Callable[[FaultError], None]) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        report(FaultError(f"the file name {path!r} is not UTF-8", "rename it, or leave it out with `exclude`"))
        return False
    return True
