"""Each row of docs/crash-table.md: killed at that step, what is on disk, what the next run does and buys twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.endpoint import Endpoint
from tests.faults.forge import Forge
from tests.faults.invariants import Line, is_whole, open_attempts, settled
from tests.faults.moments import AFTER, BEFORE, HALFWAY, REFUSE, Moment, killed_at, line
from tests.faults.trial import Trial

Make = Callable[..., Trial]

STORED_NOWHERE = Moment("pipeline.run.store:start_part", REFUSE)
"""No part can be written, so that results go to the spill folder."""

SPILLED = (STORED_NOWHERE, Moment("pipeline.outputs.spill:Spill.store", AFTER))


@pytest.fixture
def make(tmp_path: Path, endpoint: Endpoint, forge: Forge) -> Make:
    """Makes a job of one request at a time, each of `n` pictures."""

    def made(n: int = 1, tasks: int = 1) -> Trial:
        request = {"model": "gpt-image-1.5", "size": "1024x1024", "quality": "low", "n": n}
        output = {"folder": "out", "path": "{{ set }}/{{ key }}-{{ index }}"}
        trial = Trial(tmp_path / "job", endpoint, forge, tasks, 1, {"request": request, "output": output})
        trial.write()
        return trial

    return made


def types(trial: Trial) -> list[str]:
    """The types of the ledger's whole lines."""
    return [found["type"] for found in trial.lines()]


def parts(trial: Trial) -> dict[str, bytes]:
    """The parts on disk."""
    return {name: data for name, data in trial.seen().below(".retouch/parts/").items() if name != "foreign.txt"}


def ends(trial: Trial) -> list[tuple[str, str | None]]:
    """How each attempt ended, and its code."""
    return [(end["outcome"], end["code"]) for end in settled(trial.lines())]


def is_torn(trial: Trial) -> bool:
    """Whether the ledger ends in half a line."""
    return not trial.ledger.read_bytes().endswith(b"\n")


def recover(trial: Trial, billed: int) -> Line:
    """Run to the end with every invariant checked; the endpoint's bill is so long after it."""
    trial.watch.crashed(trial.seen())
    summary = trial.recover()
    assert trial.endpoint.bill.billed == billed
    return summary


BOUGHT_AGAIN: list[tuple[str, Any]] = [("in_doubt", "interrupted"), ("succeeded", None)]
ONCE: list[tuple[str, Any]] = [("succeeded", None)]


def keys(trial: Trial) -> list[str]:
    """The idempotency keys that were sent."""
    return [sent["idempotency_key"] for sent in trial.lines() if sent["type"] == "sent"]


def test_killed_before_sent_is_written(make: Make) -> None:
    """Nothing of the attempt is there; the next run sends it."""
    trial = make()
    killed_at(trial, line("sent"))
    assert types(trial) == ["run"]
    recover(trial, billed=1)
    assert ends(trial) == ONCE


@pytest.mark.parametrize("when", [AFTER, HALFWAY])
def test_killed_while_sent_is_written(make: Make, when: str) -> None:
    """A whole or a torn line whose request has not left: cut, or settled in doubt; sent once, with the same key."""
    trial = make()
    killed_at(trial, line("sent", when))
    assert is_torn(trial) == (when == HALFWAY)
    assert trial.endpoint.bill.requests == 0
    recover(trial, billed=1)
    assert ends(trial) == (ONCE if when == HALFWAY else BOUGHT_AGAIN)
    assert len(set(keys(trial))) == 1


def test_killed_before_the_request_leaves(make: Make) -> None:
    """A durable `sent` alone is in doubt, though nothing left: sent once, with the same key."""
    trial = make()
    killed_at(trial, Moment("pipeline.endpoint.transport:Transport.post"))
    assert types(trial) == ["run", "sent"]
    recover(trial, billed=1)
    assert ends(trial) == BOUGHT_AGAIN
    assert len(set(keys(trial))) == 1


def test_killed_while_the_endpoint_works(make: Make) -> None:
    """The request in flight may have been served: in doubt, sent again with the same key, not counted as an attempt."""
    trial = make()
    trial.endpoint.show("latency=0.5s")
    process = trial.start()
    trial.endpoint.seen(1)
    trial.kill(process)
    assert types(trial) == ["run", "sent"]
    recover(trial, billed=2)
    assert ends(trial) == BOUGHT_AGAIN
    assert len(set(keys(trial))) == 1


def test_killed_with_the_answer_in_memory(make: Make) -> None:
    """What was not stored is bought again."""
    trial = make()
    killed_at(trial, Moment("pipeline.run.receive:judge"))
    assert types(trial) == ["run", "sent"]
    assert parts(trial) == {}
    recover(trial, billed=2)
    assert ends(trial) == BOUGHT_AGAIN


