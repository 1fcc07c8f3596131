"""One endpoint for all tests, with a fresh bill for each, and a small job that is sent to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.endpoint import Endpoint, serving
from tests.e2e.stage import Stage


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The endpoint's process."""
    with serving(tmp_path_factory.mktemp("endpoint")) as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(server: Endpoint) -> Endpoint:
    """The endpoint with a new bill and no faults."""
    server.reset()
    return server


@pytest.fixture
def stage(tmp_path: Path, endpoint: Endpoint) -> Stage:
    """A job of six tasks (three photos, two prompts) against the endpoint."""
    return prepared(tmp_path, endpoint)


@pytest.fixture(scope="session")
def finished_job(tmp_path_factory: pytest.TempPathFactory, server: Endpoint) -> Path:
    """The folder of the job after its first run."""
    server.reset()
    stage = prepared(tmp_path_factory.mktemp("finished"), server)
    assert stage.run().ended(0)["tasks"]["done"] == 6
    return stage.folder


@pytest.fixture
def done(finished_job: Path, stage: Stage) -> Stage:
    """The job after its first run, which is not on the bill."""
    shutil.copytree(finished_job, stage.folder, dirs_exist_ok=True)
    return stage


def prepared(place: Path, endpoint: Endpoint) -> Stage:
    """The job, written below an empty folder."""
    home, folder = place / "home", place / "job"
    home.mkdir()
    folder.mkdir()
    job = {
        "version": 1,
        "name": "e2e",
        "endpoint": {"base_url": endpoint.url, "api_key_env": "E2E_KEY"},
        "request": {"model": "gpt-image-2", "size": "1024x1024", "quality": "low"},
        "image_sets": [{"name": "photos", "images": "photos/*.png"}],
        "prompts": [{"name": "white", "text": "On white."}, {"name": "night", "text": "At night."}],
        "limits": {"concurrency": 8},
        "output": {"folder": "out"},
    }
    return Stage(folder, home, job).photos(3).write()
