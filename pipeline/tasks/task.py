"""Items and tasks: what is wanted, before anything is hashed or sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from pipeline.tasks.matrix import variant_text

Role = Literal["item", "reference", "mask"]


class Item(Struct, frozen=True):
    """What a request is about.

    `images` are absolute paths in the order in which they are sent. `row` holds a table row's cells by column, and
    `line` the physical line on which the row begins (the header is line 1); both are absent for files.
    `problem` says why the item cannot be used, where that is known already (a row whose glob matches nothing).
    """

    set: str
    key: str
    images: tuple[str, ...]
    row: Mapping[str, Any] | None = None
    line: int = 0
    problem: str | None = None


class Input(Struct, frozen=True):
    """A file that a task sends: its role and its absolute path."""

    role: Role
    path: str


class Task(msgspec.Struct, frozen=True):
    """A name under which a result is wanted: item × prompt × variant × repeat.

    `id` is stable and readable. `variant` pairs each axis with its label, in the manifest's order.
    `repeat` counts from 1. `fields` are exactly the text fields to send. `inputs` are the item's images, then the
    references, then the mask if there is one. `paths` are the output paths below the output folder, one for each
    image asked for, in NFC and without extension.
    """

    id: str
    item: Item
    prompt: str
    variant: tuple[tuple[str, str], ...]
    repeat: int
    fields: Mapping[str, Any]
    inputs: tuple[Input, ...]
    paths: tuple[str, ...]

    @property
    def images(self) -> int:
        """How many images are asked for."""
        return len(self.paths)

    @property
    def variant_text(self) -> str:
        """The variant as it stands in output paths: `--` before each label, and `--r2`, `--r3` … for repeats."""
        return variant_text(self.variant, self.repeat)
