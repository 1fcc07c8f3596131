"""stdout belongs to data, stderr to everything else; a reader that goes away ends neither."""

from __future__ import annotations

import os
import re
import sys
from io import TextIOWrapper

TYPE_CHECKING = False  # as in `typing`, whose import takes a fifth of the time of `retouch --version`
if TYPE_CHECKING:
    from typing import Any, TextIO

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1 but tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the reading direction
    "\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"  # other line ends, and what is never seen
)


def printable(text: str) -> str:
    """The text without control characters, so that nothing from a server or a file name steers the terminal."""
    return _STEERING.sub("", text).encode(errors="replace").decode()


def redacted(text: str) -> str:
    """The text without any key that this process has read; for words whose origin nobody knows."""
    keys = sys.modules.get("pipeline.endpoint.key")  # not imported: no key was read
    return text if keys is None else str(keys.mask_known(text))


def coloured(stream: TextIO | None) -> bool:
    """Whether colour is wanted: a terminal, and NO_COLOR (https://no-color.org) unset or empty."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and is_terminal(stream)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether someone reads along."""
    return stream is not None and not stream.closed and stream.isatty()


def fill_closed() -> None:
    """Give stdin, stdout and stderr a place where they were closed, so that no ledger or image gets their number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def write(text: str, stream: TextIO | None, head: str = "") -> None:
    """Write a line, after a `head` that is ours; a closed stream and a reader that went away are survived."""
    if stream is None:
        return
    line = f"{head}{printable(text)}\n"
    try:
        # An encoding that lacks a character must not cost the line.
        encoding = stream.encoding or "utf-8"
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError) as error:
        if stream is sys.stdout and isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            _refused.append(error)


_refused: list[OSError] = []


def data_lost() -> OSError | None:
    """Why data on stdout is not whole (a full disk, say); None where it is, or where its reader chose to go."""
    return _refused[0] if _refused else None


def say(text: str) -> None:
    """A line for the user, on stderr, without a key."""
    write(redacted(text), sys.stderr)


def complain(text: str) -> None:
    """An error line on stderr; a `hint:` stands as it is."""
    if text.startswith("hint:"):
        say(text)
        return
    write(redacted(text), sys.stderr, "\x1b[31merror:\x1b[0m " if coloured(sys.stderr) else "error: ")


def out(text: str) -> None:
    """A line of data, on stdout."""
    write(text, sys.stdout)


def print_json(value: Any) -> None:
    """One JSON object on one line of stdout, in UTF-8 whatever the locale; money stays a number.

    What would steer a terminal is escaped, not left out: a path is read back as it is.
    """
    import msgspec

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    out(_STEERING.sub(_as_json, msgspec.json.Encoder(decimal_format="number").encode(value).decode()))


def _as_json(match: re.Match[str]) -> str:
    import json

    return json.dumps(match[0])[1:-1]
