from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.endpoint.answer import ImageData
from pipeline.endpoint.collect import collect
from pipeline.endpoint.judge import Verdict, judge
from pipeline.endpoint.key import Key
from pipeline.endpoint.reply import Failure, Reply
from pipeline.outcome import Outcome
from tests.endpoint.conftest import PNG, SECRET, response, serving, transport_to

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("url", ["/files/1.png?a=b", "files/1.png", "http://127.0.0.1:PORT/files/1.png"])
async def test_an_image_on_the_endpoints_host_is_fetched_without_the_key(url: str, tmp_path: Path) -> None:
    """Relative or absolute; neither the key nor the manifest's headers and query go along."""
    async with serving(response(PNG)) as server:
        transport = transport_to(
            server.url,
            tmp_path,
            key=Key(SECRET),
            fetch_urls="same-host",
            headers={"X-Team": "photo"},
            query={"api-version": "1"},
        )
        async with transport:
            reply = await transport.fetch(url.replace("PORT", str(server.port)))
    assert (reply.status, bytes(reply.body), reply.failure) == (200, PNG, None)
    (request,) = server.requests
    assert request.line.startswith("GET /")
    assert "files/1.png" in request.line
    assert "api-version" not in request.line
    assert not {"authorization", "x-team", "idempotency-key", "cookie"} & request.headers.keys()
    assert SECRET not in str(request)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/a.png",
        "http://localhost:PORT/a.png",
        "https://127.0.0.1:PORT/a.png",
        "http://127.0.0.1/a.png",
        "//example.com/a.png",
        "http://user:pass@127.0.0.1:PORT/a.png",
        "http://user@127.0.0.1:PORT/a.png",
        "file:///etc/passwd",
        "ftp://127.0.0.1:PORT/a.png",
        "javascript:1",
        "http://[",
        "http://127.0.0.1:99999999/a.png",
    ],
)
async def test_another_origin_is_never_fetched(url: str, tmp_path: Path) -> None:
    """Another host, port or scheme, or a URL with a user in it: not one byte is sent."""
    async with (
        serving(response(PNG)) as server,
        transport_to(server.url, tmp_path, fetch_urls="same-host") as transport,
    ):
        reply = await transport.fetch(url.replace("PORT", str(server.port)))
    assert (reply.status, reply.failure) == (None, Failure.URL_NOT_ALLOWED)
    assert server.connections == 0


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://localhost/v1", "http://localhost:80/a.png"),
        ("http://localhost:80/v1", "http://localhost/a.png"),
        ("http://localhost:80/v1", "http://LocalHost/a.png"),
        ("http://LocalHost/v1", "HTTP://LOCALHOST:80/a.png"),
    ],
)
async def test_the_same_host_may_be_written_in_another_way(base: str, url: str, tmp_path: Path) -> None:
    """With the port that its scheme has anyway, and in capitals; a signature's characters stay as they are."""
    async with serving(response(PNG)) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        async with transport_to(base, tmp_path, fetch_urls="same-host", proxy=address) as transport:
            assert (await transport.fetch(f"{url}?sig=%2f%7E~#part")).failure is None
    (request,) = proxy.requests
    assert request.line.startswith("GET http://")
    assert request.line.endswith("/a.png?sig=%2f%7E~ HTTP/1.1")


async def test_nothing_is_fetched_by_default(tmp_path: Path) -> None:
    """`fetch_urls` is never unless the manifest says otherwise."""
    async with serving(response(PNG)) as server, transport_to(server.url, tmp_path) as transport:
        assert (await transport.fetch("/a.png")).failure is Failure.URL_NOT_ALLOWED
    assert server.connections == 0


async def test_a_fetched_url_is_not_followed_elsewhere(tmp_path: Path) -> None:
    """A redirect of the endpoint's host leads nowhere."""
    async with serving(response(PNG)) as second:
        moved = response(b"", "302 Found", Location=f"http://127.0.0.1:{second.port}/a.png")
        async with serving(moved) as first, transport_to(first.url, tmp_path, fetch_urls="same-host") as transport:
            assert (await transport.fetch("/a.png")).status == 302
    assert second.connections == 0


