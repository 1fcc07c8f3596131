import tracemalloc

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ledger.codec import encode
from pipeline.ledger.holdings import Holdings
from pipeline.ledger.packing import Rest, buffers_of, rest_of, restore
from pipeline.ledger.places import Where
from pipeline.ledger.records import Input, Record, Settled
from pipeline.ledger.replay import replay
from pipeline.ledger.standing import History
from pipeline.ledger.state import State
from pipeline.outcome import Outcome
from tests.ledger.lines import end, folded, fp, grouped, reopened, reused, run, sent, settled


def at(number: int) -> Where:
    return Where(0, 100 * number, 100)


def test_an_unknown_fingerprint_has_no_past() -> None:
    """Nothing is known of what no line names."""
    state = State()
    assert state.history(fp("x")) == History()
    assert (state.task("x"), state.generation(fp("x")), state.knows_path("x"), state.done) == (None, 0, False, 0)


def test_a_task_that_succeeded_at_once() -> None:
    """Its line is known, and its fingerprint has one attempt, one source and nothing open."""
    state = folded(run(), sent("a"), settled("a", "succeeded"))
    assert state.task("a") == at(2)
    history = state.history(fp("a"))
    assert (history.attempts, history.last, history.billed, history.open_key) == (1, Outcome.SUCCEEDED, 0, None)
    assert list(history.sources) == [at(2)]
    assert state.open_sent == []
    assert (state.job, state.done, state.images) == ("job", 1, 1)


def test_the_last_good_line_is_a_task_s_own() -> None:
    """A later failure of another fingerprint under the same task keeps the line that made it done."""
    state = folded(
        sent("a", fingerprint=fp(1)),
        settled("a", "succeeded", fingerprint=fp(1)),
        sent("a", fingerprint=fp(2)),
        settled("a", "refused", fingerprint=fp(2)),
    )
    assert state.task("a") == at(1)
    assert state.history(fp(2)).last is Outcome.REFUSED


def test_a_reuse_moves_the_task_and_adds_a_source() -> None:
    """A task that took over a result points at its own line; the fingerprint has both places, oldest first."""
    state = folded(sent("a"), settled("a", "succeeded"), reused("b", "a"), reused("c", "a"))
    assert (state.task("a"), state.task("b"), state.done) == (at(1), at(2), 3)
    assert list(state.history(fp("a")).sources) == [at(1), at(2), at(3)]
    assert state.images == 1


@pytest.mark.parametrize("outcome", ["throttled", "unsent", "in_doubt"])
def test_the_idempotency_key_is_kept_while_the_end_is_open(outcome: str) -> None:
    """The key of the last `sent` line is sent again after an open end, and while there is no end."""
    state = folded(sent("a", key="k1"))
    assert state.history(fp("a")).open_key == "k1"
    state.apply(settled("a", outcome), at(1))
    assert state.history(fp("a")).open_key == "k1"


@pytest.mark.parametrize("outcome", ["succeeded", "refused", "unusable", "stopped"])
def test_the_idempotency_key_ends_with_a_final_answer(outcome: str) -> None:
    """After an answer, or a reopening, the next request is a new one."""
    assert folded(sent("a"), settled("a", outcome)).history(fp("a")).open_key is None
    assert folded(sent("a"), settled("a", "in_doubt"), reopened("a")).history(fp("a")).open_key is None


def test_attempt_numbers_grow_over_reopenings_while_counts_begin_anew() -> None:
    """A reopening forgets counts and the last outcome, never the highest attempt number."""
    state = folded(
        sent("a", 1), settled("a", "in_doubt", 1), sent("a", 2), settled("a", "unusable", 2, code="html"), reopened("a")
    )
    assert state.history(fp("a")) == History(attempts=2)


def test_a_success_begins_the_counts_anew() -> None:
    """What was in doubt before a success does not use up the attempts of a remake."""
    state = folded(settled("a", "in_doubt"), settled("a", "succeeded", 2), settled("a", "in_doubt", 3))
    assert state.history(fp("a")).billed == 1
    assert list(state.history(fp("a")).sources) == [at(1)]


def test_a_past_that_was_looked_up_keeps_its_mark() -> None:
    """Of three results of a request the third comes after the look: who looked acts on what it saw."""
    state = folded(settled("a", "succeeded"), settled("a", "succeeded", 2))
    seen = state.history(fp("a"))
    mark = seen.mark
    state.apply(settled("a", "succeeded", 2), at(2))
    assert seen.mark == mark
    assert state.history(fp("a")).mark != mark


