"""stdout belongs to data, stderr to everything else; a reader that goes away ends neither."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Any, TextIO

_CONTROL = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)}


def printable(text: str) -> str:
    """The text without control characters, so that nothing from a server or a file name steers the terminal."""
    return text.translate(_CONTROL).encode(errors="replace").decode()


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
    except (OSError, ValueError):
        return


def say(text: str) -> None:
    """A line for the user, on stderr."""
    write(text, sys.stderr)


def complain(text: str) -> None:
    """An error line on stderr; a `hint:` stands as it is."""
    if text.startswith("hint:"):
        say(text)
        return
    write(text, sys.stderr, "\x1b[31merror:\x1b[0m " if coloured(sys.stderr) else "error: ")


def out(text: str) -> None:
    """A line of data, on stdout."""
    write(text, sys.stdout)


def print_json(value: Any) -> None:
    """One JSON object on one line of stdout, in UTF-8 whatever the locale; money stays a number."""
    import msgspec

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    out(msgspec.json.Encoder(decimal_format="number").encode(value).decode())
