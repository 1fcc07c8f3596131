"""What this process is told before a run: how Python and the C library keep memory. For the command alone.

The library never does this: a process that only uses it has its own ways.
"""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_LARGEST: Final = 32 << 20
"""Largest block that is taken from what is kept, in bytes: the most that glibc takes for it."""

_KEPT: Final = 64 << 20
"""Bytes of free memory that are kept, at most."""

_YOUNG: Final = 10_000
"""Objects made, less those freed meanwhile, between two looks for cycles; by default they are 700."""


def settle() -> None:
    """Call it once all that a run needs is imported.

    Answers of a megabyte come and go by the hundred a second. The C library would give each one's memory back to the
    kernel, which then clears page after page for the next: a tenth of the processor time (mallopt(3); one arena for all
    threads, as they hand such blocks to each other).
    """
    gc.freeze()  # what is there by now lives to the end: no collection need look at it again
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    if sys.platform == "linux":
        with suppress(ImportError, OSError, AttributeError):  # a C library without it
            from ctypes import CDLL

            mallopt = CDLL(None).mallopt
            for option, value in ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _KEPT), (_ARENA_MAX, 1)):
                mallopt(option, value)
