"""A job has the same outcomes through a LiteLLM proxy as directly at the endpoint behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.sandbox.server import Server
from tests.peer import capture, proxy, upstream

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]

RETOUCH = Path(sys.executable).with_name("retouch")
_MANIFEST = """\
version: 1
name: peer
endpoint: {{base_url: "{url}", api_key_env: PEER_KEY}}
request: {{model: {model}, size: 1024x1024, quality: low, n: 1}}
image_sets:
  - {{name: photos, images: photos/*, mask: masks/photo.png}}
prompts:
  - {{name: clean, text: "Un fond « blanc », s'il te plaît", references: [brand/logo.webp]}}
retries: {{max_attempts: 2, max_wait: 10s}}
output: {{folder: out}}
"""


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended: exit code, counts, and the outcome and code of each attempt in the ledger's order."""

    exit: int
    tasks: dict[str, int]
    attempts: dict[str, int]
    outcomes: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Case:
    """What the upstream answers, the exit code that follows, and the outcome of each attempt."""

    answers: tuple[str, ...]
    exit: int
    outcomes: tuple[tuple[str, str | None], ...]


SUCCEEDED = ("succeeded", None)
CASES = {
    "success": Case(("success",), 0, (SUCCEEDED,)),
    "throttled": Case(("rate_limited", "success"), 0, (("throttled", "rate_limit_exceeded"), SUCCEEDED)),
    "overloaded": Case(("overloaded", "success"), 0, (("throttled", "server_is_overloaded"), SUCCEEDED)),
    "moderation": Case(("moderation",), 3, (("refused", "moderation_blocked"),)),
    "invalid image": Case(("invalid_image",), 3, (("refused", "invalid_image_file"),)),
    "quota under 429": Case(("quota",), 6, (("stopped", "insufficient_quota"),)),
    "billing limit under 400": Case(("billing_limit",), 6, (("stopped", "billing_hard_limit_reached"),)),
    "invalid key": Case(("invalid_key",), 6, (("stopped", "invalid_api_key"),)),
    "server error": Case(("server_error", "success"), 0, (("in_doubt", "server_error"), SUCCEEDED)),
}


def _run(folder: Path, url: str, model: str = capture.MODEL) -> tuple[End, list[dict[str, Any]]]:
    """Run the job in a folder of its own with the real command; return its end and its ledger's lines."""
    for name, colour in (("photos/photo.jpg", "red"), ("brand/logo.webp", "blue")):
        (folder / name).parent.mkdir(parents=True)
        Image.new("RGB", (64, 64), colour).save(folder / name)
    (folder / "masks").mkdir()
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(folder / "masks/photo.png")
    job = folder / "job.yaml"
    job.write_text(_MANIFEST.format(url=url, model=model), encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PEER_KEY": proxy.MASTER_KEY}
    done = subprocess.run(
        [RETOUCH, "run", job, "--json"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.stdout, done.stderr
    summary = json.loads(done.stdout)
    assert summary["exit"] == done.returncode, done.stderr
    lines = [json.loads(line) for line in (folder / "out/ledger.jsonl").read_bytes().split(b"\n") if line]
    settled = tuple((line["outcome"], line["code"]) for line in lines if line["type"] == "settled")
    return End(done.returncode, summary["tasks"], summary["attempts"], settled), lines


def _waited(lines: list[dict[str, Any]]) -> float:
    """Seconds between the first attempt's end and the second's beginning."""
    settled = next(line for line in lines if line["type"] == "settled")
    again = [line for line in lines if line["type"] == "sent"][1]
    return (datetime.fromisoformat(again["at"]) - datetime.fromisoformat(settled["at"])).total_seconds()


@pytest.mark.parametrize("name", CASES)
def test_outcomes_and_exit_codes_are_the_same_through_the_proxy(
    name: str, peer: proxy.Proxy, server: upstream.Upstream, tmp_path: Path
) -> None:
    """Ledger, counts, exit code and the waiting that Retry-After asks for do not depend on a proxy in between."""
    case = CASES[name]
    for route, url in (("direct", server.url), ("proxied", peer.url)):
        server.script(*case.answers)
        end, lines = _run(tmp_path / route, url)
        assert (end.exit, end.outcomes) == (case.exit, case.outcomes), route
        assert sum(end.attempts.values()) == len(case.outcomes) == len(server.received), route
        if case.outcomes[0][0] == "throttled":
            assert _waited(lines) >= upstream.RETRY_AFTER - 0.01, route


@pytest.mark.parametrize("answer", ["error_under_200", "no_images", "bad_base64"])
def test_a_200_without_an_image_is_unusable_through_the_proxy_too(
    answer: str, peer: proxy.Proxy, server: upstream.Upstream, tmp_path: Path
) -> None:
    """The proxy rewrites such bodies; they are still possibly billed, tried once more, and never a success."""
    for route, url in (("direct", server.url), ("proxied", peer.url)):
        server.script(answer)
        end, _ = _run(tmp_path / route, url)
        assert end.exit == 3, route
        assert [outcome for outcome, _ in end.outcomes] == ["unusable", "unusable"], route


def test_the_upstream_receives_the_same_fields_and_files_through_the_proxy(
    peer: proxy.Proxy, server: upstream.Upstream, tmp_path: Path
) -> None:
    """Prompt, fields, item image, reference and mask arrive byte for byte, in order."""
    received = []
    for route, url in (("direct", server.url), ("proxied", peer.url)):
        server.script("success")
        _run(tmp_path / route, url)
        received += server.received
    assert [name for name, _ in received[0].files] == ["image", "image", "mask"]
    assert received[0] == received[1]


def test_usage_through_the_proxy_is_the_upstreams(peer: proxy.Proxy, server: upstream.Upstream, tmp_path: Path) -> None:
    """Tokens that the upstream reports stand in the ledger; zeros that the proxy invents do not."""
    for answer, tokens in (("success", 522), ("success_without_usage", None)):
        server.script(answer)
        _, lines = _run(tmp_path / answer, peer.url)
        usage = next(line["usage"] for line in lines if line["type"] == "settled")
        assert (usage and usage["total_tokens"]) == tokens


def test_the_sandboxs_bill_is_the_ledgers_through_the_proxy(peer: proxy.Proxy, sandbox: Server, tmp_path: Path) -> None:
    """One request is one bill, with the tokens that stand in the ledger: the proxy neither repeats nor rounds."""
    sandbox.bill.reset()
    end, lines = _run(tmp_path, peer.url, capture.SANDBOX_MODEL)
    usage = [line["usage"]["total_tokens"] for line in lines if line["type"] == "settled"]
    assert end.exit == 0
    assert (sandbox.bill.requests, sandbox.bill.billed, sandbox.bill.images) == (1, 1, 1)
    assert usage == [sandbox.bill.usage.total_tokens]
