"""The pause of admission that a long Retry-After asks for."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.run.halt import Halt


class Gate:
    """Closed while a pause of the endpoint `name` lasts; `clock` is monotonic seconds."""

    def __init__(self, name: str, halt: Halt, clock: Callable[[], float]) -> None:
        self._name = name
        self._halt = halt
        self._clock = clock
        self._until = 0.0

    @property
    def seconds_left(self) -> float:
        """How long the pause still lasts; 0 without one."""
        return max(0.0, self._until - self._clock())

    @property
    def closed(self) -> bool:
        """Whether a pause lasts."""
        return self.seconds_left > 0

    def pause_until(self, end: float, *, tell: bool = True) -> None:
        """Close until `end` on the clock, or longer where it is closed longer already; the user is told once."""
        told = self.closed or not tell
        self._until = max(end, self._until)
        if not told:
            self._halt.note(f"{self._name} asks for a pause: nothing is sent to it for {self.seconds_left:.0f} s")
