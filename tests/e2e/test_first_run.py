"""What a stranger runs first."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.command import finished, installed
from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import Stage, photo

ROOT = Path(__file__).parents[2]


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "user"
    folder.mkdir()
    return folder


def test_the_catalogue_in_the_sandbox_makes_pictures_that_differ_from_their_inputs(user: Path) -> None:
    """`retouch run jobs/catalog.yaml --sandbox` sends at least 12 requests; each picture decodes and is an edit."""
    for name in ("jobs", "examples"):
        shutil.copytree(ROOT / name, user / name)
    run = finished([str(installed()), "run", "jobs/catalog.yaml", "--sandbox", "--json"], user, user).ended(0)
    pictures = [path for path in (user / "out/catalog.sandbox").rglob("*.png") if ".retouch" not in path.parts]
    inputs = {sha256(path.read_bytes()).hexdigest() for path in (user / "examples").rglob("*.*") if path.is_file()}
    assert sum(run["attempts"].values()) >= 12
    assert run["tasks"]["done"] == run["tasks"]["total"] == run["images"] == len(pictures)
    for path in pictures:
        assert sha256(path.read_bytes()).hexdigest() not in inputs
        with Image.open(path) as picture:
            assert picture.getcolors(4) is None, f"{path} is plain"


def test_the_starter_manifest_runs_as_it_stands_on_a_folder_of_photos(user: Path) -> None:
    """What `retouch init` writes validates, and the sandbox edits every photo with it."""
    (user / "photos").mkdir()
    (user / "photos/first.png").write_bytes(photo(1))
    (user / "photos/second.png").write_bytes(photo(2))
    verbs = (["init", "job.yaml"], ["validate", "job.yaml"], ["run", "job.yaml", "--sandbox"])
    written, valid, run = (finished([str(installed()), *verb, "--json"], user, user).ended(0) for verb in verbs)
    assert (user / written["manifest"]).is_file()
    assert (user / written["schema"]).is_file()
    assert (valid["problems"], valid["files"]) == ([], 2)
    assert run["tasks"]["done"] == valid["tasks"] == 6


def test_a_real_run_after_a_sandbox_run_sends_every_request(stage: Stage, endpoint: Endpoint) -> None:
    """Nothing of a `--sandbox` run counts for the job's own folder, and nothing of it reaches the real endpoint."""
    assert stage.run("--sandbox").ended(0)["tasks"]["done"] == 6
    assert endpoint.bill.requests == 0
    assert stage.run().ended(0)["tasks"]["done"] == 6
    assert endpoint.bill.billed == 6
