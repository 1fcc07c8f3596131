"""Answers: JSON of every shape, cut anywhere, under every status and header; judged alone, and in a whole run.

A case is one line of JSON with the status, the headers and how the answer ended, and then its body.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipeline.endpoint.answer import read_document
from pipeline.endpoint.collect import image_of, with_images
from pipeline.endpoint.complaint import read_complaint
from pipeline.endpoint.inflate import inflate
from pipeline.endpoint.judge import Verdict, judge, kept_body
from pipeline.endpoint.key import Key
from pipeline.endpoint.reply import Failure, Reply
from pipeline.ledger.codec import decode, encode
from pipeline.ledger.records import Settled
from pipeline.ledger.replay import Ledgers
from pipeline.ledger.usage import usage_of
from pipeline.outcome import Outcome
from pipeline.outputs.check import Checked, check
from pipeline.run.summary import Tally
from pipeline.run.watch import rejected_words
from tests.fuzz.command import retouch
from tests.fuzz.grounds import ROOT, picture, working_in
from tests.fuzz.harness import Check, Kind
from tests.fuzz.mutate import NUMBERS, TEXTS, changed
from tests.run.conftest import bench_in

SECRET = "sk-fuzz-0123456789abcdef"
KEY = Key(SECRET)
NOW = 1_795_000_000.0
_STATUSES = (
    *(200,) * 20, 201, 204, 206, 299, 300, 304, 307, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 425, 429, 429,
    499, 500, 502, 503, 504, 524, 599, 600, 999,
)  # fmt: skip
_NAMES = (
    "retry-after", "retry-after-ms", "llm_provider-retry-after", "x-request-id", "date", "content-type", "cf-ray",
    "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "x-should-retry", "server",
)  # fmt: skip
_VALUES = (
    *NUMBERS, *TEXTS, "Wed, 21 Oct 2026 07:28:00 GMT", "Mon, 99 Foo 99999 99:99:99 +9999", "12ms", "1m2.5s", "req_1",
    "Thu, 01 Jan 1970 00:00:00 -0000", "Fri, 31 Dec 9999 23:59:59 GMT", "1 Jan 0001 00:00 +2359", "5, 6", SECRET,
)  # fmt: skip
_KEYS = (
    "data", "error", "usage", "b64_json", "url", "message", "code", "type", "detail", "msg", "created",
    "input_tokens", "output_tokens", "total_tokens", "input_tokens_details", "text_tokens", "param", "x",
)  # fmt: skip
_BRACES = (
    "{{}}", "{[]}", "{{1}: 2}", "{2in}", "{'message': '\\d'}", "{'message': {(1, 2): b'x'}}", "{'message': {1, 1j}}",
    "{'message': 0x" + "f" * 5000 + "}", "{" + "9" * 400 + "+1j}", '{"message": ' + "[" * 985 + "]" * 985 + "}",
)  # fmt: skip


@cache
def corpus() -> tuple[bytes, ...]:
    """What a real proxy and its upstream answered, and answers with pictures."""
    bodies = [b"", b"null", b"[]", b"{}", b'{"data":[]}', b"<html><title>502</title></html>", b"data: {}\n\n"]
    for path in sorted((ROOT / "tests/peer/captured").glob("*.json")):
        capture = json.loads(path.read_bytes())
        bodies += [capture[side]["body"].encode() for side in ("answer", "upstream") if capture.get(side)]
    return (*bodies, *(json.dumps(good(kind)).encode() for kind in ("PNG", "JPEG", "WEBP")))


def good(kind: str = "PNG") -> dict[str, Any]:
    """An answer that holds a picture."""
    data = base64.b64encode(picture(3, format=kind)).decode()
    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12, "input_tokens_details": {"text_tokens": 5}}
    return {"created": 1, "data": [{"b64_json": data}], "usage": usage}


def drawn(rng: Random) -> bytes:
    """An answer: a real one changed, or JSON of any shape; in a reply of any kind."""
    head: dict[str, Any] = {"status": rng.choice(_STATUSES) if rng.random() < 0.9 else rng.randrange(100, 1000)}
    head["headers"] = {rng.choice(_NAMES): rng.choice(_VALUES)[:1000] for _ in range(rng.choice((0, 0, 1, 3)))}
    if rng.random() < 0.1:
        head["failure"] = rng.choice([one for one in Failure if one is not Failure.INPUT_CHANGED]).value
    if rng.random() < 0.05:
        head["encoding"] = rng.choice(("gzip", "x-gzip", "deflate", "br", "GZIP, identity", ""))
    return json.dumps(head).encode() + b"\n" + body(rng, head.get("encoding", ""))


def body(rng: Random, encoding: str = "") -> bytes:
    """The body of an answer."""
    if rng.random() < 0.5:
        data = changed(rng, rng.choice(corpus()), corpus(), tuple(f'"{key}":'.encode() for key in _KEYS))
    else:
        data = _written(rng, rng.choice((shape(rng, 0), shape(rng, 4), _bent(rng))))
    if rng.random() < 0.2:
        data = data[: rng.randrange(len(data) + 1)]
    return _packed(rng, data, encoding) if encoding and rng.random() < 0.8 else data


def _packed(rng: Random, data: bytes, encoding: str) -> bytes:
    if rng.random() < 0.2:
        data += bytes(rng.choice((10_000_000, 30_000_000)))
    packed = zlib.compress(data) if "deflate" in encoding else gzip.compress(data, 1, mtime=0)
    return changed(rng, packed) if rng.random() < 0.4 else packed


def _bent(rng: Random) -> Any:
    """A good answer with one thing in it replaced."""
    value = good(rng.choice(("PNG", "JPEG", "WEBP")))
    where = rng.choice(("data", "usage", "b64", "entry", "count", "more"))
    odd = shape(rng, 3)
    match where:
        case "b64":
            value["data"][0]["b64_json"] = odd
        case "entry":
            value["data"] = [odd, *value["data"]]
        case "count":
            value["usage"][rng.choice(("input_tokens", "output_tokens", "total_tokens"))] = odd
        case "more":
            value |= {"error": odd}
        case _:
            value[where] = odd
    return value


def shape(rng: Random, depth: int) -> Any:
    """JSON of any shape, with the keys that mean something."""
    if depth > 3 or rng.random() < 0.4:
        return rng.choice(
            (None, True, 0, -1, 1.5, 2**63, 2**64, -(2**70), 10**400, float("nan"), 1e308, "", *_leaves())
        )
    if rng.random() < 0.5:
        return [shape(rng, depth + 1) for _ in range(rng.choice((0, 1, 3)))]
    return {rng.choice(_KEYS): shape(rng, depth + 1) for _ in range(rng.choice((1, 2, 4)))}


@cache
def _leaves() -> tuple[Any, ...]:
    picture_text = good()["data"][0]["b64_json"]
    return (
        *TEXTS, *NUMBERS, picture_text, picture_text[:-5], f"data:image/png;base64,{picture_text}",
        "http://127.0.0.1/x.png", "insufficient_quota", "moderation_blocked", "rate_limit_exceeded", SECRET,
        f"OpenAIException - {json.dumps(good())}", "{'error': {'code': 'slow_down'}}", "{" * 5000, "[" * 19_000,
        *_BRACES, *(f"OpenAIException - {text}" for text in _BRACES), "&#" + "1" * 5000 + ";",
        "<p>" * 4000, "\x1b]0;x\x07", "A" * 1_200_000,
    )  # fmt: skip


def _written(rng: Random, value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=rng.random() < 0.6)
    match rng.randrange(14):
        case 0:
            text = text.replace("1.5", "1e400").replace("NaN", rng.choice(("-Infinity", "nan", "NaN")))
        case 1:
            text = "[" * 100_000 + text
        case 2:
            text = '{"data":' * rng.choice((5, 40_000)) + text
        case 3:
            text = " \n" * 5000 + text
        case 4:
            text = text.replace("{", rng.choice(('{"data":null,', '{"usage":{},', '{"error":"x","error":{},')))
        case 5:
            text = text[:-1] + rng.choice((',"a":"\\ud800"}', ',"a":"\\u0000"}', ",}", "}}", '}{"data":[]}'))
        case 6:
            text = f"\ufeff{text}"
    encoding = rng.choice(("utf-8", "utf-8", "utf-8", "utf-16", "latin-1"))
    return text.encode(encoding, rng.choice(("replace", "surrogatepass")) if "utf" in encoding else "replace")


def reply_of(data: bytes) -> Reply:
    """The reply that a case stands for."""
    head, _, rest = data.partition(b"\n")
    try:
        told = json.loads(head)
        status = max(100, min(999, int(told["status"])))
        headers = {str(name): str(value) for name, value in told["headers"].items()}
        failure = Failure(told["failure"]) if "failure" in told else None
        encoding = str(told.get("encoding", ""))
    except (ValueError, LookupError, TypeError, AttributeError):
        status, headers, failure, encoding = 200, {}, None, ""
    if encoding:
        inflated = inflate(rest, encoding.lower(), 20_000_000)
        rest, failure = bytes(inflated.body), failure or inflated.failure
    return Reply(status, headers, bytearray(rest), failure, "it failed", began=True, seconds=1.0)


@contextmanager
def judging(_folder: Path) -> Iterator[Check]:
    """Checks a verdict, and the ledger line and the sums that are made of it."""
    yield judged


def judged(data: bytes) -> str:
    """One of the outcomes; what it says is short, on one line and without the key; its line can be written and read."""
    reply = reply_of(data)
    verdict = judge(reply, KEY, NOW)
    read_complaint(bytes(reply.body[:20_000]), read_document(reply.body))  # of its faults the judge makes nothing
    if verdict.outcome is Outcome.SUCCEEDED:
        verdict = fetched(verdict)
    if verdict.outcome is Outcome.SUCCEEDED:
        found = [check(image.data) for image in verdict.images if image.data]
        assert found
        if not any(isinstance(one, Checked) for one in found):
            return "undecodable"
    for text in (verdict.message, verdict.code, verdict.request_id):
        assert text is None or (len(text) <= 500 and text.isprintable() and SECRET not in text), repr(text)
    assert SECRET.encode() not in (verdict.body_kept or b"") + kept_body(reply, KEY)
    assert verdict.retry_after is None or verdict.retry_after >= 0
    line = settled(verdict)
    assert decode(encode(line)) == line
    tally = Tally()
    tally.end_attempt(line)
    total = usage_of([line]).total.usage
    assert {name: tally.usage[name] for name in total.__struct_fields__} == {
        name: getattr(total, name) for name in total.__struct_fields__
    }
    rejected_words(line)
    return verdict.outcome.value


def fetched(verdict: Verdict) -> Verdict:
    """The verdict once its URLs were asked for in vain."""
    gone = image_of(Reply(404, {}, b"gone"))
    if all(image.url is None for image in verdict.images):
        return verdict
    return with_images(verdict, tuple(gone if image.url is not None else image for image in verdict.images))


def settled(verdict: Verdict) -> Settled:
    """The ledger line of a verdict."""
    return Settled(
        task="t", fingerprint="f", attempt=1, outcome=verdict.outcome, status=verdict.status, code=verdict.code,
        message=verdict.message, request_id=verdict.request_id, usage=verdict.usage,
    )  # fmt: skip


@contextmanager
def running(folder: Path) -> Iterator[Check]:
    """Checks a whole run whose endpoint answers so."""
    with working_in(folder), pytest.MonkeyPatch.context() as patch:
        bench = bench_in(folder, patch)
        bench.images("a")
        manifest = bench.job().manifest.model_dump(mode="json", exclude_unset=True)
        number = 0

        async def fetch(_url: str) -> Reply:
            return Reply(404, {}, b"gone", began=True)

        def run(data: bytes) -> str:
            nonlocal number
            number += 1
            reply = reply_of(data)
            bench.say = lambda _: reply
            section = {"output": {"folder": f"out{number}", "spill": "spill"}}
            Path("job.yaml").write_text(json.dumps(manifest | section), "utf-8")
            return run_ended(Path(f"out{number}"))

        patch.setattr(bench, "fetch", fetch)
        patch.setattr("pipeline.run.receive.FETCH_WAITS", (0.0,))
        patch.setattr("pipeline.run.perform.real_chance", lambda: bench.chance)
        yield run


def run_ended(out: Path) -> str:
    """The run's end is a documented one, its summary is the ledger's, and the verbs that read agree."""
    said = retouch("run", "job.yaml", "--json", "--quiet")
    summary = said.json
    total = usage_of(entry.record for entry in Ledgers(out).entries()).total
    assert {name: count for name, count in summary["attempts"].items() if count} == {
        name: count for name, count in total.attempts.items() if count
    }
    assert summary["images"] == total.images
    assert summary["usage"] == {name: getattr(total.usage, name) for name in total.usage.__struct_fields__}
    told = retouch("status", "job.yaml", "--json", "--failed", allowed=frozenset({0})).json
    assert told["usage"]["images"] == total.images
    assert told["in_flight"] == 0
    return f"exit {said.code}"


KINDS: Sequence[Kind] = (
    Kind("answer", drawn, judging, megabytes=200),
    Kind("answer-run", drawn, running, megabytes=200),
)