async def test_a_fetched_image_is_cut_at_the_cap(tmp_path: Path) -> None:
    """`max_response` holds for it too."""
    async with (
        serving(response(PNG * 1000)) as server,
        transport_to(server.url, tmp_path, fetch_urls="same-host", max_response=1000) as transport,
    ):
        assert (await transport.fetch("/a.png")).failure is Failure.RESPONSE_TOO_LARGE


def answer(*entries: str) -> Verdict:
    """The verdict on an answer with these entries."""
    return judge(Reply(200, body=f'{{"data":[{",".join(entries)}]}}'.encode(), began=True), None, 0)


async def replies(url: str) -> Reply:
    """A host that knows one image."""
    known = {"/good": Reply(200, body=PNG), "/empty": Reply(200), "/far": Reply(failure=Failure.URL_NOT_ALLOWED)}
    return known.get(url, Reply(404, body=b"not here"))


async def usable(data: bytes) -> bool:
    """What is no picture is not."""
    return data == PNG


async def test_urls_become_images() -> None:
    """Each URL is replaced by its image or by why there is none; one image is enough."""
    entries = answer('{"url":"/gone"}', '{"url":"/good"}', "{}", '{"url":"/empty"}')
    verdict = await collect(entries, replies, 2, usable)
    assert verdict.outcome is Outcome.SUCCEEDED
    assert verdict.images == (
        ImageData(problem="url_http_404"),
        ImageData(data=PNG),
        ImageData(problem="no_image"),
        ImageData(problem="empty_body"),
    )
    assert verdict.body_kept is None


async def test_what_came_of_an_image_that_was_cut_short_is_looked_at() -> None:
    """A host that resets each connection behind its last byte has sent it whole; whether it is, decoding tells."""

    async def cut(url: str) -> Reply:
        return Reply(200, body=PNG if url == "/cut" else b"", failure=Failure.INCOMPLETE_BODY)

    verdict = await collect(answer('{"url":"/cut"}', '{"url":"/nothing"}'), cut, 2, usable)
    assert verdict.images == (ImageData(data=PNG), ImageData(problem="incomplete_body"))


async def test_an_answer_none_of_whose_urls_can_be_had_is_unusable() -> None:
    """It may have been billed, its body is kept, and the message names the setting."""
    verdict = await collect(answer('{"url":"/far"}', '{"url":"/gone"}'), replies, 1, usable)
    assert (verdict.outcome, verdict.code) == (Outcome.UNUSABLE, "url_not_allowed")
    assert "endpoint.fetch_urls" in (verdict.message or "")
    assert verdict.body_kept == b'{"data":[{"url":"/far"},{"url":"/gone"}]}'


async def test_an_answer_without_urls_is_left_as_it_is() -> None:
    """Nothing is fetched for an image that is there."""
    verdict = answer('{"b64_json":"iVBORw0KGgo="}')
    assert await collect(verdict, replies, 1, usable) is verdict


@pytest.mark.parametrize(
    ("entries", "wanted", "fetched"),
    [
        (['{"url":"/good"}'] * 5, 1, 1),
        (['{"url":"/good"}'] * 5, 3, 3),
        (['{"url":"/gone"}', '{"url":"/bad"}', *['{"url":"/good"}'] * 5], 1, 3),
        (['{"url":"/good"}'] * 5, 10, 5),
        (['{"b64_json":"iVBORw0KGgo="}', *['{"url":"/good"}'] * 5], 1, 0),
        (['{"b64_json":"QUFB"}', *['{"url":"/good"}'] * 5], 2, 2),
        (['{"url":"/good"}'] * 5000, 1, 1),
    ],
)
async def test_urls_are_fetched_until_there_are_enough_pictures(entries: list[str], wanted: int, fetched: int) -> None:
    """An answer of more URLs than pictures were asked for is not fetched whole; what is no picture is none."""
    urls = []

    async def fetch(url: str) -> Reply:
        urls.append(url)
        return Reply(200, body=b"no picture") if url == "/bad" else await replies(url)

    verdict = await collect(answer(*entries), fetch, wanted, usable)
    assert verdict.outcome is Outcome.SUCCEEDED
    assert len(urls) == fetched
    assert len(verdict.images) == min(len(entries), 64)
