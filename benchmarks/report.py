"""A benchmark's figures, the machine that they were measured on, and their table."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from os import cpu_count, getloadavg
from pathlib import Path
from typing import Any

LIBRARIES = ("aiohttp", "anyio", "uvloop", "msgspec", "pillow", "openai")

PROGRAMS: Mapping[str, Sequence[str]] = {"nginx": ("nginx", "-v"), "wrk": ("wrk", "-v")}


@dataclass(frozen=True, slots=True)
class Row:
    """What one case reached; `wanted` says what of it was asked for, `good` whether it was reached.

    `figures` are for people; `numbers` are for plots: by measure, what each contestant reached.
    """

    case: str
    figures: Mapping[str, str]
    wanted: str
    good: bool
    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


Case = Callable[[int], Row]
"""Measures in so many rounds."""


def machine() -> dict[str, str]:
    """The machine, its load before the table was printed, and the versions that matter."""
    return {
        "machine": f"{cpu_count()} x {_processor()}, {platform.platform()}",
        "load": f"{getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "retouch": version("retouch"),
        **{name: version(name) for name in LIBRARIES},
        **{name: said for name, command in PROGRAMS.items() if (said := _version(command))},
    }


def _version(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    found = re.search(r"\d+\.[\w.]+", done.stdout + done.stderr)
    return found[0] if found else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def file_system(folder: Path) -> str:
    """The type of the file system that a folder lies on, `ext4`; `unknown` where the kernel does not tell."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    here = folder.resolve()
    above = [(len(mount[1]), number) for number, mount in enumerate(mounts) if here.is_relative_to(mount[1])]
    return mounts[max(above)[1]][2] if above else "unknown"


def as_json(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """All that a table tells, and when, for `benchmarks.plots`."""
    day = datetime.now(UTC).date().isoformat()
    return {"benchmark": name, "date": day, "machine": machine(), "rows": [asdict(row) for row in rows]}


def table(name: str, rows: Sequence[Row]) -> str:
    """The machine, then each case with its figures, one a line."""
    lines = [f"{name}: " + ", ".join(f"{key} {value}" for key, value in machine().items()), ""]
    for row in rows:
        lines.append(f"{row.case}: {'reached' if row.good else 'MISSED'} (wanted: {row.wanted})")
        width = max(map(len, row.figures))
        lines += [f"  {figure.ljust(width)}  {value}" for figure, value in row.figures.items()]
    return "\n".join(lines)
