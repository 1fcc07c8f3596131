"""libfaketime, which gives a process another clock: set back and forth while it runs, or sixty times as fast."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.command import Running, environment, installed
from tests.e2e.stage import Stage


def library() -> str:
    """The library to preload. Skips the calling test where there is none, or fails where nothing may be skipped."""
    found = shutil.which("faketime") and subprocess.run(
        ["faketime", "-m", "-f", "+0d", "printenv", "LD_PRELOAD"], capture_output=True, text=True, check=False
    )
    if found and not found.returncode:
        return str(found.stdout.strip())
    words = "faketime is not installed: clocks cannot be set"
    if os.environ.get("RETOUCH_REQUIRE_ALL") == "1":
        pytest.fail(f"{words}, and RETOUCH_REQUIRE_ALL=1 lets no test be skipped")
    pytest.skip(words)


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of the runs of a job; `setting` is read again and again while they go on."""

    stage: Stage
    setting: Path
    monotonic: bool

    def set(self, setting: str) -> None:
        """Set it: `+0`, `-1d`, `+3600`, or with a pace: `+0 x60`."""
        new = self.setting.with_suffix(".new")
        new.write_text(f"{setting}\n")
        new.rename(self.setting)

    @contextmanager
    def running(self, *options: str) -> Iterator[Running]:
        """Start a run by this clock."""
        named = environment(self.stage.home) | {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self.setting),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "0" if self.monotonic else "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "0" if self.monotonic else "1",
        }
        log = self.stage.home / "clock.log"
        command = [str(installed()), "run", str(self.stage.manifest), "--json", "--quiet", *options]
        with log.open("w") as errors:
            process = subprocess.Popen(
                command, cwd=self.stage.folder, env=named, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        with process:
            try:
                yield Running(process, log)
            finally:
                if process.poll() is None:
                    process.kill()


def wall_clock(stage: Stage) -> Clock:
    """A clock on the wall that can be set; the monotonic one goes on as ever."""
    return _clock(stage, "+0", monotonic=False)


def fast_clock(stage: Stage, pace: int) -> Clock:
    """Clocks that all go `pace` times as fast, sleeps and timers included."""
    return _clock(stage, f"+0 x{pace}", monotonic=True)


def _clock(stage: Stage, setting: str, *, monotonic: bool) -> Clock:
    library()
    clock = Clock(stage, stage.home / "clock", monotonic)
    clock.set(setting)
    return clock
