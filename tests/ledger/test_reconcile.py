from decimal import Decimal
from typing import Any

import pytest

from pipeline.ledger.period import period_of
from pipeline.ledger.reconcile import Account, Billed, Finding, Line, plain_model, reconcile
from pipeline.ledger.records import Record
from tests.ledger.lines import sent, settled

DAY = "2026-11-01"
TOKENS = {"input_tokens": 100, "output_tokens": 1000, "total_tokens": 1100}


def attempt(
    task: str, outcome: str | None, *, day: str = DAY, model: str = "gpt-image-1.5", **more: Any
) -> list[Record]:
    """The lines of an attempt that was sent on a day; without an outcome it is under way."""
    begun = sent(task)
    begun.at, begun.endpoint = f"{day}T12:00:00.000Z", more.pop("endpoint", "host")
    begun.request["model"] = model
    if outcome is None:
        return [begun]
    end = settled(task, outcome, model=model, endpoint=begun.endpoint, **more)
    end.at = "2026-11-09T12:00:00.000Z"
    return [begun, end]


def good(task: str, **more: Any) -> list[Record]:
    return attempt(task, "succeeded", usage=TOKENS, **more)


def row(requests: int | None = None, total: int | None = None, **more: Any) -> Billed:
    day, model = more.pop("day", DAY), more.pop("model", "gpt-image-1.5")
    return Billed(day, model, Account(requests=requests, total_tokens=total, **more))


def only(ledger: list[list[Record]], *export: Billed) -> Line:
    """The one line of a comparison."""
    (line,) = reconcile([record for lines in ledger for record in lines], export).lines
    return line


@pytest.mark.parametrize(
    ("ledger", "export", "finding", "differences"),
    [
        ([good("a"), good("b")], row(2, 2200), Finding.AGREES, ()),
        ([good("a"), good("b")], row(2), Finding.AGREES, ()),
        ([good("a"), good("b")], row(None, 2200), Finding.AGREES, ()),
        ([good("a"), attempt("b", "refused"), attempt("c", "throttled")], row(1, 1100), Finding.AGREES, ()),
        ([good("a"), attempt("b", "in_doubt")], row(1, 1100), Finding.AGREES, ()),
        ([good("a"), attempt("b", "in_doubt")], row(2, 2200), Finding.IN_DOUBT, ("requests", "total_tokens")),
        ([good("a"), attempt("b", "unusable")], row(2, 2200), Finding.IN_DOUBT, ("requests", "total_tokens")),
        ([good("a"), attempt("b", None)], row(2, 2200), Finding.IN_DOUBT, ("requests", "total_tokens")),
        ([good("a"), attempt("b", "in_doubt")], row(3, 3300), Finding.DIFFERS, ("requests", "total_tokens")),
        ([good("a"), attempt("b", "in_doubt")], row(1, 1000), Finding.DIFFERS, ("total_tokens",)),
        ([good("a"), attempt("b", "in_doubt")], row(0, 0), Finding.DIFFERS, ("requests", "total_tokens")),
        ([good("a"), attempt("b", "succeeded")], row(2, 2200), Finding.IN_DOUBT, ("total_tokens",)),
        ([good("a"), attempt("b", "succeeded")], row(3, 2200), Finding.DIFFERS, ("requests", "total_tokens")),
        ([good("a"), attempt("b", "unusable", usage=TOKENS)], row(2, 2200), Finding.AGREES, ()),
        ([good("a")], row(1, 1101), Finding.DIFFERS, ("total_tokens",)),
        (
            [good("a")],
            row(1, 1100, input_tokens=99, output_tokens=1001),
            Finding.DIFFERS,
            ("input_tokens", "output_tokens"),
        ),
    ],
)
def test_how_two_accounts_compare(
    ledger: list[list[Record]], export: Billed, finding: Finding, differences: tuple[str, ...]
) -> None:
    """What was refused counts for nobody; attempts in doubt explain what the provider has more, never what it lacks."""
    line = only(ledger, export)
    assert (line.finding, line.differences) == (finding, differences)


