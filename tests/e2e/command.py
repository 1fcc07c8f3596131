"""The installed `retouch` command, as processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEY = "e2e-key-0123456789"
PATIENCE = 90.0
"""Seconds after which a process or a state that is waited for will not come any more."""


def installed() -> Path:
    """The command's script beside this interpreter."""
    return Path(sys.executable).with_name("retouch")


def environment(home: Path) -> dict[str, str]:
    """A user's surroundings: a key, a home of its own, nothing of this process's settings for the command."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "RETOUCH", "XDG"))}
    return kept | {"E2E_KEY": KEY, "HOME": str(home), "XDG_STATE_HOME": str(home / "state")}


def wait_for(holds: Callable[[], bool], what: str) -> None:
    """Poll until a state is there. Raises TimeoutError."""
    until = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {PATIENCE:.0f} s in vain for {what}")
        time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that ended, with all that it wrote."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """Its one object on stdout."""
        decoded: dict[str, Any] = json.loads(self.stdout)
        return decoded

    def ended(self, code: int) -> dict[str, Any]:
        """Its one object, after it exited with this code."""
        assert self.code == code, f"exit {self.code} instead of {code}:\n{self.stderr}\n{self.stdout[-2000:]}"
        return self.json


@dataclass(frozen=True, slots=True)
class Running:
    """A process that goes on; stderr goes to a file so that it can be read meanwhile."""

    process: subprocess.Popen[str]
    errors: Path

    def says(self, text: str) -> None:
        """Wait until it wrote this to stderr."""
        wait_for(lambda: text in self.errors.read_text(), f"{text!r} on stderr")

    def send(self, *numbers: signal.Signals) -> None:
        """Send signals, several of them as one moment."""
        if len(numbers) > 1:
            self.process.send_signal(signal.SIGSTOP)
        for number in numbers:
            self.process.send_signal(number)
        if len(numbers) > 1:
            self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """`kill -9`, and wait for its end."""
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)

    def finish(self) -> Finished:
        """Wait for its end."""
        stdout, _ = self.process.communicate(timeout=PATIENCE)
        return Finished(self.process.returncode, stdout, self.errors.read_text())


@contextmanager
def running(command: list[str], folder: Path, log: Path) -> Iterator[Running]:
    """Start a process in a folder, its stderr in the file `log`; it does not outlive the block."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(log.parent), stdout=subprocess.PIPE, stderr=errors, text=True
        )
    with process:
        try:
            yield Running(process, log)
        finally:
            if process.poll() is None:
                process.kill()


def finished(command: list[str], folder: Path, home: Path) -> Finished:
    """Run a process to its end."""
    done = subprocess.run(
        command, cwd=folder, env=environment(home), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return Finished(done.returncode, done.stdout, done.stderr)
