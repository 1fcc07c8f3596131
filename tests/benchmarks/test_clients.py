"""The clients that are compared do the whole work, and the servers hear each request to its end."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from benchmarks import contest
from benchmarks.clients.work import Work
from benchmarks.contest import Client, Ground, Measured, form, measure
from benchmarks.delay import delayed
from benchmarks.grounds import ground, ground_of_folders
from benchmarks.nginx import MissingError, found, nginx, write_configuration
from benchmarks.pictures import answer

EDITS = 20
CLIENTS: Mapping[str, Client] = {
    "sdk": partial(contest.rival, "sdk"),
    "loop": partial(contest.rival, "loop"),
    "retouch": contest.retouch,
}


def needs(program: str) -> None:
    try:
        found(program)
    except MissingError as error:
        if os.environ.get("RETOUCH_REQUIRE_ALL") == "1":
            pytest.fail(f"{error}, and RETOUCH_REQUIRE_ALL=1 lets no test be skipped")
        pytest.skip(str(error))


@pytest.fixture(params=["nginx", "delayed"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each server that benchmarks use, with an answer of one small picture."""
    if request.param == "nginx":
        needs("nginx")
    serve: Callable[[], AbstractContextManager[str]] = {
        "nginx": partial(nginx, answer(4_000), 1_000_000),
        "delayed": partial(delayed, 0.0, answer(4_000)),
    }[request.param]
    with serve() as url:
        yield url


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_makes_every_edit(name: str, server: str, tmp_path: Path) -> None:
    """20 edits leave 20 pictures with the bytes that the server sent."""
    laid = ground(tmp_path, server, 3_000, 4_000, EDITS)
    seen: list[int] = []

    def watched(laid: Ground, work: Work) -> Measured:
        taken = CLIENTS[name](laid, work)
        for path in (path for path in Path(work.folder).rglob("*.png") if ".retouch" not in path.parts):
            with Image.open(path) as image:
                image.load()
            seen.append(path.stat().st_size)
        return taken

    taken = measure(watched, laid, laid.work(8))
    assert seen == [len(laid.picture)] * EDITS
    assert (taken.edits, taken.seconds > 0, taken.wall > taken.seconds, taken.cpu > 0) == (EDITS, True, True, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_sends_folders_and_takes_several_pictures(name: str, tmp_path: Path) -> None:
    """Requests of three images each, of which none is another's, bring two pictures each."""
    with delayed(0.0, answer(4_000, 2)) as url:
        laid = ground_of_folders(tmp_path, url, 3_000, 4_000, 4, 3)
        assert measure(CLIENTS[name], laid, laid.work(2, n=2)).edits == 4


def test_a_client_that_does_less_is_found_out(tmp_path: Path) -> None:
    """A picture that is missing or short is an error, not a fast client."""
    laid = ground(tmp_path, "http://127.0.0.1:9/v1", 3_000, 4_000, 2)
    work = laid.work(1)
    out = Path(work.folder)
    out.mkdir()
    for content in (None, laid.picture[:-1], b"x" * len(laid.picture)):
        (out / "a.png").write_bytes(laid.picture if content is None else content)
        if content is not None:
            (out / "b.png").write_bytes(content)
        with pytest.raises(RuntimeError, match="of 2 pictures"):
            contest._check(work, laid.picture, out)


def test_wrk_posts_what_the_clients_post(tmp_path: Path) -> None:
    """wrk sends a form with the photo in it, and every answer of it counts as one edit."""
    needs("nginx")
    needs("wrk")
    with nginx(answer(4_000), 1_000_000) as url:
        laid = ground(tmp_path, url, 3_000, 4_000, 1)
        body = form(laid.work(2))
        assert next((tmp_path / "photos").iterdir()).read_bytes() in body
        assert b'name="prompt"\r\n\r\nPut the product' in body
        patched = pytest.MonkeyPatch()
        with patched.context() as patch:
            patch.setattr(contest, "WRK_SECONDS", 1)
            taken = measure(contest.wrk, laid, laid.work(2))
    assert taken.edits > 10
    assert 0.9 < taken.seconds < 3


def test_a_server_answers_after_the_last_byte(server: str) -> None:
    """Nothing comes back while a byte of the request is missing, and the same connection serves the next one."""
    address = urlsplit(server)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 0), timeout=5) as connection:
        for _ in range(2):
            head = f"POST /v1/images/edits HTTP/1.1\r\nHost: x\r\nContent-Length: {500_000}\r\n\r\n"
            connection.sendall(head.encode() + b"x" * 499_999)
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(5)
            connection.sendall(b"x")
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert (response.status, response.read()) == (200, answer(4_000))


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    """`nginx -t` finds nothing wrong with it."""
    needs("nginx")
    path, _ = write_configuration(tmp_path, b"{}", 1_000_000)
    command = [found("nginx"), "-t", "-p", str(tmp_path), "-e", str(tmp_path / "error.log"), "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "warn" in done.stderr) == (0, False), done.stderr


def test_a_missing_program_is_named() -> None:
    """What is not installed is named with the command that installs it."""
    with pytest.raises(MissingError, match="apt install no-such-program"):
        found("no-such-program")
