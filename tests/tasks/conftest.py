"""What the tests of tasks share: a job built from parts of a manifest, in a folder of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import JobError
from pipeline.manifest.job import Job
from pipeline.manifest.models import Manifest
from pipeline.tasks.expand import Prepared, prepare

NOW = 2_000_000_000.0
Build = Callable[..., Job]


def labelled(axis: Any) -> dict[str, str]:
    return dict(axis) if isinstance(axis, dict) else {str(value): str(value) for value in axis}


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Builds a job in `tmp_path` from parts of a manifest; each part has a default."""

    def make(**parts: Any) -> Job:
        manifest = Manifest.model_validate(
            {
                "version": 1,
                "name": "job",
                "request": {"model": "gpt-image-1.5"},
                "image_sets": [{"name": "set", "images": "in/**/*"}],
                "prompts": [{"name": "white", "text": "White background"}],
                "output": {"folder": "out"},
            }
            | parts
        )
        return Job(
            manifest=manifest,
            path=Path("job.yaml"),
            folder=tmp_path,
            sha256=hashlib.sha256(b"").hexdigest(),
            base_url="http://127.0.0.1:1/v1",
            texts={prompt.name: prompt.text or "" for prompt in manifest.prompts},
            matrix={
                prompt.name: {axis: labelled(values) for axis, values in prompt.matrix.items()}
                for prompt in manifest.prompts
            },
        )

    return make


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., None]:
    """Makes empty files below `tmp_path`."""

    def make(*paths: str) -> None:
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()

    return make


@pytest.fixture
def prepared(build: Build) -> Callable[..., Prepared]:
    """Builds and prepares a job."""
    return lambda **parts: prepare(build(**parts), NOW)


@pytest.fixture
def problems(build: Build) -> Callable[..., list[str]]:
    """Builds a job that must be refused, and gives its problems as the user reads them."""

    def refused(**parts: Any) -> list[str]:
        with pytest.raises(JobError) as caught:
            prepare(build(**parts), NOW)
        return [str(problem) for problem in caught.value.problems]

    return refused
