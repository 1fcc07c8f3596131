"""Faults put into the pipeline on purpose: a state machine that notices none proves nothing.

Each replaces one function before the runs are forked. `python -m tests.model.mutants` tries all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from pipeline.ledger.standing import History, Standing, standing_of
from pipeline.ledger.state import State
from pipeline.manifest.override import override
from pipeline.outcome import Outcome
from pipeline.run import attempt, engine, examine, perform, recover, retrying, survey
from pipeline.run.decide import Class, Presence, Ruling, Verb, decide
from pipeline.run.exits import Exit, exit_code
from pipeline.run.summary import summarise
from tests.model.simulate import Episode, episode_of

Patch = pytest.MonkeyPatch


def _always_pending(patch: Patch) -> None:
    """No attempt is one too many."""
    patch.setattr(retrying, "standing_of", lambda *_: Standing.PENDING)


def _sent_late(patch: Patch) -> None:
    """A request leaves before its `sent` line is written."""

    async def late(context: Any, work: Any, ticket: Any) -> Any:
        with anyio.CancelScope(shield=True):
            sent = attempt._sent(context, work, ticket)
            reply = await attempt._post(context, work, ticket.lane, sent)
            await context.append(sent)
            return await attempt._settle(context, work, ticket, sent, reply)

    patch.setattr(attempt, "_sent_and_settled", late)


def _overwriting(patch: Patch) -> None:
    """A picture that has to make way is deleted."""

    def make_way(folder: Any, entry: Any, size: int | None = None) -> str:
        os.unlink(entry.name, dir_fd=entry.fd)
        return "gone.png"

    patch.setattr("pipeline.outputs.publish._make_way", make_way)


def _foreign_is_ours(patch: Patch) -> None:
    """Every file in the folder counts as ours."""
    patch.setattr(State, "knows_path", lambda *_: True)


def _crowded(patch: Patch) -> None:
    """More requests are in flight than may be."""
    plain = override

    def more(job: Any, changes: Any) -> Any:
        return plain(job, {name: value + 3 for name, value in changes.items()})

    patch.setattr(perform, "override", more)


def _nothing_salvaged(patch: Patch) -> None:
    """A picture that had arrived before a crash is not looked for."""
    patch.setattr(recover, "_salvage", lambda *_: [])


def _never_settled(patch: Patch) -> None:
    """What a killed run left in flight is forgotten."""

    async def settle(*_: Any) -> None: ...

    patch.setattr(recover, "_settle", settle)


def _wrong_retry(patch: Patch) -> None:
    """A refused request is made again by the next run."""
    plain = standing_of

    def standing(history: History, retries: Any) -> Standing:
        return Standing.PENDING if history.last is Outcome.REFUSED else plain(history, retries)

    patch.setattr(examine, "standing_of", standing)


def _never_reused(patch: Patch) -> None:
    """A picture that is there is bought again."""
    patch.setattr(examine.Examiner, "_find", lambda *_: None)


def _cheerful(patch: Patch) -> None:
    """Held tasks do not show in the exit code."""
    plain = exit_code

    def code(reasons: Any, *, failed: int, held: int, pending: int) -> Exit:
        return plain(reasons, failed=failed, held=0, pending=pending)

    patch.setattr(perform, "exit_code", code)


def _miscounting(patch: Patch) -> None:
    """The summary counts a picture too few."""
    plain = summarise

    def miscounted(tally: Any, **named: Any) -> Any:
        summary = plain(tally, **named)
        return replace(summary, images=max(0, summary.images - 1))

    patch.setattr(perform, "summarise", miscounted)


def _unasked(patch: Patch) -> None:
    """What is done is bought again without a question, however much it is."""
    patch.setattr(perform, "refuse", lambda *_, **__: None)


def _reopening_all(patch: Patch) -> None:
    """`--retry failed` opens what is held, too."""
    plain = survey.reopening

    def reopening(work: Any, flags: Any) -> Any:
        return plain(work, replace(flags, retry=frozenset({"failed", "held"})) if flags.retry else flags)

    patch.setattr(survey, "reopening", reopening)


def _edited_is_missing(patch: Patch) -> None:
    """A picture that somebody changed is bought again."""
    plain = decide

    def decided(facts: Any, rerun: Any) -> Ruling:
        ruling = plain(facts, rerun)
        edited = ruling.verb is Verb.SKIP and facts.outputs is Presence.EDITED
        return Ruling(Verb.SEND, Class.MISSING, again=True) if edited else ruling

    patch.setattr(examine, "decide", decided)


def _two_leaders(patch: Patch) -> None:
    """Two tasks with one request both make it."""

    class Nobody(dict[str, Any]):
        def __contains__(self, _: object) -> bool:
            return False

        def pop(self, key: str, *_: Any) -> Any:
            return super().pop(key, None)

    plain = engine.Engine.__init__

    def init(self: Any, *rest: Any) -> None:
        plain(self, *rest)
        self._leaders = Nobody()

    patch.setattr(engine.Engine, "__init__", init)
    patch.setattr(examine.Examiner, "outdated", lambda *_: False)


def _spill_lost(patch: Patch) -> None:
    """A spilled result is removed and not taken in."""

    async def take_in(context: Any, spilled: Any, files: Any) -> None:
        context.spill.done(spilled)

    patch.setattr(recover, "_take_in", take_in)


def _torn_tail_stays(patch: Patch) -> None:
    """A torn tail is not cut."""
    patch.setattr("pipeline.run.session.repair", lambda *_: None)


MUTANTS: dict[str, Callable[[Patch], None]] = {
    made.__name__.strip("_").replace("_", " "): made
    for made in (
        _always_pending,
        _sent_late,
        _overwriting,
        _foreign_is_ours,
        _crowded,
        _nothing_salvaged,
        _never_settled,
        _wrong_retry,
        _never_reused,
        _cheerful,
        _miscounting,
        _unasked,
        _reopening_all,
        _edited_is_missing,
        _two_leaders,
        _spill_lost,
        _torn_tail_stays,
    )
}


def hunt(name: str, steps: int, seed: int = 1) -> Episode | None:
    """The first episode in which a mutant is noticed; None where so many steps pass without."""
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[name](patch)
        taken = number = 0
        while taken < steps:
            episode = episode_of(seed, number)
            taken += len(episode.steps)
            number += 1
            if episode.failure:
                return episode
    return None


def main() -> None:
    """Hunt each mutant, and print how it was noticed."""
    for name in MUTANTS:
        found = hunt(name, 2000)
        print(f"{name}: {found.failure if found else 'NOT NOTICED'}", flush=True)


if __name__ == "__main__":
    main()
