from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.endpoint.codes import OUTCOMES, outcome_of_codes, outcome_of_status
from pipeline.endpoint.judge import KEPT_BYTES, judge
from pipeline.endpoint.key import Key
from pipeline.endpoint.reply import NEVER_COMPLETE, Failure, Reply
from pipeline.outcome import Outcome
from tests.endpoint.bodies import B64, BLOCKED, BUSY, NOW, PAGE, QUOTA, error, litellm, verdict_of
from tests.endpoint.conftest import SECRET

TABLE: list[tuple[str, int, Any, Outcome, str]] = [
    # name, status, body, outcome, code
    ("moderation", 400, BLOCKED, Outcome.REFUSED, "moderation_blocked"),
    ("moderation known by its type", 400, error(None, "image_generation_user_error"), Outcome.REFUSED,
     "image_generation_user_error"),
    ("bad request", 400, error("invalid_image_file", "invalid_request_error"), Outcome.REFUSED, "invalid_image_file"),
    ("unknown code", 400, error("brand_new", "invalid_request_error"), Outcome.REFUSED, "brand_new"),
    ("octet-stream", 400, error("unsupported_file_mimetype"), Outcome.REFUSED, "unsupported_file_mimetype"),
    ("too large, as HTML", 413, b"<html><title>413 Request Entity Too Large</title>", Outcome.REFUSED, "http_413"),
    ("unprocessable", 422, {"detail": [{"type": "missing", "loc": ["body", "image"], "msg": "Field required"}]},
     Outcome.REFUSED, "missing"),
    ("detail as text", 400, {"detail": "mask is not supported"}, Outcome.REFUSED, "http_400"),
    ("detail as object", 400, {"detail": {"code": "invalid_value", "message": "size"}}, Outcome.REFUSED,
     "invalid_value"),
    ("other 4xx", 418, b"", Outcome.REFUSED, "http_418"),
    ("key", 401, error("invalid_api_key", "invalid_request_error"), Outcome.STOPPED, "invalid_api_key"),
    ("payment required", 402, b"", Outcome.STOPPED, "http_402"),
    ("unverified organization", 403, error(None, "invalid_request_error"), Outcome.STOPPED, "invalid_request_error"),
    ("no such model", 404, error("model_not_found", "invalid_request_error"), Outcome.STOPPED, "model_not_found"),
    ("wrong address", 404, b"<html>Not found</html>", Outcome.STOPPED, "http_404"),
    ("wrong method", 405, {"detail": "Method Not Allowed"}, Outcome.STOPPED, "http_405"),
    ("proxy wants a password", 407, b"", Outcome.STOPPED, "http_407"),
    *((f"redirect {status}", status, b"", Outcome.STOPPED, f"http_{status}") for status in (301, 302, 303, 307, 308)),
    ("quota as 429", 429, QUOTA, Outcome.STOPPED, "credit_balance_exhausted"),
    ("quota as 429 by its type alone", 429, error(None, "insufficient_quota"), Outcome.STOPPED, "insufficient_quota"),
    ("quota type with a new code", 429, error("new_limit", "insufficient_quota"), Outcome.STOPPED, "new_limit"),
    ("billing as 400", 400, error("billing_hard_limit_reached", "image_generation_user_error"), Outcome.STOPPED,
     "billing_hard_limit_reached"),
    ("quota as 500", 500, QUOTA, Outcome.STOPPED, "credit_balance_exhausted"),
    ("quota as 503", 503, QUOTA, Outcome.STOPPED, "credit_balance_exhausted"),
    ("LiteLLM's own budget", 400, error("400", "budget_exceeded", "Budget has been exceeded!"), Outcome.STOPPED,
     "budget_exceeded"),
    ("LiteLLM's own budget as 429", 429, error("429", "budget_exceeded"), Outcome.STOPPED, "budget_exceeded"),
    ("rate limit", 429, BUSY, Outcome.THROTTLED, "rate_limit_exceeded"),
    ("ramping too fast", 429, error("slow_down"), Outcome.THROTTLED, "slow_down"),
    ("429 without a body", 429, b"", Outcome.THROTTLED, "http_429"),
    ("overloaded", 503, error("server_is_overloaded"), Outcome.THROTTLED, "server_is_overloaded"),
    ("503 as HTML", 503, PAGE, Outcome.THROTTLED, "http_503"),
    ("rate limit as 500", 500, BUSY, Outcome.THROTTLED, "rate_limit_exceeded"),
    ("moderation as 500", 500, BLOCKED, Outcome.REFUSED, "moderation_blocked"),
    *((f"in doubt {status}", status, PAGE, Outcome.IN_DOUBT, f"http_{status}") for status in
      (408, 409, 425, 500, 501, 502, 504, 520, 522, 524, 599, 600)),
    ("server error", 500, error(None, "server_error"), Outcome.IN_DOUBT, "server_error"),
    ("JSON wrapped by LiteLLM", 400, litellm(400, BLOCKED), Outcome.REFUSED, "moderation_blocked"),
    ("quota wrapped by LiteLLM", 429, litellm(429, QUOTA, "throttling_error", "RateLimitError"), Outcome.STOPPED,
     "credit_balance_exhausted"),
    ("quota printed as a dict by LiteLLM", 429,
     litellm(429, f"Error code: 429 - {QUOTA}", "throttling_error", "RateLimitError"), Outcome.STOPPED,
     "credit_balance_exhausted"),
    ("rate limit wrapped by LiteLLM", 429, litellm(429, BUSY, "throttling_error", "RateLimitError"),
     Outcome.THROTTLED, "rate_limit_exceeded"),
    ("wrapped twice", 400, litellm(400, litellm(400, BLOCKED)), Outcome.REFUSED, "moderation_blocked"),
    ("wrapped ten times", 400, (lambda body: [body := litellm(400, body) for _ in range(10)][-1])(BLOCKED),
     Outcome.REFUSED, "http_400"),
    ("upstream timeout at LiteLLM", 408, litellm(408, "Connection timed out", None, "Timeout"), Outcome.IN_DOUBT,
     "http_408"),
    ("LiteLLM with a type", 500, litellm(500, "Internal {not json", "internal_server_error"), Outcome.IN_DOUBT,
     "internal_server_error"),
    ("braces of a prompt in the message", 400, error("400", None, 'bad prompt {"code": "insufficient_quota"}'),
     Outcome.REFUSED, "http_400"),
    ("code as a number", 400, error(400, None), Outcome.REFUSED, "http_400"),
    ("code spelled None", 400, error("None", "None"), Outcome.REFUSED, "http_400"),
    ("Azure's moderation", 400, error("content_filter"), Outcome.REFUSED, "content_filter"),
    ("error as text", 400, {"error": "no image given"}, Outcome.REFUSED, "http_400"),
    ("error without envelope", 429, {"code": "insufficient_quota", "message": "pay"}, Outcome.STOPPED,
     "insufficient_quota"),
    ("error under 200", 200, error("upstream_failed"), Outcome.UNUSABLE, "upstream_failed"),
    ("error without a code under 200", 200, error(), Outcome.UNUSABLE, "error_body"),
    ("late moderation under 200", 200, b"   \n \n" + json.dumps(BLOCKED).encode(), Outcome.REFUSED,
     "moderation_blocked"),
    ("late quota under 200", 200, QUOTA, Outcome.STOPPED, "credit_balance_exhausted"),
    ("late rate limit under 200", 200, BUSY, Outcome.THROTTLED, "rate_limit_exceeded"),
    ("HTML under 200", 200, b"<html><title>Login</title></html>", Outcome.UNUSABLE, "bad_json"),
    ("nothing under 200", 200, b"", Outcome.UNUSABLE, "empty_body"),
    ("heartbeats and nothing", 200, b"  \n  ", Outcome.UNUSABLE, "empty_body"),
    ("204", 204, b"", Outcome.UNUSABLE, "empty_body"),
    ("data is empty", 200, {"created": 1, "data": []}, Outcome.UNUSABLE, "no_image"),
    ("data is null", 200, {"data": None}, Outcome.UNUSABLE, "no_image"),
    ("data is an object", 200, {"data": {"b64_json": B64}}, Outcome.UNUSABLE, "no_image"),
    ("data holds null", 200, {"data": [None]}, Outcome.UNUSABLE, "no_image"),
    ("entry without an image", 200, {"data": [{"revised_prompt": "x"}]}, Outcome.UNUSABLE, "no_image"),
    ("b64_json is null", 200, {"data": [{"b64_json": None, "url": None}]}, Outcome.UNUSABLE, "no_image"),
    ("b64_json is empty", 200, {"data": [{"b64_json": ""}]}, Outcome.UNUSABLE, "no_image"),
    ("b64_json is a number", 200, {"data": [{"b64_json": 123456}]}, Outcome.UNUSABLE, "bad_base64"),
    ("bad base64", 200, {"data": [{"b64_json": B64[:-5] + "!" + B64[-4:]}]}, Outcome.UNUSABLE, "bad_base64"),
    ("base64 with a line break", 200, {"data": [{"b64_json": B64[:8] + "\n" + B64[8:]}]}, Outcome.UNUSABLE,
     "bad_base64"),
    ("base64 cut short", 200, {"data": [{"b64_json": B64[:-3]}]}, Outcome.UNUSABLE, "bad_base64"),
    ("JSON cut short", 200, json.dumps({"data": [{"b64_json": B64}]}).encode()[:-4], Outcome.UNUSABLE, "bad_json"),
    ("a JSON list", 200, [1], Outcome.UNUSABLE, "bad_json"),
    ("JSON nested without end", 200, b'{"data":' + b"[" * 100_000, Outcome.UNUSABLE, "bad_json"),
    ("errors nested without end", 400, b'{"error":' + b"[" * 50_000 + b"]" * 50_000 + b"}", Outcome.REFUSED,
     "http_400"),
    ("broken UTF-8 in an error", 400, b'{"error":{"code":"moderation_blocked","message":"\xff\xfe"}}', Outcome.REFUSED,
     "moderation_blocked"),
    ("lone surrogate in an error", 400, b'{"error":{"code":"moderation_blocked","message":"\\ud800"}}',
     Outcome.REFUSED, "moderation_blocked"),
    ("byte order mark", 400, b"\xef\xbb\xbf" + json.dumps(BLOCKED).encode(), Outcome.REFUSED, "moderation_blocked"),
    ("status below 200", 199, b"", Outcome.IN_DOUBT, "http_199"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "status", "body", "outcome", "code"), TABLE, ids=[row[0] for row in TABLE])
