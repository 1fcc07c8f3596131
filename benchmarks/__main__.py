"""`python -m benchmarks NAME [CASE ...] [--rounds N] [--folder FOLDER] [--json]`: measure, and print a table."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from benchmarks import flow, growth, latency, memory, plan, profile, resume, start, throughput
from benchmarks.cost import ROUNDS
from benchmarks.nginx import MissingError
from benchmarks.report import as_json, table

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
    """Measure the cases that are asked for, all of a benchmark by default; 1 where one misses what is wanted of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"{ROUNDS} by default")
    parser.add_argument("--folder", type=Path, help="where files go meanwhile; a real disk, or disks are not measured")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    given = parser.parse_args()
    cases = BENCHMARKS[given.name].CASES
    if unknown := set(given.cases) - cases.keys():
        parser.error(f"{given.name} has no case {', '.join(sorted(unknown))}; it has {', '.join(cases)}")
    if given.folder is not None:
        tempfile.tempdir = str(given.folder.resolve())
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that servers and files are gone
    rows = []
    for name in given.cases or cases:
        print(f"{given.name}: {name} …", file=sys.stderr, flush=True)
        try:
            rows.append(cases[name](given.rounds))
        except MissingError as error:
            parser.exit(2, f"{error}\n")
    if given.json:
        print(json.dumps(as_json(given.name, rows)))
    else:
        print(table(given.name, rows))
    return 0 if all(row.good for row in rows) else 1


sys.exit(main())
