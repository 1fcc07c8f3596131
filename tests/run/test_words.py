"""What a run says: the summary, its sentence, and the words of the progress display."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pipeline.ledger.records import Settled
from pipeline.ledger.usage import Cost, usage_of
from pipeline.outcome import Outcome
from pipeline.run.progress import Snapshot, count, duration, plain_line, state_words
from pipeline.run.summary import (
    ATTEMPT_OUTCOMES,
    TASK_ENDS,
    Failure,
    Tally,
    as_json,
    empty_summary,
    sentence,
    summarise,
)
from tests.ledger.lines import settled


def line(outcome: str, **more: Any) -> Settled:
    return settled("t", outcome, **more)


def summary(tally: Tally, exit_code: int = 0, error: str | None = None) -> Any:
    return summarise(tally, job="j", run="r", exit_code=exit_code, seconds=12.3456, ledger="l.jsonl", error=error)


def test_the_json_has_the_documented_keys_in_their_order() -> None:
    """Scripts read these names; an `error` is there only where something is wrong."""
    plain = as_json(summary(Tally()))
    assert list(plain) == [
        "job", "run", "exit", "tasks", "attempts", "images", "usage", "cost", "seconds", "ledger", "failures",
    ]  # fmt: skip
    assert list(plain["tasks"]) == ["total", "done", "skipped", "reused", "failed", "held", "invalid", "pending"]
    assert list(plain["attempts"]) == [
        "succeeded", "refused", "throttled", "unsent", "in_doubt", "unusable", "stopped",
    ]  # fmt: skip
    assert list(plain["usage"]) == ["input_tokens", "output_tokens", "total_tokens"]
    assert plain["cost"] == {"confirmed": None, "possible": None, "currency": "USD"}
    assert plain["seconds"] == 12.346
    assert as_json(summary(Tally(), error="why"))["error"] == "why"


def test_money_stays_a_number() -> None:
    """A decimal is not turned into text on its way to JSON."""
    assert as_json(Cost(Decimal("1.10"), None))["confirmed"] == Decimal("1.10")


def test_a_run_that_never_began_has_a_summary_too() -> None:
    """The same keys, all zero, with the reason."""
    plain = as_json(empty_summary(None, 2, "why"))
    assert (plain["exit"], plain["error"], plain["tasks"]["total"], plain["run"]) == (2, "why", 0, None)


def test_the_counts_add_up() -> None:
    """Every end is in one count, and total is their sum."""
    tally = Tally()
    for number, end in enumerate(TASK_ENDS, start=1):
        for _ in range(number):
            tally.end_task(end)
    counts = summary(tally).tasks
    assert counts.pop("total") == sum(counts.values()) == 28 == tally.finished


def test_the_first_twenty_failures_are_kept() -> None:
    """A million failures do not fill the memory."""
    tally = Tally()
    for number in range(50):
        tally.end_task("failed", Failure(str(number), "bad", None))
    assert [failure.task for failure in tally.failures] == [str(number) for number in range(20)]
    assert tally.tasks["failed"] == 50


def test_attempts_are_counted_as_the_ledger_counts_them() -> None:
    """The tally of a run equals the fold over its lines, whatever the endpoint reported."""
    lines = [
        line("succeeded", paths=["a", "b"], usage={"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}),
        line("succeeded", usage={"input_tokens": 1, "output_tokens": 2}),
        line("in_doubt"),
        line("refused", usage=None),
        line("unusable", usage={"input_tokens": 3, "output_tokens": 0, "total_tokens": 3}),
    ]
    tally = Tally()
    for one in lines:
        tally.end_attempt(one)
    told, total = summary(tally), usage_of(lines).total
    assert (told.attempts, told.images) == (total.attempts, total.images)
    assert told.usage == {name: getattr(total.usage, name) for name in told.usage}
    assert set(told.attempts) == {str(outcome) for outcome in ATTEMPT_OUTCOMES} == set(Outcome) - {Outcome.INVALID}


@pytest.mark.parametrize(
    ("ends", "attempts", "words"),
    [
        ({}, 0, "j: 0 done of 0 tasks; 0 requests, 0 images; 0 tokens; 12.3 s (exit 0)"),
        ({"done": 1}, 1, "j: 1 done of 1 tasks; 1 request, 1 image; 0 tokens; 12.3 s (exit 0)"),
        (
            {"done": 2, "skipped": 3, "failed": 1, "pending": 4},
            2,
            "j: 2 done, 3 skipped, 1 failed, 4 pending of 10 tasks; 2 requests, 2 images; 0 tokens; 12.3 s (exit 0)",
        ),
    ],
)
def test_the_sentence(ends: dict[str, int], attempts: int, words: str) -> None:
    """What is zero is left out, but for what was done."""
    tally = Tally()
    tally.tasks.update(ends)
    for _ in range(attempts):
        tally.end_attempt(line("succeeded"))
    assert sentence(summary(tally)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "?"), (0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (190, "3m10s"), (3599.9, "1h00m"), (7500, "2h05m"),
        (360_000, "100h00m"),
    ],
)  # fmt: skip
def test_a_duration(seconds: float | None, words: str) -> None:
    """Seconds, then minutes, then hours; never 60 of the smaller unit."""
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"), (999, "999"), (1000, "1.0k"), (12_340, "12.3k"), (999_999, "1.0M"), (4_500_000, "4.5M"),
        (999_999_999, "1.0G"), (10**10, "10.0G"),
    ],
)  # fmt: skip
def test_a_count(number: int, words: str) -> None:
    """Three digits or one decimal; never a thousand of the smaller unit."""
    assert count(number) == words


def moment(**more: Any) -> Snapshot:
    plain = {
        "total": 10, "finished": 4, "failed": 0, "images": 3, "in_flight": 2, "waiting": 0, "tokens": 1500,
        "seconds": 6.0, "sent_now": 3, "draining": False,
    }  # fmt: skip
    return Snapshot(**(plain | more))


def test_the_progress_line() -> None:
    """Done of total, pace, in flight, tokens, and how long the rest takes at this run's pace."""
    assert plain_line(moment()) == "4/10 tasks, 0.5 images/s, 2 in flight, 1.5k tokens, ETA 12s"


def test_progress_says_what_is_out_of_the_ordinary() -> None:
    """Waiting, failed and draining only where there are any."""
    words = state_words(moment(waiting=3, failed=1, draining=True))
    assert words == "0.5 images/s, 2 in flight, 3 waiting, 1 failed, 1.5k tokens, draining"


@pytest.mark.parametrize("more", [{"sent_now": 0}, {"seconds": 0.0}])
def test_before_anything_was_sent_nobody_knows_how_long_it_takes(more: dict[str, Any]) -> None:
    """No division by nothing."""
    assert moment(**more).seconds_left is None
    assert "ETA ?" in plain_line(moment(**more))


def test_a_finished_run_has_no_time_left() -> None:
    """The last line does not promise a rest."""
    assert "ETA" not in plain_line(moment(finished=10))
