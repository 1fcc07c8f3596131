"""What goes over the wire and in which form, and what a connection may do to it."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.e2e.command import wait_for
from tests.e2e.endpoint import silence
from tests.e2e.forked import Forked, forking
from tests.e2e.servers import (
    KEY,
    OK,
    USAGE,
    Hostile,
    Scene,
    Wire,
    edit,
    error,
    hostile,
    picture,
    response,
    says,
    stage_of,
)
from tests.e2e.stage import Stage, photo

LARGE = 6_000_000
"""Bytes of a photo that neither side's socket buffers hold."""


@pytest.fixture(scope="module")
def retouch() -> Iterator[Forked]:
    """The command, imported once."""
    with forking() as forked:
        yield forked


def settled(stage: Stage) -> list[dict[str, Any]]:
    """How attempts ended."""
    return [line for line in stage.ledger() if line["type"] == "settled"]


def large_photo(stage: Stage, seed: int = 1) -> bytes:
    """Replace the photo with one that is a good picture followed by noise."""
    data = photo(seed) + Random(seed).randbytes(LARGE)
    (stage.folder / "photos/a.png").write_bytes(data)
    return data


def test_the_json_form_carries_data_urls(retouch: Forked, tmp_path: Path) -> None:
    """One JSON object with the prompt, the model and the photo, as OpenAI documents it."""
    with hostile() as server:
        stage = stage_of(tmp_path, server.url, ["paint"], endpoint={"body": "json"})
        retouch.run(stage).ended(0)
    [request] = server.requests
    assert request.headers["content-type"] == "application/json"
    url = "data:image/png;base64," + base64.b64encode(photo(1)).decode()
    assert json.loads(request.body) == {
        "prompt": "paint",
        "model": "gpt-image-1.5",
        "size": "1024x1024",
        "images": [{"image_url": url}],
    }


def test_azures_form_needs_the_manifest_alone(retouch: Forked, tmp_path: Path) -> None:
    """Another path, a query and the key in a header of another name; none in Authorization."""
    azure = {
        "path": "/deployments/gpt-image-1/images/edits",
        "query": {"api-version": "2025-04-01-preview"},
        "auth": {"header": "api-key"},
    }
    with hostile() as server:
        retouch.run(stage_of(tmp_path, server.url, ["paint"], endpoint=azure)).ended(0)
    [request] = server.requests
    assert request.line == "POST /v1/deployments/gpt-image-1/images/edits?api-version=2025-04-01-preview HTTP/1.1"
    assert (request.headers["api-key"], "authorization" in request.headers) == (KEY, False)


def test_without_auth_no_key_is_read_or_sent(retouch: Forked, tmp_path: Path) -> None:
    """`auth: none` needs no key, and a variable that holds one stays where it is."""
    with hostile() as server:
        stage = stage_of(tmp_path, server.url, ["paint"])
        del stage.job["endpoint"]["api_key_file"]
        stage.job["endpoint"] |= {"auth": "none", "api_key_env": "E2E_KEY"}
        retouch.run(stage.write()).ended(0)
    [request] = server.requests
    assert "authorization" not in request.headers
    assert not [value for value in request.headers.values() if "e2e-key" in value]


def by_url(url: str) -> bytes:
    """An answer that names its picture by URL."""
    return json.dumps({"data": [{"url": url}], "usage": USAGE}).encode()


def test_a_picture_named_by_url_is_fetched_without_the_key(retouch: Forked, tmp_path: Path) -> None:
    """From the endpoint's own host, relative or absolute, once each."""
    with hostile(plays={"": [says(picture(), Content_Type="image/png")]}) as server:
        server.plays |= {"relative": [says(by_url("/made/1.png?sig=a%2Fb"))]}
        server.plays |= {"absolute": [says(by_url(server.url.replace("/v1", "/made/2.png")))]}
        stage = stage_of(tmp_path, server.url, ["relative", "absolute"], endpoint={"fetch_urls": "same-host"})
        assert retouch.run(stage).ended(0)["images"] == 2
    fetched = [request for request in server.requests if request.line.startswith("GET")]
    assert {request.line.split()[1] for request in fetched} == {"/made/1.png?sig=a%2Fb", "/made/2.png"}
    assert not [value for request in fetched for value in request.headers.values() if KEY[3:15] in value]


