"""Forks runs of the command into which mutants and faults are put, by name, before they begin."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults import forge
from tests.faults.forge import PATIENCE, Forge
from tests.faults.mutants import CHANGES


class MutantForge(Forge):
    """A forge whose next runs are changed by what `changes` names."""

    changes: tuple[str, ...] = ()

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request to the server, and its answer."""
        return super().ask(**request, changes=list(self.changes))


@contextmanager
def forging_mutants(folder: Path) -> Iterator[MutantForge]:
    """A forking server that lives as long as the block; logs go to `folder`."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-m", __name__], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as pipe:
        yield MutantForge(pipe, folder)
        assert pipe.stdin is not None
        pipe.stdin.close()
        pipe.wait(PATIENCE)


def _serve() -> None:
    command = forge._become

    def become(asked: dict[str, Any]) -> None:
        for name in asked["changes"]:
            CHANGES[name](pytest.MonkeyPatch())
        command(asked)

    forge._become = become
    forge._serve(sys.stdin)


if __name__ == "__main__":
    _serve()
