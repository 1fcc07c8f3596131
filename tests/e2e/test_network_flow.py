"""What a run does about its endpoint's answers over time: retries, pauses, stops, resumes."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import environment
from tests.e2e.endpoint import silence
from tests.e2e.forked import Forked, forking
from tests.e2e.servers import KEY, OK, Scene, Wire, error, hostile, says, stage_of, tls_of
from tests.e2e.stage import Stage


def after(seconds: float, scene: Scene) -> Scene:
    """The scene, later."""

    async def later(wire: Wire) -> None:
        await asyncio.sleep(seconds)
        await scene(wire)

    return later


def lines_of(stage: Stage, task: str, kind: str = "settled") -> list[dict[str, Any]]:
    """The lines of a prompt's task."""
    return [line for line in stage.ledger() if line["type"] == kind and line["task"] == f"p/a/{task}"]


WRAPPED = error("litellm.RateLimitError: " + error("out of money", "insufficient_quota").decode(), "429")
STOPS: dict[str, Scene] = {
    "401": says(error("bad key @JSON@", "invalid_api_key"), "401 Unauthorized"),
    "402": says(b"<h1>pay @HTML@</h1>", "402 Payment Required"),
    "403": says(b"", "403 Forbidden", X_Request_Id="@KEY@"),
    "404": says(b"@KEY@", "404 Not Found"),
    "quota": says(error("no more", "insufficient_quota"), "429 Too Many Requests", Retry_After="1"),
    "spend-limit": says(error("no", "project_spend_limit_exceeded", type="insufficient_quota"), "429 No"),
    "billing": says(error("no", "billing_hard_limit_reached"), "400 Bad Request"),
    "wrapped-quota": says(WRAPPED, "429 Too Many Requests"),
    "quota-under-200": says(b"   " + error("no", "insufficient_quota")),
}


@pytest.fixture(scope="module")
def retouch() -> Iterator[Forked]:
    """The command, imported once."""
    with forking() as forked:
        yield forked


@pytest.mark.parametrize("fault", STOPS)
def test_a_stop_mid_run_leaves_the_rest_pending(fault: str, retouch: Forked, tmp_path: Path) -> None:
    """Exit 6, nothing failed, what is finished stays done, no key is told, and the next run does the rest."""
    with hostile(plays={"bad": [STOPS[fault], OK]}) as server:
        stage = stage_of(tmp_path, server.url, ["good", "bad", "later", "last"], limits={"concurrency": 1})
        done = retouch.run(stage)
        tasks = done.ended(6)["tasks"]
        assert (tasks["done"] + tasks["pending"], tasks["failed"]) == (4, 0)
        assert server.requests[-1].prompt == "bad"
        assert KEY[3:15] not in done.stdout + done.stderr + (stage.out / "ledger.jsonl").read_text()
        if fault not in ("401", "quota"):
            return
        assert retouch.run(stage).ended(0)["tasks"]["skipped"] == tasks["done"]
    assert len(server.requests) == 5
    first, second = server.of("bad")
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]


@pytest.mark.parametrize("status", [301, 303, 308])
def test_a_redirect_is_never_followed(status: int, retouch: Forked, tmp_path: Path) -> None:
    """Exit 6, not one byte to the second host, and the message says nothing of the key in its address."""
    with silence() as other, hostile() as server:
        place = other.url.replace("/v1", "/?k=@KEY@")
        server.plays["bad"] = [says(b"", f"{status} Moved", Location=place)]
        stage = stage_of(tmp_path, server.url, ["bad"])
        done = retouch.run(stage)
        assert done.ended(6)["tasks"]["pending"] == 1
        assert not other.was_called()
    assert len(server.requests) == 1
    assert KEY[3:15] not in done.stderr + (stage.out / "ledger.jsonl").read_text()


@pytest.mark.parametrize(
    ("wait", "status"), [("7200", "429 No"), ("9" * 250, "503 No"), ("7200", "502 No"), ("7200", "200 OK")]
)
def test_a_retry_after_of_hours_ends_the_run(wait: str, status: str, retouch: Forked, tmp_path: Path) -> None:
    """Exit 4 at once under every status that is tried again, in a line that a person can read; the rest is pending."""
    with hostile(plays={"bad": [says(b"{}", status, Retry_After=wait)]}) as server:
        done = retouch.run(stage_of(tmp_path, server.url, ["bad"]))
    assert done.ended(4)["tasks"]["pending"] == 1
    assert len(server.requests) == 1
    assert max(len(line) for line in done.stderr.splitlines()) < 300


