"""`python -m benchmarks NAME [CASE ...] [--json]`: run a benchmark and print its table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from types import ModuleType

from benchmarks import flow, plan, resume, start
from benchmarks.report import machine, table

BENCHMARKS: Mapping[str, ModuleType] = {"flow": flow, "start": start, "plan": plan, "resume": resume}
"""Each has `CASES`: by name, a function that measures and returns a `Row`."""


def main() -> int:
    """Measure the cases that are asked for, all of a benchmark by default; 1 where one misses what is wanted of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    given = parser.parse_args()
    cases = BENCHMARKS[given.name].CASES
    if unknown := set(given.cases) - cases.keys():
        parser.error(f"{given.name} has no case {', '.join(sorted(unknown))}; it has {', '.join(cases)}")
    rows = []
    for name in given.cases or cases:
        print(f"{given.name}: {name} …", file=sys.stderr, flush=True)
        rows.append(cases[name]())
    if given.json:
        print(json.dumps({"benchmark": given.name, "machine": machine(), "rows": [asdict(row) for row in rows]}))
    else:
        print(table(given.name, rows))
    return 0 if all(row.good for row in rows) else 1


sys.exit(main())
