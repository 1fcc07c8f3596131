from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.endpoint import answer
from pipeline.endpoint.answer import read_at_once, read_document, read_images, read_usage
from pipeline.outcome import Outcome
from tests.endpoint.bodies import B64, BLOCKED, PAGE, QUOTA, error, litellm, verdict_of
from tests.endpoint.conftest import PNG


@pytest.mark.parametrize(
    "encoded",
    [B64, B64.replace("/", "\\/"), "data:image/png;base64," + B64, "data:image\\/png;base64," + B64],
)
@pytest.mark.parametrize("lead", [b"", b" \n \t\r\n", b"\xef\xbb\xbf"])
def test_an_image_in_base64(encoded: str, lead: bytes) -> None:
    """Plain, with escaped slashes, as a data URL, after heartbeats: the bytes are the same."""
    assert "/" in B64 or "\\" not in encoded.replace("image\\/", "")
    verdict = verdict_of(200, lead + b'{"created":1,"data":[{"b64_json":"' + encoded.encode() + b'"}]}')
    assert verdict.outcome is Outcome.SUCCEEDED
    assert [image.data for image in verdict.images] == [PNG + b"pixels"]
    assert (verdict.code, verdict.message, verdict.body_kept) == (None, None, None)


@pytest.mark.parametrize("scheme", ["data:image/png", "DATA:image/png", "data:image\\/png"])
def test_a_large_picture_in_a_data_url_is_not_lost(scheme: str) -> None:
    """Of any size, in `url` as in `b64_json`: it is in the answer, and there is nothing to fetch."""
    data = PNG + bytes(1_200_000)
    told = scheme.encode() + b";base64," + base64.b64encode(data)
    for members in (b'"url":"%s"', b'"b64_json":null,"url":"%s"', b'"b64_json":"%s"'):
        verdict = verdict_of(200, b'{"data":[{' + members % told + b"}]}")
        assert [image.data == data for image in verdict.images] == [True]


@pytest.mark.parametrize("encoded", ["false", "0", '" "', '"!"', "{}"])
def test_a_url_beside_what_is_no_picture_is_taken(encoded: str) -> None:
    """Servers say in many ways that a picture is not here."""
    verdict = verdict_of(200, b'{"data":[{"b64_json":%s,"url":"/a.png"}]}' % encoded.encode())
    assert [(image.url, image.problem) for image in verdict.images] == [("/a.png", None)]


PIECES = st.sampled_from(
    [
        '{"b64_json":"' + B64 + '"}',
        '{"b64_json":"!!"}',
        '{"b64_json":null,"url":"/a.png"}',
        '{"b64_json":"' + B64 + '","b64_json":"' + B64[:8] + '"}',
        "{}",
        "[]",
        "null",
        '"text"',
        '{"a":NaN}',
        '{"revised_prompt":"\\ud83d"}',
        '{"revised_prompt":"say \\"b64_json\\":\\"' + B64 + '\\"","b64_json" :\n"' + B64 + '"}',
        '{"b64_json":"@picture 0"}',
        '{"b64_json":"' + B64 + '","revised_prompt":"\\"b64_json\\":"}',
        '{"b64_json":"' + B64 + '" 1}',
        '{"x":{"b64_json":"' + B64 + '"}}',
    ]
)
MEMBERS = st.one_of(
    st.lists(PIECES, max_size=3).map(lambda rows: f'"data":[{",".join(rows)}]'),
    st.sampled_from(
        ['"usage":null', '"usage":{"input_tokens":3}', '"usage":7', '"error":{"code":"x"}', '"created":1e9']
    ),
)


