"""The `retouch` command in this process, with all that it prints."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from pipeline.cli import main

EXITS = frozenset({0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130, 143})
"""Every documented exit code but that of a bug."""


class UnnamedError(AssertionError):
    """The command ended in no named way."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout, which must be one object on one line."""
        assert self.out.count("\n") == 1, f"{self.out.count(chr(10))} lines on stdout"
        return json.loads(self.out)

    @property
    def errors(self) -> list[str]:
        """The error lines."""
        return [line.removeprefix("error: ") for line in self.err.splitlines() if line.startswith("error: ")]


def retouch(*arguments: str, allowed: frozenset[int] = EXITS) -> Said:
    """Run the command in the working folder. Raises UnnamedError for a bug, and for a code that is not allowed."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["retouch", *arguments]),
        patch.dict(os.environ, {"RETOUCH_DEBUG": "1"}),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
            code: object = 0
        except SystemExit as end:
            code = end.code
    said = Said(code if isinstance(code, int) else 1, out.getvalue(), err.getvalue())
    if said.code not in allowed or "Traceback (" in said.err:
        words = [line for line in said.err.splitlines() if line.strip()]
        raise UnnamedError(f"{arguments[0]}: {words[-1] if words else 'nothing said'} (exit {said.code})\n{said.err}")
    if said.code:
        assert (said.err + said.out).strip(), f"exit {said.code} without a word"
    assert not any(ord(char) < 32 and char not in "\n\t" for char in said.out + said.err), "a control character printed"
    return said