def test_a_redo_asks_for_the_next_generation_of_a_base() -> None:
    """The last reopening of a base says which generation is wanted; a plain one leaves it at 0."""
    state = folded(
        reopened("a", 1, fingerprint=fp("a1"), base=fp("a")),
        reopened("a", 2, fingerprint=fp("a2"), base=fp("a")),
        reopened("b"),
    )
    assert (state.generation(fp("a")), state.generation(fp("b"))) == (2, 0)


def test_sent_lines_without_an_end_are_open() -> None:
    """In flight or left by a kill: they are listed with their places until they are settled."""
    state = folded(sent("a"), sent("b"), settled("a", "refused"), sent("c"))
    assert state.open_sent == [at(1), at(3)]


def test_two_shards_sent_the_same_fingerprint() -> None:
    """A settled line closes the `sent` of its own ledger first, and else another's."""
    state = State()
    state.apply(sent("a"), Where(1, 0, 10))
    state.apply(sent("a"), Where(2, 0, 10))
    state.apply(settled("a", "in_doubt"), Where(2, 10, 10))
    assert state.open_sent == [Where(1, 0, 10)]
    state.apply(settled("a", "in_doubt", code="interrupted"), Where(0, 0, 10))
    assert state.open_sent == []


def test_an_end_line_closes_its_own_ledger_only() -> None:
    """Recovery looks at the lines behind the last `end` of each ledger."""
    state = State()
    state.apply(end(), Where(1, 50, 10))
    state.apply(end(), Where(0, 20, 10))
    assert state.ended == {1: 60, 0: 30}
    assert state.last_end == Where(0, 20, 10)


def test_a_task_is_tried_once_something_was_sent_under_its_id() -> None:
    """An invalid item, a reuse and a reopening send nothing."""
    state = folded(settled("a", "invalid", 0), reused("a", "b"), reopened("a"))
    assert state.untouched
    state.apply(sent("a"), at(3))
    assert (state.untouched, state.tried("a"), state.tried("b")) == (False, True, False)


def test_the_line_of_the_last_end_without_a_result_is_known() -> None:
    """A report can quote why a fingerprint failed, until it succeeds or is reopened."""
    state = folded(sent("a"), settled("a", "refused"))
    assert state.history(fp("a")).where == at(1)
    state.apply(reopened("a"), at(2))
    assert state.history(fp("a")).where is None


def test_the_same_invalid_item_is_known_until_it_changes_or_is_sent() -> None:
    """An `invalid` line is repeated when its code, message or inputs differ, or once the task had another end."""
    stat = Input(role="item", path="a\udc80.png", sha256="", bytes=1, mtime_ns=2)
    line = settled("a", "invalid", 0, code="missing", message="gone", inputs=[stat])
    state = folded(line)
    assert state.invalid_known(line)
    assert not state.invalid_known(settled("a", "invalid", 0, code="missing", message="other", inputs=[stat]))
    assert not state.invalid_known(settled("a", "invalid", 0, code="missing", message="gone", inputs=None))
    assert not state.invalid_known(settled("b", "invalid", 0, code="missing", message="gone", inputs=[stat]))
    state.apply(settled("a", "refused"), at(1))
    assert not state.invalid_known(line)


def test_an_invalid_line_touches_no_fingerprint() -> None:
    """An item that was never sent has no attempts, whatever its line holds as fingerprint."""
    assert folded(settled("a", "invalid", 0, fingerprint="")).history("") == History()


def test_output_paths_of_every_result_are_known() -> None:
    """A name that a result has, in any spelling that a file system may confuse, is not foreign."""
    state = folded(settled("a", "succeeded", paths=["out/A.png", "out/B.png"]), reused("c", "a"))
    assert all(map(state.knows_path, ["out/a.png", "out/B.png", "OUT/C.PNG"]))
    assert not state.knows_path("out/d.png")


def test_images_that_may_have_been_billed_are_counted_apart() -> None:
    """Received images are those that results name; attempts in vain count what they asked for."""
    state = folded(
        settled("a", "succeeded", paths=["1", "2"]),
        settled("b", "in_doubt", n=4),
        settled("c", "unusable"),
        settled("d", "throttled", n=4),
    )
    assert (state.images, state.images_possible) == (2, 5)


