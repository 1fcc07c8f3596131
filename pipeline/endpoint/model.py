"""What is known of a model: how many tokens a request uses, which sizes and parameters it takes, how long it lives.

Pure. Token counts are spans, from the least to the most that a request can use; None where no rule is known. The
figures themselves are data: `models.yaml`, and what a user's `endpoint.models_file` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor
from typing import Final

from msgspec import Struct, field

AUTO: Final = "auto"
"""The value of `size` and `quality` that leaves the choice to the endpoint, as leaving them out does."""

MOST_ASPECT: Final = 64
"""How many times longer than wide an image of unknown dimensions is taken to be at most."""


class Span(Struct, frozen=True):
    """Tokens, from the least to the most."""

    low: int
    high: int

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def times(self, count: int) -> Span:
        """The tokens of `count` of these."""
        return Span(self.low * count, self.high * count)


def hull(spans: Iterable[Span | None]) -> Span | None:
    """The span around all of them; None where one is unknown, or none is given."""
    known = list(spans)
    lows = [span.low for span in known if span is not None]
    highs = [span.high for span in known if span is not None]
    return Span(min(lows), max(highs)) if known and len(lows) == len(known) else None


class AnySize(Struct, frozen=True):
    """Sizes beyond the fixed ones: both edges multiples of a number, and bounds; `aspect` is long to short."""

    multiple_of: int
    longest_edge: int
    aspect: int
    pixels: tuple[int, int]

    def fault(self, width: int, height: int) -> str | None:
        """What is wrong with a size, as the expectation that it fails."""
        rules = (
            (width % self.multiple_of == 0 == height % self.multiple_of, f"multiples of {self.multiple_of}"),
            (max(width, height) <= self.longest_edge, f"edges of at most {self.longest_edge} pixels"),
            (max(width, height) <= self.aspect * min(width, height), f"an aspect ratio of at most {self.aspect}:1"),
            (self.pixels[0] <= width * height <= self.pixels[1], "{:,} to {:,} pixels in all".format(*self.pixels)),
        )
        return next((text for holds, text in rules if not holds), None)


class Sizes(Struct, frozen=True):
    """Sizes that a model takes beside `auto`: `fixed` ones as WIDTHxHEIGHT, and any by rule."""

    fixed: tuple[str, ...]
    any: AnySize | None = None

    def fault(self, size: str) -> str | None:
        """What was expected instead of a size; None where it is taken."""
        if size == AUTO or size in self.fixed:
            return None
        if self.any is None:
            return ", ".join((AUTO, *self.fixed))
        return self.any.fault(*pixels_of(size))


class Table(Struct, frozen=True):
    """Output tokens of one image by quality and size."""

    tokens: Mapping[str, Mapping[str, int]]

    @property
    def qualities(self) -> Sequence[str]:
        """Those that the rule knows."""
        return tuple(self.tokens)

    def span(self, quality: str, size: str, sizes: Sizes | None) -> Span | None:
        """Tokens at a quality; `auto` size is any of those that are `sizes`, else of the table's."""
        row = self.tokens.get(quality, {})
        wanted = [size] if size != AUTO else list(sizes.fixed if sizes else row)
        counts = [row.get(each) for each in wanted]
        return hull(None if count is None else Span(count, count) for count in counts)


class Grid(Struct, frozen=True):
    """Output tokens of one image by `ceil(base * u * (2e6 + w*h) / 4e6)`, u = base / (long / short) rounded half to
    even, as https://platform.openai.com/docs/guides/image-generation has it.

    With a `factor`, a pair for each quality, the model is known to use from so many to so many times that.
    """

    base: Mapping[str, int]
    factor: Mapping[str, tuple[Fraction, Fraction]] = field(default_factory=dict)

    @property
    def qualities(self) -> Sequence[str]:
        """Those that the rule knows."""
        return tuple(self.base)

    def span(self, quality: str, size: str, sizes: Sizes | None) -> Span | None:
        """Tokens at a quality; `auto` size is any of those that are taken."""
        base = self.base.get(quality)
        found = None if base is None else self._plain(base, size, sizes)
        if found is None or quality not in self.factor:
            return found
        low, high = self.factor[quality]
        return Span(floor(found.low * low), ceil(found.high * high))

    def _plain(self, base: int, size: str, sizes: Sizes | None) -> Span | None:
        if size != AUTO:
            width, height = pixels_of(size)
            exact = _grid(base, Fraction(min(width, height), max(width, height)), width * height)
            return Span(exact, exact)
        spans = [self._plain(base, each, None) for each in sizes.fixed] if sizes else []
        if sizes and sizes.any:
            # Fewest: the longest shape with the fewest pixels. Most: a square with the most.
            least = _grid(base, Fraction(1, sizes.any.aspect), sizes.any.pixels[0])
            spans.append(Span(least, _grid(base, Fraction(1), sizes.any.pixels[1])))
        return hull(spans)


