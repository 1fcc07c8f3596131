"""How many requests may be in flight at an endpoint, and how fast they may follow each other: learnt from its answers.

1. At first the limit grows with what is sent, ever faster and without waiting for answers, up to the ceiling: 512 are
   in flight after a quarter of a second. The first throttled request, 5xx or end in doubt stops that.
2. An end in doubt or 5xx before any success puts the limit back to `START`, until something succeeds. So a gateway
   that cuts every connection costs those in flight when the first is cut, and a few more: with a ceiling of 64 at most
   70 attempts that may have been billed, with one of 512 some 512. After a failure the limit doubles with each round
   trip (slow start) until the first rate-limit episode.
3. Of an endpoint that throttles before anything succeeded no round trip is known: until then only the pace falls.
4. An episode cuts it once, by a fifth: throttled requests that were sent before the cut do not cut again.
5. After a cut it grows back to just below where it was cut and stays there for a while. Then it feels its way up, with
   each round trip twice as boldly, so that an endpoint that has got back its capacity is soon used again.
6. Then it grows only with answers, only where it was really used, and not while answers fail with 5xx or in doubt.
7. Once an endpoint has throttled, requests are spread evenly over a round trip. So the limit sets a rate too, and an
   endpoint that counts requests a minute is met as well as one that counts those in flight. Where even one request in
   flight is too much, only the rate goes on falling.

Sources: slow start, https://www.rfc-editor.org/rfc/rfc5681; the shape of the growth after a cut,
https://www.rfc-editor.org/rfc/rfc9438.
"""

from __future__ import annotations

from math import floor, isclose

from msgspec import Struct

from pipeline.outcome import Outcome

START = 16
"""The limit before the first request, and where nothing has succeeded yet but something may have been billed."""
CUT = 0.8
BELOW = 0.95
"""The share of the limit at its last cut to which it grows back."""
RECOVERY = 0.6
BOLDNESS = 0.08
"""The share by which the limit grows in a round trip: on the way back, and at first when it feels its way up."""
AGREEING = 0.15
HOLD_ROUNDS = 3.0
HOLD_SECONDS = 10.0
"""Where two cuts in a row agree within `AGREEING`, the limit stays below them for so many round trips or seconds."""
CALM_SECONDS = 5.0
"""Seconds without growth after a 5xx or an end in doubt, if no round trip is longer."""
USED = 0.8
"""The share of the limit that must have been in flight for it to grow; below `LEAN`, or no pace would let it."""

FIRST_RATE = 100.0
RAMP = 64.0
"""Requests a second where no answer asks for more: at first, and so many more for each one in flight beyond `START`.
Until a first 429 is heard they cost nothing but requests in vain; 512 are in flight after a quarter of a second."""
FIRST_GAP = 0.125
"""Seconds from one request to the next at most, where none has succeeded and one has failed or was throttled once."""
SLOWEST_GAP = 15.0
"""Seconds from one request to the next where everything is throttled; 5 a minute is the least that is sold."""
BOLD = 2.0
LEAN = 0.87
"""Requests may follow each other so that so many times the limit leaves in a round trip: before the first cut, and
after it. Below one it is the pace that holds requests back, and they stay evenly spread."""
LATE = 0.05
LATE_PACED = 0.002
"""Seconds by which a request may leave too late without delaying those behind it: before the first cut, and after."""
UNKNOWN_SECONDS = 1.0
"""What a request is taken to last before one has succeeded."""
SMOOTHING = 0.1
MOST_HISTORY = 200
HISTORY_APART = 0.2
"""Seconds between two changes that are remembered, at least."""

ANSWERS = frozenset({Outcome.SUCCEEDED, Outcome.REFUSED})


class Change(Struct, frozen=True):
    """The limit from a moment on, in seconds since the start of the run."""

    seconds: float
    limit: int


