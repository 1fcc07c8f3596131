"""The captured answers are those of a real proxy: today's proxy still says the same in all that steers a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from pipeline.endpoint.judge import judge
from pipeline.endpoint.reply import Reply
from pipeline.outcome import Outcome
from tests.peer import capture, proxy, upstream

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]

_STEERING = ("retry-after", "x-request-id", "x-ratelimit-remaining-requests")

JUDGED = [
    ("success", Outcome.SUCCEEDED, None),
    ("success_without_usage", Outcome.SUCCEEDED, None),
    ("rate_limited", Outcome.THROTTLED, "rate_limit_exceeded"),
    ("overloaded", Outcome.THROTTLED, "server_is_overloaded"),
    ("quota", Outcome.STOPPED, "insufficient_quota"),
    ("billing_limit", Outcome.STOPPED, "billing_hard_limit_reached"),
    ("invalid_key", Outcome.STOPPED, "invalid_api_key"),
    ("unverified", Outcome.STOPPED, "invalid_request_error"),
    ("unknown_model", Outcome.STOPPED, "model_not_found"),
    ("proxy_wrong_key", Outcome.STOPPED, "no_db_connection"),
    ("moderation", Outcome.REFUSED, "moderation_blocked"),
    ("invalid_image", Outcome.REFUSED, "invalid_image_file"),
    ("proxy_unknown_model", Outcome.REFUSED, "invalid_request_error"),
    ("error_under_200", Outcome.UNUSABLE, "no_image"),
    ("no_images", Outcome.UNUSABLE, "no_image"),
    ("bad_base64", Outcome.UNUSABLE, "bad_base64"),
    ("reset", Outcome.IN_DOUBT, "internal_server_error"),
    # As captured with earlier releases of what the proxy sends with: its second try had another type of content.
    ("reset_sent_again", Outcome.IN_DOUBT, "unsupported_content_type"),
    ("server_error", Outcome.IN_DOUBT, "server_error"),
    ("bad_gateway_html", Outcome.IN_DOUBT, "internal_server_error"),
    ("html_under_200", Outcome.IN_DOUBT, "internal_server_error"),
    ("truncated_json", Outcome.IN_DOUBT, "internal_server_error"),
    ("disconnect", Outcome.IN_DOUBT, "internal_server_error"),
    ("late", Outcome.IN_DOUBT, "invalid_request_error"),
    ("proxy_unreachable_upstream", Outcome.IN_DOUBT, "internal_server_error"),
]


@dataclass(frozen=True, slots=True)
class Essence:
    """What of an answer can steer a run; wording that differs between the proxy's releases is left out."""

    status: int
    headers: dict[str, str]
    code: Any
    embedded: Any
    result: dict[str, Any]


def _embedded(message: str) -> Any:
    start = message.find("{")
    try:
        return json.JSONDecoder().raw_decode(message, start)[0] if start >= 0 else None
    except json.JSONDecodeError:
        return None


def _essence(answer: capture.Message) -> Essence:
    body = json.loads(answer.body)
    error = body.get("error", {})
    headers = {name: value for name, value in answer.headers.items() if any(steer in name for steer in _STEERING)}
    result = {name: body.get(name) for name in ("data", "usage")}
    return Essence(answer.status, headers, error.get("code"), _embedded(error.get("message", "")), result)


@pytest.mark.parametrize("case", capture.CASES)
def test_todays_proxy_answers_as_captured(peer: proxy.Proxy, server: upstream.Upstream, case: str) -> None:
    """Status, pacing headers, codes, images and usage of the live proxy's answer equal the capture's."""
    assert _essence(capture.ask(peer, server, case).answer) == _essence(capture.load(case).answer)


@pytest.mark.parametrize(("case", "outcome", "code"), JUDGED)
def test_the_proxys_answers_are_judged_by_what_is_inside(case: str, outcome: Outcome, code: str | None) -> None:
    """The outcome is the one that the upstream's own answer has, or in doubt where the proxy hides what happened."""
    answer = capture.load(case).answer
    verdict = judge(Reply(answer.status, answer.headers, answer.body.encode(), began=True), None, now=0.0)
    assert (verdict.outcome, verdict.code) == (outcome, code)


@pytest.mark.parametrize("case", upstream.CASES)
def test_captures_hold_what_the_upstream_says_now(case: str) -> None:
    """A changed answer of the scripted upstream needs a new capture."""
    said = capture.load(case).upstream
    assert said is not None
    assert (said.status, said.body) == (upstream.CASES[case].status, upstream.CASES[case].body)
