from decimal import Decimal
from typing import Any

import msgspec
import pytest

from pipeline.cli import usage as cli_usage
from pipeline.ledger.period import period_of
from pipeline.ledger.records import Record
from pipeline.ledger.usage import GROUPS, usage_of
from tests.ledger.lines import end, reused, run, sent, settled


def attempt(outcome: str, *, at: str = "2026-11-01T23:59:59.999Z", **more: Any) -> Record:
    record = settled("t", outcome, **more)
    record.run, record.at = "r1", at
    return record


def test_the_report_has_the_documented_shape() -> None:
    """An empty ledger gives every key, with zero counts and no known cost."""
    zero = dict.fromkeys(["succeeded", "refused", "throttled", "unsent", "in_doubt", "unusable", "stopped"], 0)
    assert msgspec.to_builtins(usage_of([])) == {
        "total": {
            "attempts": zero,
            "images": 0,
            "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
            "cost": {"confirmed": None, "possible": None, "currency": "USD"},
            "unpriced": 0,
        },
        "groups": [],
    }


def test_only_settled_attempts_count() -> None:
    """Runs, sent and reused lines, ends and invalid items are no attempts."""
    usage = usage_of([run(), sent("a"), reused("b", "a"), end(), settled("c", "invalid", 0), attempt("refused")])
    assert sum(usage.total.attempts.values()) == usage.total.attempts["refused"] == 1
    assert usage.total.images == 0


def test_images_and_tokens_add_up() -> None:
    """Every image of a result counts, and every token that any attempt reported."""
    tokens = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}
    usage = usage_of([attempt("succeeded", paths=["1", "2"], usage=tokens), attempt("unusable", usage=tokens)])
    assert (usage.total.images, usage.total.usage.total_tokens) == (2, 60)


def test_junk_usage_counts_as_none() -> None:
    """Missing, negative, textual and boolean counts add nothing."""
    junk = [None, {}, {"total_tokens": -5}, {"total_tokens": "9"}, {"total_tokens": True}, {"total_tokens": None}]
    assert usage_of(attempt("succeeded", usage=usage) for usage in junk).total.usage.total_tokens == 0


def test_groups_are_by_the_values_asked_for_in_order() -> None:
    """Attempts are grouped by each combination, sorted, and a value that a line does not say is null."""
    usage = usage_of(
        [
            attempt("succeeded", model="m2", prompt="white"),
            attempt("succeeded", model="m1", prompt="white", at="2026-11-02T00:00:00.000Z"),
            attempt("refused", model="m1", prompt="white", at="2026-11-02T10:00:00.000Z"),
            attempt("in_doubt"),
        ],
        by=["model", "day"],
    )
    assert [(group.group, sum(group.attempts.values())) for group in usage.groups] == [
        ({"model": None, "day": "2026-11-01"}, 1),
        ({"model": "m1", "day": "2026-11-02"}, 2),
        ({"model": "m2", "day": "2026-11-01"}, 1),
    ]
    assert sum(usage.total.attempts.values()) == 4


def test_groups_by_run_set_and_prompt() -> None:
    """The other values that can be asked for come from the line too."""
    usage = usage_of([attempt("succeeded", set="shoes", prompt="white")], by=["run", "set", "prompt"])
    assert usage.groups[0].group == {"run": "r1", "set": "shoes", "prompt": "white"}


def priced(task: str, estimate: str | None, *, at: str = "2026-11-01T23:59:59.999Z", by: str = "r1") -> Record:
    record = sent(task)
    record.run, record.at, record.estimated_cost = by, at, None if estimate is None else Decimal(estimate)
    record.request["model"] = "m1"
    return record


def ended(task: str, outcome: str, cost: str | None = None, by: str = "r1", **more: Any) -> Record:
    record = settled(task, outcome, cost=None if cost is None else Decimal(cost), **more)
    record.run, record.at = by, "2026-11-02T00:00:01.000Z"
    return record


