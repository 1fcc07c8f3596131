"""The names that results have below an output folder, folded from the ledger's lines in order.

1. A file under a name that no line gives a result is foreign.
2. So is one that came before a result could get its name: that result's line names it, and a later line of its own task
   says that the result lies beside it, as `<stem>~<fingerprint[:8]>`. It stays foreign until a line names it again.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from pipeline.ledger.digests import DigestIndex, path_digest
from pipeline.ledger.records import Reused, Settled


class Names:
    """The fold; one thread takes lines while others ask. `given` and `foreign` are digests of names."""

    def __init__(self) -> None:
        self.given = DigestIndex()
        self.foreign: set[bytes] = set()

    def take(self, line: Settled | Reused) -> None:
        """Take in the next line that names outputs."""
        for output in line.outputs:
            name = path_digest(output.path)
            self.given.add(name)
            self.foreign.discard(name)
            beside = _beside_what(line, output.path)
            if beside is not None:
                self.foreign.add(path_digest(beside))

    def knows(self, path: str) -> bool:
        """Whether a file of this name is a result's."""
        name = path_digest(path)
        return self.given.find(name) >= 0 and name not in self.foreign


def _beside_what(line: Settled | Reused, path: str) -> str | None:
    """The name that a result could not get; None where it has its own."""
    if not isinstance(line, Reused) or line.from_ != line.task:
        return None
    pure, mark = PurePosixPath(path), f"~{line.fingerprint[:8]}"
    return str(pure.with_stem(pure.stem.removesuffix(mark))) if pure.stem.endswith(mark) else None