def test_killed_before_the_last_part_is_whole(make: Make) -> None:
    """One whole part and one torn are no result: in doubt, removed, bought again."""
    trial = make(n=2)
    killed_at(trial, Moment("pipeline.outputs.parts:write_all", HALFWAY, number=2))
    assert sorted(is_whole(data) for data in parts(trial).values()) == [False, True]
    killed = parts(trial).keys()
    trial.watch.allowed += 1
    recover(trial, billed=2)
    assert ends(trial) == BOUGHT_AGAIN
    assert not killed & parts(trial).keys()


@pytest.mark.parametrize("when", [BEFORE, HALFWAY])
def test_killed_with_all_parts_and_no_line(make: Make, when: str) -> None:
    """All pictures arrived: salvaged with unknown usage, published, nothing bought again."""
    trial = make(n=2)
    killed_at(trial, line("settled", when))
    assert [is_whole(data) for data in parts(trial).values()] == [True, True]
    assert is_torn(trial) == (when == HALFWAY)
    recover(trial, billed=1)
    [end] = settled(trial.lines())
    assert (end["outcome"], end["salvaged"], end["usage"]) == ("succeeded", True, None)
    assert len(trial.seen().pictures) == 2


def test_killed_with_fewer_parts_than_asked_for(make: Make) -> None:
    """One picture of two came, and nobody knows whether a second was on its way: in doubt, bought again."""
    trial = make(n=2)
    trial.endpoint.show("short-count=1")
    killed_at(trial, line("settled"))
    assert [is_whole(data) for data in parts(trial).values()] == [True]
    trial.endpoint.show("")
    trial.watch.allowed += 1
    recover(trial, billed=2)
    assert ends(trial) == BOUGHT_AGAIN


def test_killed_between_the_line_and_the_name(make: Make) -> None:
    """`settled` is durable and the picture still a part: the next run names it."""
    trial = make()
    killed_at(trial, Moment("pipeline.run.store:publish_outputs"))
    assert (types(trial)[-1], len(parts(trial)), trial.seen().pictures) == ("settled", 1, {})
    recover(trial, billed=1)
    assert ends(trial) == ONCE


@pytest.mark.parametrize(
    ("when", "number", "names"),
    [(AFTER, 2, {"old", "kept"}), (BEFORE, 3, {"kept"}), (AFTER, 3, {"kept", "new"})],
    ids=["kept-and-named", "kept", "new-named"],
)
def test_killed_while_an_older_result_makes_way(make: Make, when: str, number: int, names: set[str]) -> None:
    """The older picture is under its name, set aside, or both; it ends set aside, the new one under the name."""
    trial = make()
    trial.run().with_exit(0)
    [(path, old)] = trial.seen().pictures.items()
    trial.write(prompts=[{"name": "white", "text": "On black."}])
    # The first of these calls finds the name taken, the second sets the older picture aside, the third names the new.
    killed_at(trial, Moment("pipeline.outputs.publish:give", when, number=number))
    seen = trial.seen()
    found = {"kept"} if old in seen.below(".retouch/replaced/").values() else set()
    found |= {"old" if seen.files.get(path) == old else "new"} if path in seen.files else set()
    assert found == names
    recover(trial, billed=2)
    seen = trial.seen()
    assert list(seen.below(".retouch/replaced/").values()) == [old]
    assert list(seen.pictures) == [path]
    assert seen.pictures[path] != old


def test_killed_between_the_names_of_one_task(make: Make) -> None:
    """The first picture has its name, the second is a part: the next run names it."""
    trial = make(n=2)
    killed_at(trial, Moment("pipeline.run.store:publish", AFTER))
    assert (len(trial.seen().pictures), len(parts(trial))) == (1, 2)
    recover(trial, billed=1)
    assert len(trial.seen().pictures) == 2


def test_killed_with_a_part_linked_and_not_removed(make: Make) -> None:
    """The picture has both names: the next run removes the part's."""
    trial = make()
    killed_at(trial, Moment("pipeline.run.store:publish_outputs", AFTER))
    assert list(parts(trial).values()) == list(trial.seen().pictures.values()) != []
    recover(trial, billed=1)
    assert ends(trial) == ONCE


@pytest.mark.parametrize("when", [BEFORE, HALFWAY])
def test_killed_at_the_end_line(make: Make, when: str) -> None:
    """All is done but `end`: a torn tail is cut, nothing is sent."""
    trial = make()
    killed_at(trial, line("end", when))
    assert types(trial) == ["run", "sent", "settled"]
    assert is_torn(trial) == (when == HALFWAY)
    assert recover(trial, billed=1)["tasks"]["skipped"] == 1


def test_killed_with_a_refusal_that_has_no_line(make: Make) -> None:
    """A refusal that nobody wrote down is in doubt, and asked for again."""
    trial = make()
    trial.endpoint.show("moderation=1")
    killed_at(trial, line("settled"))
    assert types(trial) == ["run", "sent"]
    trial.endpoint.show("")
    recover(trial, billed=1)
    assert ends(trial) == BOUGHT_AGAIN