def test_a_picture_of_another_host_is_never_fetched(retouch: Forked, tmp_path: Path) -> None:
    """Nor one to which a redirect or another port leads; the attempts are unusable, and nothing leaves."""
    with silence() as other, hostile() as server:
        place = other.url.replace("/v1", "/x.png")
        server.plays["direct"] = [says(by_url(place))]
        server.plays["slashes"] = [says(by_url(place.removeprefix("http:")))]
        server.plays["user"] = [says(by_url(server.url.replace("://", "://user@")))]
        server.plays["file"] = [says(by_url("file:///etc/passwd"))]
        server.plays["redirected"] = [says(by_url("/moved"))]
        server.plays[""] = [says(b"", "302 Found", Location=place)]
        prompts = [name for name in server.plays if name]
        stage = stage_of(tmp_path, server.url, prompts, endpoint={"fetch_urls": "same-host"})
        retouch.run(stage).ended(3)
        assert not other.was_called()
    assert {line["code"] for line in settled(stage)} == {"url_not_allowed", "url_http_302"}
    assert {line["outcome"] for line in settled(stage)} == {"unusable"}


def test_a_late_second_answer_is_not_taken_for_the_next_tasks(retouch: Forked, tmp_path: Path) -> None:
    """A server that answers twice spoils nobody: each task has the picture that was made for it."""

    async def twice(wire: Wire) -> None:
        await wire.send(response(edit(picture((512, 512)))))
        await asyncio.sleep(0.1)
        await wire.send(response(edit(picture((512, 512)))))

    others = [f"other-{number}" for number in range(6)]

    async def slowly(wire: Wire) -> None:
        await asyncio.sleep(0.1)
        await OK(wire)

    with hostile(plays={"twice": [twice]} | {name: [slowly] for name in others}) as server:
        stage = stage_of(tmp_path, server.url, ["twice", *others], limits={"concurrency": 2})
        retouch.run(stage).ended(0)
    wrong = [line["prompt"] for line in settled(stage) if line["mismatch"]]
    assert wrong == ["twice"]
    assert len(server.requests) == 7


def test_a_connection_that_the_server_drops_between_requests_costs_nothing(retouch: Forked, tmp_path: Path) -> None:
    """A server that says keep-alive and closes a little later makes no attempt doubtful."""

    async def closes(wire: Wire) -> None:
        await OK(wire)
        await asyncio.sleep(0.02)
        wire.reset()

    prompts = [f"p{number}" for number in range(12)]
    with hostile(plays={name: [closes] for name in prompts}) as server:
        stage = stage_of(tmp_path, server.url, prompts, limits={"concurrency": 2})
        assert retouch.run(stage).ended(0)["attempts"]["in_doubt"] == 0
    assert len(server.requests) == 12


def test_a_413_before_the_body_was_read_is_heard(retouch: Forked, tmp_path: Path) -> None:
    """A proxy that refuses a large upload at its head and closes: refused once, not in doubt."""

    async def at_once(wire: Wire) -> None:
        await says(b"<title>Request Entity Too Large</title>", "413 Too Large", Connection="close")(wire)
        wire.close()

    with hostile(early=at_once) as server:
        stage = stage_of(tmp_path, server.url, ["paint"])
        large_photo(stage)
        retouch.run(stage).ended(3)
    [line] = settled(stage)
    assert (line["outcome"], line["code"]) == ("refused", "http_413")
    assert len(server.requests) == 1


def test_a_slow_upload_is_whole(retouch: Forked, tmp_path: Path) -> None:
    """A server that reads a piece now and then gets every byte of a large photo."""

    async def slowly(wire: Wire) -> None:
        await asyncio.sleep(0.6)

    with hostile(early=slowly) as server:
        stage = stage_of(tmp_path, server.url, ["paint"])
        data = large_photo(stage)
        retouch.run(stage).ended(0)
    [request] = server.requests
    assert data in request.body
    assert settled(stage)[0]["seconds"] >= 0.6