def test_judge(name: str, status: int, body: Any, outcome: Outcome, code: str) -> None:
    """The code is read before the status, wherever a router put it."""
    verdict = verdict_of(status, body)
    assert (verdict.outcome, verdict.code, verdict.status) == (outcome, code, status)
    assert not any(image.data for image in verdict.images)
    assert verdict.outcome is not Outcome.UNUSABLE or verdict.body_kept is not None
    json.dumps([verdict.message, verdict.code], ensure_ascii=False).encode()


@pytest.mark.parametrize("failure", list(Failure))
@pytest.mark.parametrize("began", [False, True])
def test_without_an_answer(failure: Failure, began: bool) -> None:
    """Unsent where no complete request left; else in doubt."""
    verdict = judge(Reply(failure=failure, detail="why", began=began), None, NOW)
    unsent = not began or failure in NEVER_COMPLETE
    assert verdict.outcome is (Outcome.UNSENT if unsent else Outcome.IN_DOUBT)
    assert (verdict.code, verdict.message, verdict.status) == (failure, "why", None)


CUT = (Failure.RESET, Failure.DISCONNECTED, Failure.TIMEOUT, Failure.INCOMPLETE_BODY)


@pytest.mark.parametrize("failure", CUT)
@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, Outcome.IN_DOUBT), (502, Outcome.IN_DOUBT), (429, Outcome.THROTTLED), (400, Outcome.REFUSED)],
)
def test_an_answer_cut_short_is_in_doubt_unless_its_status_settles_it(
    failure: Failure, status: int, outcome: Outcome
) -> None:
    """An object that is not closed holds no image, whatever of it came."""
    verdict = verdict_of(status, b'{"data": [{"b64_json": "' + B64.encode() + b'"}]', failure=failure, detail="why")
    assert (verdict.outcome, verdict.code, verdict.images) == (outcome, failure, ())


