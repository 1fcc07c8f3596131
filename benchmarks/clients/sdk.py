"""The openai SDK, as its documentation shows it, in a loop with a semaphore."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import ExitStack

import uvloop
from openai import AsyncOpenAI

from benchmarks.clients.work import Work, gather, given


async def main(work: Work) -> None:
    """Make all edits."""
    async with AsyncOpenAI(base_url=work.url, api_key="sk-benchmark") as client:

        async def edit(item: Sequence[str]) -> None:
            with ExitStack() as files:
                images = [files.enter_context(open(path, "rb")) for path in item]  # noqa: ASYNC230 - as shown
                result = await client.images.edit(
                    model="gpt-image-1.5",
                    image=images if len(images) > 1 else images[0],
                    prompt=work.prompt,
                    size="1024x1024",
                    quality="low",
                    n=work.n,
                )
            for index, image in enumerate(result.data or [], 1):
                work.target(item, index).write_bytes(base64.b64decode(image.b64_json or ""))

        await gather(work, edit)


if __name__ == "__main__":
    uvloop.run(main(given()))