def at_first(act: Callable[[], object]) -> Scene:
    """Do something while the first request's body is on its way."""

    async def early(wire: Wire) -> None:
        if len(wire.server.requests) == 1:
            await asyncio.sleep(0.3)
            act()

    return early


def changing(server: Hostile, path: Path, data: bytes) -> None:
    """Change a file while its first upload is under way."""

    server.early = at_first(lambda: path.write_bytes(data))


@pytest.mark.parametrize("more", [b"", b"longer"])
def test_a_file_that_changes_while_it_is_sent_is_never_bought(more: bytes, retouch: Forked, tmp_path: Path) -> None:
    """The request stays incomplete, the attempt is unsent, and what is bought is the new content, once."""
    with hostile() as server:
        stage = stage_of(tmp_path, server.url, ["paint"])
        large_photo(stage)
        changed = photo(2) + Random(2).randbytes(LARGE) + more
        changing(server, stage.folder / "photos/a.png", changed)
        run = retouch.run(stage).ended(0)
        wait_for(lambda: len(server.requests) == 2, "both requests")
    assert (run["attempts"]["unsent"], run["attempts"]["succeeded"]) == (1, 1)
    assert [request.whole for request in server.requests] == [False, True]
    unsent, bought = settled(stage)
    assert (unsent["code"], unsent["outcome"]) == ("input_changed", "unsent")
    assert bought["inputs"][0]["sha256"] == sha256(changed).hexdigest()
    assert changed in server.requests[1].body


def test_a_file_that_changes_while_it_is_queued_is_sent_as_it_is_then(retouch: Forked, tmp_path: Path) -> None:
    """What is sent is what the ledger says was sent, and a rerun finds everything done."""
    with hostile() as server:
        stage = stage_of(tmp_path, server.url, ["paint"], limits={"concurrency": 1})
        paths = [stage.folder / f"photos/{name}.png" for name in "bcde"]
        for number, path in enumerate(paths, start=2):
            path.write_bytes(photo(number))
        server.early = at_first(lambda: [p.write_bytes(photo(number)) for number, p in enumerate(paths, start=102)])
        retouch.run(stage).ended(0)
        good = [line for line in settled(stage) if line["outcome"] == "succeeded"]
        # The first to be sent may be one of those that change under way: it is small, and was read before.
        for line in good:
            [sent] = line["inputs"]
            assert [request for request in server.requests if request.whole and sent["sha256"] in digests(request.body)]
        retouch.run(stage, "--yes").ended(0)
        assert len({line["task"] for line in good}) == 5
    fresh = {sha256(photo(number)).hexdigest() for number in (1, 102, 103, 104, 105)}
    assert fresh <= {line["inputs"][0]["sha256"] for line in settled(stage) if line["inputs"]}


def digests(body: bytes) -> set[str]:
    """The digest of the one photo in a multipart body."""
    start = body.index(b"\x89PNG")
    return {sha256(body[start : body.index(b"\r\n--retouch-", start)]).hexdigest()}


def test_hostile_bodies_leave_memory_flat(retouch: Forked, tmp_path: Path) -> None:
    """A gzip bomb, a bomb in a bomb, an endless body and a long error are cut at max_response, four at once."""
    bomb, cap = gzip.compress(b" " * (96 << 20)), 16 << 20

    async def endless(wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await wire.send(b" " * 65536)

    plays: dict[str, list[Scene]] = {
        "bomb": [says(bomb, Content_Encoding="gzip")],
        "twice": [says(gzip.compress(bomb), Content_Encoding="gzip, gzip")],
        "endless": [endless],
        "error": [says(error("x" * (15 << 20)), "400 No")],
    }
    with hostile() as server:
        stage = stage_of(tmp_path / "calm", server.url, ["one", "two", "three", "four"], limits={"concurrency": 4})
        retouch.run(stage).ended(0)
        calm = retouch.peak
        server.plays = plays
        stage = stage_of(tmp_path / "hostile", server.url, list(plays), endpoint={"max_response": cap})
        retouch.run(stage).ended(3)
    assert retouch.peak - calm < 12 * cap, f"{calm / 1e6:.0f} MB, {retouch.peak / 1e6:.0f} MB under fire"
