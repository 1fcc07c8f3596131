"""Connections that are cut at every byte, through a proxy of our own, before a real sandbox.

`python -m tests.e2e.cuts` cuts a small exchange at each byte of its request and of its answer, with a FIN and with a
RST, at concurrency 1 and 32, and prints counts. The tests take a sample.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.e2e.command import wait_for
from tests.e2e.endpoint import Endpoint, serving
from tests.e2e.forked import Forked, forking
from tests.e2e.proxy import Passed, Plan, Proxy, proxying
from tests.e2e.stage import Stage, photo

PATIENT = 60.0
"""Seconds for an exchange that only a cut ends, however busy the machine is."""
WAYS = [(False, 1), (True, 1), (False, 32), (True, 32)]
"""Reset or not, and the concurrency."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A sandbox, a proxy before it, and the command."""

    endpoint: Endpoint
    proxy: Proxy
    retouch: Forked


@contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """All three, while the block lasts."""
    folder.mkdir(exist_ok=True)
    with serving(folder) as endpoint, forking() as retouch:
        port = int(endpoint.url.rpartition(":")[2].partition("/")[0])
        with proxying(port) as proxy:
            yield Scene(endpoint, proxy, retouch)


def stage_of_rows(folder: Path, url: str, names: Sequence[str], concurrency: int, timeout: float) -> Stage:
    """A job with a task for each name, which is its prompt; every task has one attempt."""
    home, place = folder / "home", folder / "job"
    (place / "photos").mkdir(parents=True)
    home.mkdir()
    (place / "photos/a.png").write_bytes(photo(1))
    (place / "rows.jsonl").write_text("".join(json.dumps({"name": name}) + "\n" for name in names))
    job: dict[str, Any] = {
        "version": 1,
        "name": "cuts",
        "endpoint": {"base_url": url, "api_key_env": "E2E_KEY"},
        "request": {"model": "gpt-image-1.5", "size": "1024x1024", "quality": "low"},
        "image_sets": [{"name": "s", "table": "rows.jsonl", "key": "{{ row.name }}", "images": "photos/a.png"}],
        "prompts": [{"name": "p", "text": "{{ row.name }}"}],
        "limits": {"concurrency": concurrency, "timeout": timeout},
        "retries": {"in_doubt": "hold", "max_attempts": 1},
        "stop_on": {"failures": 1.0, "in_doubt": 1.0},
        "output": {"folder": "out"},
    }
    return Stage(place, home, job).write()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an exchange at the proxy and in the ledger."""

    plan: Plan
    passed: Passed
    outcome: str
    code: str | None


def play(
    scene: Scene, folder: Path, plans: dict[str, Plan], concurrency: int, timeout: float = PATIENT
) -> list[Outcome]:
    """Run a job with these plans, and check the server's bill against what the proxy let through."""
    folder.mkdir(parents=True, exist_ok=True)
    scene.endpoint.reset()
    scene.proxy.plans, scene.proxy.passed = plans, {}
    stage = stage_of_rows(folder, scene.proxy.url, list(plans), concurrency, timeout)
    run = scene.retouch.run(stage)
    assert run.code in (0, 3, 9), run.stderr
    settled = {line["key"]: line for line in stage.ledger() if line["type"] == "settled"}
    assert settled.keys() == plans.keys() == scene.proxy.passed.keys()
    assert max(map(len, scene.proxy.passed.values())) == 1, "an attempt was made twice"
    whole = sum(passed.up == passed.length for [passed] in scene.proxy.passed.values())
    wait_for(lambda: scene.endpoint.bill.in_flight == 0, "the server to end")
    assert scene.endpoint.bill.billed == whole
    assert scene.endpoint.bill.max_in_flight <= concurrency
    return [
        Outcome(plan, scene.proxy.passed[name][0], settled[name]["outcome"], settled[name]["code"])
        for name, plan in plans.items()
    ]


def lengths(scene: Scene, folder: Path) -> Passed:
    """The greatest lengths of the exchange that is cut: pictures differ a little from prompt to prompt."""
    ended = play(scene, folder, {f"upwards-{number:04}": Plan() for number in range(24)}, 8)
    assert {one.outcome for one in ended} == {"succeeded"}
    longest = max(ended, key=lambda one: one.passed.answer)
    return longest.passed


def cuts(whole: Passed, *, reset: bool, sample: int = 1) -> dict[str, Plan]:
    """A plan for every byte of the request and of the answer; of a sample the borders and each `sample`-th."""
    up, down = _offsets(whole.length, sample), _offsets(whole.answer, sample)
    return {f"upwards-{at:04}"[-12:]: Plan(request=at, reset=reset) for at in up} | {
        f"answers-{at:04}"[-12:]: Plan(response=at, reset=reset) for at in down
    }


def _offsets(length: int, sample: int) -> list[int]:
    """From the beginning, and the last ones from the end: a header may be a digit longer the next time."""
    return sorted({*range(0, length - 8, sample), *range(min(8, length))}) + list(range(-8, 0))


def judge(ended: Sequence[Outcome]) -> Counter[str]:
    """Every exchange that was cut is in doubt, for a byte had left; every whole one succeeded. The counts."""
    for one in ended:
        whole = one.passed.up == one.passed.length and one.passed.down >= one.passed.answer > 0
        assert one.outcome == ("succeeded" if whole else "in_doubt"), one
    return Counter(f"{one.outcome} {one.code or ''}".strip() for one in ended)


def mixed(whole: Passed, count: int, seed: int) -> dict[str, Plan]:
    """Faults of every kind, as chance has it."""
    random = Random(seed)
    kinds: list[Callable[[], Plan]] = [
        Plan,
        lambda: Plan(delay=random.uniform(0.0, 0.3)),
        lambda: Plan(request=random.randrange(whole.length), reset=random.random() < 0.5),
        lambda: Plan(response=random.randrange(whole.answer - 8), reset=random.random() < 0.5),
        lambda: Plan(swallow=True),
        lambda: Plan(pace=1.0),
        lambda: Plan(response=0, reset=True, delay=0.1),
    ]
    return {f"mixture{number:04}": kinds[number % len(kinds)]() for number in range(count)}


def main() -> None:
    """Every byte, in every way."""
    began, total = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as name, scene(Path(name) / "sandbox") as made:
        whole = lengths(made, Path(name) / "whole")
        print(f"request {whole.length} bytes, answer {whole.answer} bytes")
        for reset, concurrency in WAYS:
            plans = cuts(whole, reset=reset)
            counts = judge(play(made, Path(name) / f"{reset}-{concurrency}", plans, concurrency))
            total += len(plans)
            print(f"{'RST' if reset else 'FIN'}, concurrency {concurrency}: {len(plans)} cuts: {dict(counts)}")
    print(f"{total} cuts in {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
