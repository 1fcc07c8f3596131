"""A job's folder and what its user does to it: the manifest, the inputs, the results; with what must be remembered."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.faults.invariants import Line, sound
from tests.model.server import digest, png

PATHS = {
    "default": "{{ set }}/{{ prompt }}{{ variant }}/{{ key }}-{{ index }}",
    "flat": "flat/{{ set }}-{{ prompt }}{{ variant }}-{{ key }}-{{ index }}",
    "crossed": "{{ set }}/{{ 'p1' if prompt == 'p0' else 'p0' if prompt == 'p1' else prompt }}{{ variant }}/"
    "{{ key }}-{{ index }}",
}
"""Templates of output paths; the last gives to one prompt the names that another had."""

GARBAGE = b"no picture"


@dataclass(slots=True)
class Ask:
    """A prompt: its text (with `{{ matrix.tone }}` where it has tones), its tones by label, its fields."""

    name: str
    text: str
    tones: dict[str, str] = field(default_factory=dict)
    repeat: int = 1
    request: dict[str, Any] = field(default_factory=dict)
    sets: list[str] = field(default_factory=list)
    brand: bool = False


@dataclass(slots=True)
class Wish:
    """What the manifest says now."""

    asks: list[Ask]
    sets: list[str] = field(default_factory=lambda: ["a"])
    model: str = "m"
    path: str = "default"
    order: str = "items"
    concurrency: int = 4
    retries: dict[str, Any] = field(default_factory=dict)
    rerun: dict[str, Any] = field(default_factory=dict)
    max_images: int | None = None
    stop_on: dict[str, Any] = field(default_factory=lambda: {"failures": None, "in_doubt": None})

    def parts(self) -> dict[str, Any]:
        """The manifest's sections."""
        return {
            "request": {"model": self.model},
            "image_sets": [{"name": name, "images": f"in/{name}/*.png", "allow_empty": True} for name in self.sets],
            "prompts": [self._prompt(ask) for ask in self.asks],
            "order": self.order,
            "limits": {"concurrency": self.concurrency},
            "retries": self.retries,
            "rerun": self.rerun,
            "stop_on": self.stop_on,
            "budget": {"max_images": self.max_images},
            "output": {"folder": "out", "path": PATHS[self.path], "spill": "spill"},
        }

    def _prompt(self, ask: Ask) -> dict[str, Any]:
        matrix = {"tone": dict(ask.tones)} if ask.tones else {}
        references = ["brand.png"] if ask.brand else []
        rest = {"repeat": ask.repeat, "request": ask.request, "image_sets": [s for s in ask.sets if s in self.sets]}
        rest["image_sets"] = rest["image_sets"] or self.sets
        return {"name": ask.name, "text": ask.text, "matrix": matrix, "references": references, **rest}


@dataclass(frozen=True, slots=True)
class File:
    """A file's content, by its digest, and its length."""

    sha256: str
    size: int


@dataclass(slots=True)
class View:
    """All that is on disk: files below the output folder by path, ledger lines in order (each with its `ledger`),
    results that are spilled (each line with its files' digests), and the inputs by their absolute paths."""

    files: dict[str, File]
    ledgers: dict[str, bytes]
    lines: list[Line]
    spilled: list[tuple[Line, dict[str, str]]]
    loose: set[str]
    inputs: dict[str, File]
    garbage: set[str]

    @property
    def everywhere(self) -> set[str]:
        """The digests of all that is kept anywhere."""
        return {f.sha256 for p, f in self.files.items() if p not in self.ledgers} | self.loose

    @property
    def named(self) -> set[str]:
        """The paths at which a file is ours."""
        return named_by(self.lines)

    def results(self) -> dict[str, File]:
        """The files that are neither ledgers nor bookkeeping."""
        return {path: file for path, file in self.files.items() if path[0] != "." and path not in self.ledgers}


