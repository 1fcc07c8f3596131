"""How many threads a run works in."""

from __future__ import annotations

import os

WORKERS = max(4, 2 * (os.cpu_count() or 1))
"""Threads that decode answers and write images; both release the interpreter's lock for most of their time."""
