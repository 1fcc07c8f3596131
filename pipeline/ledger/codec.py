"""A ledger line as bytes and as a record.

Contract:

1. A line is one JSON object in UTF-8 that ends in `,"crc":"xxxxxxxx"}` and one `\\n`: CRC-32 as 8 lower-case hex
   digits, over the line's bytes before that comma. No other `\\n` is in it.
2. Whether a line is whole is judged on its bytes alone, before anything is parsed.
3. `encode` returns no line that `decode` would refuse, so that nothing which is written can lock the ledger.
4. Numbers with a fraction are decimals in both directions, at any depth; integers stay integers of any size.
"""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import Any

import msgspec

from pipeline.errors import StorageError
from pipeline.ledger.records import SCHEMA, Record

LONGEST = 64 * 2**20
"""Bytes beyond which neither a line nor a torn tail is believed."""

_CRC = len(b',"crc":"00000000"}\n')
_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(Record, float_hook=Decimal)


class _Head(msgspec.Struct):
    type: str
    schema: int
    group: int


_head = msgspec.json.Decoder(_Head)


def encode(record: Record) -> bytes:
    """The record's line, with its newline. A lone surrogate, which UTF-8 cannot hold, becomes the text `\\udc80`.

    Raises:
        ValueError: the record holds what a ledger line cannot, or is longer than `LONGEST`.
    """
    try:
        body = _json(record)[:-1]
        line = body + b',"crc":"%08x"}\n' % zlib.crc32(body)
        _decoder.decode(line)
    except (msgspec.MsgspecError, TypeError, ValueError) as exc:
        raise ValueError(f"a {type(record).__name__} record cannot be written to the ledger: {exc}") from exc
    if len(line) > LONGEST:
        raise ValueError(f"a ledger line of {len(line)} bytes is longer than {LONGEST}")
    return line


def intact(line: bytes) -> bool:
    """Whether `line`, newline included, is whole and its checksum right."""
    return line[-_CRC:] == b',"crc":"%08x"}\n' % zlib.crc32(memoryview(line)[:-_CRC]) and line[:1] == b"{"


def decode(line: bytes) -> Record | None:
    """The record of an intact line, or None where its type is unknown to this version.

    Raises:
        StorageError: the line was written by a newer version, or holds what its type must not.
    """
    try:
        record: Record = _decoder.decode(line)
    except msgspec.MsgspecError as exc:
        if _known(head_of(line)):
            raise StorageError(f"a ledger line is not what its type says: {exc}; was the ledger edited?") from exc
        return None
    _refuse_newer(record.schema)
    return record


def head_of(line: bytes) -> _Head:
    """What every line has, whatever its type.

    Raises:
        StorageError: the line has none of it.
    """
    try:
        return _head.decode(line)
    except msgspec.MsgspecError as exc:
        raise StorageError(f"a line is no ledger line though its checksum is right: {exc}") from exc


_TYPES = frozenset({"run", "sent", "settled", "reused", "reopened", "end"})


def _known(head: _Head) -> bool:
    _refuse_newer(head.schema)
    return head.type in _TYPES


def _refuse_newer(schema: int) -> None:
    if schema > SCHEMA:
        raise StorageError(
            f"the ledger has lines of schema {schema}, and this version of retouch reads up to {SCHEMA}; "
            "use the version that wrote it, or a newer one"
        )


def _json(record: Record) -> bytes:
    try:
        return _encoder.encode(record)
    except UnicodeEncodeError:
        return _encoder.encode(_spelled(msgspec.to_builtins(record, builtin_types=(Decimal,))))


def _spelled(value: Any) -> Any:
    """`value` with every lone surrogate of its strings spelled out."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_spelled(key): _spelled(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_spelled(part) for part in value]
    return value
