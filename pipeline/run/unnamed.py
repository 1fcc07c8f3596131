"""Paid results that this start could not give their names, each for a cause that is no other's.

Their parts stay, the rest of the job goes on, and the run ends with exit 7. Nothing is bought, or tried again, for a
name that was refused: the next start does that.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

from pipeline.ledger.records import Reused, Settled
from pipeline.outputs.folder import PARTS, UnnamedError
from pipeline.outputs.parts import first_name
from pipeline.run.exits import Exit
from pipeline.run.halt import Halt

_TOLD: Final = 5
"""So many are told one by one."""


class Unnamed(Struct):
    """`whys` says by a result's path, without extension, what keeps it from its name; `parts` hold the results.

    `told` has a line for the user for each of the first few, of `count`.
    """

    whys: dict[str, str] = field(default_factory=dict)
    parts: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, line: Settled | Reused, error: UnnamedError, *, last: bool) -> None:
        """Keep what the line names; `last` says whether it is its task's newest."""
        parts = [output.part for output in line.outputs if output.part is not None]
        self.parts.update(map(first_name, parts))
        self.count += 1
        if last:
            why = f"{error}; its paid result waits in {PARTS}, and the next run names it once that is mended"
            self.whys |= {output.path.rpartition(".")[0]: why for output in line.outputs}
        if self.count <= _TOLD:
            self.told.append(f"{line.task}: its paid result has no name yet, and stays in {PARTS}: {error}")

    def keeps(self, part: str) -> bool:
        """Whether a part holds such a result."""
        return first_name(part) in self.parts

    def tell(self, halt: Halt) -> None:
        """Let the run end with exit 7, and say why; where there are none nothing is said."""
        for told in self.told:
            halt.note(told)
        if self.count:
            halt.blame(
                Exit.STORAGE,
                f"{self.count} paid result{'s' * (self.count > 1)} could not be named; the others of the job go on. "
                "Mend what is said above, or change output.path or the key, and run again: it costs nothing",
            )
