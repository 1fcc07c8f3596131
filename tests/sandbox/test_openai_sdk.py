"""The openai Python SDK works against the sandbox unchanged."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import anyio.to_thread
import openai
import pytest
from msgspec.structs import replace
from openai import AsyncOpenAI, OpenAI
from openai.types import ImagesResponse
from PIL import Image

from pipeline.sandbox.app import Sandbox
from pipeline.sandbox.faults import parse_faults
from pipeline.sandbox.server import Server, serve
from tests.sandbox.pictures import picture
from tests.sandbox.serving import QUICK

pytestmark = pytest.mark.anyio
MODEL = "gpt-image-1.5"
PNG = ("a.png", picture(), "image/png")


@asynccontextmanager
async def client(server: Server, key: str = "k") -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key=key, base_url=server.url, max_retries=0) as made:
        yield made


def sizes(response: ImagesResponse) -> list[tuple[int, int]]:
    return [Image.open(BytesIO(b64decode(part.b64_json or ""))).size for part in response.data or []]


async def test_one_image() -> None:
    async with serve(replace(QUICK, plain=False)) as server, client(server) as sdk:
        response = await sdk.images.edit(model=MODEL, image=PNG, prompt="a white background", size="1024x1024")
        assert sizes(response) == [(1024, 1024)]
        assert response.usage is not None
        assert response.usage.total_tokens == server.bill.usage.total_tokens
        assert response.usage.input_tokens_details.image_tokens == 194


async def test_an_open_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(picture())
    async with serve(QUICK) as server, client(server) as sdk:
        with path.open("rb") as file:
            response = await sdk.images.edit(model=MODEL, image=file, prompt="at dusk")
        assert sizes(response) == [(1024, 1024)]


async def test_a_list_of_images_and_n_of_2() -> None:
    async with serve(QUICK) as server, client(server) as sdk:
        response = await sdk.images.edit(model=MODEL, image=[PNG, PNG], prompt="both", n=2, size="1024x1536")
        assert sizes(response) == [(1024, 1536)] * 2
        assert server.bill.images == 2


async def test_a_mask() -> None:
    mask = ("mask.png", picture(mode="RGBA", alpha=0), "image/png")
    async with serve(QUICK) as server, client(server) as sdk:
        response = await sdk.images.edit(model=MODEL, image=PNG, mask=mask, prompt="night", quality="low")
        assert len(sizes(response)) == 1


async def test_the_blocking_client() -> None:
    def edit(url: str) -> ImagesResponse:
        with OpenAI(api_key="k", base_url=url, max_retries=0) as sdk:
            return sdk.images.edit(model=MODEL, image=PNG, prompt="warm", output_format="webp")

    async with serve(QUICK) as server:
        response = await anyio.to_thread.run_sync(edit, server.url, limiter=anyio.CapacityLimiter(1))
        assert response.output_format == "webp"
        assert sizes(response) == [(1024, 1024)]


async def test_400_is_a_bad_request_error() -> None:
    async with serve(QUICK) as server, client(server) as sdk:
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.images.edit(model=MODEL, image=("a.png", b"no image", "image/png"), prompt="x")
        assert caught.value.code == "invalid_image_file"
        assert (caught.value.request_id or "").startswith("req_")


async def test_bare_bytes_are_refused_as_octet_stream() -> None:
    async with serve(QUICK) as server, client(server) as sdk:
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.images.edit(model=MODEL, image=picture(), prompt="x")
        assert caught.value.code == "unsupported_file_mimetype"


async def test_401_is_an_authentication_error() -> None:
    async with serve(Sandbox(key="right")) as server, client(server, "wrong") as sdk:
        with pytest.raises(openai.AuthenticationError) as caught:
            await sdk.images.edit(model=MODEL, image=PNG, prompt="x")
        assert caught.value.code == "invalid_api_key"


async def test_429_is_a_rate_limit_error() -> None:
    async with serve(replace(QUICK, faults=parse_faults("rate=1"))) as server, client(server) as sdk:
        with pytest.raises(openai.RateLimitError) as caught:
            await sdk.images.edit(model=MODEL, image=PNG, prompt="x")
        assert caught.value.response.headers["retry-after"] == "1"


async def test_the_models_are_listed() -> None:
    async with serve(QUICK) as server, client(server) as sdk:
        assert MODEL in [model.id async for model in sdk.models.list()]
