"""Log records on stderr, each without keys and control characters, as every other printed line.

Warnings of asyncio and aiohttp come this way without being asked for, so that none reaches stderr as it is.
"""

from __future__ import annotations

import logging

from pipeline.cli.terminal import say

TALKING = ("pipeline", "aiohttp", "asyncio")
"""The loggers that `--verbose` lets speak."""


class Printed(logging.Handler):
    """Prints records as lines for the user; a damaged record costs nothing but itself."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(self.format(record))
        except Exception:  # a record of another library may hold anything
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        say(f"{record.name}: a log record cannot be formatted")


def print_records(*, verbose: bool) -> None:
    """Print warnings of every library, and with `verbose` all that this one and those below it tell."""
    handler = Printed()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in TALKING if verbose else ():
        logging.getLogger(name).setLevel(logging.DEBUG)
