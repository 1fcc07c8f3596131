"""A folder with a manifest in it, and what loading it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pipeline.errors import JobError
from pipeline.manifest.job import Job
from pipeline.manifest.load import load_job

Load = Callable[..., Job]
Faults = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a manifest's text or bytes as `job.yaml`."""
    monkeypatch.chdir(tmp_path)

    def run(manifest: str | bytes, environ: Mapping[str, str] | None = None) -> Job:
        data = manifest.encode() if isinstance(manifest, str) else manifest
        (tmp_path / "job.yaml").write_bytes(data)
        return load_job("job.yaml", environ or {})

    return run


@pytest.fixture
def faults(load: Load) -> Faults:
    """The lines that loading a manifest prints, without the file's name."""

    def run(manifest: str | bytes, environ: Mapping[str, str] | None = None) -> list[str]:
        try:
            load(manifest, environ)
        except JobError as error:
            return [line.removeprefix("job.yaml:") for line in str(error).split("\n")]
        return []

    return run
