from typing import Any

import msgspec

from pipeline.ledger.records import Record
from pipeline.ledger.usage import usage_of
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
