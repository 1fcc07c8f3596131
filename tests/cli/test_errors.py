"""The one switch from errors to exit codes and words."""

from __future__ import annotations

import click
import pytest

from pipeline.cli.errors import CODES, exit_of, report, words
from pipeline.errors import JobError, LockedError, Problem, RebuyError, RetouchError, StorageError
from pipeline.run.exits import Exit

CASES: list[tuple[BaseException, int, str]] = [
    (JobError([Problem("a is wrong", "b", "w", "f.yaml", 3, 4)]), 2, "f.yaml:3:4: w: a is wrong; b"),
    (LockedError("held by 7"), 8, "held by 7"),
    (RebuyError("too much"), 12, "too much"),
    (StorageError("disk full"), 7, "disk full"),
    (click.UsageError("no such option"), 2, "no such option"),
    (click.BadParameter("abc is no number"), 2, "Invalid value: abc is no number"),
    (click.FileError("x"), 2, "Could not open file 'x': unknown error"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (click.Abort(), 130, "interrupted"),
    (ZeroDivisionError("by zero"), 1, "this is a bug in retouch: ZeroDivisionError: by zero"),
]


@pytest.mark.parametrize(("error", "code", "first"), CASES, ids=[type(case[0]).__name__ for case in CASES])
def test_an_error_becomes_a_code_and_words(error: BaseException, code: int, first: str) -> None:
    """Every class of error has its code, and its words say what is wrong."""
    assert exit_of(error) == code
    assert words(error).splitlines()[0] == first


def test_every_error_that_a_caller_can_meet_has_a_code() -> None:
    """A new class of RetouchError cannot slip past the switch."""
    assert set(RetouchError.__subclasses__()) <= {kind for kind, _ in CODES}


def test_a_bug_shows_its_traceback_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """RETOUCH_DEBUG=1 prints where it happened."""
    monkeypatch.setenv("RETOUCH_DEBUG", "1")
    with pytest.raises(ValueError, match="planted") as caught:
        raise ValueError("planted")
    assert "test_errors.py" in words(caught.value)


def test_every_problem_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Two problems are two lines that begin with `error:`; a hint is not an error."""
    report(JobError([Problem("one"), Problem("two")]), as_json=False)
    report(RebuyError("too much\nhint: look"), as_json=False)
    assert capsys.readouterr().err == "error: one\nerror: two\nerror: too much\nhint: look\n"


def test_clicks_own_end_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    """--help and --version end the command with 0 and say nothing on stderr."""
    assert report(click.exceptions.Exit(0), as_json=True) == Exit.DONE
    assert capsys.readouterr() == ("", "")