@pytest.mark.parametrize("failure", CUT)
def test_a_whole_answer_is_taken_however_its_connection_ended(failure: Failure) -> None:
    """A closed JSON object was received whole and paid for: a wrong Content-Length must not buy it again."""
    verdict = verdict_of(200, {"data": [{"b64_json": B64}]}, failure=failure, detail="why")
    assert verdict.outcome is Outcome.SUCCEEDED
    assert [image.data is not None for image in verdict.images] == [True]


def test_an_answer_that_is_too_long_is_unusable() -> None:
    """It came whole as far as it was read; asking for it again would give the same."""
    verdict = verdict_of(200, b'{"data":[{"b64_json":"AAAA', failure=Failure.RESPONSE_TOO_LARGE, detail="too long")
    assert (verdict.outcome, verdict.code, verdict.message) == (Outcome.UNUSABLE, "response_too_large", "too long")


def test_an_input_that_changed_is_unsent_though_a_status_came() -> None:
    """No complete request left, whatever the server began to say."""
    verdict = verdict_of(200, b"", failure=Failure.INPUT_CHANGED)
    assert (verdict.outcome, verdict.code) == (Outcome.UNSENT, "input_changed")


def test_the_key_is_nowhere_in_a_verdict() -> None:
    """A server that echoes the key in message, code, request id and body gives it to nobody."""
    body = error(SECRET, SECRET, f"Incorrect API key {SECRET}")
    for status in (200, 400):
        verdict = verdict_of(status, body, headers={"x-request-id": SECRET})
        shown = repr(verdict) + repr(replace(verdict, body_kept=None)) + repr(verdict.body_kept)
        assert SECRET[:12] not in shown
        assert "***" in (verdict.message or "")


