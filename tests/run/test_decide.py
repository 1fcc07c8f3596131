"""`decide` over every combination of facts and settings."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args, get_type_hints

import pytest

from pipeline.ledger.standing import Standing
from pipeline.manifest.models import Rerun
from pipeline.run.decide import Class, Facts, Presence, Ruling, Verb, decide


def _facts(*values: Any) -> Facts:
    return Facts(*values)


LAST = ("none", "same", "touched", "other")
CASES = [
    (_facts(*facts), Rerun.model_validate({"changed": changed, "missing": missing}))
    for *facts, changed, missing in product(
        LAST, Presence, (False, True), (False, True), Standing, ("remake", "keep"), ("remake", "keep")
    )
]


def test_the_table_is_complete() -> None:
    """Every value that a fact can have is among the cases."""
    assert set(LAST) == set(get_args(get_type_hints(Facts)["last"]))
    assert len(CASES) == 4 * 3 * 2 * 2 * 4 * 2 * 2


def rulings(**wanted: Any) -> list[tuple[Facts, Rerun, Ruling]]:
    """The cases whose facts and settings are these, ruled."""
    return [
        (facts, rerun, decide(facts, rerun))
        for facts, rerun in CASES
        if all(getattr(facts, name, getattr(rerun, name, None)) == value for name, value in wanted.items())
    ]


@pytest.mark.parametrize("outputs", [Presence.INTACT, Presence.EDITED])
def test_an_intact_result_of_the_same_request_is_left_alone(outputs: Presence) -> None:
    """Whatever else is known, a task whose files are there under its own fingerprint is done; an edit is remarked."""
    for _, _, ruling in rulings(last="same", outputs=outputs):
        assert ruling == Ruling(Verb.SKIP, Class.DONE, edited=outputs is Presence.EDITED)


def test_nothing_is_bought_that_can_be_found() -> None:
    """A picture of the same request is copied or left, never paid for."""
    for _, _, ruling in rulings(found=True):
        assert ruling.verb in (Verb.SKIP, Verb.REUSE)
        assert not ruling.again


@pytest.mark.parametrize(("standing", "kind"), [(Standing.FAILED, Class.FAILED), (Standing.HELD, Class.HELD)])
def test_what_failed_or_is_held_is_told_and_not_sent(standing: Standing, kind: Class) -> None:
    """Without a picture at hand a failed or held request is only reported, unless the task counts as done."""
    for _, _, ruling in rulings(standing=standing, found=False):
        assert ruling.verb is not Verb.SEND
        assert ruling.verb is Verb.SKIP or ruling == Ruling(Verb.REPORT, kind)


def test_a_changed_input_is_kept_where_the_job_says_so() -> None:
    """rerun.changed: keep leaves a task whose input bytes changed, as long as its picture is there."""
    for facts, _, ruling in rulings(last="touched", changed="keep"):
        if facts.outputs is not Presence.MISSING:
            assert (ruling.verb, ruling.kind) == (Verb.SKIP, Class.DONE)


def test_changed_keep_does_not_hide_a_missing_picture() -> None:
    """rerun.changed: keep says nothing of a task whose picture is gone; that is for rerun.missing."""
    kept = rulings(last="touched", outputs=Presence.MISSING, changed="keep", found=False, standing=Standing.PENDING)
    assert {(rerun.missing, ruling.verb) for _, rerun, ruling in kept} == {
        ("keep", Verb.SKIP),
        ("remake", Verb.SEND),
    }


def test_a_missing_picture_counts_as_done_where_the_job_says_so() -> None:
    """rerun.missing: keep counts a task done whose picture is gone, and still takes one over that is found."""
    for facts, _, ruling in rulings(last="same", outputs=Presence.MISSING, missing="keep"):
        assert ruling.verb is (Verb.REUSE if facts.found else Verb.SKIP)


def test_buying_again_is_marked_as_such() -> None:
    """`again` is set exactly where a sent request was paid for before, or only its input's bytes changed."""
    for facts, _, ruling in rulings():
        assert ruling.again == (ruling.verb is Verb.SEND and (facts.paid or facts.last == "touched"))


def test_verb_and_word_agree() -> None:
    """Each word of the plan stands for one thing to do."""
    verbs = {
        Class.DONE: Verb.SKIP,
        Class.REUSED: Verb.REUSE,
        Class.FAILED: Verb.REPORT,
        Class.HELD: Verb.REPORT,
        Class.NEW: Verb.SEND,
        Class.CHANGED: Verb.SEND,
        Class.MISSING: Verb.SEND,
    }
    for facts, _, ruling in rulings():
        assert verbs[ruling.kind] is ruling.verb
        assert (ruling.kind is Class.NEW) <= (facts.last == "none" and not facts.paid)
        assert (ruling.kind is Class.MISSING) <= facts.paid
        assert ruling.edited <= (ruling.verb is Verb.SKIP)


@pytest.mark.parametrize(
    ("facts", "ruling"),
    [
        (Facts("none", Presence.MISSING, False, False, Standing.PENDING), Ruling(Verb.SEND, Class.NEW)),
        (Facts("other", Presence.INTACT, False, False, Standing.PENDING), Ruling(Verb.SEND, Class.CHANGED)),
        (Facts("touched", Presence.INTACT, False, False, Standing.PENDING), Ruling(Verb.SEND, Class.CHANGED, True)),
        (Facts("same", Presence.MISSING, True, False, Standing.DONE), Ruling(Verb.SEND, Class.MISSING, True)),
        (Facts("other", Presence.INTACT, True, True, Standing.DONE), Ruling(Verb.REUSE, Class.REUSED)),
        (Facts("none", Presence.MISSING, True, False, Standing.DONE), Ruling(Verb.SEND, Class.MISSING, True)),
    ],
)
def test_a_plain_case_reads_as_expected(facts: Facts, ruling: Ruling) -> None:
    """The cases that a user meets, spelled out."""
    assert decide(facts, Rerun()) == ruling
