"""What a request may use and cost, and what an answer did cost. Pure, in exact decimals.

1. `RequestEstimate.high` is a safe upper bound: `cost_of` is never above it for an answer whose tokens are within the
   estimate's spans, however its usage splits them.
2. What is not known is None; nothing is made up.
3. A cost is never too low: tokens that an answer does not tell apart are priced as the dearer kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from typing import Any, Final, NamedTuple

from msgspec import Struct

from pipeline.endpoint.model import AUTO, Model, Span, output_span

MILLION: Final = 6
"""Prices are for 10 to this many tokens."""

MOST_TOKENS: Final = 2**53
"""More than this in a usage is no count."""

_EXACT: Final = Context(prec=100)
_MAPPINGS: Final = (dict, Mapping)
"""A dict is told at once, any other mapping by a longer look."""


class Price(Struct, frozen=True):
    """US dollars for a million tokens: of the prompt, of images sent, of images and of text that come back."""

    text_in: Decimal
    image_in: Decimal
    image_out: Decimal
    text_out: Decimal


FREE: Final = Price(Decimal(0), Decimal(0), Decimal(0), Decimal(0))


class RequestEstimate(Struct, frozen=True):
    """Tokens of one request and its price in US dollars; None where the rule or the price is not known."""

    input: Span | None
    output: Span | None
    low: Decimal | None
    high: Decimal | None


class Seen(Struct, frozen=True):
    """What earlier answers to such requests used: tokens of a whole input, and of one image that came back."""

    input: Span
    output: Span


class _Input(NamedTuple):
    text: Span
    images: Span


def estimate_request(
    model: Model | None,
    price: Price | None,
    fields: Mapping[str, Any],
    sizes: Sequence[tuple[int, int] | None],
    seen: Seen | None = None,
) -> RequestEstimate:
    """What a request may use and cost.

    `fields` are its text fields as they are sent; `sizes` the pixels of its images and references, the mask left out,
    None for one whose dimensions are not known. What was `seen` stands for the rule of the output, and for that of the
    input where there is none.
    """
    split = _input(model, fields, sizes)
    if split is None and seen is not None:
        split = _Input(Span(0, 0), seen.input)
    output = _output(model, fields) if seen is None else seen.output.times(_images(fields))
    tokens = None if split is None else split.text + split.images
    low, high = _bounds(price, split, output)
    return RequestEstimate(tokens, output, low, high)


def cost_of(usage: Mapping[str, Any] | None, price: Price | None) -> Decimal | None:
    """What an answer's `usage` costs in US dollars, exactly; None without a usage that can be read, or a price."""
    if usage is None or price is None:
        return None
    given = _parts(usage, "input")
    made = _parts(usage, "output")
    if given is None or made is None or not (any(given) or any(made)):
        return None
    text, images, other = given
    made_text, made_images, made_other = made
    return _dollars(
        (text, price.text_in),
        (images, price.image_in),
        (other, max(price.text_in, price.image_in)),
        (made_text, price.text_out),
        (made_images, price.image_out),
        # Without details all output is image; with them the rest of it is of an unknown kind.
        (made_other, max(price.image_out, price.text_out) if made_text or made_images else price.image_out),
    )


def text_span(prompt: str) -> Span:
    """Tokens of a prompt: about a quarter of its characters, and never more than its bytes and 16.

    A token of a byte-level encoding holds a byte at least.
    """
    return Span(len(prompt) // 4, 16 + len(prompt.encode("utf-8", "surrogatepass")))


def _input(model: Model | None, fields: Mapping[str, Any], sizes: Sequence[tuple[int, int] | None]) -> _Input | None:
    if model is None or model.input is None:
        return None
    fidelity = str(fields.get("input_fidelity", "low"))
    images = Span(0, 0)
    for size in sizes:
        images += model.input.span(size, fidelity)
    return _Input(text_span(str(fields.get("prompt", ""))), images)


def _output(model: Model | None, fields: Mapping[str, Any]) -> Span | None:
    if model is None:
        return None
    one = output_span(model, str(fields.get("quality", AUTO)), str(fields.get("size", AUTO)))
    return None if one is None else one.times(_images(fields))


def _images(fields: Mapping[str, Any]) -> int:
    return int(fields.get("n", 1))


def _bounds(price: Price | None, split: _Input | None, output: Span | None) -> tuple[Decimal | None, Decimal | None]:
    if price == FREE:
        return Decimal(0), Decimal(0)
    if price is None or split is None or output is None:
        return None, None
    text, images = split
    low = _dollars((text.low, price.text_in), (images.low, price.image_in), (output.low, price.image_out))
    high = _dollars(
        (text.high + images.high, max(price.text_in, price.image_in)),
        (output.high, max(price.image_out, price.text_out)),
    )
    return low, high


def _dollars(*parts: tuple[int, Decimal]) -> Decimal:
    total = Decimal(0)
    for tokens, price in parts:
        total = _EXACT.fma(tokens, price, total)
    return _EXACT.scaleb(total, -MILLION)


def _parts(usage: Mapping[str, Any], side: str) -> tuple[int, int, int] | None:
    """Tokens of text, of images, and of neither by the details; None where a count is none."""
    details = usage.get(f"{side}_tokens_details") or {}
    if not isinstance(details, _MAPPINGS):
        return None
    text, images = _count(details.get("text_tokens", 0)), _count(details.get("image_tokens", 0))
    total = _count(usage.get(f"{side}_tokens", None if not details else 0))
    if text is None or images is None or total is None:
        return None
    return text, images, max(0, total - text - images)


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None
