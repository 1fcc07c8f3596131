"""How many tokens an edit uses, by the published tables. Pure functions over sizes in pixels.

Sources: https://platform.openai.com/docs/guides/image-generation (output table, the formula of gpt-image-2
and 2.5, the tiles of gpt-image-1's inputs). Input patches of gpt-image-2 and later, and the factor of
2.6, are measured by others and not published.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

from msgspec import Struct

from pipeline.sandbox.models import Family, Model

ONE_OUTPUT = {
    "low": {(1024, 1024): 272, (1024, 1536): 408, (1536, 1024): 400},
    "medium": {(1024, 1024): 1056, (1024, 1536): 1584, (1536, 1024): 1568},
    "high": {(1024, 1024): 4160, (1024, 1536): 6240, (1536, 1024): 6208},
}
TWO_BASE = {"low": 16, "medium": 48, "high": 96}
TWO_FIVE_BASE = {"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96}
TWO_SIX_FACTOR = Fraction(7, 2)
"""2.6 over 2.5 at low and medium: the middle of the 3 to 4 times that one reseller saw."""
HIGH_FIDELITY = {True: 4160, False: 6240}
"""Tokens that high input fidelity adds for an image, by whether the image is square."""


class Size(Struct, frozen=True):
    """The width and height of a picture, in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Usage(Struct, frozen=True):
    """The tokens of one answer, as the `usage` of the endpoint splits them."""

    text_tokens: int = 0
    image_tokens: int = 0
    output_tokens: int = 0

    @property
    def input_tokens(self) -> int:
        """Text and input images together."""
        return self.text_tokens + self.image_tokens

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.text_tokens + other.text_tokens,
            self.image_tokens + other.image_tokens,
            self.output_tokens + other.output_tokens,
        )


def text_tokens(prompt: str) -> int:
    """Tokens of a prompt: a quarter of its characters, rounded up."""
    return ceil(len(prompt) / 4)


def grid_tokens(base: int, size: Size) -> int:
    """Output tokens of gpt-image-2 and 2.5: `ceil(base * u * (2e6 + w*h) / 4e6)` with u rounded half to even."""
    short, long = sorted((size.width, size.height))
    across = round(Fraction(base * short, long))
    return ceil(Fraction(base * across * (2_000_000 + size.width * size.height), 4_000_000))


def output_tokens(model: Model, quality: str, size: Size) -> int:
    """Output tokens of one image. Raises KeyError for a quality or size that the model does not take."""
    match model.family:
        case Family.ONE:
            return ONE_OUTPUT[quality][size.width, size.height]
        case Family.TWO:
            return grid_tokens(TWO_BASE[quality], size)
        case Family.TWO_FIVE:
            return grid_tokens(TWO_FIVE_BASE[quality], size)
        case Family.TWO_SIX:
            factor = TWO_SIX_FACTOR if quality in ("low", "medium") else 1
            return ceil(grid_tokens(TWO_FIVE_BASE[quality], size) * factor)


def tile_tokens(size: Size, *, high_fidelity: bool = False) -> int:
    """Input tokens of one image for gpt-image-1: fit into 2048², shortest side to 512, 65 + 129 a 512-pixel tile."""
    fit = min(Fraction(1), Fraction(2048, max(size.width, size.height)))
    scale = fit * Fraction(512) / (min(size.width, size.height) * fit)
    tiles = ceil(size.width * scale / 512) * ceil(size.height * scale / 512)
    extra = HIGH_FIDELITY[size.width == size.height] if high_fidelity else 0
    return 65 + 129 * tiles + extra


def patch_tokens(size: Size) -> int:
    """Input tokens of one image from gpt-image-2 on: 32-pixel patches, at most 1536, the long edge at least 1024."""
    scale = max(Fraction(1), Fraction(1024, max(size.width, size.height)))
    return min(1536, ceil(size.width * scale / 32) * ceil(size.height * scale / 32))


def input_image_tokens(model: Model, sizes: Sequence[Size], *, high_fidelity: bool = False) -> int:
    """Input tokens of all the images of a request."""
    if model.family is Family.ONE:
        return sum(tile_tokens(size, high_fidelity=high_fidelity) for size in sizes)
    return sum(patch_tokens(size) for size in sizes)