def test_confirmed_and_possible_cost_are_apart() -> None:
    """Reported usage is confirmed; in doubt, unusable, salvaged and under way stay possible at their estimates."""
    total = usage_of(
        [
            priced("a", "0.25"),
            ended("a", "succeeded", "0.10"),
            priced("b", "0.25"),
            ended("b", "in_doubt"),
            priced("c", "0.5"),
            ended("c", "succeeded", salvaged=True),
            priced("d", "1"),
            ended("d", "throttled"),
            priced("e", "2"),
        ]
    ).total
    assert (str(total.cost.confirmed), str(total.cost.possible), total.unpriced) == ("0.10", "2.75", 0)
    assert sum(total.attempts.values()) == 4


def test_money_is_null_only_where_nobody_knows_a_price() -> None:
    """Attempts without a price are counted beside the sums; what cost nothing is zero, not null."""
    unknown = usage_of([priced("a", None), ended("a", "succeeded"), priced("b", None)]).total
    assert (unknown.cost.confirmed, unknown.cost.possible, unknown.unpriced) == (None, None, 2)
    free = usage_of([priced("a", "0"), ended("a", "succeeded", "0"), priced("b", "0"), ended("b", "refused")]).total
    assert [free.cost.confirmed, free.cost.possible, free.unpriced] == [Decimal(0), Decimal(0), 0]
    mixed = usage_of([priced("a", None), ended("a", "succeeded"), priced("b", "0.5")]).total
    assert [mixed.cost.confirmed, mixed.cost.possible, mixed.unpriced] == [Decimal(0), Decimal("0.5"), 1]


def test_an_attempt_is_of_the_run_and_the_day_that_sent_it() -> None:
    """A later run that settles it, and an answer after midnight, did not make it."""
    found = usage_of([priced("a", "0.25"), ended("a", "in_doubt", by="r2", code="interrupted")], ("run", "day"))
    assert [group.group for group in found.groups] == [{"run": "r1", "day": "2026-11-01"}]


def test_shards_that_sent_the_same_at_once_keep_their_ends_apart() -> None:
    """Of two attempts with one fingerprint and number each ends in its own run."""
    lines = [
        priced("a", "0.25", by="r1"),
        priced("a", "0.50", by="r2"),
        ended("a", "succeeded", "0.1", by="r2"),
        ended("a", "in_doubt", by="r1"),
    ]
    groups = usage_of(lines, ("run",)).groups
    assert [(group.cost.confirmed, group.cost.possible) for group in groups] == [
        (Decimal(0), Decimal("0.25")),
        (Decimal("0.1"), Decimal(0)),
    ]


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("shoes/a/white", ("shoes", "white")),
        ("shoes/2024/06/a/white/light=dawn/mood=calm#3", ("shoes", "white")),
        ("shoes/a/white#2", ("shoes", "white")),
        ("shoes/a%3Db%23/white", ("shoes", "white")),
        ("t", (None, None)),
    ],
)
def test_a_line_without_names_is_grouped_by_its_task(task: str, names: tuple[str | None, str | None]) -> None:
    """What a killed run left is counted under its set and prompt, and so is what is under way."""
    for lines in ([priced(task, "1")], [priced(task, "1"), ended(task, "in_doubt", code="interrupted")]):
        group = usage_of(lines, ("set", "prompt", "model", "endpoint")).groups[0].group
        assert group == {"set": names[0], "prompt": names[1], "model": "m1", "endpoint": "host"}


def test_a_period_takes_attempts_by_their_admission() -> None:
    """An attempt that began before and ended within is not in it, money included."""
    lines = [
        priced("a", "1", at="2026-11-01T23:59:59.999Z"),
        priced("b", "2", at="2026-11-02T00:00:00.000Z"),
        ended("a", "in_doubt"),
        ended("b", "in_doubt"),
        priced("c", "4", at="2026-11-03T00:00:00.000Z"),
    ]
    assert usage_of(lines, period=period_of("2026-11-02", "2026-11-02")).total.cost.possible == 2
    assert usage_of(lines, period=period_of(None, "2026-11-02")).total.cost.possible == 3
    assert usage_of(lines, period=period_of("2026-11-02T00:00:00Z", None)).total.cost.possible == 6


def test_the_groups_that_the_command_offers_are_all() -> None:
    """The command line lists them without importing the fold."""
    assert cli_usage.GROUPS == GROUPS
