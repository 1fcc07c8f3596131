"""The checks that follow a job through its crashes: each of them fails where what it guards is broken."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

from tests.e2e.endpoint import Bill, Endpoint, Tokens
from tests.faults.forge import KEY, Forge
from tests.faults.invariants import Line, Seen, check_attempts, check_unsynced, settled
from tests.faults.strokes import Stroke
from tests.faults.trial import FOREIGN, Trial

PICTURE = "photos/000.png"
NOTHING = Bill(0, 0, 0, Tokens(0, 0, 0), {}, {}, {}, 0, 0)


@dataclass(frozen=True, slots=True)
class Done:
    """A finished job: what was seen, its summary, and who watched it."""

    trial: Trial
    seen: Seen
    summary: Line

    def check(self, seen: Seen) -> None:
        """Check it as a finished run's."""
        deepcopy(self.trial.watch).finished(seen, self.summary)

    def with_files(self, **changes: bytes | None) -> Seen:
        """What was seen, with other files; None is one that is not there."""
        files = {path: data for path, data in (self.seen.files | changes).items() if data is not None}
        return replace(self.seen, files=files)

    def until(self, kind: str) -> Seen:
        """What was seen, with a ledger that ends with the first line of a type."""
        lines = self.seen.ledgers["ledger.jsonl"].splitlines(keepends=True)
        last = next(number for number, line in enumerate(lines, 1) if f'"type":"{kind}"'.encode() in line)
        return replace(self.seen, ledgers={"ledger.jsonl": b"".join(lines[:last])})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, server: Endpoint, forge: Forge) -> Done:
    """Two tasks, done by one run that was not killed."""
    server.reset()
    trial = Trial(tmp_path_factory.mktemp("done") / "job", server, forge, tasks=2)
    summary = trial.run().with_exit(0).summary
    return Done(trial, trial.seen(), summary)


def bill(**changes: Callable[[Any], Any]) -> Callable[[Done], Seen]:
    """What was seen, with another bill."""

    def broken(done: Done) -> Seen:
        old = done.seen.bill
        return replace(
            done.seen, bill=changed(old, **{name: change(getattr(old, name)) for name, change in changes.items()})
        )

    return broken


BROKEN: dict[str, Callable[[Done], Seen]] = {
    "is not what the ledger says": lambda done: done.with_files(**{PICTURE: done.seen.files[PICTURE][:-9]}),
    "a paid result is nowhere on disk": lambda done: done.with_files(**dict.fromkeys(done.seen.pictures)),
    "is damaged": lambda done: done.with_files(**{".retouch/replaced/0123.png": b"x"}),
    "parts are left": lambda done: done.with_files(**{".retouch/parts/x-1-1.part": b"x"}),
    "a foreign file was touched": lambda done: done.with_files(**{"notes.txt": b"yours"}),
    "the key was written": lambda done: done.with_files(**{"debug.log": b"Bearer " + KEY.encode()}),
    "to the user's home": lambda done: replace(done.seen, home={".cache/x": b"x"}),
    "before its `sent` was durable": bill(idempotency_keys=lambda keys: keys | {"unknown": 1}),
    "than the ledger says may have been": bill(billed=lambda count: count + 1),
    "it is not the bill": bill(usage=lambda usage: changed(usage, total_tokens=usage.total_tokens - 1)),
    "the bill is above": bill(usage=lambda usage: changed(usage, total_tokens=usage.total_tokens + 1)),
    "too many requests at once": bill(max_in_flight=lambda count: count + 4),
    "more was bought twice": bill(edits=lambda edits: dict([*edits.items()][1:])),
    "an attempt has no end": lambda done: replace(done.until("sent"), files=FOREIGN, bill=NOTHING),
}


@pytest.mark.parametrize("words", BROKEN)
def test_what_is_broken_is_seen(done: Done, words: str) -> None:
    """A finished job passes; with one thing changed it does not, for that reason."""
    done.check(done.seen)
    with pytest.raises(AssertionError, match=words):
        done.check(BROKEN[words](done))


@pytest.mark.parametrize("name", ["exit", "images", "tasks", "attempts", "usage"])
def test_a_summary_that_is_not_the_ledgers_is_seen(done: Done, name: str) -> None:
    """Each part of it is held against the lines."""
    wrong = deepcopy(done.summary)
    if isinstance(wrong[name], dict):
        wrong[name][next(key for key, count in wrong[name].items() if count)] += 1
    else:
        wrong[name] += 1
    with pytest.raises(AssertionError):
        replace(done, summary=wrong).check(done.seen)


def test_lines_that_are_gone_are_seen(done: Done) -> None:
    """A ledger only grows, up to a torn tail."""
    watch = deepcopy(done.trial.watch)
    watch.check(done.seen)
    with pytest.raises(AssertionError, match="are gone"):
        watch.check(done.until("settled"))


def test_a_file_that_an_idle_run_made_is_seen(done: Done) -> None:
    """A rerun changes nothing but its own ledger."""
    with pytest.raises(AssertionError, match="nothing to do changed files"):
        done.trial.watch.same(done.seen, done.with_files(rubbish=b""), {"tasks": {"skipped": 2}})


@pytest.mark.parametrize(("kind", "words"), [("sent", "before its line was durable"), ("settled", "got its name")])
def test_what_came_before_its_line_was_synced_is_seen(done: Done, kind: str, words: str) -> None:
    """Where the ledger's last write was never synced, no request of it was served and no picture of it has its name."""
    with pytest.raises(AssertionError, match=words):
        check_unsynced(done.until(kind), [])
    check_unsynced(done.until(kind), done.seen.lines)
    with pytest.raises(AssertionError):
        deepcopy(done.trial.watch).crashed(done.until(kind), Stroke("fdatasync", "the ledger", 1))


def test_what_a_crash_cost_is_counted_once(done: Done) -> None:
    """An attempt that one crash and the next found open may have been bought twice once."""
    watch = deepcopy(done.trial.watch)
    seen = replace(done.until("sent"), files={}, bill=changed(done.seen.bill, billed=1, idempotency_keys={}))
    watch.foreign = {}
    watch.crashed(seen)
    watch.crashed(seen)
    assert len(watch.lost) == len([line for line in seen.lines if line["type"] == "sent"])


def test_attempts_are_counted_from_the_last_reopening(done: Done) -> None:
    """Three that may have been billed are the most; a reopening allows three more."""
    first = next(line for line in done.seen.lines if line["type"] == "sent")
    end = next(line for line in settled(done.seen.lines) if line["fingerprint"] == first["fingerprint"])
    pairs = [[first | {"attempt": number}, end | {"attempt": number, "outcome": "in_doubt"}] for number in range(1, 5)]
    reopened = first | {"type": "reopened"}
    check_attempts([line for pair in pairs[:3] for line in pair])
    check_attempts([*(line for pair in pairs[:3] for line in pair), reopened, *pairs[3]])
    with pytest.raises(AssertionError):
        check_attempts([line for pair in pairs for line in pair])
