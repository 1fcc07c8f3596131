"""The parent where the system does not play along."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.processes.parent import run_in_processes
from pipeline.run.flags import Flags
from pipeline.run.progress import Silent
from tests.processes.test_shares import job, photos


def test_a_process_that_cannot_be_started_ends_those_that_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a limit on processes: an error that says so; nothing is sent, nobody is left, and the folder is free."""
    photos(tmp_path, *range(6))
    real, forked = os.fork, list[int]()

    def fork() -> int:
        if forked:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        pid = real()
        forked.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", fork)
    endpoint = {"base_url": "http://127.0.0.1:9/v1", "auth": "none"}
    with pytest.raises(StorageError, match=r"process 2 of 3 cannot be started: .*ulimit -u"):
        run_in_processes(job(tmp_path, endpoint=endpoint), Flags(), 3, view=Silent())
    with pytest.raises(ChildProcessError):
        os.waitpid(forked[0], os.WNOHANG)
    sent = [path for path in (tmp_path / "out").glob("ledger*") if b'"sent"' in path.read_bytes()]
    assert sent == []