@pytest.mark.parametrize("status", ["429 No", "502 No"])
def test_a_long_retry_after_pauses_all_tasks(status: str, retouch: Forked, tmp_path: Path) -> None:
    """While a pause beyond max_wait lasts nothing at all is sent; then the run goes on to its end."""
    with hostile(plays={"bad": [says(b"", status, Retry_After="1"), OK]}) as server:
        prompts = ["bad", *(f"later-{number}" for number in range(4))]
        retouch.run(stage_of(tmp_path, server.url, prompts, limits={"concurrency": 1})).ended(0)
    times = [request.at for request in server.requests]
    told = server.of("bad")[0].at
    assert not [at for at in times if told < at < told + 1]
    assert len(times) == 6


def test_throttling_never_uses_up_attempts(retouch: Forked, tmp_path: Path) -> None:
    """Seven times 429 or 503, then an answer: one task, done, under one idempotency key, with max_attempts 1."""
    scenes = [says(b"", status, Retry_After="0") for status in ("429 No", "503 No") * 3]
    with hostile(plays={"slow": [*scenes, says(b"", "429 No", Retry_After="0.1"), OK]}) as server:
        stage = stage_of(tmp_path, server.url, ["slow"], retries={"max_attempts": 1, "max_wait": 0.1})
        assert retouch.run(stage).ended(0)["attempts"]["throttled"] == 7
    assert [line["attempt"] for line in lines_of(stage, "slow")] == list(range(1, 9))
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


def test_a_retry_after_of_nothing_is_no_licence_to_hammer(retouch: Forked, tmp_path: Path) -> None:
    """A server that says `Retry-After: 0` for ever is asked some times a second at first, then less and less."""
    with hostile(plays={"never": [says(b"", "429 No", Retry_After="0")]}) as server:
        stage = stage_of(tmp_path, server.url, ["never"], retries={"max_wait": 60}, stop_on={"duration": 2})
        assert retouch.run(stage).ended(11)["tasks"]["pending"] == 1
    assert len(server.requests) < 20


def test_hold_makes_one_attempt_and_waits_for_a_person(retouch: Forked, tmp_path: Path) -> None:
    """Exit 9; a rerun sends nothing; `--retry held` makes attempt 2 under a new idempotency key."""
    with hostile(plays={"doubt": [says(b"", "500 No"), OK]}) as server:
        stage = stage_of(tmp_path, server.url, ["doubt", "good"], retries={"in_doubt": "hold"})
        assert retouch.run(stage).ended(9)["tasks"]["held"] == 1
        assert retouch.run(stage).ended(9)["attempts"]["in_doubt"] == 0
        assert retouch.run(stage, "--retry", "held").ended(0)["tasks"]["done"] == 1
    first, second = server.of("doubt")
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]
    assert [line["attempt"] for line in lines_of(stage, "doubt")] == [1, 2]


def test_attempts_and_keys_go_on_in_the_next_run(retouch: Forked, tmp_path: Path) -> None:
    """What is in doubt or throttled when a run stops keeps its count and its idempotency key in the next one."""
    doubt = says(b"", "502 No", Retry_After="4")
    plays = {
        "doubt": [doubt, says(b"", "502 No")],
        "busy": [says(b"", "429 No", Retry_After="4"), OK],
        "quota": [after(0.5, says(error("no", "insufficient_quota"), "429 No")), OK],
    }
    with hostile(plays=plays) as server:
        stage = stage_of(tmp_path, server.url, list(plays), retries={"max_attempts": 2, "max_wait": 5})
        assert retouch.run(stage).ended(6)["tasks"]["pending"] == 3
        tasks = retouch.run(stage).ended(9)["tasks"]
        assert (tasks["done"], tasks["held"]) == (2, 1)
    assert [line["attempt"] for line in lines_of(stage, "doubt")] == [1, 2]
    keys = {name: [request.headers["idempotency-key"] for request in server.of(name)] for name in plays}
    assert {name: (len(sent), len(set(sent))) for name, sent in keys.items()} == {
        "doubt": (2, 1),
        "busy": (2, 1),
        "quota": (2, 2),
    }


def test_never_more_in_flight_than_concurrency(retouch: Forked, tmp_path: Path) -> None:
    """With retries of every kind the server sees four requests at once, never five."""
    turns = [says(b"", "429 No"), says(b"", "502 No"), says(b"{}"), OK]
    prompts = [f"p{number}" for number in range(24)]
    plays = {name: [after(0.05, scene) for scene in turns[number % 4 :]] for number, name in enumerate(prompts)}
    with hostile(plays=plays) as server:
        stage = stage_of(tmp_path, server.url, prompts, limits={"concurrency": 4}, retries={"max_attempts": 4})
        assert retouch.run(stage).ended(0)["tasks"]["done"] == 24
    assert server.peak == 4
    assert len(server.requests) == 6 * (4 + 3 + 2 + 1)


