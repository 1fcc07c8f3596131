"""The names that results have below an output folder, folded from the ledger's lines in order.

1. A file under a name that no line gives a result is foreign.
2. So is one that came before a result could get its name: that result's line names it, and a later line of its own task
   says that the result lies beside it, as `<stem>~<fingerprint[:8]>`. It stays foreign until a line names it again.
3. A name belongs to the task of the last line that names it: the result of any other made way. Only where that may not
   be the one that had it first is it written down whose it is, so that a task that is done costs nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from pipeline.ledger.digests import DigestIndex, digest, path_digest
from pipeline.ledger.records import Reused, Settled


class Names:
    """The fold; one thread takes lines while others ask.

    `given` and `foreign` are digests of names. `owners` says by a name's digest which task it belongs to, by that of
    its id; a name that is not in it has been one task's alone. `changes` counts the names that may have got another.
    """

    def __init__(self) -> None:
        self.given = DigestIndex()
        self.foreign: set[bytes] = set()
        self.owners: dict[bytes, bytes] = {}
        self.changes = 0

    def take(self, line: Settled | Reused, *, again: bool = False) -> None:
        """Take in the next line that names outputs; `again`: its task's line before named the same."""
        for output in line.outputs:
            name = path_digest(output.path)
            before = len(self.given)
            if self.given.add(name) < before and (name in self.owners or not again):
                self.owners[name] = digest(line.task)
                self.changes += 1
            self.foreign.discard(name)
            beside = _beside_what(line, output.path)
            if beside is not None:
                self.foreign.add(path_digest(beside))

    def knows(self, path: str) -> bool:
        """Whether a file of this name is a result's."""
        name = path_digest(path)
        return self.given.find(name) >= 0 and name not in self.foreign

    def belong(self, task: str, paths: Iterable[str]) -> bool:
        """Whether names that a line gave to a task's result are that task's still."""
        if not self.owners:
            return True
        key = digest(task)
        return all(self.owners.get(path_digest(path), key) == key for path in paths)


def _beside_what(line: Settled | Reused, path: str) -> str | None:
    """The name that a result could not get; None where it has its own."""
    if not isinstance(line, Reused) or line.from_ != line.task:
        return None
    pure, mark = PurePosixPath(path), f"~{line.fingerprint[:8]}"
    return str(pure.with_stem(pure.stem.removesuffix(mark))) if pure.stem.endswith(mark) else None
