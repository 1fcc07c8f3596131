from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import StorageError
from pipeline.ledger.codec import decode, encode, intact
from pipeline.ledger.records import End, Run, Settled
from tests.ledger.lines import end, reopened, reused, run, sent, settled


def with_crc(body: bytes) -> bytes:
    """A line whose checksum is right, whatever it holds."""
    import zlib

    return body[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(body[:-1])


@pytest.mark.parametrize(
    "record",
    [run(), sent("t"), settled("t", "succeeded"), reused("t", "s"), reopened("t"), end()],
    ids=lambda r: type(r).__name__,
)
def test_every_record_comes_back_as_it_was(record: Any) -> None:
    """Every type of record is decoded to what was encoded."""
    assert decode(encode(record)) == record


def test_a_line_begins_with_what_every_line_has() -> None:
    """`type`, `schema`, `run`, `at` and `group` come first, and the checksum last."""
    keys = list(msgspec.json.decode(encode(settled("t", "refused"))))
    assert keys[:5] == ["type", "schema", "run", "at", "group"]
    assert keys[-1] == "crc"


def test_all_keys_are_present_where_nothing_is_known() -> None:
    """A key without a value is null, never absent."""
    keys = set(msgspec.json.decode(encode(settled("t", "refused"))))
    assert keys >= {"usage", "cost", "request_id", "inputs", "row", "salvaged"}


def test_money_is_a_decimal_at_any_depth() -> None:
    """Numbers with a fraction keep every digit, typed or in a dict, and are numbers on disk."""
    exact = Decimal("0.10000000000000000000000000001")
    line = encode(settled("t", "succeeded", cost=exact, usage={"details": [{"x": Decimal("1.10")}]}))
    assert b'"cost":0.10000000000000000000000000001,' in line
    record = decode(line)
    assert isinstance(record, Settled)
    assert record.cost == exact
    assert str(record.usage) == "{'details': [{'x': Decimal('1.10')}]}"


def test_money_of_an_end_line_is_a_decimal() -> None:
    """The untyped `cost` of an `end` line is not read through a float."""
    record = decode(
        encode(End(counts={}, attempts={}, images=0, usage={}, cost={"confirmed": Decimal("0.1")}, seconds=1, exit=0))
    )
    assert isinstance(record, End)
    assert record.cost == {"confirmed": Decimal("0.1")}
    assert type(record.cost["confirmed"]) is Decimal


@pytest.mark.parametrize("count", [0, -1, 2**63, 10**30])
def test_token_counts_stay_integers(count: int) -> None:
    """An integer of any size is an integer again."""
    record = decode(encode(settled("t", "succeeded", usage={"total_tokens": count})))
    assert isinstance(record, Settled)
    assert record.usage == {"total_tokens": count}
    assert type(record.usage["total_tokens"]) is int


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\n", "\r", "\x00", "\x1e"])
def test_a_line_separator_in_a_text_does_not_split_the_line(separator: str) -> None:
    """A line holds one newline byte, and the text comes back."""
    line = encode(settled("t", "refused", message=f"a{separator}b"))
    assert line.count(b"\n") == 1
    record = decode(line)
    assert isinstance(record, Settled)
    assert record.message == f"a{separator}b"


def test_a_lone_surrogate_does_not_stop_a_line() -> None:
    """What UTF-8 cannot hold is spelled out, in keys too, while money beside it stays exact."""
    line = encode(settled("t", "refused", message="a\udc80", row={"\ud800": ["\udfff"]}, cost=Decimal("1.10")))
    record = decode(line)
    assert isinstance(record, Settled)
    assert (record.message, record.row, str(record.cost)) == ("a\\udc80", {"\\ud800": ["\\udfff"]}, "1.10")


@pytest.mark.parametrize("bad", [{"cost": Decimal("NaN")}, {"row": {"x": object()}}, {"message": 3}])
def test_a_line_that_could_not_be_read_back_is_not_made(bad: dict[str, Any]) -> None:
    """A value that `decode` refuses is refused on the way in, before it can lock the ledger."""
    with pytest.raises(ValueError, match="cannot be written"):
        encode(settled("t", "refused", **bad))


@given(st.data())
def test_any_changed_byte_is_seen(data: st.DataObject) -> None:
    """A line with one byte changed is not intact."""
    line = bytearray(encode(settled("t", "refused", message="naïve")))
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] ^= data.draw(st.integers(1, 255))
    assert not intact(bytes(line))


@given(st.integers(0, 400))
def test_an_unfinished_line_is_not_intact(length: int) -> None:
    """No proper prefix of a line is intact."""
    line = encode(settled("t", "refused"))
    assert intact(line)
    assert not intact(line[: min(length, len(line) - 1)])


@pytest.mark.parametrize("line", [b"", b"\n", b"\0" * 30, b',"crc":"00000000"}\n', b'{"type":"run"}\n'])
def test_what_is_no_line_is_not_intact(line: bytes) -> None:
    """Empty, zeroed and unchecked lines are not intact."""
    assert not intact(line)


def test_a_checksum_in_capitals_is_not_ours() -> None:
    """The checksum is compared as it is written: lower-case."""
    line = encode(run("a job"))
    crc = line[-11:-3]
    assert crc != crc.upper()
    assert not intact(line[:-11] + crc.upper() + line[-3:])


def test_an_unknown_type_is_ignored() -> None:
    """A line of a type that this version does not know is no record."""
    assert decode(with_crc(b'{"type":"note","schema":1,"run":"r","at":"","group":0,"text":"x"}')) is None


def test_unknown_keys_are_ignored() -> None:
    """A key that this version does not know changes nothing."""
    line = encode(run("j"))
    assert decode(line[:-2] + b',"later":[1.5]}\n') == decode(line)


@pytest.mark.parametrize("kind", ["run", "note"])
def test_a_higher_schema_is_refused_with_both_versions(kind: str) -> None:
    """A line of a newer schema is refused whatever its type, and the text names both schemas."""
    body = encode(Run(job="j", manifest="", version="", argv=[], sandbox=False, settings={}, schema=7))
    with pytest.raises(StorageError, match=r"schema 7.*up to 1"):
        decode(body.replace(b'"type":"run"', b'"type":"%s"' % kind.encode()))


@pytest.mark.parametrize("body", [b'{"type":"run","schema":1,"group":0}', b"{}", b"{not json}"])
def test_an_intact_line_that_is_no_record_is_refused(body: bytes) -> None:
    """A right checksum over something else is a storage error, not a bug."""
    line = with_crc(body)
    with pytest.raises(StorageError):
        decode(line)
