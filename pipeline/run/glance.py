"""A glance at tasks that were done before: is everything still as their last lines left it?

1. It says yes only where `Examiner.examine` would find the task done, with nothing to warn of. Whatever is unusual, or
   not known without reading a file, it leaves to that.
2. It reads no file and no line of the ledger: inputs are told by their size and time, as any task's line or the input
   cache has them, outputs by name and size, and by the ledger's word that the name went to no other task since.
3. Variants of an item that follow each other share one look at its inputs. Memory is bounded, whatever the tasks.
"""

from __future__ import annotations

import os
from stat import S_ISREG
from typing import Final, NamedTuple

from pipeline.ledger.digests import fingerprint_digest
from pipeline.ledger.done import Done, stems_digest
from pipeline.ledger.state import State
from pipeline.outputs.folder import OutputFolder
from pipeline.run.examine import Examined
from pipeline.tasks.cache import InputCache
from pipeline.tasks.identity import FieldsParts, files_part, joined
from pipeline.tasks.task import Input, Task

_KEPT: Final = 4096
"""Files of which the digest is remembered; references that all items share are among them."""

_SHARED: Final = 1024
"""Tasks that share one look at their inputs."""


class _Known(NamedTuple):
    """What a line of the ledger says of a file: a digest, and the stat that it is told by."""

    bytes: int
    mtime_ns: int
    sha256: str


class Glance:
    """Glances at tasks of one job, whose outputs lie in `folder`."""

    def __init__(self, state: State, folder: OutputFolder, cache: InputCache) -> None:
        self._state = state
        self._root = folder.fd
        self._cache = cache
        self._fields = FieldsParts()
        self._known: dict[str, _Known] = {}
        self._inputs: tuple[Input, ...] = ()
        self._files: bytes | None = None
        self._left = 0

    def finds(self, task: Task, done: Done) -> bool:
        """Whether the task is still done, as the ledger has it."""
        if task.item.problem is not None or not done.usual or not self._is_wanted(task, done):
            return False
        if stems_digest(task.paths) != done.stems or not self._are_there(task, done):
            return False
        return self._state.owns(task.id, (f"{stem}.{done.extension}" for stem in task.paths))

    def learn(self, work: Examined) -> None:
        """Remember what the ledger knew of a task's inputs, for the tasks that share them."""
        for file in work.inputs:
            if file.sha256 and file.mime is None:  # not read: it is as the task's line says
                if len(self._known) >= _KEPT:
                    self._known.clear()
                self._known[file.path] = _Known(file.bytes, file.mtime_ns, file.sha256)
        if self._files is None:
            self._left = 0

    def _is_wanted(self, task: Task, done: Done) -> bool:
        """Whether what was done is what would be sent now."""
        if self._inputs is not task.inputs or not self._left:
            self._inputs, self._left = task.inputs, _SHARED
            self._files = self._looked_at(task.inputs)
        self._left -= 1
        if self._files is None:
            return False
        fields = self._fields.of(task.fields)
        wanted = joined(fields, 0, self._files, task.repeat)
        if generation := self._state.generation(wanted):
            wanted = joined(fields, generation, self._files, task.repeat)
        return fingerprint_digest(wanted) == done.fingerprint

    def _looked_at(self, inputs: tuple[Input, ...]) -> bytes | None:
        """The files' part of a fingerprint; None where a file is not known as it is now."""
        images: list[str] = []
        masks: list[str] = []
        for file in inputs:
            sha256 = self._digest(file.path)
            if sha256 is None:
                return None
            (masks if file.role == "mask" else images).append(sha256)
        return files_part(images, masks[0] if masks else None)

    def _digest(self, path: str) -> str | None:
        try:
            state = os.stat(path)
        except (OSError, ValueError):
            return None
        known = self._known.get(path)
        if known is not None and (known.bytes, known.mtime_ns) == (state.st_size, state.st_mtime_ns):
            return known.sha256
        return self._cache.known(path, state)

    def _are_there(self, task: Task, done: Done) -> bool:
        """Whether each output is a file of its length under its name."""
        for stem, size in zip(task.paths, done.sizes, strict=True):
            try:
                state = os.stat(f"{stem}.{done.extension}", dir_fd=self._root, follow_symlinks=False)
            except (OSError, ValueError):
                return False
            if state.st_size != size or not S_ISREG(state.st_mode):
                return False
        return True