@given(st.lists(MEMBERS, max_size=4), st.sampled_from(["{%s}", " {%s}", "\ufeff{%s}", "{%s", "[%s]", "{%s} x"]))
def test_an_answer_read_at_once_is_the_one_read_level_by_level(members: list[str], frame: str) -> None:
    """The same images and the same usage, or nothing: then it is read level by level."""
    body = (frame % ",".join(members)).encode()
    plain = read_at_once(body)
    if plain is None:
        return
    document = read_document(body)
    assert document is not None
    assert plain[0] == read_images(document)
    assert read_usage(plain[1]) == read_usage(document)
    assert any(image.data for image in plain[0])


def test_a_plain_answer_is_read_at_once() -> None:
    """What the API sends takes the short way."""
    plain = read_at_once(b'{"created":1,"data":[{"b64_json":"' + B64.encode() + b'"}],"usage":{"total_tokens":3}}')
    assert plain is not None
    assert plain[0][0].data == PNG + b"pixels"


def test_slashes_that_php_escapes_are_base64() -> None:
    """Base64 whose slashes are escaped in JSON is the same base64."""
    data = bytes([255, 239, 191]) * 4
    text = base64.b64encode(data).decode()
    assert "/" in text
    verdict = verdict_of(200, b'{"data":[{"b64_json":"' + text.replace("/", "\\/").encode() + b'"}]}')
    assert verdict.images[0].data == data


def test_half_an_emoji_beside_an_image_does_not_lose_it() -> None:
    """A revised prompt that a server cut inside an emoji is no reason to throw a paid image away."""
    verdict = verdict_of(200, b'{"data":[{"revised_prompt":"a \\ud83d","b64_json":"' + B64.encode() + b'"}]}')
    assert verdict.images[0].data == PNG + b"pixels"


def test_good_images_are_kept_beside_bad_ones() -> None:
    """Of four images one is damaged, one is missing and one lies elsewhere: the attempt succeeded."""
    rows = [{"b64_json": "!!!!"}, {"b64_json": B64}, {}, {"url": "/files/1.png"}, {"b64_json": None, "url": "data:,x!"}]
    verdict = verdict_of(200, {"data": rows})
    assert verdict.outcome is Outcome.SUCCEEDED
    assert [(image.data is not None, image.url, image.problem) for image in verdict.images] == [
        (False, None, "bad_base64"),
        (True, None, None),
        (False, None, "no_image"),
        (False, "/files/1.png", None),
        (False, None, "bad_base64"),
    ]


def test_an_image_wins_over_an_error_beside_it() -> None:
    """A paid image is not thrown away because the body also has a key `error`."""
    assert verdict_of(200, {"data": [{"b64_json": B64}], **QUOTA}).outcome is Outcome.SUCCEEDED


def test_an_error_never_holds_images() -> None:
    """Under another status than 2xx `data` is not looked at."""
    assert verdict_of(500, {"data": [{"b64_json": B64}]}).outcome is Outcome.IN_DOUBT


COUNTS = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (COUNTS, COUNTS),
        (COUNTS | {"input_tokens_details": {"image_tokens": 4, "text_tokens": 6}},
         COUNTS | {"input_tokens_details": {"image_tokens": 4, "text_tokens": 6}}),
        (COUNTS | {"input_tokens_details": None}, COUNTS),
        (COUNTS | {"input_tokens_details": {"image_tokens": 4, "cached_tokens": None}},
         COUNTS | {"input_tokens_details": {"image_tokens": 4}}),
        (COUNTS | {"cost": 0.04, "currency": "USD"}, COUNTS),
        ({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0, "input_tokens_details": {"image_tokens": 0}}, None),
        (COUNTS | {"output_tokens": -1}, None),
        (COUNTS | {"output_tokens": "20"}, None),
        (COUNTS | {"output_tokens": 20.5}, None),
        (COUNTS | {"output_tokens": True}, None),
        (COUNTS | {"output_tokens": None}, None),
        (COUNTS | {"output_tokens": 1e300}, None),
        (COUNTS | {"output_tokens": 10**40}, None),
        (COUNTS | {"total_tokens": -1}, None),
        (COUNTS | {"input_tokens": {"text_tokens": 5}}, None),
        (COUNTS | {"total_tokens": {"text_tokens": 5}}, None),
        (COUNTS | {"input_tokens_details": {"image_tokens": -4}}, None),
        (COUNTS | {"input_tokens_details": {"image_tokens": [4]}}, None),
        ({"prompt_tokens": 1, "completion_tokens": 2}, None),
        ({"total_tokens": 30}, None),
        ({}, None),
        (None, None),
        ("30", None),
        ([30], None),
    ],
)  # fmt: skip
def test_usage(usage: Any, read: Any) -> None:
    """Token counts are believed where they can be true; else there is no usage, and the image stays."""
    verdict = verdict_of(200, {"data": [{"b64_json": B64}], "usage": usage})
    assert verdict.usage == read
    assert verdict.outcome is Outcome.SUCCEEDED


