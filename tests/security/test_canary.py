"""The key is in nothing that is written or printed, whatever a server says and however the run ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import KEY as ENV_KEY
from tests.e2e.command import Finished, environment, wait_for
from tests.e2e.endpoint import serving
from tests.e2e.forked import Forked
from tests.e2e.servers import KEY, Hostile, Wire, filled, hostile, stage_of
from tests.e2e.stage import Stage
from tests.security.canary import PLAIN, leaks, pieces, surroundings, told
from tests.security.lies import FORMS, LIES, PLAYS, STOPS, raw

SECRET = {KEY: "special", PLAIN: "plain"}


@dataclass(frozen=True, slots=True)
class Met:
    """A run and the server that lied to it."""

    stage: Stage
    server: Hostile
    run: Finished
    key: str


def with_key(stage: Stage, key: str, **endpoint: Any) -> Stage:
    """The job with another key in its file, and more of `endpoint`."""
    (stage.home / "key").write_text(key)
    stage.job["endpoint"] |= endpoint
    return stage.write()


@pytest.fixture(scope="module", params=[KEY, PLAIN], ids=["special", "plain"])
def met(request: pytest.FixtureRequest, retouch: Forked, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Met]:
    """All lies in one run that prints all that it can; the plain key goes in a header of its own name."""
    key = request.param
    with hostile(plays=PLAYS) as server:
        stage = stage_of(tmp_path_factory.mktemp("lies"), server.url, list(LIES), limits={"timeout": 2.5})
        stage = with_key(stage, key, **({"auth": {"header": "api-key"}} if key == PLAIN else {}))
        run = retouch.run(stage, "--verbose", environ=surroundings(stage.home) | {"PYTHONASYNCIODEBUG": "1"})
        yield Met(stage, server, run, key)


def test_a_lying_server_puts_the_key_nowhere(met: Met) -> None:
    """Ledger, kept bodies, cache, logs at the level of debugging, stdout, stderr: no ten bytes of any form of it."""
    assert met.run.code == 3, met.run.stderr
    assert {request.key for request in met.server.requests} == {met.key}
    assert len(list((met.stage.out / ".retouch/unusable").iterdir())) >= 16
    assert "attempt 1 is" in met.run.stderr
    assert leaks(met.stage, met.run, key=met.key) == {}


@pytest.mark.parametrize("words", [["status", "--failed"], ["usage", "--by", "model,run"], ["plan"]])
def test_no_view_of_the_ledger_tells_the_key(words: list[str], met: Met) -> None:
    """With --json and without."""
    verb, *options = words
    shown = met.stage.retouch(verb, *options)
    assert shown.code == 0
    assert not told((shown.stdout + shown.stderr).encode(), met.key)


def test_what_was_masked_can_still_be_read(met: Met) -> None:
    """The words around the key stay, so that a refusal can be understood."""
    [line] = [line for line in met.stage.ledger() if line.get("task") == "p/a/message" and line["type"] == "settled"]
    assert line["message"].startswith("(JSON: ***) (URL: ***) (UNICODE: ***)")


@pytest.mark.parametrize("key", SECRET, ids=SECRET.values())
@pytest.mark.parametrize("stop", STOPS)
def test_a_stop_that_repeats_the_key_puts_it_nowhere(stop: str, key: str, retouch: Forked, tmp_path: Path) -> None:
    """401, 403, 404, a redirect and a quota: exit 6, and the reason is printed without it."""
    with hostile(plays={"bad": [STOPS[stop]]}) as server:
        stage = with_key(stage_of(tmp_path, server.url, ["bad"]), key)
        run = retouch.run(stage, "-v", environ=surroundings(stage.home))
    assert run.code == 6, run.stderr
    assert leaks(stage, run, key=key) == {}


def test_the_sandboxs_faults_put_the_key_nowhere(retouch: Forked, tmp_path: Path) -> None:
    """Every fault that the sandbox knows, with the key in the environment, at the level of debugging."""
    faults = (
        "rate=0.05,error-500=0.05,error-503=0.05,error-502-html=0.05,reset=0.05,disconnect=0.05,reset-body=0.05,"
        "truncate=0.05,bad-base64=0.05,undecodable=0.05,error-200=0.05,html-200=0.05,empty-200=0.05,moderation=0.05,"
        "no-usage=0.05,wrong-size=0.05,wrong-format=0.05,short-count=0.05,retry-after=0,seed=5"
    )
    folder = tmp_path / "endpoint"
    folder.mkdir()
    with serving(folder) as endpoint:
        endpoint.show(faults)
        stage = stage_of(tmp_path / "here", endpoint.url, [f"p{number}" for number in range(60)])
        del stage.job["endpoint"]["api_key_file"]
        stage.job["endpoint"]["api_key_env"] = "E2E_KEY"
        (stage.home / "key").unlink()
        run = retouch.run(stage.write(), "-v", environ=surroundings(stage.home) | {"E2E_KEY": PLAIN})
        outcomes = run.json["attempts"]
    assert min(outcomes[name] for name in ("succeeded", "refused", "throttled", "in_doubt", "unusable")) > 0, outcomes
    assert leaks(stage, run, key=PLAIN) == {}
    assert ENV_KEY not in run.stderr


BUG = """
import sys
import pipeline.endpoint.key, pipeline.run.{module} as module
from pipeline.cli import main
key = open(sys.argv.pop()).read()
def bug(*words, **more):
    try:
        raise RuntimeError(key)
    except RuntimeError as error:
        raise ValueError({{"Authorization": f"Bearer {{key}}"}}, key.encode()) from error
