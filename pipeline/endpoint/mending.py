"""JSON objects as servers break them, made sound for a strict reader.

1. What is mended: control characters inside strings, half an emoji's surrogate pair where a server cut it, NaN and
   infinities, and whatever stands behind the closed object.
2. Each is replaced by as many bytes: nothing is built up of what a body holds, and a copy of it is all that it takes.
3. Nothing else is changed and nothing is judged: what comes back may still be no JSON.
"""

from __future__ import annotations

import re
from itertools import islice

_AS_SPACE = bytes([*[0x20] * 0x20, *range(0x20, 0x100)])
_HALF = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{\[]|[}\]]|-?Infinity|NaN', re.DOTALL)
_MOST = 100_000
"""More tokens than this has no answer that holds what was asked for."""


def mended(text: memoryview) -> bytearray | None:
    """The object that a text begins with, of the length that it has there; None where it is not closed."""
    sound = bytearray(text).translate(_AS_SPACE)
    for half in islice(_HALF.finditer(text), _MOST):
        if half[1]:
            sound[half.start() : half.end()] = rb"\ufffd"
    depth = 0
    for token in islice(_TOKEN.finditer(text), _MOST):
        start, end = token.span()
        match text[start : start + 1].tobytes():
            case b"{" | b"[":
                depth += 1
            case b"}" | b"]":
                depth -= 1
            case b"N" | b"I" | b"-":
                sound[start:end] = b'""'.ljust(end - start)
        if depth == 0:
            return sound[:end]
    return None