class LiveLimit:
    """The live limit below a ceiling; `now` and `started` are monotonic seconds."""

    def __init__(self, ceiling: int, now: float = 0.0) -> None:
        self._ceiling = ceiling
        self._began = now
        self._window = float(min(START, ceiling))
        self._ramping = True
        self._doubtful = False
        self._most_gap = 0.0
        self._cut_at: float | None = None
        self._cut_from = 0.0
        self._sure = False
        self._held_since: float | None = None
        self._seconds: float | None = None
        self._used_at = now
        self._calm_until = now
        self._next_start = now
        self._paused_until = now
        self._history = History()
        self._history.add(Change(0.0, self.limit))

    @property
    def limit(self) -> int:
        """Requests that may be in flight; at least 1."""
        window = min(self._window, START) if self._doubtful else self._window
        return max(1, floor(window + 1e-9))

    @property
    def history(self) -> list[Change]:
        """The limit's changes since the start, the oldest first; of many not all."""
        return self._history.changes

    def wait(self, now: float) -> float:
        """Seconds until the next request may be sent; 0 for now."""
        return max(0.0, self._next_start - now, self._paused_until - now)

    def on_start(self, in_flight: int, now: float) -> None:
        """A request is sent; `in_flight` counts it."""
        before = self.limit
        if in_flight >= USED * self._window:
            self._used_at = now
        if self._ramping:
            self._window = max(self._window, min(in_flight + 1.0, self._ceiling))
            self._remember(before, now)
        self._next_start = max(self._next_start, now - (LATE if self._cut_at is None else LATE_PACED)) + self._gap(now)

    def on_end(
        self,
        outcome: Outcome,
        status: int | None,
        seconds: float,
        started: float,
        now: float,
        in_flight: int,  # noqa: ARG002 - part of the event; what counts is how many there were at starts
        retry_after: float | None = None,
    ) -> None:
        """A request that was sent at `started` ended after `seconds`; `in_flight` still counts it."""
        before = self.limit
        if outcome is Outcome.THROTTLED:
            self._throttled(started, now, retry_after)
        elif outcome is Outcome.IN_DOUBT or (status is not None and status >= 500):
            self._failed(now)
        elif outcome in ANSWERS:
            self._answered(outcome, seconds, started, now)
        self._remember(before, now)

    def _remember(self, before: int, now: float) -> None:
        if self.limit != before:
            self._history.add(Change(round(now - self._began, 1), self.limit))

    def _failed(self, now: float) -> None:
        self._ramping = False
        self._doubtful = self._seconds is None
        self._most_gap = max(self._most_gap, FIRST_GAP)
        self._calm_until = now + max(CALM_SECONDS, self._round_trip)

    def _throttled(self, started: float, now: float, retry_after: float | None) -> None:
        if self._cut_at is not None and started <= self._cut_at:
            return
        self._cut_at = now
        if self._seconds is None:
            self._most_gap = min(SLOWEST_GAP, max(FIRST_GAP, 2 * self._most_gap))
        else:
            self._cut()
        self._next_start = max(self._next_start, now + self._gap(now))
        self._paused_until = now + min(pause_of(retry_after), self._round_trip)

    def _cut(self) -> None:
        self._ramping = False
        self._sure = isclose(self._window, self._cut_from, rel_tol=AGREEING)
        self._cut_from, self._held_since = self._window, None
        self._window = max(CUT * self._window, min(1.0, self._service / SLOWEST_GAP))

    def _succeeded(self, seconds: float) -> None:
        if self._seconds is None and self._cut_at is not None:
            self._ramping, self._cut_from = False, self._window
        self._doubtful = False
        known = seconds if self._seconds is None else self._seconds
        self._seconds = known + SMOOTHING * (seconds - known)

    def _answered(self, outcome: Outcome, seconds: float, started: float, now: float) -> None:
        if outcome is Outcome.SUCCEEDED:
            self._succeeded(seconds)
        if self._ramping or self._used_at < started or now < self._calm_until:
            return
        top = float(self._ceiling)
        if self._cut_at is not None and self._held_since is None:
            top = min(top, BELOW * self._cut_from)
        self._window = min(top, self._window + self._growth(now) * min(1.0, self._window))
        if self._cut_at is not None and self._held_since is None and self._window >= top:
            self._held_since = now

    def _growth(self, now: float) -> float:
        """The share by which the limit grows in a round trip."""
        if self._cut_at is None:
            return 1.0
        if self._held_since is None:
            return RECOVERY
        held = now - self._held_since - (max(HOLD_SECONDS, HOLD_ROUNDS * self._round_trip) if self._sure else 0.0)
        return 0.0 if held < 0 else min(1.0, BOLDNESS * 2.0 ** min(60.0, floor(held / self._round_trip)))

    def _gap(self, now: float) -> float:
        """Seconds from one request to the next."""
        if self._seconds is None and self._most_gap:
            return self._most_gap
        if self._cut_at is None:
            return min(self._most_gap or 1 / self._ramp_rate, self._service / (BOLD * self._window))
        bold = self._held_since is not None and self._growth(now) > 4 * BOLDNESS
        return self._service / (self._window * (1 + self._growth(now) if bold else LEAN))

    @property
    def _ramp_rate(self) -> float:
        return FIRST_RATE + RAMP * max(0.0, self._window - START)

    @property
    def _service(self) -> float:
        """Seconds that a request takes."""
        return UNKNOWN_SECONDS if self._seconds is None else max(1e-3, self._seconds)

    @property
    def _round_trip(self) -> float:
        """Seconds that a request takes, or from one to the next where that is longer."""
        return self._service / min(1.0, self._window)


def pause_of(retry_after: float | None) -> float:
    """Seconds for which all requests wait when one is told to come back after `retry_after`.

    Whole seconds were rounded up by up to one, and to lose one with each episode would cost too much: it is left away.
    """
    if retry_after is None:
        return 0.0
    return max(0.0, retry_after - 1.0) if retry_after.is_integer() else retry_after


class History:
    """Changes of a limit; when they become too many, every other one is left out, then and from then on."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._apart = HISTORY_APART

    def add(self, change: Change) -> None:
        """Add the latest change; one close behind another takes its place."""
        if len(self.changes) > 1 and change.seconds - self.changes[-2].seconds < self._apart:
            self.changes[-1] = change
            return
        self.changes.append(change)
        if len(self.changes) > MOST_HISTORY:
            self._apart = max(2 * self._apart, 2 * change.seconds / MOST_HISTORY)
            self.changes = self.changes[:1] + self.changes[1:-1:2] + self.changes[-1:]