def test_killed_after_an_unusable_body_was_kept(make: Make) -> None:
    """In doubt, bought again; the body stays for a look."""
    trial = make()
    trial.endpoint.show("bad-base64=1")
    killed_at(trial, line("settled"))
    [(name, body)] = trial.seen().below(".retouch/unusable/").items()
    trial.endpoint.show("")
    recover(trial, billed=2)
    assert ends(trial) == BOUGHT_AGAIN
    assert trial.seen().below(".retouch/unusable/") == {name: body}


@pytest.mark.parametrize("moment", [line("reused"), Moment("pipeline.run.reuse:publish_outputs")], ids=["line", "name"])
def test_killed_while_a_result_is_taken_over_by_copy(make: Make, moment: Moment) -> None:
    """Before its line the copy is removed and made again, after it the copy gets its name; nothing is sent."""
    trial = make()
    trial.run().with_exit(0)
    (trial.folder / "photos/000.png").rename(trial.folder / "photos/renamed.png")
    killed_at(trial, moment)
    assert list(parts(trial).values()) == list(trial.seen().pictures.values()) != []
    assert (types(trial)[-1] == "reused") == (moment != line("reused"))
    trial.watch.tasks = 2  # the ledger goes on knowing the old name
    trial.watch.crashed(trial.seen())
    summary = trial.run().with_exit(0).summary
    assert summary["tasks"]["reused"] + summary["tasks"]["skipped"] == 1
    trial.watch.finished(trial.seen(), summary)
    assert (len(trial.seen().pictures), trial.endpoint.bill.requests) == (2, 1)


def test_killed_between_two_reopenings(make: Make) -> None:
    """What has its line is made again, the other stays done."""
    trial = make(tasks=2)
    trial.run().with_exit(0)
    killed_at(trial, line("reopened", number=2), options=("--redo", "*"))
    assert types(trial).count("reopened") == 1
    trial.watch.crashed(trial.seen())
    tasks = trial.run().with_exit(0).summary["tasks"]
    assert (tasks["done"], tasks["skipped"], trial.endpoint.bill.billed) == (1, 1, 3)


def test_killed_before_a_spilled_result_has_its_line(make: Make) -> None:
    """Loose files in the spill folder are nobody's: in doubt, bought again."""
    trial = make()
    killed_at(trial, STORED_NOWHERE, Moment("pipeline.outputs.spill:_write", AFTER, number=2))
    assert trial.spilled() == []
    assert list((trial.home / "state/retouch").rglob("*.part"))
    recover(trial, billed=2)
    assert ends(trial) == BOUGHT_AGAIN


def test_killed_after_a_result_was_spilled(make: Make) -> None:
    """The next run takes it in, usage included."""
    trial = make()
    killed_at(trial, *SPILLED)
    assert len(trial.spilled()) == len(open_attempts(trial.lines())) == 1
    recover(trial, billed=1)
    [end] = settled(trial.lines())
    assert end["usage"] is not None
    assert trial.spilled() == []


@pytest.mark.parametrize("moment", [line("settled"), Moment("pipeline.outputs.spill:Spill.done")], ids=["line", "gone"])
def test_killed_while_a_spilled_result_is_taken_in(make: Make, moment: Moment) -> None:
    """Before its line and after it the result waits, with its parts beside it; it is taken in once."""
    trial = make()
    killed_at(trial, *SPILLED)
    killed_at(trial, moment)
    assert len(trial.spilled()) == 1
    assert len(parts(trial)) == (1 if moment == line("settled") else 0)
    recover(trial, billed=1)
    assert ends(trial) == ONCE
    assert trial.spilled() == []


def test_killed_before_the_first_line(make: Make) -> None:
    """Folders, the lock and an empty ledger: the next run begins."""
    trial = make()
    killed_at(trial, line("run"))
    assert trial.ledger.read_bytes() == b""
    recover(trial, billed=1)


@pytest.mark.parametrize("damage", ["cut", "foreign", "missing"])
def test_a_cache_that_a_crash_spoiled_costs_a_look_at_the_inputs(make: Make, damage: str) -> None:
    """Stale, torn or gone: the inputs are hashed again, nothing is bought again."""
    trial = make(tasks=3)
    killed_at(trial, line("end"))
    cache = trial.out / ".retouch/inputs.cache"
    data = cache.read_bytes()
    cache.unlink()
    if damage != "missing":
        cache.write_bytes(data[: len(data) // 2] if damage == "cut" else b"no database" * 1000)
    for photo in (trial.folder / "photos").iterdir():
        photo.touch()  # so that the ledger's own size and time of each do not answer
    assert recover(trial, billed=3)["tasks"]["skipped"] == 3
