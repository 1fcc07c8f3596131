"""The command forked from a process that imported it, and certificates of authorities that nobody knows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.forked import Forked, forking
from tests.security.certificates import Certificates, make


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def retouch() -> Iterator[Forked]:
    """The command, imported once."""
    with forking() as forked:
        yield forked


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority of our own and what it signed."""
    return make(tmp_path_factory.mktemp("certificates"))
