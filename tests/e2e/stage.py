"""A folder with photos and a manifest, and the job's traces in it: pictures and ledger."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from tests.e2e.command import Finished, Running, finished, installed, running

TOKENS = ("input_tokens", "output_tokens", "total_tokens")


def photo(number: int, size: tuple[int, int] = (48, 48)) -> bytes:
    """A small PNG, another one for each number."""
    data = BytesIO()
    Image.new("RGB", size, (number % 256, number // 256 % 256, 90)).save(data, "PNG")
    return data.getvalue()


class Picture(NamedTuple):
    """A file as it stands: its content and when it was written."""

    sha256: str
    mtime_ns: int


@dataclass(slots=True)
class Stage:
    """A job in `folder`: `job` is the manifest's document, written by `write`; `home` is the user's."""

    folder: Path
    home: Path
    job: dict[str, Any]
    started: int = field(default=0)

    @property
    def manifest(self) -> Path:
        return self.folder / "job.yaml"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def write(self) -> Stage:
        """Write the manifest as it is in `job` now."""
        self.manifest.write_text(json.dumps(self.job, indent=1))
        return self

    def photos(self, count: int) -> Stage:
        """Put photos 000.png, 001.png … into `photos/`."""
        (self.folder / "photos").mkdir(exist_ok=True)
        for number in range(count):
            (self.folder / f"photos/{number:03}.png").write_bytes(photo(number))
        return self

    def retouch(self, verb: str, *options: str) -> Finished:
        """Run a verb on the job to its end, with --json."""
        return finished(self._command(verb, options), self.folder, self.home)

    def run(self, *options: str) -> Finished:
        return self.retouch("run", *options)

    @contextmanager
    def running(self, *options: str) -> Iterator[Running]:
        """Start a run that goes on beside the test."""
        self.started += 1
        with running(self._command("run", options), self.folder, self.home / f"run-{self.started}.log") as process:
            yield process

    def _command(self, verb: str, options: tuple[str, ...]) -> list[str]:
        return [str(installed()), verb, str(self.manifest), "--json", *options]

    def pictures(self) -> dict[str, Picture]:
        """Every picture in the output folder by its path there."""
        paths = (path for path in self.out.rglob("*.png") if ".retouch" not in path.parts)
        return {
            path.relative_to(self.out).as_posix(): Picture(
                sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns
            )
            for path in paths
        }

    def replaced(self) -> set[str]:
        """The sha256 of every picture that was moved out of the way."""
        return {sha256(path.read_bytes()).hexdigest() for path in (self.out / ".retouch/replaced").glob("*")}

    def ledger(self, name: str = "ledger*.jsonl") -> list[dict[str, Any]]:
        """The whole lines of the ledgers, in order."""
        texts = (path.read_bytes().decode() for path in sorted(self.out.glob(name)))
        return [json.loads(line) for text in texts for line in text.split("\n")[:-1]]

    def open_attempts(self) -> int:
        """Attempts that were sent and not settled."""
        lines = Counter(line["type"] for line in self.ledger() if line.get("outcome") != "invalid")
        return lines["sent"] - lines["settled"]


def task_lines(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines that are about tasks."""
    return [line for line in lines if line["type"] not in ("run", "end")]


def settled(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The ends of attempts."""
    return [line for line in lines if line["type"] == "settled" and line["outcome"] != "invalid"]


def sum_of_usage(lines: list[dict[str, Any]]) -> dict[str, int]:
    """Tokens over all lines that report them."""
    return {name: sum(line["usage"][name] for line in settled(lines) if line["usage"]) for name in TOKENS}