def test_the_kept_body_is_masked_before_it_is_cut() -> None:
    """A key across the first MiB's end does not leave its beginning behind."""
    body = b"x" * (KEPT_BYTES - 10) + SECRET.encode() + b'"' + b"y" * 5000
    kept = verdict_of(200, body).body_kept
    assert kept is not None
    assert len(kept) == KEPT_BYTES
    assert SECRET[:8].encode() not in kept
    assert kept.endswith(b'x***"yyyyyy')


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        ({"x-request-id": "req_1", "cf-ray": "ray"}, "req_1"),
        ({"llm_provider-x-request-id": "req_2", "x-litellm-call-id": "call"}, "req_2"),
        ({"cf-ray": "ray"}, "ray"),
        ({}, None),
    ],
)
def test_request_id(headers: dict[str, str], request_id: str | None) -> None:
    """The id that the endpoint's support asks for, else the nearest thing."""
    assert verdict_of(500, b"", headers=headers).request_id == request_id


def test_retry_after_is_read_under_any_status() -> None:
    """A 500 may ask for a pause as a 429 does."""
    assert verdict_of(500, b"", headers={"retry-after": "3"}).retry_after == 3.0


def test_every_code_is_in_lower_case_and_means_one_thing() -> None:
    """The tables are looked up in lower case, and no code stands in two of them."""
    codes = [code for named in OUTCOMES.values() for code in named]
    assert codes == [code.lower() for code in codes]
    assert len(codes) == len(set(codes))


def test_the_gravest_code_decides() -> None:
    """Quota beats moderation beats throttling; nothing known leaves it to the status."""
    assert outcome_of_codes(["slow_down", "moderation_blocked", "Insufficient_Quota"]) is Outcome.STOPPED
    assert outcome_of_codes(["slow_down", "moderation_blocked"]) is Outcome.REFUSED
    assert outcome_of_codes(["what", "ever"]) is None


def test_every_status_has_an_outcome() -> None:
    """No status is `succeeded` or `unsent` by itself, and only a 2xx is `unusable`."""
    for status in range(100, 1000):
        outcome = outcome_of_status(status)
        assert outcome not in {Outcome.SUCCEEDED, Outcome.UNSENT, Outcome.INVALID}
        assert (outcome is Outcome.UNUSABLE) == (200 <= status < 300)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([B64, "data:,"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "type", "message", "detail", "data", "b64_json", "url", "usage"]), inner
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from([200, 204, 400, 429, 500]),
    st.binary() | JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([None, *Failure]),
)
@settings(deadline=None)
def test_no_body_makes_the_judge_fail(status: int, body: bytes, failure: Failure | None) -> None:
    """Whatever a server sends, there is a verdict that can be written as a line of UTF-8."""
    verdict = judge(Reply(status, {"retry-after": body.decode("latin-1")}, body, failure, "why", True), None, NOW)
    line = [verdict.outcome, verdict.code, verdict.message, verdict.usage]
    json.dumps(line, ensure_ascii=False, allow_nan=False).encode()
    assert len(verdict.message or "") <= 500
    assert (verdict.outcome is Outcome.SUCCEEDED) == any(i.data or i.url for i in verdict.images)


@pytest.mark.parametrize("secret", ["image_tokens_secret", "3141592", '":{"text', "u00e9", "tokens\\u00e9"])
def test_a_usage_that_repeats_the_key_is_none(secret: str) -> None:
    """As a name, as a number, or across what JSON puts between them."""
    usage = {"input_tokens": 3141592, "output_tokens": 2, "image_tokens_secret": 1, "é_tokens": {"text_tokens": 1}}
    body = json.dumps({"data": [{"b64_json": B64}], "usage": usage}).encode()
    verdict = judge(Reply(status=200, body=body, began=True), Key(secret), NOW)
    assert verdict.outcome is Outcome.SUCCEEDED
    told = json.dumps(usage)
    assert (verdict.usage is None) is (Key(secret).mask(told) != told)


def test_a_usage_too_long_to_be_a_count_is_none() -> None:
    """Its members in the ledger's line would be no use to anyone."""
    for number, known in ((600, True), (1500, False)):
        usage = {"input_tokens": 1, "output_tokens": 2} | {f"kind_{at}_tokens": at for at in range(number)}
        verdict = verdict_of(200, {"data": [{"b64_json": B64}], "usage": usage})
        assert (verdict.usage is not None) is known is (len(json.dumps(usage)) <= 20_000)
