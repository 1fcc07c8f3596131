"""How long an answer takes: by quality, as the real endpoint, times a scale; or a fixed time."""

from __future__ import annotations

from math import isfinite, nan

from msgspec import Struct

SECONDS = {"low": 8.0, "medium": 20.0, "high": 50.0, "xhigh": 80.0, "max": 120.0}
"""What the real endpoint takes for one image, by quality, in seconds."""
EMBEDDED_SCALE = 0.006
"""Low, medium and high take 0.05, 0.12 and 0.3 s: a sandbox job ends soon."""
JITTER = 0.25


class Latency(Struct, frozen=True):
    """`scale` times the real latency of the quality, or `seconds` where that is set."""

    scale: float = EMBEDDED_SCALE
    seconds: float | None = None

    def of(self, quality: str, draw: float) -> float:
        """Return the seconds of one answer; `draw`, from 0 to 1, spreads scaled ones by a quarter either way."""
        if self.seconds is not None:
            return self.seconds
        return SECONDS[quality] * self.scale * (1 - JITTER + 2 * JITTER * draw)


def parse_seconds(text: str) -> float:
    """Read a finite number of seconds, 0 or more, with or without its `s`. Raises ValueError."""
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = nan
    if not isfinite(seconds) or seconds < 0:
        raise ValueError(f"{text!r} is not a number of seconds; expected 0 or more, such as 0.5 or 2s")
    return seconds


def parse_latency(text: str) -> Latency:
    """Read `0.1`, a tenth of the real latency, or `2s`, two seconds for every answer. Raises ValueError."""
    number = parse_seconds(text)
    return Latency(seconds=number) if text.endswith("s") else Latency(scale=number)
