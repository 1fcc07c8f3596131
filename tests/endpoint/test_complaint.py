from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.endpoint.complaint import read_complaint
from pipeline.outcome import Outcome
from tests.endpoint.bodies import BUSY, QUOTA, error, litellm, verdict_of


@pytest.mark.parametrize(
    "body",
    [
        *(error(None, None, text) for text in
          ("{{}}", "{[]}", "Template {{}} is not allowed", "OpenAIException - {{}}", "{{1}: 2}", "{(1, []): 1}",
           "{2in x 3in}", "{" + "9" * 400 + "+1j}")),
        *(litellm(500, f"{{'message': {told}}}") for told in
          ("b'upstream said no'", "{1, 2}", "1j", "{(1, 2): 3}", "0x" + "f" * 5000, "9" * 5000, "'\\d'")),
        litellm(500, "{'error': {'detail': {1: b'x'}}, 'detail': [b'x']}"),
        b"<html>oops &#" + b"1" * 5000 + b"; </html>",
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_read_leaves_it_to_the_status(body: Any) -> None:
    """Braces that are no object, values that JSON has not, numbers without end: an error is judged all the same."""
    verdict = verdict_of(500, body)
    assert verdict.outcome is Outcome.IN_DOUBT
    assert verdict.message
    assert verdict_of(400, body).outcome is Outcome.REFUSED


def test_a_message_that_is_nearly_too_deep_to_read_leaves_it_to_the_status() -> None:
    """What could just be read may be too deep to be written."""
    for depth in range(800, 1000):
        nested = "[" * depth + "]" * depth
        for body in (litellm(500, f'{{"message": {nested}}}'), f'{{"error": {{"message": {nested}}}}}'.encode()):
            assert verdict_of(500, body).outcome is Outcome.IN_DOUBT


ECHOES = (
    "failed on prompt: {echo}",
    "failed on prompt: blue - {echo}",
    "'{echo}' is no prompt",
    "Error in prompt: {echo}",
    "prompt: red: {echo}",
)


@pytest.mark.parametrize("status", [408, 500, 502, 504])
@pytest.mark.parametrize("words", ECHOES)
@pytest.mark.parametrize("code", ["rate_limit_exceeded", "moderation_blocked", "insufficient_quota"])
def test_a_prompt_that_a_message_repeats_is_not_the_servers_code(status: int, words: str, code: str) -> None:
    """Also behind what a router writes: what may have been billed is not called free for what a prompt says."""
    for echo in (error(code), json.dumps(error(code))):
        text = words.format(echo=echo)
        whole = error(None, None, f"{echo} is no prompt")
        for body in (whole, error(None, None, text), litellm(status, text), litellm(status, error(None, None, text))):
            assert verdict_of(status, body).outcome is Outcome.IN_DOUBT


@pytest.mark.parametrize(
    "head",
    [
        "",
        "Error code: 429 - ",
        "OpenAIException - ",
        "litellm.RateLimitError: RateLimitError: OpenAIException - ",
        "litellm.RateLimitError: RateLimitError: OpenAIException - Error code: 429 - ",
        "litellm.Timeout: Timeout Error: OpenAIException - ",
        "litellm.BadRequestError: AzureException BadRequestError - ",
        "litellm.RateLimitError: Vertex_aiException - b'",
    ],
)
@pytest.mark.parametrize("write", [str, json.dumps])
def test_an_error_that_a_router_wrapped_is_read(head: str, write: Callable[[Any], str]) -> None:
    """In the forms that routers write, and where it is all that the message holds."""
    verdict = verdict_of(400, error("400", None, head + write(BUSY) + (" LiteLLM Retried: 3 times" if head else "")))
    assert (verdict.outcome, verdict.code) == (Outcome.THROTTLED, "rate_limit_exceeded")
    assert verdict.message == "Limit 5 images per minute."


def test_a_fault_in_reading_an_error_leaves_it_to_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an error says only explains: not to understand it ends no run."""

    def fault(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("pipeline.endpoint.judge.read_complaint", fault)
    verdict = verdict_of(502, QUOTA)
    assert (verdict.outcome, verdict.code, verdict.message) == (Outcome.IN_DOUBT, "http_502", None)


PYTHON = st.recursive(
    st.sampled_from(
        ["b'x'", "1j", "None", "'text'", "0x" + "f" * 5000, "9" * 400 + "+1j", "{}", "'\\d'", "2in", "name"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda rows: f"[{', '.join(rows)}]")
        | st.lists(inner, max_size=3).map(lambda rows: f"{{{', '.join(rows)}}}")
        | st.lists(st.tuples(st.sampled_from(["'message'", "'detail'", "'error'", "'code'", "(1, 2)"]), inner)).map(
            lambda rows: f"{{{', '.join(f'{name}: {value}' for name, value in rows)}}}"
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from(["", "litellm.APIError: OpenAIException - "]), PYTHON, st.sampled_from(["", "}", " end"]))
@settings(deadline=None)
def test_no_printed_python_makes_the_reading_of_an_error_fail(before: str, value: str, after: str) -> None:
    """Whatever Python prints, and whatever a prompt with braces looks like."""
    told = json.dumps({"message": before + value + after}).encode()
    complaint = read_complaint(b"", {"error": msgspec.Raw(told)})
    assert isinstance(complaint.message, str)
