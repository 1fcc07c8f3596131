"""Cut connections: the outcome is what the number of bytes that left says, for whatever byte was the last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cuts import WAYS, Scene, cuts, judge, lengths, mixed, play, scene
from tests.e2e.proxy import Passed, Plan, cutting, tunnelling
from tests.e2e.servers import Hostile, hostile, stage_of, tls_of
from tests.e2e.stage import Stage, photo
from tests.security.certificates import Certificates, make

SAMPLE = 97
"""Each so-manyth byte is cut here; `python -m tests.e2e.cuts` cuts at all."""


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A sandbox, the proxy and the command."""
    with scene(tmp_path_factory.mktemp("sandbox")) as made:
        yield made


@pytest.fixture(scope="module")
def whole(stand: Scene, tmp_path_factory: pytest.TempPathFactory) -> Passed:
    """The lengths of an exchange that nobody cuts."""
    return lengths(stand, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize(("reset", "concurrency"), WAYS, ids=[f"{'rst' if r else 'fin'}-{c}" for r, c in WAYS])
def test_a_cut_at_any_byte_is_in_doubt(
    reset: bool, concurrency: int, stand: Scene, whole: Passed, tmp_path: Path
) -> None:
    """Of the request and of the answer, with a FIN and a RST: one attempt, one line, and the bill is covered."""
    plans = cuts(whole, reset=reset, sample=SAMPLE)
    counts = judge(play(stand, tmp_path / "cut", plans, concurrency))
    assert counts.total() == len(plans) > 60
    assert counts["succeeded"] <= len(plans) // 3, "answers are not of one length: an offset may lie behind the last"


@pytest.mark.parametrize("concurrency", [1, 32])
def test_faults_of_every_kind_at_once_end_as_their_bytes_say(
    concurrency: int, stand: Scene, whole: Passed, tmp_path: Path
) -> None:
    """Delays, a byte a second, cuts both ways, a connection that swallows: slots are freed, the rest goes on."""
    count = {1: 7, 32: 63}[concurrency]
    ended = play(stand, tmp_path / "mixed", mixed(whole, count, seed=concurrency), concurrency, timeout=4)
    counts = judge(ended)
    assert counts["succeeded"] >= 2 * count // 7
    assert counts["in_doubt timeout"] >= 2 * count // 7
    slow = [one for one in ended if one.plan.pace]
    assert {one.passed.down < 9 for one in slow} == {True}


DOUBLED = {
    "head": (slice(0, 12), {"in_doubt"}),
    "header-line": (slice(17, 30), {"succeeded", "in_doubt"}),
    "whole-answer": (slice(0, None), {"succeeded"}),
    "in-the-body": (slice(-900, -860), {"in_doubt", "unusable", "succeeded"}),
    "last-bytes": (slice(-2, None), {"succeeded"}),  # behind what Content-Length says
}


@pytest.mark.parametrize("concurrency", [1, 32])
def test_bytes_that_come_twice_never_end_as_another_picture(concurrency: int, stand: Scene, tmp_path: Path) -> None:
    """What is published decodes, what does not is told, and nothing is asked for twice."""
    plans = {name: Plan(twice=part) for name, (part, _) in DOUBLED.items()}
    for name, one in zip(plans, play(stand, tmp_path / "twice", plans, concurrency), strict=True):
        assert one.outcome in DOUBLED[name][1], (name, one)


def outcomes_in_order(stage: Stage) -> list[str]:
    """How each attempt ended, in the order in which they were sent."""
    lines = stage.ledger()
    settled = {(line["task"], line["attempt"]): line["outcome"] for line in lines if line["type"] == "settled"}
    return [settled[line["task"], line["attempt"]] for line in lines if line["type"] == "sent"]


WHOLE = (None, None)
"""An exchange that is not cut."""


def between(cuts: list[tuple[int | None, int | None]]) -> list[tuple[int | None, int | None]]:
    """The cuts with a whole exchange behind every fourth: the endpoint is up, for the breaker too."""
    return [cut for at, one in enumerate(cuts) for cut in ((one, WHOLE) if at % 4 == 3 else (one,))]


def of_cuts(outcomes: list[str]) -> list[str]:
    """The outcomes without those of the whole exchanges that `between` put there."""
    return [outcome for at, outcome in enumerate(outcomes) if at % 5 != 4]


def port_of(server: Hostile) -> int:
    return int(server.url.rpartition(":")[2].partition("/")[0])


def tls_stage(folder: Path, url: str, certificates: Certificates, tasks: int, **endpoint: str) -> Stage:
    """A job of many tasks, one after another, behind TLS."""
    return stage_of(
        folder,
        f"https://{url}",
        [f"p{number:03}" for number in range(tasks)],
        endpoint={"ca_bundle": str(certificates.authority), **endpoint},
        limits={"concurrency": 1, "timeout": 60},
        retries={"max_attempts": 1, "max_wait": 0.01, "in_doubt": "hold"},
    )


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_a_cut_within_a_tls_handshake_is_unsent_and_after_it_in_doubt(
    reset: bool, stand: Scene, certificates: Certificates, tmp_path: Path
) -> None:
    """By the byte at which the server's part of the handshake ends: before it nothing of the request can have left."""
    with hostile(tls_of(certificates.good)) as server, cutting(port_of(server), reset=reset) as cutter:
        downs = [1, 50, 127, *range(200, 3200, 100)]
        ups = [1, 5, 100, 200]
        cutter.cuts = between([(None, down) for down in downs] + [(up, None) for up in ups])
        stage = tls_stage(tmp_path, cutter.url, certificates, 60)
        run = stand.retouch.run(stage)
        assert run.code in (0, 9), run.stderr
    all_ended = outcomes_in_order(stage)
    ended = of_cuts(all_ended)
    by_down = ended[: len(downs)]
    flip = by_down.index("in_doubt")
    assert by_down == ["unsent"] * flip + by_down[flip:]
    assert flip > 5
    assert set(by_down[flip:]) <= {"in_doubt", "succeeded"}
    assert ended[len(downs) : len(downs) + len(ups)] == ["unsent"] * len(ups)
    assert set(ended[len(downs) + len(ups) :]) == {"succeeded"}
    assert len(server.requests) <= len(all_ended) - all_ended.count("unsent")


def test_a_cut_while_a_proxy_opens_a_tunnel_is_unsent(stand: Scene, certificates: Certificates, tmp_path: Path) -> None:
    """At each byte of the proxy's answer to CONNECT: the request was never begun."""
    with hostile(tls_of(certificates.good)) as server, tunnelling() as tunnel:
        port = int(tunnel.url.rpartition(":")[2])
        with cutting(port) as cutter:
            cutter.cuts = between([(None, down) for down in range(1, 39)])
            proxy = f"http://{cutter.url.removesuffix('/v1')}"
            url = server.url.removeprefix("https://")
            stage = tls_stage(tmp_path, url, certificates, 20, proxy=proxy)
            stand.retouch.run(stage).ended(0)
    assert of_cuts(outcomes_in_order(stage))[:38] == ["unsent"] * 38
    assert len(server.requests) == 20


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_a_large_upload_that_is_cut_is_in_doubt_however_little_of_it_left(
    reset: bool, stand: Scene, tmp_path: Path
) -> None:
    """At the first bytes, in the middle and at the last byte of six megabytes; no complete request at the server."""
    size = 6_000_000
    with hostile() as server, cutting(port_of(server), reset=reset) as cutter:
        cutter.cuts = [(up, None) for up in (1, 100, 65_536, size // 2, size - 100_000, size)]
        names = [f"p{number}" for number in range(6)]
        stage = stage_of(
            tmp_path,
            f"http://{cutter.url}",
            names,
            limits={"concurrency": 1, "timeout": 60},
            retries={"in_doubt": "hold"},
        )
        (stage.folder / "photos/a.png").write_bytes(photo(1) + bytes(size))
        run = stand.retouch.run(stage).ended(9)
    assert run["attempts"]["in_doubt"] == 6
    assert not [request for request in server.requests if request.whole]
