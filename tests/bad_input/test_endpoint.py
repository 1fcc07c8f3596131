"""The endpoint that counts is one that a job can reach: else no test here could see that something was sent."""

from __future__ import annotations

import pytest

from tests.bad_input.conftest import KEY, Refused
from tests.bad_input.endpoint import Endpoint
from tests.bad_input.row import Row
from tests.cli.conftest import Retouch


def test_a_good_job_is_sent_and_counted(call: Retouch, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two photos are two connections."""
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    before = endpoint.connections
    assert call("run", "job.yaml", "-q").code == 0
    assert endpoint.connections == before + 2


def test_a_row_that_is_sent_after_all_is_seen(refused: Refused) -> None:
    """A good job is no bad input."""
    with pytest.raises(AssertionError):
        refused(Row("good", ("wrong",)))