def test_usage_of_an_error_is_kept() -> None:
    """What an error body counts was counted."""
    assert verdict_of(400, BLOCKED | {"usage": COUNTS}).usage == COUNTS


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (BLOCKED, "Your request was rejected by the safety system."),
        (litellm(400, BLOCKED), "Your request was rejected by the safety system."),
        (litellm(400, f"Error code: 400 - {BLOCKED}"), "Your request was rejected by the safety system."),
        (error("x", None, "two\nlines\tand\x00a\x1b[31mcolour\u2028"), "two lines and a [31mcolour"),
        (error("x", None, ""), None),
        (error("x", None, None), None),
        (error("x", None, {"why": ["a"]}), '{"why": ["a"]}'),
        ({"detail": [{"loc": ["body", "n"], "msg": "Input should be an integer"}]}, "Input should be an integer"),
        ({"detail": "mask is not supported"}, "mask is not supported"),
        ({"detail": [1]}, "[1]"),
        ({"error": "no image given"}, "no image given"),
        ({"msg": "an envelope of their own"}, '{"msg": "an envelope of their own"}'),
        (PAGE, "502 Bad Gateway"),
        (b"upstream &amp; <b>timeout</b>", "upstream & timeout"),
        (b"\xff\x00\x01", "\ufffd"),
        (b"", None),
    ],
)
def test_message(body: Any, message: str | None) -> None:
    """One line in the words of whoever knew best."""
    assert verdict_of(400, body).message == message


def test_message_is_capped() -> None:
    """A page of text becomes 500 characters."""
    message = verdict_of(400, error("x", None, "word " * 10_000)).message
    assert message is not None
    assert len(message) == 500
    assert message.endswith("…")


@pytest.mark.parametrize("count", ["20", "-0", "20.0", "2e1", "1e400", "NaN", "9007199254740992", "1" * 25, "true"])
@pytest.mark.parametrize(
    "name", ["text_tokens", "n\\u00e9_tokens", "a\\ud83d_tokens", "a\\u0000_tokens", "text\\/tokens"]
)
def test_usage_is_read_as_the_lenient_reader_reads_it(monkeypatch: pytest.MonkeyPatch, name: str, count: str) -> None:
    """Whatever the quick reader makes of a number or a name, or refuses."""
    raw = b'{"input_tokens": 1, "output_tokens": 2, "%s": %s}' % (name.encode(), count.encode())
    read = read_usage({"usage": msgspec.Raw(raw)})
    monkeypatch.setattr(answer, "_USAGE", msgspec.json.Decoder(None))
    assert read_usage({"usage": msgspec.Raw(raw)}) == read


def test_a_usage_over_1_mib_is_none() -> None:
    """Like any other member that is read in plain values."""
    for size, known in ((1 << 20, True), ((1 << 20) + 1, False)):
        raw = b'{"input_tokens": 1, "output_tokens": 2'
        raw += b" " * (size - len(raw) - 1) + b"}"
        assert (read_usage({"usage": msgspec.Raw(raw)}) is not None) is known
