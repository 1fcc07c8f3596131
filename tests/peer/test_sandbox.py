"""The sandbox stands up to a real proxy: what it takes and says is what the proxy expects of the real endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pipeline.sandbox.faults import Faults, parse_faults
from pipeline.sandbox.server import Server
from tests.peer import capture, proxy

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]


@pytest.fixture(autouse=True)
def _calm(sandbox: Server) -> Iterator[None]:
    yield
    sandbox.set_faults(Faults())


def test_the_sandbox_bills_the_same_edit_through_the_proxy(peer: proxy.Proxy, sandbox: Server) -> None:
    """Fields, image bytes and usage do not depend on whether OpenAI's SDK calls directly or through the proxy."""
    sandbox.bill.reset()
    answers = [capture.post(url, peer.key, capture.SANDBOX_MODEL) for url in (sandbox.url, peer.url)]
    direct, proxied = (json.loads(answer.body) for answer in answers)
    assert [answer.status for answer in answers] == [200, 200]
    assert direct["usage"] == proxied["usage"]
    assert len(direct["data"]) == len(proxied["data"]) == 1
    assert list(sandbox.bill.edits.values()) == [2]


@pytest.mark.parametrize(
    ("fault", "case"),
    [
        ("rate=1,retry-after=2", "rate_limited"),
        ("quota=1", "quota"),
        ("billing=1", "billing_limit"),
        ("moderation=1", "moderation"),
        ("unauthorized=1", "invalid_key"),
        ("error-500=1", "server_error"),
        ("error-503=1", "overloaded"),
        ("error-200=1", "error_under_200"),
        ("bad-base64=1", "bad_base64"),
        ("truncate=1", "truncated_json"),
        ("disconnect=1", "disconnect"),
        ("reset=1", "reset"),
    ],
)
def test_the_sandboxs_faults_look_like_the_endpoints_through_the_proxy(
    peer: proxy.Proxy, sandbox: Server, fault: str, case: str
) -> None:
    """Each fault comes out of the proxy with the status and the code inside that the captured error has."""
    sandbox.set_faults(parse_faults(fault))
    answer = capture.post(peer.url, peer.key, capture.SANDBOX_MODEL)
    captured = capture.load(case).answer
    assert answer.status == captured.status
    for word in ("rate_limit_exceeded", "insufficient_quota", "billing_hard_limit_reached", "moderation_blocked"):
        assert (word in answer.body) == (word in captured.body)
    if case == "rate_limited":
        assert answer.headers["llm_provider-retry-after"] == "2"
