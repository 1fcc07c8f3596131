"""`python -m benchmarks [NAME [CASE ...]] [--rounds N] [--folder FOLDER] [--json]`: measure, and print a table.

Without a name all are measured, one after the other, which takes more than an hour.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

from benchmarks import flow, growth, latency, memory, plan, profile, resume, start, throughput
from benchmarks.cost import ROUNDS
from benchmarks.nginx import MissingError
from benchmarks.report import Case, Row, as_json, table

BENCHMARKS: Mapping[str, ModuleType] = {
    "flow": flow,
    "start": start,
    "plan": plan,
    "resume": resume,
    "throughput": throughput,
    "memory": memory,
    "latency": latency,
    "growth": growth,
    "profile": profile,
}
"""Each has `CASES`: by name, a function that measures in so many rounds and returns a `Row`."""


def main() -> int:
    """Measure what is asked for, all cases of all benchmarks by default; 1 where one misses what is wanted of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("name", nargs="?", choices=BENCHMARKS, help="only this one")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"{ROUNDS} by default")
    parser.add_argument("--folder", type=Path, help="where files go meanwhile; a real disk, or disks are not measured")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    given = parser.parse_args()
    if given.name and (unknown := set(given.cases) - BENCHMARKS[given.name].CASES.keys()):
        parser.error(f"{given.name} has no case {', '.join(sorted(unknown))}; it has {', '.join(_cases(given.name))}")
    if given.folder is not None:
        tempfile.tempdir = str(given.folder.resolve())
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that servers and files are gone
    good = True
    for name in [given.name] if given.name else BENCHMARKS:
        try:
            rows = list(_measured(name, given.cases or _cases(name), given.rounds))
        except MissingError as error:
            parser.exit(2, f"{error}\n")
        print(json.dumps(as_json(name, rows)) if given.json else table(name, rows), flush=True)
        good = good and all(row.good for row in rows)
    return 0 if good else 1


def _cases(name: str) -> Mapping[str, Case]:
    cases: Mapping[str, Case] = BENCHMARKS[name].CASES
    return cases


def _measured(name: str, cases: Iterable[str], rounds: int) -> Iterator[Row]:
    for case in cases:
        print(f"{name}: {case} …", file=sys.stderr, flush=True)
        yield _cases(name)[case](rounds)


sys.exit(main())
