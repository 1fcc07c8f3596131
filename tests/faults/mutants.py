"""Mutants of the write protocol: the real package with one rule broken, in a run's own process and in the next run's.

Each must be caught, with the promise that it breaks. They are patches of functions by name, put on in the process: the
package knows nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults import mutants_of_runs as runs
from tests.faults import mutants_of_starts as starts
from tests.faults.mutants_of_runs import Patch
from tests.faults.power_checks import Kind


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken rule, the scene in which it matters, and the promise that it breaks."""

    mutate: Callable[[Patch], None]
    scene: str
    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return (self.name or self.mutate.__name__).replace("_", " ")


MUTANTS = {
    str(mutant): mutant
    for mutant in (
        Mutant(runs.no_temporary_name, "one", Kind.PICTURE),
        Mutant(runs.no_sent_line, "one", Kind.UNRECORDED),
        Mutant(runs.unsynced(b"sent"), "one", Kind.UNRECORDED, "sent not synced"),
        Mutant(runs.unsynced(b"settled"), "one", Kind.PICTURE, "settled not synced"),
        Mutant(runs.parts_not_synced, "one", Kind.LOST),
        Mutant(runs.parts_folder_not_synced, "one", Kind.LOST),
        Mutant(runs.publish_before_settled, "one", Kind.PICTURE),
        Mutant(runs.settled_before_parts, "one", Kind.LOST),
        Mutant(starts.no_torn_tail_repair, "one", Kind.STUCK),
        Mutant(starts.recovery_by_name, "newer", Kind.LOST),
        Mutant(runs.final_names_not_synced, "one", Kind.LOST),
        Mutant(starts.folders_above_not_synced, "recovery", Kind.LOST),
        Mutant(runs.output_folder_not_synced, "one", Kind.UNRECORDED),
        Mutant(runs.own_folders_not_synced, "one", Kind.LOST),
        Mutant(runs.part_removed_at_once, "one", Kind.LOST),
        Mutant(runs.older_result_removed, "newer", Kind.LOST),
        Mutant(runs.replaced_not_synced, "newer", Kind.LOST),
        Mutant(runs.ledger_name_not_synced, "one", Kind.UNRECORDED),
        Mutant(runs.new_key_each_time, "one", Kind.KEY),
        Mutant(starts.nothing_salvaged, "one", Kind.BOUGHT_TWICE),
        Mutant(starts.torn_parts_salvaged, "one", Kind.PICTURE),
        Mutant(starts.salvaged_part_not_synced, "salvage", Kind.LOST),
        Mutant(starts.attempts_left_open, "one", Kind.UNFINISHED),
        Mutant(starts.parts_left, "one", Kind.UNFINISHED),
        Mutant(starts.taken_back_not_named, "taken back", Kind.UNFINISHED),
        Mutant(starts.spill_folder_not_synced, "spill", Kind.LOST),
        Mutant(starts.spilled_not_synced, "spill", Kind.LOST),
        Mutant(starts.spilled_forgotten_early, "spill", Kind.LOST),
    )
}

FAULTS = {
    "disk refuses parts": starts.disk_refuses_parts,
    "killed before a part's sync": starts.killed_before_a_parts_sync,
}

CHANGES = FAULTS | {name: mutant.mutate for name, mutant in MUTANTS.items()}
"""What can be put into a run, by name."""
