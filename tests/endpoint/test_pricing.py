"""Estimates and costs: exact decimals, nothing made up, and a high that no answer within the rules exceeds."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.endpoint.model import Model, Span
from pipeline.endpoint.models import Catalogue, load_catalogue
from pipeline.endpoint.pricing import FREE, Price, RequestEstimate, Seen, cost_of, estimate_request, text_span
from pipeline.manifest.endpoints import Endpoint

FIELDS = {"model": "gpt-image-1.5", "prompt": "x" * 100, "size": "1024x1024", "quality": "high"}
PRICE = Price(Decimal(5), Decimal(8), Decimal(32), Decimal(10))
BUILT = load_catalogue(Endpoint(), Path())
counts = st.integers(0, 200)


def found(catalogue: Catalogue, name: str) -> Model:
    model = catalogue.model(name)
    assert model is not None
    return model


ONE = found(BUILT, "gpt-image-1.5")


def usage(text: int, images: int, output: int, **more: Any) -> dict[str, Any]:
    """As the endpoint reports it."""
    return {
        "input_tokens": text + images,
        "input_tokens_details": {"text_tokens": text, "image_tokens": images},
        "output_tokens": output,
        "total_tokens": text + images + output,
    } | more


def estimate(sizes: list[tuple[int, int] | None], name: str = "gpt-image-1.5", **fields: Any) -> RequestEstimate:
    """An estimate of the usual request with other fields."""
    return estimate_request(BUILT.model(name), BUILT.price(name), FIELDS | fields, sizes)


def test_an_estimate_is_what_the_tables_and_prices_say() -> None:
    """Text by its length, the input by its tiles, the output by its row; in dollars to the last digit."""
    assert estimate([(1024, 1024)]) == RequestEstimate(
        Span(25 + 194, 116 + 194),
        Span(4160, 4160),
        Decimal("0.134797"),  # 25 x 5 + 194 x 8 + 4160 x 32 millionths
        Decimal("0.135600"),  # 310 x 8 + 4160 x 32: text may be told as image where an answer has no details
    )


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"n": 3}, Span(3 * 4160, 3 * 4160)),
        ({"quality": "auto"}, Span(272, 4160)),
        ({"size": "auto"}, Span(4160, 6240)),
        ({"quality": "auto", "size": "auto", "n": 2}, Span(2 * 272, 2 * 6240)),
    ],
)
def test_n_multiplies_the_output_and_auto_is_a_range(fields: dict[str, Any], output: Span) -> None:
    """The input stays as it is; a field that is left out counts as auto."""
    both = estimate([(1024, 1024)], **fields)
    assert both.output == output
    assert both.input == Span(219, 310)
    sparse = {name: value for name, value in (FIELDS | fields).items() if value != "auto"}
    assert estimate_request(ONE, PRICE, sparse, [(1024, 1024)]) == both


def test_inputs_add_up_and_high_fidelity_costs_more() -> None:
    """Each image counts; one of unknown pixels widens the range."""
    assert estimate([(1024, 1024), (1536, 1024)]).input == Span(25 + 194 + 323, 116 + 194 + 323)
    assert estimate([(1024, 1024)], input_fidelity="high").input == Span(25 + 194 + 4160, 116 + 194 + 4160)
    unknown = estimate([None]).input
    assert unknown is not None
    assert unknown.low == 25 + 194
    assert unknown.high > 5000


def test_what_is_not_known_is_not_made_up() -> None:
    """A model without rules or price, a quality without a rule, a size that is in no table."""
    assert estimate([], "gpt-image-9") == RequestEstimate(None, None, None, None)
    without_price = estimate_request(ONE, None, FIELDS, [])
    assert (without_price.output, without_price.low, without_price.high) == (Span(4160, 4160), None, None)
    assert estimate_request(None, PRICE, FIELDS, []) == RequestEstimate(None, None, None, None)
    unruled = estimate([(9, 9)], "gpt-image-2.6-flare")
    assert unruled.input is not None
    assert (unruled.output, unruled.low, unruled.high) == (None, None, None)
    assert estimate([], size="1x1").output is None


def test_what_is_free_costs_nothing_whatever_else_is_unknown() -> None:
    """A cap of money then never holds it back."""
    free = estimate_request(None, FREE, FIELDS, [None])
    assert (free.low, free.high) == (Decimal(0), Decimal(0))


def test_what_was_seen_stands_for_the_rules_that_it_knows_better() -> None:
    """The output of one image, n of them; the input only where there is no rule for it."""
    seen = Seen(Span(700, 900), Span(300, 310))
    ruled = estimate_request(ONE, PRICE, FIELDS | {"n": 2}, [(1024, 1024)], seen)
    assert (ruled.input, ruled.output) == (Span(219, 310), Span(600, 620))
    unruled = estimate_request(None, PRICE, FIELDS, [], seen)
    assert (unruled.input, unruled.output) == (Span(700, 900), Span(300, 310))
    assert unruled.high == (900 * Decimal(8) + 310 * Decimal(32)) / 10**6


@pytest.mark.parametrize(
    ("prompt", "span"),
    [("", Span(0, 16)), ("abcd", Span(1, 20)), ("ä", Span(0, 18)), ("写真", Span(0, 22)), ("\ud800", Span(0, 19))],
)
def test_text_is_a_quarter_of_its_characters_at_least_and_its_bytes_and_16_at_most(prompt: str, span: Span) -> None:
    """A character outside ASCII may be several tokens; a token never is less than a byte."""
    assert text_span(prompt) == span


@pytest.mark.parametrize(
    ("told", "cost"),
    [
        (usage(100, 200, 4160), "0.135220"),  # 100 x 5 + 200 x 8 + 4160 x 32
        (usage(0, 0, 1), "0.000032"),
        ({"input_tokens": 300, "output_tokens": 10}, "0.002720"),  # without details all input is the dearer image
        ({"input_tokens_details": {"text_tokens": 4}, "output_tokens": 1}, "0.000052"),
        ({"input_tokens": 10, "input_tokens_details": {"text_tokens": 4}, "output_tokens": 1}, "0.000100"),
        (usage(0, 0, 100, output_tokens_details={"text_tokens": 60, "image_tokens": 40}), "0.001880"),
        (usage(0, 0, 100, output_tokens_details={"text_tokens": 60}), "0.001880"),  # the rest is the dearer image
        (usage(0, 0, 100, output_tokens_details={}), "0.003200"),
        (usage(0, 0, 100, output_tokens_details=None), "0.003200"),
        ({"input_tokens": 1, "output_tokens": 0}, "0.000008"),
    ],
)
def test_a_cost_is_exact_and_never_too_low(told: dict[str, Any], cost: str) -> None:
    """Text and images apart where the answer tells them apart, else the dearer of the two."""
    found_cost = cost_of(told, PRICE)
    assert found_cost == Decimal(cost)
    assert str(found_cost) == cost


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
        {"input_tokens": 5},
        {"output_tokens": 5},
        usage(1, 1, -1),
        usage(-1, 1, 1),
        usage(1, 1, 1, input_tokens=-5),
        usage(1, 1, 1, output_tokens="7"),
        usage(1, 1, 1, output_tokens=True),
        usage(1, 1, 1, output_tokens=7.0),
        usage(1, 1, 1, output_tokens=2**60),
        usage(1, 1, 1, input_tokens_details="many"),
        usage(1, 1, 1, input_tokens_details={"text_tokens": "3"}),
        usage(1, 1, 1, output_tokens_details={"text_tokens": -3}),
        usage(1, 1, 1, output_tokens_details=[1]),
    ],
)
def test_an_odd_usage_has_no_cost(told: dict[str, Any] | None) -> None:
    """Missing, zero, negative, text, beyond any count: the worst case counts instead."""
    assert cost_of(told, PRICE) is None


def test_without_a_price_there_is_no_cost_and_what_is_free_costs_nothing() -> None:
    """None is not known; zero is known."""
    assert cost_of(usage(1, 2, 3), None) is None
    assert cost_of(usage(1, 2, 3), FREE) == 0


def test_costs_add_up_without_a_rounding_error() -> None:
    """Ten thousand small results come to what a multiplication says."""
    price = Price(Decimal("0.1"), Decimal("0.1"), Decimal("0.1"), Decimal("0.1"))
    one = cost_of(usage(1, 1, 1), price)
    assert one is not None
    assert sum([one] * 10_000) == Decimal("0.0030000")


@given(
    text=counts,
    split=st.sampled_from(["details", "none", "partly", "text out"]),
    sizes=st.lists(st.sampled_from([(16, 12), (1024, 1024), (1000, 77)]), max_size=3),
    n=st.integers(1, 3),
    prices=st.tuples(*[st.decimals(0, 50, places=2)] * 4),
)
def test_no_answer_within_the_rules_costs_more_than_the_high(
    text: int, split: str, sizes: list[tuple[int, int]], n: int, prices: tuple[Decimal, ...]
) -> None:
    """However it splits its usage: what was reserved holds what is settled."""
    price = Price(*prices)
    fields = FIELDS | {"prompt": "p" * text, "n": n}
    spans = estimate_request(ONE, price, fields, sizes)
    assert spans.input is not None
    assert spans.output is not None
    assert spans.low is not None
    assert spans.high is not None
    images = sum(span.low for span in [ONE.input.span(size, "low") for size in sizes]) if ONE.input else 0
    told = usage(16 + text, images, spans.output.high)
    if split == "none":
        del told["input_tokens_details"]
    if split == "partly":
        told["input_tokens_details"] = {"text_tokens": 1}
    if split == "text out":
        told["output_tokens_details"] = {"text_tokens": spans.output.high}
    cost = cost_of(told, price)
    assert cost is not None
    assert cost <= spans.high
    assert spans.low <= spans.high


@pytest.mark.parametrize("name", BUILT.names)
def test_every_built_in_model_has_a_price_for_each_of_its_known_requests(name: str) -> None:
    """At each quality that has a rule, low and high are both there and in order."""
    model = found(BUILT, name)
    for quality in model.output.qualities if model.output else ():
        whole = estimate([(1024, 1024)], name, quality=quality)
        assert whole.low is not None
        assert whole.high is not None
        assert 0 < whole.low <= whole.high