def test_a_fifth_of_failures_stops_the_run(retouch: Forked, tmp_path: Path) -> None:
    """From the twentieth finished task on; exit 10, the rest pending."""
    prompts = [f"p{number:02}" for number in range(30)]
    plays = {name: [says(error("no", "moderation_blocked"), "400 No")] for name in prompts}
    with hostile(plays=plays) as server:
        stage = stage_of(tmp_path, server.url, prompts, limits={"concurrency": 1}, stop_on={"failures": "20%"})
        tasks = retouch.run(stage).ended(10)["tasks"]
    assert (tasks["failed"], tasks["pending"]) == (20, 10)
    assert len(server.requests) == 20


def test_a_gateway_that_cuts_every_request_is_named(retouch: Forked, tmp_path: Path) -> None:
    """From the fiftieth attempt on, with the time at which requests are cut as a hint; exit 10."""
    prompts = [f"p{number:02}" for number in range(60)]
    cut = after(1.1, says(b"<title>Time-out</title>", "504 Gateway Time-out"))
    with hostile(plays={name: [cut] for name in prompts}) as server:
        stage = stage_of(tmp_path, server.url, prompts, limits={"concurrency": 60}, stop_on={"in_doubt": "10%"})
        done = retouch.run(stage)
    assert done.ended(10)["tasks"]["failed"] == 0
    assert "cut after 1 s each" in done.stderr
    assert 50 <= len(server.requests) < 120


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that nobody signed, with its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    made = subprocess.run([*make.split(), "-keyout", "-", "-out", "-"], capture_output=True, check=True)
    path.write_bytes(made.stdout)
    return path


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@pytest.mark.parametrize("code", ["connect_refused", "dns", "tls"])
def test_an_endpoint_that_cannot_be_reached_costs_nothing(
    code: str, retouch: Forked, certificate: Path, tmp_path: Path
) -> None:
    """Attempts are unsent, no task fails, not a byte of the request leaves, and the next run makes attempt n + 1."""
    with hostile(tls_of(certificate)) as server:
        places = {"connect_refused": f"http://127.0.0.1:{closed_port()}/v1", "dns": "http://no-such-host.invalid/v1"}
        where = {"base_url": places.get(code, server.url), "allow_http": True}
        stage = stage_of(tmp_path, server.url, ["one", "two"], endpoint=where, stop_on={"duration": 1})
        run = retouch.run(stage).ended(11)
        assert (run["tasks"]["pending"], run["attempts"]["unsent"] >= 2) == (2, True)
        assert {line["code"] for line in stage.ledger() if line["type"] == "settled"} == {code}
        assert server.requests == []
        stage.job["endpoint"] |= {"base_url": server.url, "ca_bundle": str(certificate)}
        stage.job["stop_on"]["duration"] = None
        retouch.run(stage.write()).ended(0)
    sent = lines_of(stage, "one", "sent")
    assert [line["attempt"] for line in sent] == list(range(1, len(sent) + 1))
    assert {line["idempotency_key"] for line in sent} == {server.of("one")[0].headers["idempotency-key"]}


OUTAGE = """
import json, sys, time
from msgspec.structs import replace
import anyio, msgspec, pipeline
from pipeline.run.flags import Flags
from pipeline.run.perform import perform
from pipeline.run.progress import Silent
from pipeline.run.session import real_chance

class Told(Silent):
    def note(self, text): print(text, file=sys.stderr)

chance = replace(real_chance(), clock=lambda: time.monotonic() * 600)
job = pipeline.load(sys.argv[1])
print(msgspec.json.encode(anyio.run(lambda: perform(job, Flags(), Told(), chance=chance))).decode())
"""


def test_ten_minutes_of_an_outage_end_the_run(tmp_path: Path) -> None:
    """On a clock 600 times as fast: throttled and dropped for ten minutes, exit 4, nothing has failed."""
    plays = {"one": [says(b"", "429 No")], "two": [says(b"", "500 No")]}
    with hostile(plays=plays) as server:
        stage = stage_of(tmp_path, server.url, ["one", "two"], retries={"max_attempts": 50, "max_wait": 0.3})
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", OUTAGE, str(stage.manifest)],
            env=environment(stage.home) | {"PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    run = json.loads(done.stdout)
    assert (run["exit"], run["tasks"]["pending"], run["tasks"]["failed"]) == (4, 2, 0)
    assert "has not worked for 10 minutes" in done.stderr
    assert 1 <= time.monotonic() - began < 30
