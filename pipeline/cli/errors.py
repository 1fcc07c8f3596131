"""The one switch from errors to exit codes and to words on stderr."""

from __future__ import annotations

import os
import traceback

import click

from pipeline.cli.terminal import complain, print_json, redacted, say
from pipeline.errors import JobError, LockedError, RebuyError, RetouchError, StorageError
from pipeline.run.exits import Exit

CODES: tuple[tuple[type[BaseException], Exit], ...] = (
    (JobError, Exit.USAGE),
    (LockedError, Exit.LOCKED),
    (RebuyError, Exit.REBUY),
    (StorageError, Exit.STORAGE),
    (click.UsageError, Exit.USAGE),
    (click.ClickException, Exit.USAGE),
    (KeyboardInterrupt, Exit.INTERRUPTED),
    (click.Abort, Exit.INTERRUPTED),
)
"""The most specific first; anything else is a bug."""


def exit_of(error: BaseException) -> Exit:
    """The exit code that an error becomes."""
    return next((code for kind, code in CODES if isinstance(error, kind)), Exit.BUG)


def words(error: BaseException) -> str:
    """What the user is told; every line stands alone."""
    if isinstance(error, RetouchError):
        return str(error)
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "interrupted"
    if os.environ.get("RETOUCH_DEBUG"):
        return "".join(traceback.format_exception(error)).rstrip()
    return (
        f"this is a bug in retouch: {type(error).__name__}: {error}\n"
        "hint: run it again with RETOUCH_DEBUG=1 for the traceback, and report it with the command that you ran"
    )


def report(error: BaseException, *, as_json: bool) -> int:
    """Tell the user, on stdout too where JSON was asked for, and return the exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        # Click's way to say that whoever read the help has gone; our own lines survive that by themselves.
        return Exit.DONE if error.code == 1 else Exit.BUG
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        say(error.format_message())
        return Exit.USAGE
    code = exit_of(error)
    text = redacted(words(error))
    for line in text.splitlines():
        complain(line)
    if as_json:
        from pipeline.run.summary import as_json as plain
        from pipeline.run.summary import empty_summary

        print_json(plain(empty_summary(None, code, text)))
    return code
