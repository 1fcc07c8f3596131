"""One endpoint and one forking server for all tests; a fresh bill and a fresh job for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.e2e.endpoint import Endpoint, serving
from tests.faults.forge import Forge, forging
from tests.faults.ground import Ground, Stall
from tests.faults.refusals import RefusingForge, refusing
from tests.faults.scenes import SCENES
from tests.faults.strace import require
from tests.faults.trial import Trial


@pytest.fixture(scope="session")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    """The server that forks runs."""
    with forging(tmp_path_factory.mktemp("forge")) as made:
        yield made


@pytest.fixture(scope="session")
def refusing_forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RefusingForge]:
    """The server that forks runs whose file system refuses."""
    with refusing(tmp_path_factory.mktemp("refusing")) as made:
        yield made


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The endpoint's process."""
    with serving(tmp_path_factory.mktemp("endpoint")) as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(server: Endpoint) -> Endpoint:
    """The endpoint with a new bill; an answer takes a moment, so that several are in flight."""
    server.reset()
    server.show("latency=0.03s")
    return server


@pytest.fixture
def trial(tmp_path: Path, endpoint: Endpoint, forge: Forge) -> Trial:
    """Six tasks, three at once."""
    return Trial(tmp_path / "job", endpoint, forge)


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory, server: Endpoint, forge: Forge) -> Callable[[str], Ground]:
    """Makes a scene's ground by the scene's name, once; what others did with the endpoint is not on its bill."""

    @cache
    def made(name: str) -> Ground:
        require()
        scene = next(scene for scene in SCENES if scene.name == name)
        return Ground(scene, Stall(tmp_path_factory.mktemp("ground"), server, forge).trial(scene))

    return made


@pytest.fixture
def strace() -> None:
    """Needs strace."""
    require()
