"""Who `status` says runs a job, by what the lock's file says."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pipeline.run.status import holder

SINCE = f"on {socket.gethostname()} since 2026-01-01 00:00:00Z"


@pytest.mark.parametrize("pid", ["0", "-1", "9007740993", "9" * 19, "9" * 900, "٣", ""])
def test_what_is_no_process_number_runs_nothing(tmp_path: Path, pid: str) -> None:
    """A damaged lock file is nobody's: a number beyond the system's own ended `status` as a bug, 0 is our own group."""
    (tmp_path / ".lock").write_text(f"pid {pid} {SINCE}")
    assert holder(tmp_path) is None


def test_a_process_that_is_there_runs_the_job(tmp_path: Path) -> None:
    """What it signed is what is told."""
    (tmp_path / ".lock").write_text(f"pid {os.getpid()} {SINCE}")
    assert holder(tmp_path) == f"pid {os.getpid()} {SINCE}"