class Measured(Struct, frozen=True):
    """Output tokens of one image by quality, from the least to the most that was seen, whatever its size."""

    tokens: Mapping[str, Span]

    @property
    def qualities(self) -> Sequence[str]:
        """Those that the rule knows."""
        return tuple(self.tokens)

    def span(self, quality: str, _size: str, _sizes: Sizes | None) -> Span | None:
        """Tokens at a quality."""
        return self.tokens.get(quality)


class Tiles(Struct, frozen=True):
    """Input tokens of an image: fitted into 2048², its shortest side brought to 512, `base` and `tile` for each 512
    pixels of the longest; high fidelity adds `square` or `other` by the image's shape.

    Source: https://platform.openai.com/docs/guides/image-generation.
    """

    base: int
    tile: int
    square: int = 0
    other: int = 0

    def span(self, size: tuple[int, int] | None, fidelity: str) -> Span:
        """Tokens of an image of `size` pixels, or of any."""
        extra = (self.square, self.other) if fidelity == "high" else (0, 0)
        if size is None:
            most = self.base + self.tile * MOST_ASPECT + max(extra)
            return Span(self.base + self.tile + min(extra), most)
        long, short = max(size), max(1, min(size))
        exact = self.base + self.tile * -(-long // short) + extra[long != short]
        return Span(exact, exact)


class Patches(Struct, frozen=True):
    """Input tokens of an image: squares of `patch` pixels, at most `most`, the long edge scaled up to `long_edge`."""

    patch: int
    most: int
    long_edge: int

    def span(self, size: tuple[int, int] | None, _fidelity: str) -> Span:
        """Tokens of an image of `size` pixels, or of any."""
        if size is None:
            return Span(min(self.most, ceil(self.long_edge / self.patch)), self.most)
        scale = max(Fraction(1), Fraction(self.long_edge, max(1, *size)))
        across, down = (ceil(edge * scale / self.patch) for edge in size)
        exact = min(self.most, across * down)
        return Span(exact, exact)


OutputRule = Table | Grid | Measured
InputRule = Tiles | Patches


class Bounds(Struct, frozen=True):
    """A parameter that takes whole numbers from `low` to `high`."""

    low: int
    high: int


Allowed = tuple[str, ...] | Bounds
"""What a parameter takes; an empty tuple: the model does not take the parameter."""


class Model(Struct, frozen=True, eq=False):
    """One model; None, or a parameter that is not there: nothing is known, and nothing is refused.

    `shutdown` is the day from which its maker does not serve it any more; others may.
    """

    name: str
    output: OutputRule | None = None
    input: InputRule | None = None
    sizes: Sizes | None = None
    parameters: Mapping[str, Allowed] = field(default_factory=dict)
    shutdown: date | None = None
    successor: str | None = None

    @property
    def qualities(self) -> Sequence[str]:
        """The values of `quality` beside `auto`, as far as they are known."""
        allowed = self.parameters.get("quality")
        known = allowed if isinstance(allowed, tuple) else self.output.qualities if self.output else ()
        return [quality for quality in known if quality != AUTO]


@lru_cache(maxsize=4096)
def output_span(model: Model, quality: str, size: str) -> Span | None:
    """Output tokens of one image; `auto` is any quality or size that the model takes."""
    if model.output is None:
        return None
    qualities = model.qualities if quality == AUTO else [quality]
    return hull(model.output.span(each, size, model.sizes) for each in qualities)


def pixels_of(size: str) -> tuple[int, int]:
    """Width and height of WIDTHxHEIGHT. Raises ValueError for other text."""
    width, _, height = size.partition("x")
    return int(width), int(height)


def _grid(base: int, short_to_long: Fraction, pixels: int) -> int:
    return ceil(Fraction(base * round(base * short_to_long) * (2_000_000 + pixels), 4_000_000))
