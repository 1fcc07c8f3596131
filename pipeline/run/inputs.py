"""The files that a task sends: read as little as can be, identified, and put as the ledger records them.

Blocking, for a worker thread. Nothing is read again whose size and time are those that the ledger knows.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import Enum, auto

import msgspec
from msgspec.structs import replace

from pipeline.endpoint.form import Edit
from pipeline.endpoint.upload import Upload
from pipeline.held import Held, Room
from pipeline.ledger.records import Input, Reused, Settled
from pipeline.mime import Mime
from pipeline.tasks.cache import InputCache
from pipeline.tasks.dimensions import Pixels, dimensions
from pipeline.tasks.identity import fields_part, files_part, joined
from pipeline.tasks.inputs import InputFile, Known, Unusable, inspect
from pipeline.tasks.task import Input as Wanted
from pipeline.tasks.task import Role, Task

Sizes = tuple[Pixels | None, ...]
"""Width and height of each image that is sent, None where they cannot be told."""

_KEPT = 4096
"""Looks that are remembered."""


class Look(Enum):
    """How closely inputs are looked at where the ledger does not know their state already."""

    AFRESH = auto()
    """Read them whole, also where size and time say that they are what the ledger or the cache knows."""
    HASH = auto()
    """Read them whole: only so a paid result of the same request can be found."""
    HEAD = auto()
    """Open them and read their first bytes: enough to tell that they can be sent."""
    STAT = auto()
    """Not at all: the task stays as it is."""


class SentFile(msgspec.Struct, frozen=True):
    """An input with what identifies it; `mime` is None until the file is about to be sent, `pixels` where its width and
    height were not seen in passing, `held` where it is to be read again to be sent."""

    role: Role
    path: str
    sha256: str
    bytes: int
    mtime_ns: int
    mime: Mime | None
    pixels: Pixels | None = None
    held: Held | None = None


class Inputs:
    """Looks at input files of a job whose relative paths start from `folder`; what was read whole is held in `room`.

    With `once` a file is looked at once for all tasks that follow each other: for one that only reads, and does not
    wait for files to change.
    """

    def __init__(self, folder: str, cache: InputCache, *, once: bool = False, room: Room | None = None) -> None:
        self._folder = f"{folder.rstrip(os.sep)}{os.sep}"
        self._cache = cache
        self._once = once
        self._room = room
        self._looks: dict[tuple[str, Look], InputFile | Unusable] = {}
        self._heads: tuple[Sequence[Wanted], tuple[SentFile, ...] | Unusable] = ((), ())

    def of(self, task: Task, last: Settled | Reused | None, look: Look) -> tuple[SentFile, ...] | Unusable:
        """A task's inputs, held against those that its `last` line records; one that was not read has no digest.

        Raises:
            OSError: this process has no descriptor or memory left.
        """
        if not self._once or last is not None or look is not Look.HEAD:
            return self._all_of(task, last, look)
        # The variants of an item share its inputs.
        if self._heads[0] is not task.inputs:
            self._heads = (task.inputs, self._all_of(task, None, look))
        return self._heads[1]

    def _all_of(self, task: Task, last: Settled | Reused | None, look: Look) -> tuple[SentFile, ...] | Unusable:
        trusted = last.inputs if last and look is not Look.AFRESH else None
        recorded = {file.path: file for file in trusted or ()}
        files = []
        for wanted in task.inputs:
            known = recorded.get(self._short(wanted.path))
            if known is not None and _unchanged(wanted.path, known):
                files.append(SentFile(wanted.role, wanted.path, known.sha256, known.bytes, known.mtime_ns, None))
                continue
            seen = self._seen(wanted.path, look)
            if isinstance(seen, Unusable):
                return seen
            files.append(
                SentFile(
                    wanted.role,
                    wanted.path,
                    seen.sha256,
                    seen.bytes,
                    seen.mtime_ns,
                    seen.mime,
                    seen.pixels,
                    seen.held,
                )
            )
        return tuple(files)

    def _seen(self, path: str, look: Look) -> InputFile | Unusable:
        if not self._once:
            return self._looked(path, look)
        found = self._looks.get((path, look))
        if found is None:
            if len(self._looks) >= _KEPT:
                self._looks.clear()
            found = self._looks[path, look] = self._looked(path, look)
        return found

    def _looked(self, path: str, look: Look) -> InputFile | Unusable:
        if look is Look.HASH:
            return self._cache.inspect(path, room=self._room)
        if look is Look.AFRESH:
            return self._cache.renew(path, room=self._room)
        if look is Look.HEAD:
            return inspect(path, known=Known("", *_stat_of(path)))
        return InputFile(path, "", 0, 0, "image/png")

    def latest(self, inputs: tuple[SentFile, ...]) -> tuple[SentFile, ...] | None:
        """The same inputs with the media types that were not read; None where one of those is another by now."""
        if all(file.mime for file in inputs):
            return inputs
        files = []
        for file in inputs:
            if file.mime is not None:
                files.append(file)
                continue
            seen = self._cache.inspect(file.path, known=Known(file.sha256, file.bytes, file.mtime_ns))
            if isinstance(seen, Unusable) or seen.sha256 != file.sha256:
                return None
            files.append(replace(file, mime=seen.mime, mtime_ns=seen.mtime_ns, pixels=seen.pixels))
        return tuple(files)

    def recorded(self, inputs: Sequence[SentFile]) -> list[Input]:
        """The inputs as the ledger keeps them."""
        return [Input(file.role, self._short(file.path), file.sha256, file.bytes, file.mtime_ns) for file in inputs]

    def stats(self, task: Task) -> list[Input]:
        """The inputs by their stat alone, so that another state of the item is another line."""
        return [Input(file.role, self._short(file.path), "", *_stat_of(file.path)) for file in task.inputs]

    def _short(self, path: str) -> str:
        return path.removeprefix(self._folder)


def edit_of(task: Task, inputs: Sequence[SentFile], idempotency_key: str) -> Edit:
    """The request of a task with these inputs."""
    uploads = [
        Upload(file.role, file.path, file.sha256, file.bytes, file.mime or "image/png", file.held) for file in inputs
    ]
    return Edit(
        fields=task.fields,
        images=tuple(upload for upload in uploads if upload.role != "mask"),
        mask=next((upload for upload in uploads if upload.role == "mask"), None),
        idempotency_key=idempotency_key,
    )


def fingerprint_of(task: Task, inputs: Sequence[SentFile], generation: int) -> str:
    """The fingerprint of a task's request with these inputs."""
    return joined(fields_part(task.fields), generation, files_part_of(inputs), task.repeat)


def files_part_of(inputs: Sequence[SentFile]) -> bytes:
    """What a fingerprint says of these inputs."""
    images = [file.sha256 for file in inputs if file.role != "mask"]
    return files_part(images, next((file.sha256 for file in inputs if file.role == "mask"), None))


def sizes_of(inputs: Sequence[SentFile]) -> Sizes:
    """The pixels of the images that a task sends, the mask's apart, from their headers."""
    return tuple(file.pixels or dimensions(file.path) for file in inputs if file.role != "mask")


def size_of(path: str) -> int:
    """A file's length in bytes; -1 for what is not there."""
    return _stat_of(path)[0]


def _unchanged(path: str, known: Input) -> bool:
    return _stat_of(path) == (known.bytes, known.mtime_ns)


def _stat_of(path: str) -> tuple[int, int]:
    """Size and mtime_ns; (-1, -1) for what is not there."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return -1, -1
    return state.st_size, state.st_mtime_ns
