"""Images that an answer names by URL instead of holding them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from pipeline.endpoint.answer import ImageData
from pipeline.endpoint.judge import Verdict
from pipeline.endpoint.reply import Failure, Reply
from pipeline.outcome import Outcome


async def collect(
    verdict: Verdict,
    fetch: Callable[[str], Awaitable[Reply]],
    wanted: int,
    is_usable: Callable[[bytes], Awaitable[bool]],
) -> Verdict:
    """The verdict with its URLs replaced by the images that `fetch` brings, or by the code of why there is none.

    `fetch` is `Transport.fetch`. Once `wanted` images are had that are usable, the URLs behind them are left as they
    are. An answer none of whose images can be had becomes `unusable`.
    """
    if all(image.url is None for image in verdict.images):
        return verdict
    images, had = list(verdict.images), 0
    for at, image in enumerate(images):
        if image.url is not None:
            images[at] = image_of(await fetch(image.url))
        data = images[at].data
        had += data is not None and await is_usable(data)
        if had == wanted:
            break
    return with_images(verdict, tuple(images))


def image_of(reply: Reply) -> ImageData:
    """The image in the answer to a fetched URL, also in one that was cut short: whether it is whole, decoding tells."""
    cut = reply.failure is Failure.INCOMPLETE_BODY and reply.status == 200 and bool(reply.body)
    if reply.failure is not None and not cut:
        return ImageData(problem=reply.failure.value)
    if reply.status != 200 or not reply.body:
        return ImageData(problem=f"url_http_{reply.status}" if reply.status != 200 else "empty_body")
    return ImageData(data=bytes(reply.body))


def with_images(verdict: Verdict, images: tuple[ImageData, ...]) -> Verdict:
    """The verdict over the images that were had in the end."""
    if any(image.data is not None for image in images):
        return replace(verdict, images=images, body_kept=None)
    problem = images[0].problem
    message = "the answer names images by URL, and none of them could be had; see endpoint.fetch_urls"
    return replace(verdict, outcome=Outcome.UNUSABLE, code=problem, message=message, images=images)
