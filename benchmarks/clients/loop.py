"""Plain aiohttp: one session, a form, `json()`, a file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import aiohttp
import uvloop

from benchmarks.clients.work import Work, gather, given


async def main(work: Work) -> None:
    """Make all edits."""
    headers = {"Authorization": "Bearer sk-benchmark"}
    timeout = aiohttp.ClientTimeout(total=600)
    connector = aiohttp.TCPConnector(limit=work.concurrency)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:

        async def edit(item: Sequence[str]) -> None:
            form = aiohttp.FormData()
            form.add_field("model", "gpt-image-1.5")
            form.add_field("prompt", work.prompt)
            form.add_field("size", "1024x1024")
            form.add_field("quality", "low")
            form.add_field("n", str(work.n))
            for path in item:
                name = "image[]" if len(item) > 1 else "image"
                form.add_field(name, content_of(path), filename=Path(path).name, content_type="image/png")
            async with session.post(f"{work.url}/images/edits", data=form) as response:
                response.raise_for_status()
                answer = await response.json()
            for index, image in enumerate(answer["data"], 1):
                work.target(item, index).write_bytes(base64.b64decode(image["b64_json"]))

        await gather(work, edit)


def content_of(path: str) -> bytes | BinaryIO:
    """Bytes where they are few, which is faster; else a file, which aiohttp reads as it goes, and closes."""
    few = Path(path).stat().st_size <= 1 << 20  # of more bytes aiohttp warns
    return Path(path).read_bytes() if few else open(path, "rb")


if __name__ == "__main__":
    uvloop.run(main(given()))
