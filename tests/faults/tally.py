"""Counts of kill points, by scene and by kind of call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

KILLED, UNREACHED, BROKEN = "killed", "not reached", "BROKEN"


@dataclass(frozen=True, slots=True)
class Result:
    """One point or one random kill: what it struck and how it ended; `seconds` until the job was done and checked."""

    scene: str
    concurrency: int
    call: str
    on: str
    number: int
    struck: str
    outcome: str
    seconds: float

    @property
    def kind(self) -> str:
        """The kind of call, with the path that alone was counted."""
        return f"{self.call}{self.on and f' on {self.on}'}"


def tables(results: Sequence[Result], made: Mapping[str, Set[tuple[str, str]]]) -> str:
    """Kills by scene and by kind, with the highest N that a thread reached; what was struck, and what was not of the
    calls that each scene's run made; and the total."""
    kills = [result for result in results if result.outcome != UNREACHED]
    lines = [*_table("scene", kills, lambda result: result.scene), *_table("kind of call", kills, lambda r: r.kind)]
    for kind in dict.fromkeys(result.kind for result in kills):
        struck = Counter(result.struck for result in kills if result.kind == kind)
        lines.append(f"{kind} struck {', '.join(f'{name} {count}' for name, count in struck.most_common())}")
    lines.append("")
    for scene, calls in made.items():
        tried = {result.call for result in results if result.scene == scene}
        missed = {call for call in calls if call[0] in tried}
        missed -= {(result.call, result.struck) for result in kills if result.scene == scene}
        lines.append(f"{scene}: not struck: {', '.join(' '.join(call) for call in sorted(missed)) or 'nothing'}")
    broken = sum(result.outcome == BROKEN for result in kills)
    lines += ["", f"{len(kills)} kills in all, {broken} broken; {len(results) - len(kills)} runs ended before their N"]
    return "\n".join(lines)


def _table(title: str, kills: Sequence[Result], key: Callable[[Result], str]) -> list[str]:
    lines = ["", f"{title:42} {'1 to 3 at once':>15} {'32 at once':>11} {'highest N':>10} {'broken':>7}"]
    for name in dict.fromkeys(map(key, kills)):
        own = [result for result in kills if key(result) == name]
        many = sum(result.concurrency == 32 for result in own)
        highest, broken = max(result.number for result in own), sum(result.outcome == BROKEN for result in own)
        lines.append(f"{name:42} {len(own) - many:15} {many:11} {highest:10} {broken:7}")
    return [*lines, ""]
