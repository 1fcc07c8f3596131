"""A row of a table of bad input: files, a command, and the words that it must print."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Make = Callable[[Path], object]

SECTIONS = {
    "version": "1",
    "name": "shop",
    "request": "{model: gpt-image-2}",
    "image_sets": '[{name: shoes, images: "in/*.png"}]',
    "prompts": "[{name: white, text: White background}]",
    "output": "{folder: out, spill: spill}",
}
VERBS = ("validate", "plan", "run")
"""What refuses a bad job: each of them says the same."""


def job(**changes: str) -> str:
    """A manifest of one line a section, with sections replaced in their line, or added after the last."""
    return "".join(f"{key}: {value}\n" for key, value in (SECTIONS | changes).items())


@dataclass(frozen=True, slots=True)
class Row:
    """Bad input and what is said of it.

    `lines` are stderr's, without `error: `; `{folder}` stands for the job's folder. `files` are written beside two good
    photos and the good `job.yaml`, or made by what takes their path. Each of `verbs` is called with `argv`, by default
    the manifest alone, and ends with `code`.
    """

    name: str
    lines: tuple[str, ...]
    files: Mapping[str, str | bytes | Make] = field(default_factory=dict)
    argv: tuple[str, ...] = ("job.yaml",)
    env: Mapping[str, str] = field(default_factory=dict)
    verbs: tuple[str, ...] = VERBS
    code: int = 2

    def __str__(self) -> str:
        return self.name

    def write(self, folder: Path) -> None:
        """Put the row's files where the command finds them."""
        for name, content in self.files.items():
            path = Path(os.fsdecode(os.fsencode(folder / name)))
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.write_bytes(content.encode("utf-8", "surrogateescape"))
            elif isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.unlink(missing_ok=True)
                content(path)

    def expected(self, folder: Path) -> str:
        """stderr, word for word."""
        return "".join(f"error: {line}\n" for line in self.lines).replace("{folder}", str(folder))


def of_job(name: str, /, *lines: str, **changes: str) -> Row:
    """A manifest with these sections."""
    return Row(name, lines, {"job.yaml": job(**changes)})


def of_text(name: str, *lines: str, text: str | bytes) -> Row:
    """A manifest of these bytes."""
    return Row(name, lines, {"job.yaml": text})


def of_flags(name: str, *lines: str, verbs: tuple[str, ...] = ("run",)) -> Row:
    """A good job and the flags that `name` spells."""
    return Row(name, lines, argv=("job.yaml", *name.split(" ")), verbs=verbs)