@dataclass(slots=True)
class World:
    """The folder `root` holds the job, the server's bill and the reports of runs.

    `put` are contents that the user put under names in the output folder: they must stay somewhere, and those in
    `foreign` where they are. `destroyed` are contents that the user took away. `durable` are the whole lines of each
    ledger as they were seen last, `ledgers` with what was behind them.
    """

    root: Path
    wish: Wish = field(default_factory=lambda: Wish([Ask("p0", "First")]))
    step: int = 0
    times: int = 0
    put: dict[str, set[str]] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)
    destroyed: set[str] = field(default_factory=set)
    durable: dict[str, bytes] = field(default_factory=dict)
    ledgers: dict[str, bytes] = field(default_factory=dict)
    calls: int = 60

    def __post_init__(self) -> None:
        for name in ("a", "b"):
            (self.job / "in" / name).mkdir(parents=True)
        (self.root / "bill").touch()
        self.write_input("brand.png", png(999, "8x8", 0))
        for number in range(2):
            self.write_input(f"in/a/i{number}.png", png(number, "8x8", 0))
        self.write_input("in/b/i0.png", png(50, "8x8", 0))

    @property
    def job(self) -> Path:
        return self.root / "job"

    @property
    def out(self) -> Path:
        return self.root / "job/out"

    def write_input(self, path: str, data: bytes) -> None:
        """Write an input, with a time of its own."""
        (self.job / path).write_bytes(data)
        self.touch(path)

    def touch(self, path: str) -> None:
        """Give an input a new time."""
        self.times += 1
        at = 1_700_000_000_000_000_000 + self.times * 1_000_000_000
        os.utime(self.job / path, ns=(at, at))

    def inputs(self) -> list[str]:
        """The items' files, below the job's folder."""
        return sorted(path.relative_to(self.job).as_posix() for path in (self.job / "in").rglob("*.png"))

    def bill(self) -> list[Line]:
        """What the server noted."""
        return [json.loads(line) for line in (self.root / "bill").read_bytes().splitlines()]

    def view(self) -> View:
        """Everything as it is now."""
        files: dict[str, File] = {}
        ledgers: dict[str, bytes] = {}
        for path, data in _contents(self.out).items():
            if path.startswith((".lock", ".reserve", ".retouch/inputs.cache", ".retouch/state.cache", ".retouch/torn")):
                continue
            files[path] = File(_digest(data), len(data))
            if path.startswith("ledger"):
                ledgers[path] = data
        lines = [line | {"ledger": name} for name in sorted(ledgers) for line in whole(ledgers[name]).lines]
        spilled, loose = _spilled(self.job / "spill")
        inputs = {str(self.job / "brand.png"): (self.job / "brand.png").read_bytes()}
        inputs |= {str(self.job / path): (self.job / path).read_bytes() for path in self.inputs()}
        return View(
            files,
            ledgers,
            sorted(lines, key=lambda line: str(line["at"])),
            spilled,
            loose,
            {path: File(_digest(data), len(data)) for path, data in inputs.items()},
            {path for path, data in inputs.items() if not data.startswith(b"\x89PNG\r\n\x1a\n")},
        )


def named_by(lines: Sequence[Line]) -> set[str]:
    """The paths that lines give to results, but for those at which a foreign file was in the way.

    Of such a result a line of its own task tells that it lies beside, and the last that is said of a path counts.
    """
    said: dict[str, bool] = {}
    for line in lines:
        for output in line.get("outputs") or ():
            stem, _, mark = output["path"].rpartition("~")
            if line.get("from") == line["task"] and mark.startswith(f"{line['fingerprint'][:8]}."):
                said[f"{stem}{mark[8:]}"] = False
            said[output["path"]] = True
    return {path for path, ours in said.items() if ours}


def _contents(folder: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for home, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(home, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


def _spilled(folder: Path) -> tuple[list[tuple[Line, dict[str, str]]], set[str]]:
    """The results that wait there whole, and the digests of all that lies there."""
    found: dict[str, dict[str, bytes]] = {}
    for path, data in sorted(_contents(folder).items()):
        home, _, name = path.rpartition("/")
        found.setdefault(home, {})[name] = data
    whole: list[tuple[Line, Mapping[str, bytes]]] = [
        (json.loads(files["line"]), files) for files in found.values() if "line" in files
    ]
    parts = [
        (line, {name: _digest(data) for name, data in files.items() if name.endswith(".part")}) for line, files in whole
    ]
    return parts, {_digest(data) for files in found.values() for data in files.values()}


_digest = lru_cache(50_000)(digest)


whole = lru_cache(64)(sound)
"""The whole lines of a ledger, parsed once."""
