from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.endpoint.answer import ENTRIES, read_at_once, read_document, read_images
from pipeline.endpoint.judge import judge
from pipeline.endpoint.mending import mended
from pipeline.endpoint.reply import Reply
from pipeline.outcome import Outcome
from tests.endpoint.bodies import B64, BUSY, verdict_of
from tests.endpoint.conftest import PNG

GOOD = b'{"data":[{"b64_json":"' + B64.encode() + b'"}]}'


def answer(member: bytes, beside: bytes = b"") -> bytes:
    """An answer with a picture, another member in its entry, and one beside `data`."""
    return b'{%b"data":[{%b,"b64_json":"%b"}]}' % (beside, member, B64.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"\n\n \xef\xbb\xbf\r\n" + GOOD,
        GOOD + b"\0",
        GOOD + b"\n\0\0 ",
        GOOD + b"\n{}",
        GOOD + b'{"error":{"code":"rate_limit_exceeded"}}',
        GOOD + b"]}",
        answer(b'"revised_prompt":"two\nlines\tand \x01"'),
        answer(b'"\xff\xfe":1'),
        answer(b'"\xff":"\n"', b'"created":NaN,'),
        answer(b'"x":1e999', b'"created":NaN,'),
        answer(b'"x":-Infinity,"y":Infinity,"z":NaN'),
        answer(b'"revised_prompt":"\\ud83d\n \\\\ud83d \\ude00 \\ud83d\\ude00"'),
        answer(b'"a":1', b'"\\ud83d":"} \\" {",'),
    ],
)
def test_a_picture_in_an_answer_that_is_nearly_json_is_not_lost(body: bytes) -> None:
    """Whatever beside it a strict reader refuses."""
    verdict = verdict_of(200, body)
    assert (verdict.outcome, [image.data for image in verdict.images]) == (Outcome.SUCCEEDED, [PNG + b"pixels"])


@pytest.mark.parametrize("behind", [b"x", b"{}", GOOD, b"\xff"])
@pytest.mark.parametrize("status", [200, 500])
def test_an_error_with_more_behind_it_is_not_the_last_word(status: int, behind: bytes) -> None:
    """An answer may have followed that was billed: its code makes nothing free."""
    verdict = verdict_of(status, json.dumps(BUSY).encode() + behind)
    assert verdict.outcome is (Outcome.UNUSABLE if status == 200 else Outcome.IN_DOUBT)


def test_a_number_that_is_none_counts_for_nothing() -> None:
    """Tokens that a server could not count are not known, and not none."""
    body = answer(b'"a":1', b'"usage":{"input_tokens":NaN,"output_tokens":7},')
    assert verdict_of(200, body).usage is None


ODD = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(["\\", '"', "{", "]", "NaN", "\\ud83d", "😀"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=4), ODD), st.booleans(), st.sampled_from([b"", b"\0", b" {}", b"]"]))
def test_what_is_sound_is_left_as_it_is(value: dict[str, Any], ascii_only: bool, behind: bytes) -> None:
    """Of JSON that a strict reader takes nothing changes, and what stands behind it is cut off."""
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    sound = mended(memoryview(text + behind))
    assert sound is not None
    assert bytes(sound) == text


def test_what_is_not_closed_is_not_mended() -> None:
    """A body cut short holds no answer."""
    for size in range(len(GOOD)):
        assert mended(memoryview(GOOD[:size])) is None


SHAPES = [
    b'{"data":[%b]}',
    b'{"data":[%b{"b64_json":"QUFB"}]}',
    b'{"created":NaN,"data":[%b{}]}',
    b'{"data":[{"x":[%b1]}],"created":NaN}',
    b'{"x":[%b1],"data":[]}',
    b'{"x":[%b1],"data":[]} x',
    b"[%b1]",
    b"{%b",
]
UNITS = [
    b"{},",
    b"1,",
    b"null,",
    b'"",',
    b'{"b64_json":"QUFB"},',
    b'{"url":"/a"},',
    b'"b64_json":"QUFB",',
    b'"\\ud83d\n",',
]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_takes_no_more_memory_than_its_size_three_times(shape: bytes, unit: bytes) -> None:
    """However many values it holds: a list of a million empty objects is not built up."""
    body = shape % (unit * (100_000 // len(unit)))
    judge(Reply(status=200, body=b"{}", began=True), None, 0)
    tracemalloc.start()
    try:
        judge(Reply(status=200, body=body, began=True), None, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(body) + 200_000


@pytest.mark.parametrize("entry", [{"b64_json": B64}, {"url": "/a.png"}, {}, None, {"b64_json": "!"}])
@pytest.mark.parametrize("odd", ["", "\n", " "])
def test_of_an_answers_entries_the_first_are_looked_at(entry: Any, odd: str) -> None:
    """There are more than were asked for, which is told, and nobody asks for so many."""
    body = json.dumps({"data": [{"b64_json": B64}, *[entry] * 200], "x": "?"}).replace("?", odd).encode()
    assert len(verdict_of(200, body).images) == ENTRIES


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_long_text_beside_a_picture_changes_nothing(size: int) -> None:
    """An answer is read at once where little stands beside its pictures, else level by level."""
    body = answer(b'"revised_prompt":"%b"' % (b"x" * size))
    assert (read_at_once(body) is None) is (size > 10)
    assert verdict_of(200, body).images[0].data == PNG + b"pixels"


def test_members_are_known_however_they_are_spelt() -> None:
    """A name may be escaped, and of two of one name the last counts."""
    body = b'{"d\\u0061ta":[{"b64\\u005fjson":"!","b64\\u005fjson":"%b"}]}' % B64.encode()
    document = read_document(body)
    assert document is not None
    assert read_images(document)[0].data == base64.b64decode(B64)
    assert isinstance(document["data"], msgspec.Raw)
