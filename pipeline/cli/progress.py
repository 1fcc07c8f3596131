"""How a run is shown: a bar on a terminal, a plain line an interval elsewhere, nothing when quiet."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import suppress
from typing import Any

from pipeline.cli.terminal import is_terminal, printable, redacted, say
from pipeline.run.progress import Moment, Snapshot, View, duration, plain_line

SHORTEST = 6
"""Columns that the bar itself takes at least."""


class Bar:
    """A tqdm bar on stderr with numbers beside it."""

    interval = 0.2

    def __init__(self) -> None:
        from tqdm import tqdm

        self._tqdm = tqdm
        self._bar: tqdm[Any] | None = None

    def update(self, moment: Moment) -> None:
        with suppress(OSError, ValueError):  # the terminal is gone; the run goes on
            self._update(moment)

    def _update(self, moment: Moment) -> None:
        bar = self._bar
        if bar is None:
            form = "{n_fmt}/{total_fmt} {percentage:3.0f}%|{bar}| {desc}"
            bar = self._bar = self._tqdm(
                total=moment.total, file=sys.stderr, bar_format=form, dynamic_ncols=True, leave=False
            )
        bar.total = moment.total
        bar.n = moment.finished
        bar.set_description_str(described(moment, shutil.get_terminal_size().columns))

    def note(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._tqdm.write(printable(redacted(text)), file=sys.stderr)

    def close(self) -> None:
        if self._bar is not None:
            with suppress(OSError, ValueError):
                self._bar.close()


def described(moment: Moment, columns: int) -> str:
    """The words behind a bar that is at least `SHORTEST` long, on a terminal of so many columns."""
    ahead = f"ETA {duration(moment.seconds_left)}"
    if not isinstance(moment, Snapshot):
        return f"{moment.words}, {ahead}"
    counts = len(f"{moment.total}") * 2 + len("/ 100%|| ")
    words = moment.words_within(columns - counts - SHORTEST - len(f", {ahead}"))
    return ", ".join(filter(None, (words, ahead)))


class Lines:
    """A line of text now and then, for pipes and logs."""

    interval = 1.0
    every = 15.0
    """Seconds between two lines."""

    def __init__(self) -> None:
        self._last: float | None = None

    def update(self, moment: Moment) -> None:
        now = time.monotonic()
        if self._last is None:
            self._last = now
        elif now - self._last >= self.every:
            self._last = now
            say(plain_line(moment))

    def note(self, text: str) -> None:
        say(text)

    def close(self) -> None:
        """Lines need no end."""


class Quiet:
    """Only what must be known: warnings and errors."""

    interval = 1.0

    def update(self, moment: Moment) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        say(text)

    def close(self) -> None:
        """Nothing was opened."""


def view_for(*, quiet: bool, verbose: bool = False) -> View:
    """The view that fits stderr; log records would tear a bar apart."""
    if quiet:
        return Quiet()
    return Bar() if is_terminal(sys.stderr) and not verbose else Lines()
