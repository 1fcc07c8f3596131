"""The numbers of a run that goes on: cost, its projection, rates, and what is left out where there is no room."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from pipeline.cli.progress import SHORTEST, described
from pipeline.ledger.usage import Cost
from pipeline.run.progress import Part, Snapshot, cost_words, fitting, plain_line, projected
from pipeline.run.summary import Tally, money, sentence, summarise

FULL = Snapshot(
    total=50_000,
    finished=1_234,
    failed=3,
    images=2_400,
    in_flight=12,
    waiting=5,
    tokens=4_500_000,
    seconds=1_000.0,
    sent_now=1_200,
    draining=False,
    confirmed=Decimal("12.34"),
    possible=Decimal("0.5"),
    limit=16,
    used_share=0.974,
)


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("0", "$0.00"), ("0.42", "$0.42"), ("12.3", "$12.30"), ("999.99", "$999.99"), ("999.996", "$1,000"),
        ("1234567.8", "$1,234,568"), ("0.0042", "$0.0042"), ("0.00019961", "$0.00020"), ("0.01", "$0.01"),
    ],
)  # fmt: skip
def test_money_has_sensible_digits(amount: str, words: str) -> None:
    """Cents, two digits of what is less than a cent, whole dollars of what is much; never an exponent."""
    assert money(Decimal(amount)) == words


@pytest.mark.parametrize(
    ("spent", "ended", "left", "total"),
    [("1.50", 3, 7, Decimal("5.00")), ("1.50", 3, 0, Decimal("1.50")), ("0", 3, 7, Decimal(0)), ("1.50", 0, 7, None)],
)
def test_the_rest_is_expected_to_cost_what_was_seen(spent: str, ended: int, left: int, total: Decimal | None) -> None:
    """Exact decimals; nothing is made up before the first task ended."""
    assert projected(Decimal(spent), ended, left) == total


@pytest.mark.parametrize(
    ("more", "at_end"),
    [
        ({}, Decimal("12.84") * (1_200 + 48_766) / 1_200),
        ({"possible": None}, Decimal("12.34") * (1_200 + 48_766) / 1_200),
        ({"confirmed": None}, None),
        ({"sent_now": 0}, None),
        ({"draining": True}, None),
    ],
)
def test_the_cost_at_the_end(more: Mapping[str, Any], at_end: Decimal | None) -> None:
    """Possibly billed attempts count; a drain comes to no such end, and without a price nothing is known."""
    assert replace(FULL, **more).cost_at_end == at_end


@pytest.mark.parametrize(
    ("possible", "at_end", "words"),
    [
        (None, None, "$0.42"),
        ("0", "1.23", "$0.42 of ~$1.23"),
        ("0.10", "1.23", "$0.42+$0.10 possible of ~$1.23"),
    ],
)
def test_possible_cost_is_told_where_there_is_some(possible: str | None, at_end: str | None, words: str) -> None:
    """What may have been billed stands apart."""
    some = [None if text is None else Decimal(text) for text in (possible, at_end)]
    assert cost_words(Decimal("0.42"), *some) == words


def test_the_whole_line() -> None:
    """All that is known, for a log."""
    assert plain_line(FULL) == (
        "1234/50000 tasks, 2.4 images/s, 12/16 in flight, 5 waiting, 3 failed, $12.34+$0.50 possible of ~$534.64, "
        "97% of rate, 4.5M tokens, ETA 11h17m"
    )


@pytest.mark.parametrize(
    ("more", "gone", "there"),
    [
        ({"confirmed": None}, "$", "97% of rate"),
        ({"used_share": None}, "of rate", "$12.34"),
        ({"limit": None}, "12/16", "12 in flight"),
    ],
)
def test_what_is_not_known_is_left_out(more: Mapping[str, Any], gone: str, there: str) -> None:
    """No zero stands for a price, a rate or a limit that nobody knows."""
    words = plain_line(replace(FULL, **more))
    assert gone not in words
    assert there in words


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (20, "a, bb, ccc"),
        (10, "a, bb, ccc"),
        (9, "a, ccc"),
        (6, "a, ccc"),
        (5, "ccc"),
        (3, "ccc"),
        (2, "a"),
        (0, ""),
        (-1, ""),
    ],
)
def test_what_matters_least_goes_first(room: int, words: str) -> None:
    """Order is kept; nothing is cut in the middle."""
    assert fitting([Part("a", 2), Part("bb", 1), Part("ccc", 3)], room) == words


@pytest.mark.parametrize("columns", [80, 100, 120, 200])
def test_the_words_leave_room_for_the_bar(columns: int) -> None:
    """Head, bar and words fit in the terminal; cost and the time left are there at any usual width."""
    words = described(FULL, columns)
    assert len("1234/50000   2%|") + SHORTEST + len("| ") + len(words) <= columns
    assert "$12.34" in words
    assert words.endswith("ETA 11h17m")


def test_a_wide_terminal_shows_all() -> None:
    """Nothing is left out without need."""
    assert described(FULL, 200) == f"{FULL.words}, ETA 11h17m"


def test_the_sentence_tells_the_cost() -> None:
    """The one line of a cron mail; what was possibly billed stands apart."""
    tally = Tally(cost=Cost(Decimal("0.42"), Decimal("0.1")))
    summary = summarise(tally, job="j", run="r", exit_code=0, seconds=1.0, ledger=None)
    assert summary.cost == tally.cost
    assert "; 0 tokens; $0.42+$0.10 possible; 1.0 s" in sentence(summary)
