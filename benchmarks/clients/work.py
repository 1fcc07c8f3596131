"""What a client is to do, read from a JSON file, and how it says what it did."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Work:
    """Edits to make: for each item its images, sent in one request for `n` pictures, `concurrency` at once."""

    url: str
    items: Sequence[Sequence[str]]
    folder: str
    concurrency: int
    n: int
    prompt: str

    def target(self, item: Sequence[str], index: int) -> Path:
        """Where a picture of an item belongs."""
        return Path(self.folder, f"{Path(item[0]).stem}-{index}.png")


def given() -> Work:
    """The work that the command line names."""
    return Work(**json.loads(Path(sys.argv[1]).read_text()))


async def gather(work: Work, edit: Callable[[Sequence[str]], Awaitable[None]]) -> None:
    """Make all edits, so many at once, and print how long it took from the first request to the last result."""
    slots = asyncio.Semaphore(work.concurrency)

    async def one(item: Sequence[str]) -> None:
        async with slots:
            await edit(item)

    began = time.perf_counter()
    await asyncio.gather(*(one(item) for item in work.items))
    print(json.dumps({"seconds": time.perf_counter() - began}))
