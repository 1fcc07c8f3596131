"""What is printed where: control characters, colour, encodings, closed streams."""

from __future__ import annotations

import io
import sys

import pytest

from pipeline.cli.progress import Bar, Lines, Quiet, view_for
from pipeline.cli.terminal import coloured, complain, out, print_json, printable, say, write
from pipeline.run.progress import Snapshot

NOW = Snapshot(10, 4, 0, 3, 2, 0, 1500, 6.0, 3, False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    """A stream whose reader went away."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("\x1b[2J\x1b]0;title\x07evil", "[2J]0;titleevil"),
        ("a\rb\x08c\x7f\x9bd", "abcd"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("half \udc80 pair", "half ? pair"),
        ("café 写真", "café 写真"),
    ],
)
def test_nothing_steers_the_terminal(text: str, printed: str) -> None:
    """A server's message or a file's name loses its control characters, C1 ones too."""
    assert printable(text) == printed


@pytest.mark.parametrize("speak", [say, complain, out])
def test_no_line_carries_control_characters(
    speak: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever way a line is printed."""
    assert callable(speak)
    speak("\x1b[31mred\x07")
    printed = "".join(capsys.readouterr())
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "[31mred" in printed


@pytest.mark.parametrize(
    ("environ", "terminal", "colour"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    environ: dict[str, str], terminal: bool, colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR counts when it is set to something, as https://no-color.org says."""
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    stream = Terminal() if terminal else io.StringIO()
    assert coloured(stream) is colour
    monkeypatch.setattr(sys, "stderr", stream)
    complain("bad")
    assert ("\x1b[31m" in stream.getvalue()) is colour
    assert stream.getvalue().endswith(" bad\n")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, Gone(), closed()], ids=["none", "gone", "closed"])
def test_a_stream_without_a_reader_is_survived(stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run outlives its terminal: every way to print, and every view, goes on in silence."""
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    write("x", stream)
    out("x")
    say("x")
    complain("x")
    print_json({"x": 1})
    bars = () if stream is None else (Bar(),)
    for view in (*bars, Lines(), Quiet(), view_for(quiet=False)):
        view.update(NOW)
        view.note("x")
        view.close()


def test_an_encoding_that_lacks_a_character_does_not_cost_the_line() -> None:
    """A Latin-1 terminal gets an escape for what it cannot show."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="latin-1")
    write("写真…é", stream)
    assert raw.getvalue() == b"\\u5199\\u771f\\u2026\xe9\n"


def test_json_is_utf_8_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine reads it: RFC 8259 knows no other encoding."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    print_json({"name": "写真\n"})
    assert raw.getvalue() == '{"name":"写真\\n"}\n'.encode()


def test_the_view_fits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar on a terminal, lines elsewhere, nothing but notes when quiet."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(view_for(quiet=False), Bar)
    assert isinstance(view_for(quiet=True), Quiet)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(view_for(quiet=False), Lines)


def test_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A log gets one line every fifteen seconds, not one for each image."""
    times = iter([0.0, 5.0, 15.0, 16.0, 31.0])
    monkeypatch.setattr("pipeline.cli.progress.time.monotonic", lambda: next(times))
    view = Lines()
    for _ in range(5):
        view.update(NOW)
    assert capsys.readouterr().err.count("4/10 tasks") == 2


def test_the_bar_shows_the_numbers_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes go above the bar; at the end the line is cleared."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    bar = Bar()
    bar.update(NOW)
    bar.note("a \x1b[1mnote")
    bar.close()
    shown = stream.getvalue()
    assert "4/10" in shown
    assert "0.5 images/s" in shown
    assert "a [1mnote\n" in shown
