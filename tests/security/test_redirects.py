"""Not one byte goes to a second host: not by a redirect, not by a proxy or a password of the environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.endpoint import silence
from tests.e2e.forked import Forked
from tests.e2e.servers import KEY, USAGE, Hostile, Request, Wire, hostile, picture, says, stage_of
from tests.security.canary import leaks
from tests.security.trying import in_vain

MOVES = [301, 302, 303, 307, 308]


@pytest.mark.parametrize("status", MOVES)
def test_a_redirected_edit_stops_the_run(status: int, retouch: Forked, tmp_path: Path) -> None:
    """Exit 6 after one request, and none at the second host; 307 and 308 would send the whole edit there again."""
    with silence() as other, hostile() as server:
        moved(server, status, other.url, retouch, tmp_path)
        assert not other.was_called()


def test_no_form_of_a_redirect_is_followed(retouch: Forked, tmp_path: Path) -> None:
    """To another scheme, host or path, without a scheme, to nothing, and by `Refresh`."""
    with silence() as other, hostile() as server:
        secure, near = other.url.replace("http:", "https:"), other.url.replace("127.0.0.1", "localhost")
        for number, place in enumerate([secure, near, other.url.removeprefix("http:"), "/elsewhere", ""]):
            server.requests.clear()
            moved(server, 307, place, retouch, tmp_path / str(number), Refresh=f"0; url={other.url}")
        assert not other.was_called()


def moved(server: Hostile, status: int, place: str, retouch: Forked, folder: Path, **headers: str) -> None:
    """A run that is sent elsewhere, and stays."""
    server.plays["bad"] = [says(b"", f"{status} Moved", Location=place, **headers)]
    done = retouch.run(stage_of(folder, server.url, ["bad"]))
    assert done.ended(6)["attempts"]["stopped"] == 1
    assert f"answers {status} " in done.stderr
    assert [request.line.split()[1] for request in server.requests] == ["/v1/images/edits"]


def test_a_redirected_picture_is_not_fetched_elsewhere(retouch: Forked, tmp_path: Path) -> None:
    """`fetch_urls: same-host` follows none of the five redirects, neither to another host nor to its own."""
    with silence() as other, hostile() as server:

        async def move(wire: Wire) -> None:
            _, way, status = wire.request.line.split()[1].split("/")
            place = other.url if way == "far" else "/near/200"
            await says(picture(), f"{status} Moved", Location=place)(wire)

        server.plays = {
            f"{way}-{status}": [says(json.dumps({"data": [{"url": f"/{way}/{status}"}], "usage": USAGE}).encode())]
            for way in ("far", "near")
            for status in MOVES
        }
        prompts = list(server.plays)
        server.plays[""] = [move]
        stage = stage_of(
            tmp_path,
            server.url,
            prompts,
            endpoint={"fetch_urls": "same-host"},
            retries={"max_attempts": 1},
            limits={"concurrency": 10},
        )
        retouch.run(stage).ended(3)
        assert not other.was_called()
    fetched = {request.line.split()[1] for request in server.requests if request.line.startswith("GET")}
    assert fetched == {f"/{way}/{status}" for way in ("far", "near") for status in MOVES}
    codes = [line["code"] for line in stage.ledger() if line["type"] == "settled"]
    assert sorted(codes) == sorted(f"url_http_{status}" for status in 2 * MOVES)


def surroundings_of_a_proxy(url: str) -> dict[str, str]:
    """Every name under which a proxy is usually set."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "WS_PROXY")
    return {spelling: url for name in names for spelling in (name, name.lower())} | {"NO_PROXY": "", "no_proxy": ""}


def test_no_proxy_and_no_password_come_from_the_environment(retouch: Forked, tmp_path: Path) -> None:
    """HTTP_PROXY and its like in both spellings, and a .netrc: not used for an edit, nor for fetching a picture."""
    with silence() as other, hostile(plays={"": [says(picture(), Content_Type="image/png")]}) as server:
        server.plays["by-url"] = [says(json.dumps({"data": [{"url": "/1.png"}], "usage": USAGE}).encode())]
        stage = stage_of(tmp_path, server.url, ["edit", "by-url"], endpoint={"fetch_urls": "same-host", "auth": "none"})
        del stage.job["endpoint"]["api_key_file"]
        netrc = stage.home / ".netrc"
        netrc.write_text("default login someone password of-the-netrc\n")
        netrc.chmod(0o600)
        environ = surroundings_of_a_proxy(other.url.removesuffix("/v1")) | {"NETRC": str(netrc)}
        retouch.run(stage.write(), environ=environ).ended(0)
        assert not other.was_called()
    assert len(server.requests) == 3
    assert not [request for request in server.requests if "authorization" in request.headers]


def test_no_proxy_of_the_environment_sees_a_tls_connection(retouch: Forked, tmp_path: Path) -> None:
    """An https:// endpoint that cannot be reached is not asked for at HTTPS_PROXY."""
    with silence() as other:
        stage = stage_of(tmp_path, "https://127.0.0.1:9/v1", ["x"])
        environ = surroundings_of_a_proxy(other.url.removesuffix("/v1"))
        in_vain(stage, lambda: retouch.run(stage, environ=environ))
        assert not other.was_called()


def test_the_manifests_proxy_gets_the_request(retouch: Forked, tmp_path: Path) -> None:
    """An absolute URL to the proxy that the manifest names, whatever NO_PROXY says; the endpoint is not called."""
    with hostile() as proxy, silence() as endpoint:
        stage = stage_of(tmp_path, endpoint.url, ["x"], endpoint={"proxy": proxy.url.removesuffix("/v1")})
        retouch.run(stage, environ={"NO_PROXY": "*", "no_proxy": "*"}).ended(0)
        assert not endpoint.was_called()
    [request] = proxy.requests
    assert request.line == f"POST {endpoint.url}/images/edits HTTP/1.1"


def credentials(request: Request) -> set[str]:
    return {name for name in request.headers if "auth" in name}


def test_a_proxys_password_is_refused_and_never_printed(retouch: Forked, tmp_path: Path) -> None:
    """As it stands in the manifest or by a variable: exit 2 before anything is sent, without a part of it."""
    with hostile() as proxy:
        place = proxy.url.removeprefix("http://").removesuffix("/v1")
        for number, url in enumerate([f"http://user:{'s3cret' * 4}@{place}", f"http://${{WHO}}@{place}"]):
            stage = stage_of(tmp_path / str(number), proxy.url, ["x"], endpoint={"proxy": url})
            done = retouch.run(stage, environ={"WHO": "user:" + "s3cret" * 4})
            assert done.code == 2
            assert "endpoint.proxy: the URL holds a user or a password" in done.stderr
            assert "s3cret" not in done.stderr + done.stdout
    assert proxy.requests == []


def test_a_proxy_that_wants_a_password_stops_the_run(retouch: Forked, tmp_path: Path) -> None:
    """407: exit 6, and the proxy gets no credentials but the endpoint's own request."""
    refusal = says(b"<title>who are you</title>", "407 Proxy Authentication Required", Proxy_Authenticate="Basic")
    with hostile(plays={"x": [refusal]}) as proxy:
        where = {"proxy": proxy.url.removesuffix("/v1")}
        stage = stage_of(tmp_path, "http://127.0.0.1:9/v1", ["x"], endpoint=where)
        run = retouch.run(stage, environ={"http_proxy": f"http://a:{KEY[-9:]}@127.0.0.1:1"})
    assert run.code == 6
    assert [credentials(request) for request in proxy.requests] == [{"authorization"}]
    assert leaks(stage, run) == {}
