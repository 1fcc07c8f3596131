"""A benchmark's figures, the machine that they were measured on, and their table."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from os import cpu_count, getloadavg
from pathlib import Path

LIBRARIES = ("aiohttp", "anyio", "uvloop", "msgspec", "pillow")


@dataclass(frozen=True, slots=True)
class Row:
    """What one case reached; `wanted` says what of it was asked for, `good` whether it was reached."""

    case: str
    figures: Mapping[str, str]
    wanted: str
    good: bool


def machine() -> dict[str, str]:
    """The machine, its load before the table was printed, and the versions that matter."""
    return {
        "machine": f"{cpu_count()} x {_processor()}, {platform.platform()}",
        "load": f"{getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "retouch": version("retouch"),
        **{name: version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def table(name: str, rows: Sequence[Row]) -> str:
    """The machine, then each case with its figures, one a line."""
    lines = [f"{name}: " + ", ".join(f"{key} {value}" for key, value in machine().items()), ""]
    for row in rows:
        lines.append(f"{row.case}: {'reached' if row.good else 'MISSED'} (wanted: {row.wanted})")
        width = max(map(len, row.figures))
        lines += [f"  {figure.ljust(width)}  {value}" for figure, value in row.figures.items()]
    return "\n".join(lines)
