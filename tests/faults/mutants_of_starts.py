"""Ways to break what a start finishes for a killed run, and the spill; at the end faults, which break no rule."""

from __future__ import annotations

import os
import signal
from hashlib import sha256
from typing import Any

from pipeline.errors import StorageError
from pipeline.outputs import stock
from pipeline.outputs.check import Checked
from pipeline.outputs.folder import OutputFolder
from pipeline.outputs.spill import Spill
from pipeline.run import recover, store
from tests.faults.mutants_of_runs import Patch, nothing


def no_torn_tail_repair(patch: Patch) -> None:
    """A start leaves the torn end of a ledger where it is."""
    patch.setattr("pipeline.run.session.repair", nothing)


def recovery_by_name(patch: Patch) -> None:
    """A file is taken for a result because it has its name."""
    patch.setattr(stock, "_holds", lambda folder, path, output: stock.size_of(folder, path) is not None)


def folders_above_not_synced(patch: Patch) -> None:
    """A folder that an earlier run made is taken to be on the medium."""
    patch.setattr("pipeline.outputs.folder._with_parents", lambda paths: paths)


def nothing_salvaged(patch: Patch) -> None:
    """What arrived whole before its line was written is thrown away."""
    patch.setattr(recover, "_salvage", lambda context, sent: [])


def torn_parts_salvaged(patch: Patch) -> None:
    """A part is taken for a result without being looked at."""

    def check(data: bytes) -> Checked:
        return Checked("png", 1, 1, len(data), sha256(data).hexdigest())

    patch.setattr(recover, "check", check)


def salvaged_part_not_synced(patch: Patch) -> None:
    """A part that a killed run left is taken to be on the medium."""
    patch.setattr(recover, "sync_part", nothing)


def attempts_left_open(patch: Patch) -> None:
    """An attempt that never ended stays so."""

    async def settle(*_: object) -> None:
        """Leave it."""

    patch.setattr(recover, "_settle", settle)


def parts_left(patch: Patch) -> None:
    """Parts of no use stay."""
    patch.setattr(recover, "remove_part", nothing)


def taken_back_not_named(patch: Patch) -> None:
    """A result that was taken back is left among the replaced files when a kill came before its name."""
    patch.setattr(recover, "finish", lambda *these, last: stock.finish(*these, last=False))


def spill_folder_not_synced(patch: Patch) -> None:
    """The names of a spilled result are left to the kernel."""
    patch.setattr("pipeline.outputs.spill.sync_folder", nothing)


def spilled_not_synced(patch: Patch) -> None:
    """A spilled result is left to the kernel."""
    patch.setattr("pipeline.outputs.spill.sync_file", nothing)


def spilled_forgotten_early(patch: Patch) -> None:
    """A spilled result is removed before the ledger has it."""
    real = Spill.take

    def take(self: Spill, spilled: Any, folder: OutputFolder) -> bytes:
        line = real(self, spilled, folder)
        self.done(spilled)
        return line

    patch.setattr(Spill, "take", take)


def disk_refuses_parts(patch: Patch) -> None:
    """Not a mutant: a disk that takes no results, so that they are spilled."""

    def refuse(*_: object) -> str:
        raise StorageError("the disk refuses")

    patch.setattr(store, "start_part", refuse)


def killed_before_a_parts_sync(patch: Patch) -> None:
    """Not a mutant: `kill -9` when a part is written and not synced."""
    patch.setattr("pipeline.outputs.parts.sync_file", lambda fd: os.kill(os.getpid(), signal.SIGKILL))
