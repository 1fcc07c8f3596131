"""Bytes that are nearly right: real ones with pieces changed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

NUMBERS = (
    "0", "-0", "-1", "1", "2", "00", "1.0", "1e3", "1e400", "-1e400", "1e-400", "0x10", "0o7", "1_000", ".5", "5.",
    "+1", "NaN", ".nan", "Infinity", "-.inf", "2147483648", "4294967296", "9007199254740993", "9223372036854775808",
    "18446744073709551616", "9" * 40, "9" * 400, "0." + "0" * 60 + "1", "١٢٣", "½", "1:30", "1,5",
)  # fmt: skip
"""Numbers in notations that some reader or other takes for one."""

TEXTS = (
    "", " ", "\t", "\0", "\x1b[31m", "\r", "\u2028", "\u0085", "\ufeff", "\u200b", "\ufffe", "é", "e\u0301", "ﬀ", "İ",
    "😀", "\U0010ffff", "\u202e", "../", "../../x", "/etc/passwd", "~", "${HOME}", "${", "$${", "{{", "}}", "{% if %}",
    "{{ row.x }}", "%s", "%00", "a" * 300, "x" * 70_000, "null", "true", "no", "~", "<<", "*a", "&a",
    "!!python/object", "\\ud800", "\\u0000", "\\", '"', "'", ";", "#", "|", ">", "-", "?", ":", ",", "[", "]", "{",
    "}", "\n", "\r\n",
)  # fmt: skip
"""Text that means something to one layer or another."""


def changed(rng: Random, data: bytes, others: Sequence[bytes] = (), words: Sequence[bytes] = ()) -> bytes:
    """`data` after one to a few changes; pieces may come from `others`, tokens from `words`."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        data = _once(rng, data, others, words)
    return data


def _once(rng: Random, data: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    at, end = _span(rng, data)
    match rng.randrange(12):
        case 0 | 1:
            return _flipped(rng, data)
        case 2:
            return data[:at] + data[end:]
        case 3:
            return data[:end] + data[at:end] * rng.choice((1, 2, 30)) + data[end:]
        case 4:
            return data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[end:]
        case 5:
            return data[: rng.randrange(len(data) + 1)]
        case 6 if others:
            other = rng.choice(others)
            begin, stop = _span(rng, other)
            return data[:at] + other[begin:stop] + data[end:]
        case 7:
            return _swapped_lines(rng, data)
        case 8:
            return _with_number(rng, data)
        case _:
            word = rng.choice(words) if words and rng.random() < 0.7 else rng.choice(TEXTS).encode("utf-8", "replace")
            return data[:at] + word + data[rng.choice((at, end)) :]


def _span(rng: Random, data: bytes) -> tuple[int, int]:
    at = rng.randrange(len(data) + 1)
    return at, min(len(data), at + rng.choice((0, 1, 2, 8, 40, 400)))


def _flipped(rng: Random, data: bytes) -> bytes:
    if not data:
        return b"\0"
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _swapped_lines(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    if rng.random() < 0.3:
        lines.insert(first, lines[second])
    return b"\n".join(lines)


def _with_number(rng: Random, data: bytes) -> bytes:
    """Another number in the place of one."""
    digits = [at for at, byte in enumerate(data) if 48 <= byte <= 57]
    if not digits:
        return data + rng.choice(NUMBERS).encode()
    at = end = rng.choice(digits)
    while end < len(data) and (48 <= data[end] <= 57 or data[end] == 46):
        end += 1
    return data[:at] + rng.choice(NUMBERS).encode() + data[end:]
