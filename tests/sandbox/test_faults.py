"""Reading and drawing faults, the rate limit and the latency: all without a server."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from pipeline.sandbox.allowance import Allowance, retry_headers
from pipeline.sandbox.answers import go_duration
from pipeline.sandbox.faults import UNBILLED, Fault, Faults, parse_faults
from pipeline.sandbox.latency import Latency, parse_latency
from pipeline.sandbox.spoilage import retry_after_headers, unbilled_answer


def test_a_text_of_faults_is_read() -> None:
    faults = parse_faults("rate=0.1, reset=0.05,slow=2,retry-after=7,seed=3,latency=0.5s")
    assert faults == Faults({Fault.RATE: 0.1, Fault.RESET: 0.05}, 2.0, "7", 3, Latency(seconds=0.5))


def test_an_empty_text_means_no_faults() -> None:
    assert parse_faults(" ") == Faults()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rato=0.1", "did you mean 'rate'"),
        ("zzz=1", "known keys: rate, quota"),
        ("rate", "no value"),
        ("rate=", "no value"),
        ("rate=2", "between 0 and 1"),
        ("rate=-1", "between 0 and 1"),
        ("rate=nan", "between 0 and 1"),
        ("rate=often", "cannot be read"),
        ("slow=-1", "cannot be read"),
        ("slow=inf", "cannot be read"),
        ("seed=1.5", "cannot be read"),
        ("rate=0.7,reset=0.7", "add up to 1.4"),
        ("rate=0.1,rate=0.2", "given twice"),
    ],
)
def test_a_wrong_text_is_refused_with_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_faults(text)


def test_faults_are_met_as_often_as_their_chances_say() -> None:
    faults = parse_faults("rate=0.2,reset=0.1")
    random = Random(1)
    met = Counter(faults.pick(random.random()) for _ in range(10_000))
    assert met[Fault.RATE] == pytest.approx(2000, rel=0.1)
    assert met[Fault.RESET] == pytest.approx(1000, rel=0.1)
    assert met[None] == pytest.approx(7000, rel=0.1)


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999999])
def test_a_chance_of_one_is_certain(draw: float) -> None:
    assert parse_faults("hang=1").pick(draw) is Fault.HANG


@pytest.mark.parametrize("fault", sorted(UNBILLED))
def test_every_unbilled_fault_has_an_answer(fault: Fault) -> None:
    assert unbilled_answer(fault, {}, "http://b.invalid/").status >= 300


@pytest.mark.parametrize(
    ("setting", "headers"),
    [
        ("1", {"retry-after": "1"}),
        ("none", {}),
        ("-5", {"retry-after": "-5"}),
        ("junk", {"retry-after": "junk"}),
        ("date", {"retry-after": "Thu, 01 Jan 1970 00:00:12 GMT"}),
    ],
)
def test_retry_after_is_sent_as_set(setting: str, headers: dict[str, str]) -> None:
    assert retry_after_headers(setting, 10.0) == headers


def test_the_allowance_refills_evenly_and_says_when() -> None:
    allowance = Allowance(per_minute=60, burst=2, now=0.0)
    assert [allowance.take(0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert allowance.headers()["x-ratelimit-remaining-requests"] == "0"
    assert allowance.headers()["x-ratelimit-reset-requests"] == "2s"
    assert allowance.take(0.75) == pytest.approx(0.25)
    assert allowance.take(1.0) == 0.0


def test_a_wait_is_rounded_up_to_whole_seconds_and_milliseconds() -> None:
    assert retry_headers(0.2501) == {"retry-after": "1", "retry-after-ms": "251"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.12, "120ms"), (58.891, "58.891s"), (62.5, "1m2.5s"), (3600, "1h0m0s"), (0.9999, "1s")],
)
def test_durations_are_spelled_as_go_does(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


@pytest.mark.parametrize(("text", "latency"), [("0.5", Latency(0.5)), ("2s", Latency(seconds=2.0))])
def test_a_latency_is_a_scale_or_seconds(text: str, latency: Latency) -> None:
    assert parse_latency(text) == latency


def test_better_quality_takes_longer() -> None:
    low, high = (Latency().of(quality, 0.5) for quality in ("low", "high"))
    assert low == pytest.approx(0.048)
    assert high == pytest.approx(0.3)