assert module.{name}
module.{name} = bug
main()
"""


@pytest.mark.parametrize("debug", ["", "1"], ids=["words", "traceback"])
@pytest.mark.parametrize("place", ["receive.judge", "attempt.edit_of", "perform.surveyed", "session.repair"])
def test_a_bug_that_holds_the_key_is_reported_without_it(place: str, debug: str, tmp_path: Path) -> None:
    """Before the first request and after, in words and as a traceback with its causes: exit 1 and no key."""
    module, name = place.split(".")
    with hostile() as server:
        stage = stage_of(tmp_path, server.url, ["paint"])
        stage.out.mkdir()
        (stage.out / "ledger.jsonl").touch()
        code = BUG.format(module=module, name=name)
        done = subprocess.run(
            [sys.executable, "-c", code, "run", str(stage.manifest), "--json", "-v", str(stage.home / "key")],
            cwd=stage.folder,
            env=environment(stage.home) | surroundings(stage.home) | {"RETOUCH_DEBUG": debug},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1, done.stderr
    assert "ValueError" in done.stderr
    assert ("Traceback" in done.stderr) == bool(debug)
    assert leaks(stage, Finished(done.returncode, done.stdout, done.stderr)) == {}


LIBRARY = """
import logging, sys, warnings
logging.basicConfig(level=logging.DEBUG)
warnings.simplefilter("always")
import pipeline
summary = pipeline.run(pipeline.load(sys.argv[1]))
print(summary)
"""


def test_a_library_user_who_logs_everything_gets_no_key(tmp_path: Path) -> None:
    """`logging.basicConfig(level=DEBUG)` and PYTHONASYNCIODEBUG=1 around `pipeline.run`, against every lie."""
    with hostile(plays=PLAYS) as server:
        stage = stage_of(tmp_path, server.url, list(LIES), limits={"timeout": 2.5})
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", LIBRARY, str(stage.manifest)],
            cwd=stage.folder,
            env=environment(stage.home) | surroundings(stage.home) | {"PYTHONASYNCIODEBUG": "1"},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert "exit=3" in done.stdout, done.stderr
    assert done.stderr.count("DEBUG:pipeline.run.attempt:p/a/") > 2 * len(LIES)
    assert leaks(stage, Finished(done.returncode, done.stdout, done.stderr)) == {}


def test_no_process_shows_the_key_and_none_is_started(tmp_path: Path) -> None:
    """While requests are in flight: no child, the key in no command line, and from a file in no environment."""

    async def slow(wire: Wire) -> None:
        await wire.left()

    with hostile(plays={"slow": [slow]}) as server:
        stage = stage_of(tmp_path, server.url, ["slow"])
        with stage.running("-v") as run:
            wait_for(lambda: len(server.requests) == 1, "the request")
            process = Path(f"/proc/{run.process.pid}")
            if not process.exists():
                pytest.skip("there is no /proc here")
            children = [path.read_text() for path in process.glob("task/*/children")]
            assert "".join(children) == ""
            shown = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)] + [
                (process / "environ").read_bytes(),
                *(p.read_bytes() for p in process.glob("task/*/comm")),
            ]
            assert not [data for data in shown if told(data)]
            run.kill()


def test_a_proxy_that_talks_puts_the_key_nowhere(retouch: Forked, tmp_path: Path) -> None:
    """A proxy that answers for the endpoint, or refuses a tunnel to it, and repeats what it got."""
    with hostile(early=raw(b"HTTP/1.1 502 @KEY@\r\nX: @KEY@\r\n\r\n@KEY@")) as proxy, hostile() as server:
        for number, endpoint in enumerate(
            [
                {"base_url": server.url, "proxy": proxy.url.removesuffix("/v1")},
                {"base_url": "https://127.0.0.1:9/v1", "proxy": proxy.url.removesuffix("/v1")},
            ]
        ):
            stage = stage_of(tmp_path / str(number), server.url, ["x"], stop_on={"duration": 0.5}, endpoint=endpoint)
            run = retouch.run(stage, "-v", environ=surroundings(stage.home))
            assert run.code in (9, 11), run.stderr
            assert leaks(stage, run) == {}
    assert proxy.requests


def test_a_key_by_variable_in_a_header_a_proxy_or_the_address_is_refused_unseen(
    retouch: Forked, tmp_path: Path
) -> None:
    """`${VAR}` in headers, query and proxy: exit 2, a line that says where, and nothing of the value."""
    with hostile() as server:
        refused: list[dict[str, Any]] = [
            {"headers": {"X-Team": "${E2E_KEY}"}, "api_key_env": "E2E_KEY"},
            {"headers": {"Authorization": "Bearer ${SECRET}"}},
            {"headers": {"X-Api-Key": "${SECRET}"}},
            {"query": {"token": "${SECRET}"}},
            {"proxy": "http://user:${SECRET}@127.0.0.1:9"},
            {"base_url": "http://user:${SECRET}@127.0.0.1:9/v1"},
            {"base_url": "http://127.0.0.1:9/v1?key=${SECRET}"},
        ]
        for number, endpoint in enumerate(refused):
            stage = stage_of(tmp_path / str(number), server.url, ["x"], endpoint=endpoint)
            if "api_key_env" in endpoint:
                del stage.job["endpoint"]["api_key_file"]
            run = retouch.run(stage.write(), "-v", environ={"SECRET": PLAIN, "E2E_KEY": PLAIN})
            assert run.code == 2, (endpoint, run.stderr)
            where = next(name for name in endpoint if name != "api_key_env")
            assert f"endpoint.{where}" in run.stderr
            assert leaks(stage, run, key=PLAIN) == {}
    assert server.requests == []


def test_the_search_finds_a_planted_key(tmp_path: Path) -> None:
    """Each form, in a file, in a name and in print: a search that finds nothing proves nothing."""
    stage = stage_of(tmp_path, "http://127.0.0.1:9/v1", ["x"])
    assert leaks(stage) == {}
    for form in ("KEY", *FORMS):
        data = filled(f"@{form}@".encode(), KEY)
        assert told(b"xx" + data + b"yy"), form
        assert told(data[: len(data) // 2]), form
    (stage.folder / f"of-{PLAIN}").touch()
    assert list(leaks(stage, key=PLAIN)) == [f"the name of of-{PLAIN}"]
    assert len(pieces()) > 400