def test_a_name_is_its_tasks_own_until_another_gets_it() -> None:
    """Made again, taken over or moved, it stays the task's; the last line that names it says whose it is."""
    lines = [settled("a", "succeeded", paths=["x.png"]), settled("a", "succeeded", 2, paths=["x.png"])]
    state = folded(*lines)
    assert (state.owns("a", ["x.png"]), state.renamed) == (True, 0)
    state = folded(*lines, settled("b", "succeeded", paths=["X.png"]))
    assert (state.owns("a", ["x.png"]), state.owns("b", ["X.png"]), state.renamed) == (False, True, 1)
    state = folded(*lines, settled("b", "succeeded", paths=["X.png"]), settled("a", "succeeded", 3, paths=["x.png"]))
    assert (state.owns("a", ["x.png"]), state.owns("b", ["X.png"])) == (True, False)


paths = st.lists(st.sampled_from(["1.png", "2.png", "1.jpg", "3"]), min_size=1, max_size=2, unique=True)
namings = st.lists(
    st.builds(lambda task, paths: settled(task, "succeeded", paths=paths), st.sampled_from("abc"), paths)
)


@given(namings, st.integers(0, 10))
def test_whose_a_name_is_is_what_verify_says_too(records: list[Settled], kept: int) -> None:
    """After any lines a task's result has its names where it is current; also after a snapshot."""
    state, holdings = State(), Holdings()
    for number, record in enumerate(records):
        where = Where(0, 100 * number, 100)
        if number == kept:
            state = unpacked(state)
        state.apply(record, where)
        holdings.take(record, where)
    for task in "abc":
        where = state.task(task)  # type: ignore[assignment]  # None where it has no result
        names = [output.path for output in records[where.offset // 100].outputs] if where else []
        assert state.owns(task, names) == all(holdings.is_current(task, name, where) for name in names)


def unpacked(state: State) -> State:
    """The state as a snapshot brings it back."""
    other = State()
    for buffer, saved in zip(buffers_of(other), buffers_of(state), strict=True):
        buffer[:] = saved  # type: ignore[assignment]  # each is of the other's type
    restore(other, msgspec.msgpack.decode(msgspec.msgpack.encode(rest_of(state)), type=Rest))
    return other


tasks = st.sampled_from(["a", "b", "c"])
outcomes = st.sampled_from([outcome.value for outcome in Outcome])
histories = st.lists(
    st.one_of(
        st.builds(sent, tasks, st.integers(1, 3)),
        st.builds(settled, tasks, outcomes, st.integers(1, 3)),
        st.builds(reused, tasks, tasks),
        st.builds(reopened, tasks, st.integers(0, 2)),
        st.builds(end),
    ),
    max_size=30,
)


def picture(state: State) -> object:
    """All that a state says of the tasks of the property test."""
    histories = [state.history(fp(task)) for task in "abc"]
    return (
        [(h.billed, h.unusable, h.last, h.code, h.open_key, h.attempts, list(h.sources)) for h in histories],
        [(state.task(task), state.generation(fp(task)), state.knows_path(f"out/{task}.png")) for task in "abc"],
        (state.open_sent, state.ended, state.images, state.images_possible, state.done),
    )


@given(histories)
@settings(max_examples=50, deadline=None)
def test_replay_and_life_give_the_same_state(tmp_path_factory: pytest.TempPathFactory, records: list[Record]) -> None:
    """Folding lines as they are written equals folding them as they are read."""
    folder = tmp_path_factory.mktemp("fold")
    (folder / "ledger.jsonl").write_bytes(grouped([record] for record in records))
    live, offset = State(), 0
    for record in records:
        length = len(encode(record))
        live.apply(record, Where(0, offset, length))
        offset += length
    assert picture(replay(folder).state) == picture(live)


@pytest.mark.parametrize("count", [12_000, pytest.param(100_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(400)
def test_a_task_takes_less_than_200_bytes(count: int) -> None:
    """A task that succeeded at once is kept in at most 200 bytes, also right after the tables grew."""
    first, second = sent("", fingerprint="0"), settled("", "succeeded", fingerprint="0")
    state = State()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(count):
        task = f"set/key-{number}/prompt"
        for record in (first, second):
            record.task, record.fingerprint = task, f"{number:064x}"
        second.outputs = [second.outputs[0].__class__(f"{task}.png", None, "", 1, 1, 1, "png")]
        state.apply(first, Where(0, 4000 * number, 2000))
        state.apply(second, Where(0, 4000 * number + 2000, 2000))
    used = (tracemalloc.get_traced_memory()[0] - before) / count
    tracemalloc.stop()
    assert state.done == count
    assert used <= 200, f"{used:.0f} bytes a task"
