"""Flow control of the real command against a server that limits: what it uses of what it may, by the server's bill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks.processes import Ran, run
from benchmarks.report import Case, Row

PER_MINUTE = 600
SERVED = ("--latency", "2s", "--requests-per-minute", str(PER_MINUTE))
SECONDS_LEFT_OUT = 10
FELL, RETURNED = 30, 60


def allowance(case: str, share: float, throttled: float, limits: Mapping[str, int], *served: str) -> Row:
    """400 tasks at a token bucket: the share of the allowance after the first 10 s, and what was throttled."""
    ran = run(400, {"concurrency": 64, **limits}, *SERVED, *served)
    reached, turned_away = share_used(ran, PER_MINUTE), ran.bill["throttled"] / ran.bill["requests"]
    figures = {
        "share of the allowance after 10 s": f"{reached:.1%}",
        "throttled": f"{turned_away:.1%} ({ran.bill['throttled']} of {ran.bill['requests']})",
        "requests in flight, at most": str(ran.bill["max_in_flight"]),
    }
    good = ran.code == 0 and reached >= share and turned_away <= throttled
    wanted = f"at least {share:.0%}, throttled at most {throttled:.0%}, no task failed"
    return Row(case, figures | ends_of(ran), wanted, good)


def capacity(case: str) -> Row:
    """2,040 tasks at a server that takes 64 at once, 8 after 30 s, and 64 again after 60 s."""
    steps = f"64,8@{FELL}s,64@{RETURNED}s"
    ran = run(2040, {"concurrency": 128}, "--latency", "2s", "--capacity", steps)
    accepted = [second["accepted"] for second in ran.bill["by_second"]]
    fell, returned = followed(accepted, FELL, 8 / 2), followed(accepted, RETURNED, 64 / 2)
    figures = {
        "seconds until it followed down": str(fell),
        "seconds until it followed up": str(returned),
        "a second before, at 8, and back": " / ".join(
            f"{mean(accepted[start : start + 10]):.1f}" for start in (FELL - 10, RETURNED - 10, RETURNED + 20)
        ),
        "throttled": f"{ran.bill['throttled'] / ran.bill['requests']:.1%}",
    }
    good = ran.code == 0 and fell is not None and returned is not None and max(fell, returned) <= 30
    return Row(case, figures | ends_of(ran), "85 % of the places used within 30 s both ways, no task failed", good)


def gateway(case: str, concurrency: int) -> Row:
    """A gateway that cuts after 2 s before a server that needs 3 s: every attempt is billed in vain."""
    ran = run(400, {"concurrency": concurrency}, "--latency", "3s", "--gateway-cut", "2")
    billed, hinted = ran.bill["billed"], "cut after 2 s" in ran.said
    figures = {"possibly billed": str(billed), "hint names the 2 s": str(hinted).lower()} | ends_of(ran)
    return Row(
        case, figures, "exit 10 with the hint, at most 70 possibly billed", ran.code == 10 and hinted and billed <= 70
    )


def ramp(case: str) -> Row:
    """2,000 tasks, 512 at once, at a server that answers after 10 s: four rounds, of which the last is not full."""
    ran = run(2000, {"concurrency": 512}, "--latency", "10s")
    accepted = [second["accepted"] for second in ran.bill["by_second"]]
    ratio = ran.seconds / 40
    figures = {"sent in the first two seconds": str(sum(accepted[:2])), "wall time / ideal": f"{ratio:.3f}"}
    return Row(case, figures | ends_of(ran), "wall time at most 1.03 times the ideal", ran.code == 0 and ratio <= 1.03)


def share_used(ran: Ran, per_minute: float) -> float:
    """The share of the allowance that was taken on in whole seconds, from the tenth to the last but one."""
    accepted = [second["accepted"] for second in ran.bill["by_second"]][SECONDS_LEFT_OUT:-1]
    return mean(accepted) * 60 / per_minute


def followed(accepted: Sequence[int], since: int, per_second: float) -> int | None:
    """Seconds after `since` from which on four seconds in a row reached 85 % of what there was room for."""
    spans = range(since, len(accepted) - 4)
    found = (start - since for start in spans if mean(accepted[start : start + 4]) >= 0.85 * per_second)
    return next(found, None)


def mean(numbers: Sequence[float]) -> float:
    """The mean; 0 of nothing."""
    return sum(numbers) / len(numbers) if numbers else 0.0


def ends_of(ran: Ran) -> dict[str, str]:
    """How the run and its tasks ended."""
    tasks = {name: count for name, count in ran.summary["tasks"].items() if count}
    return {
        "tasks": ", ".join(f"{count} {name}" for name, count in tasks.items()),
        "exit": str(ran.code),
        "wall time": f"{ran.seconds:.1f} s",
    }


def _once(
    case: Callable[[], Row],
    rounds: int,  # noqa: ARG001 - a flow takes minutes, and each of them is a measurement of its own
) -> Row:
    return case()


BUCKET = ("--burst", "10")
SILENT = (*BUCKET, "--no-rate-headers")

_CASES: Mapping[str, Callable[[], Row]] = {
    "set": partial(allowance, "requests_per_minute set", 0.97, 0.01, {"requests_per_minute": PER_MINUTE}, *BUCKET),
    "told": partial(allowance, "from 429s alone, with Retry-After", 0.90, 0.05, {}, *SILENT),
    "untold": partial(allowance, "from 429s alone, without Retry-After", 0.90, 0.05, {}, *SILENT, "--no-retry-after"),
    "strict": partial(
        allowance, "from 429s alone, a bucket for one", 0.90, 0.05, {}, "--burst", "1", "--no-rate-headers"
    ),
    "capacity": partial(capacity, "capacity 64, then 8, then 64"),
    "gateway": partial(gateway, "a gateway that cuts, 16 at once", 16),
    "gateway-64": partial(gateway, "a gateway that cuts, 64 at once", 64),
    "ramp": partial(ramp, "512 at once, answers after 10 s"),
}

CASES: Mapping[str, Case] = {name: partial(_once, case) for name, case in _CASES.items()}