def test_what_only_one_side_knows() -> None:
    """Each side's days and models are listed, with the other side null; an attempt in doubt alone explains itself."""
    found = reconcile(
        [*good("a"), *attempt("b", "in_doubt", model="gpt-image-2")],
        [row(7, 70, model="dall-e-2"), row(1, day="2026-11-02")],
    )
    assert [(line.day, line.model, line.finding) for line in found.lines] == [
        ("2026-11-01", "dall-e-2", Finding.PROVIDER_ONLY),
        ("2026-11-01", "gpt-image-1.5", Finding.LEDGER_ONLY),
        ("2026-11-01", "gpt-image-2", Finding.IN_DOUBT),
        ("2026-11-02", "gpt-image-1.5", Finding.PROVIDER_ONLY),
    ]
    assert found.lines[0].ledger is None
    assert found.lines[1].provider is None
    assert found.findings == {"agrees": 0, "in doubt": 1, "differs": 0, "ledger only": 1, "provider only": 2}
    assert not found.agrees


def test_only_what_is_left_unexplained_disagrees() -> None:
    """Nothing at all agrees, and so does what attempts in doubt explain."""
    assert reconcile([], []).agrees
    assert reconcile([*good("a"), *attempt("b", "in_doubt")], [row(2, 2200)]).agrees
    assert not reconcile(good("a"), [row(2, 2200)]).agrees


def test_rows_of_one_day_and_model_add_up() -> None:
    """An export with a row for each project or hour is the same account."""
    line = only([good("a"), good("b")], row(1, 1100, cost=Decimal("0.1")), row(1, 1100, cost=Decimal("0.2")))
    assert line.finding is Finding.AGREES
    assert line.provider is not None
    assert str(line.provider.cost) == "0.3"


def test_cost_is_shown_and_not_judged() -> None:
    """A provider rounds; the tokens decide."""
    line = only([good("a", cost=Decimal("0.12"))], row(1, 1100, cost=Decimal("0.1")))
    assert line.finding is Finding.AGREES
    assert line.ledger is not None
    assert line.ledger.cost == Decimal("0.12")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("gpt-image-1.5", "gpt-image-1.5"),
        ("gpt-image-1.5-2026-01-01", "gpt-image-1.5"),
        ("openai/gpt-image-1.5", "gpt-image-1.5"),
        (" GPT-Image-1.5-2026-01-01 ", "gpt-image-1.5"),
        ("router/openai/gpt-image-2", "gpt-image-2"),
        ("gpt-image-1-mini", "gpt-image-1-mini"),
    ],
)
def test_a_model_by_any_of_its_names(name: str, plain: str) -> None:
    """Snapshots' dates, routers' prefixes and capitals make no other model."""
    assert plain_model(name) == plain
    assert only([good("a", model=plain)], row(1, 1100, model=name)).finding is Finding.AGREES


def test_both_sides_are_cut_to_the_period() -> None:
    """What lies before or after it is nobody's difference; the day is that of the `sent` line."""
    lines = [*good("a"), *good("b", day="2026-10-31"), *good("c", day="2026-11-02")]
    export = [row(1, 1100), row(5, day="2026-10-31"), row(5, day="2026-11-02")]
    found = reconcile(lines, export, period_of("2026-11-01", "2026-11-01"))
    assert [(line.day, line.finding) for line in found.lines] == [("2026-11-01", Finding.AGREES)]


def test_one_endpoint_of_several() -> None:
    """The export of one provider is held against what was sent there alone."""
    lines = [*good("a"), *good("b", endpoint="other")]
    assert not reconcile(lines, [row(1, 1100)]).agrees
    assert reconcile(lines, [row(1, 1100)], endpoint="host").agrees
