"""Several processes' numbers as those of one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from pipeline.ledger.usage import Cost
from pipeline.money import ZERO
from pipeline.run.exits import RANK, Exit
from pipeline.run.progress import LaneNow, Snapshot
from pipeline.run.summary import FAILURES_SHOWN, Summary
from pipeline.run.surveying import Looking

_ADDED: Final = (
    *("total", "finished", "failed", "images", "in_flight", "waiting", "tokens", "sent_now"),
    *("failed_now", "in_doubt", "settled"),
)
"""Fields of a moment of which all processes' are added up."""


def merged(moments: Sequence[Snapshot | Looking]) -> Snapshot | Looking:
    """The run at a moment, from one of each process; it looks at what is done until each has done so."""
    running = [each for each in moments if isinstance(each, Snapshot)]
    if len(running) == len(moments):
        return _merged(running)
    total, finished = sum(each.total for each in moments), sum(each.finished for each in moments)
    return Looking(total, finished, max(each.seconds for each in moments))


def _merged(moments: Sequence[Snapshot]) -> Snapshot:
    counts = {name: sum(getattr(each, name) for each in moments) for name in _ADDED}
    return Snapshot(
        **counts,
        seconds=max(each.seconds for each in moments),
        draining=any(each.draining for each in moments),
        confirmed=_money(each.confirmed for each in moments),
        possible=_money(each.possible for each in moments),
        limit=sum(each.limit or 0 for each in moments),
        used_share=max((each.used_share for each in moments if each.used_share is not None), default=None),
        lanes=_lanes(moments),
        ends=_sum(each.ends for each in moments),
    )


def _lanes(moments: Sequence[Snapshot]) -> tuple[LaneNow, ...]:
    return tuple(
        LaneNow(
            same[0].name,
            sum(lane.in_flight for lane in same),
            sum(lane.limit for lane in same),
            max((lane.used_share for lane in same if lane.used_share is not None), default=None),
        )
        for same in zip(*(each.lanes for each in moments), strict=True)
    )


def merged_summary(summaries: Sequence[Summary]) -> Summary:
    """The run's end from that of each process. Job, ledger and seconds are the first one's."""
    return replace(
        summaries[0],
        run=", ".join(each.run for each in summaries if each.run is not None) or None,
        exit=int(worst(each.exit for each in summaries)),
        tasks=_sum(each.tasks for each in summaries),
        attempts=_sum(each.attempts for each in summaries),
        images=sum(each.images for each in summaries),
        usage=_sum(each.usage for each in summaries),
        cost=Cost(_money(each.cost.confirmed for each in summaries), _money(each.cost.possible for each in summaries)),
        failures=tuple(failure for each in summaries for failure in each.failures)[:FAILURES_SHOWN],
        error=next((each.error for each in summaries if each.error is not None), None),
    )


def followed(first: Summary, then: Summary) -> Summary:
    """A run's end where its processes looked at all tasks again: what the first look ended, the second one skipped."""
    both = merged_summary([first, then])
    ended = {end: both.tasks[end] for end in ("done", "reused")}
    skipped = then.tasks["skipped"] - first.tasks["done"] - first.tasks["reused"]
    return replace(both, tasks=then.tasks | ended | {"skipped": skipped})


def worst(exits: Iterable[int]) -> Exit:
    """Of several ends the one that counts."""
    return min(map(Exit, exits), key=RANK.index)


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for each in counts:
        total.update(each)
    return dict(total)


def _money(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Their sum; None where nobody knows any."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known, ZERO) if known else None
