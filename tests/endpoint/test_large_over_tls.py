"""Large requests and answers over TLS, as most endpoints have it; under asyncio's loop and uvloop."""

from __future__ import annotations

import random
from pathlib import Path

import anyio
import pytest

from pipeline.endpoint.reply import Flight
from tests.e2e.servers import tls_of
from tests.endpoint.conftest import edit_of, response, serving, transport_to, upload_of
from tests.security.certificates import Certificates, make

pytestmark = pytest.mark.anyio

BODY = random.Random(7).randbytes(3_000_001)
CHUNKS = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:70_000], BODY[70_000:])) + b"0\r\n\r\n"
ANSWERS = {
    "length": response(BODY),
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("size", [500_000, 900_000, 5_000_000], ids=["held", "nearly held", "in pieces"])
async def test_both_ways_every_byte_arrives(certificates: Certificates, tmp_path: Path, kind: str, size: int) -> None:
    """What was sent is what the server got, and what it answered is what is read, for several requests at once."""
    content = b"\x89PNG\r\n\x1a\n" + random.Random(size).randbytes(size)
    edit = edit_of(upload_of(tmp_path / "a.png", content))
    bundle = str(certificates.authority)
    replies = []
    async with (
        serving(ANSWERS[kind], tls_of(certificates.good)) as server,
        transport_to(server.url, tmp_path, 60.0, ca_bundle=bundle) as transport,
    ):

        async def post() -> None:
            replies.append(await transport.post(edit, Flight()))

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(post)
    assert [(reply.failure, reply.status, reply.body == BODY) for reply in replies] == [(None, 200, True)] * 4
    assert all(request.whole and content in request.body for request in server.requests)
    assert len(server.requests) == 4
