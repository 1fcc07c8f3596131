"""Cases for as long as you like: `python -m tests.fuzz [--seconds S | --cases N] [--seed N] [--kind A,B] [--keep DIR]`.

Prints the counts by kind and outcome. Each defect is shrunk, printed with its traceback, and kept in DIR as a sample;
the case that was under way when the process died is `KIND.latest` there.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import tempfile
import time
import warnings
from itertools import islice
from pathlib import Path

from tests.fuzz.harness import Defect, Kind, Report, cases, judge, shrunk
from tests.fuzz.kinds import KINDS

STUCK = 120
"""Seconds after which a case that waits for ever ends the process, with every thread's stack."""


def fuzz(kind: Kind, seed: int, seconds: float, most: int | None, keep: Path) -> Report:
    """Run a kind's cases for some seconds, or so many of them."""
    keep.mkdir(parents=True, exist_ok=True)
    latest = keep / f"{kind.name}.latest"
    report, until = Report(), time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{kind.name}-") as folder, kind.open(Path(folder)) as unwatched:

        def check(data: bytes) -> str:
            latest.write_bytes(data)
            faulthandler.dump_traceback_later(STUCK, exit=True)
            return unwatched(data)

        for data in islice(cases(kind, seed), most):
            found = judge(kind, check, data)
            if isinstance(found, Defect) and found.label not in report.defects:
                found = shrunk(kind, check, found)
                tell(found, keep)
            report.take(found)
            if most is None and time.monotonic() > until:
                break
    faulthandler.cancel_dump_traceback_later()
    return report


def tell(defect: Defect, keep: Path) -> None:
    """Print a defect and keep its bytes."""
    place = keep / defect.kind
    place.mkdir(parents=True, exist_ok=True)
    name = "".join(char if char.isalnum() else "-" for char in defect.label)[:80]
    (place / f"{name}.case").write_bytes(defect.data)
    print(f"DEFECT {defect.kind}: {defect.label}\n  {defect.data[:300]!r}\n{defect.trace}", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for each kind")
    parser.add_argument("--cases", type=int, help="so many of each kind, instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default=",".join(KINDS))
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "fuzz-defects")
    asked = parser.parse_args()
    warnings.simplefilter("error")
    broken = total = 0
    for name in asked.kind.split(","):
        began = time.monotonic()
        report = fuzz(KINDS[name], asked.seed, asked.seconds, asked.cases, asked.keep)
        count = report.outcomes.total()
        total, broken = total + count, broken + report.outcomes["DEFECT"]
        print(f"{name}: {count} cases in {time.monotonic() - began:.0f} s", flush=True)
        for outcome, number in report.outcomes.most_common():
            print(f"  {number:>7} {outcome}", flush=True)
    print(f"{total} cases, {broken} without a named outcome")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
