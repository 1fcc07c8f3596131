"""The look at what was done: as cheap as can be, and never of another opinion than the close one."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipeline.errors import RebuyError, StorageError
from pipeline.ledger.done import Done
from pipeline.ledger.replay import replay
from pipeline.manifest.job import Job
from pipeline.outputs.folder import OutputFolder
from pipeline.run import engine
from pipeline.run.decide import Class, Verb
from pipeline.run.engine import Engine
from pipeline.run.examine import Examined, Examiner
from pipeline.run.exits import Exit
from pipeline.run.flags import Flags
from pipeline.run.glance import Glance
from pipeline.run.halt import Halt
from pipeline.run.perform import perform
from pipeline.run.progress import Moment, Silent
from pipeline.run.survey import Survey
from pipeline.run.surveying import Looking, Rest
from pipeline.tasks.cache import InputCache
from pipeline.tasks.expand import prepare
from pipeline.tasks.select import Selection
from pipeline.tasks.task import Task
from tests.run.conftest import Bench, answer, picture, refusal

pytestmark = pytest.mark.anyio

MATRIX = {"light": {"dawn": "soft", "dusk": "low"}}
PROMPTS: list[dict[str, Any]] = [
    {"name": "white", "text": "White background, {{ matrix.light }}", "matrix": MATRIX, "repeat": 2},
    {"name": "both", "text": "Beside {{ key }}", "references": ["logo.png"], "request": {"n": 2}},
    {"name": "cut", "text": "Cut out", "mask": "logo.png"},
]
SWAPPED = (
    "{{ set }}/{{ prompt }}{{ variant | replace('dawn', 'x') | replace('dusk', 'dawn') | replace('x', 'dusk') }}"
    "/{{ key }}-{{ index }}"
)
NAMES = ("ä", "b", "c%")


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the tasks that are looked at closely."""
    ids: list[str] = []
    plain = Examiner.examine

    def examine(self: Examiner, task: Task, *look: Any) -> Examined:
        ids.append(task.id)
        return plain(self, task, *look)

    monkeypatch.setattr(Examiner, "examine", examine)
    return ids


async def bought(bench: Bench) -> Job:
    """A job of 21 tasks, all done."""
    bench.images(*NAMES)
    (bench.folder / "logo.png").write_bytes(picture(77))
    bench.say = lambda edit: answer(*(picture(len(bench.posts) + at) for at in range(int(edit.fields.get("n", 1)))))
    job = bench.job(prompts=PROMPTS)
    summary = await bench.run(job)
    assert summary.tasks["done"] == summary.tasks["total"] == 18
    return job


def compared(job: Job, now_ns: int) -> Counter[str]:
    """Hold the glance against the close look, task by task; how often each was of which opinion."""
    found: Counter[str] = Counter()
    state, ledgers = replay(job.output)
    cache = InputCache(None, lambda: now_ns)
    with OutputFolder(job.output) as folder:
        examiner, glance = Examiner(job, state, ledgers, folder, cache), Glance(state, folder, cache)
        for task in prepare(job, 0.0).tasks():
            done = state.done_as(task.id)
            glimpsed = done is not None and glance.finds(task, done)
            try:
                work = examiner.examine(task)
            except StorageError:  # a result is looked for where a symlink is in the way
                assert not glimpsed
                continue
            glance.learn(work)
            if glimpsed:
                assert (work.verb, work.kind, work.warning, work.again) == (Verb.SKIP, Class.DONE, None, False), task.id
            found["glimpsed" if glimpsed else str(work.kind)] += 1
    ledgers.close()
    return found


async def test_of_an_item_whose_files_are_known_only_the_first_task_is_looked_at_closely(bench: Bench) -> None:
    """The first of each set of files tells their digests; the rest is seen at a glance."""
    job = await bought(bench)
    assert compared(job, 0) == {"glimpsed": 18 - 3 - 1, "done": 3 + 1}


def outputs(bench: Bench) -> list[Path]:
    return sorted(path for path in (bench.out / "set").rglob("*-*") if path.is_file())


def inputs(bench: Bench) -> list[Path]:
    return [*sorted((bench.folder / "in").iterdir()), bench.folder / "logo.png"]


def remade(path: Path, data: bytes) -> None:
    """Other bytes under the name, of the same size and time."""
    state = path.stat()
    path.write_bytes(data[: state.st_size].ljust(state.st_size, b"x"))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def linked(path: Path) -> None:
    """The file lies elsewhere, and a symlink has its name."""
    target = path.with_name(f".{path.name}.away")
    path.rename(target)
    path.symlink_to(target)


def link_of_size(path: Path) -> None:
    """A dangling symlink, as long as the picture was."""
    size = path.stat().st_size
    path.unlink()
    path.symlink_to(f"{'x' * 100}/" * (size // 101) + "y" * (size % 101))


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DEEDS: dict[str, Callable[[Bench, random.Random], object]] = {
    "output gone": lambda bench, chance: chance.choice(outputs(bench)).unlink(),
    "output longer": lambda bench, chance: chance.choice(outputs(bench)).write_bytes(b"edited, and of another length"),
    "output remade": lambda bench, chance: remade(chance.choice(outputs(bench)), b"edited"),
    "output linked": lambda bench, chance: linked(chance.choice(outputs(bench))),
    "output a link of its size": lambda bench, chance: link_of_size(chance.choice(outputs(bench))),
    "output a folder": lambda bench, chance: as_folder(chance.choice(outputs(bench))),
    "folder gone": lambda bench, chance: shutil.rmtree(chance.choice(outputs(bench)).parent),
    "folder linked": lambda bench, chance: linked(chance.choice(outputs(bench)).parent),
    "input touched": lambda bench, chance: os.utime(chance.choice(inputs(bench))),
    "input changed": lambda bench, chance: chance.choice(inputs(bench)).write_bytes(picture(chance.randrange(9999))),
    "input gone": lambda bench, chance: chance.choice(inputs(bench)[1:-1]).unlink(),
    "input linked": lambda bench, chance: linked(chance.choice(inputs(bench))),
    "inputs swapped": lambda bench, chance: swapped(*chance.sample(inputs(bench), 2)),
    "outputs swapped": lambda bench, chance: swapped(*chance.sample(outputs(bench), 2)),
}


def swapped(one: Path, two: Path) -> None:
    away = one.with_name(".away")
    one.rename(away)
    two.rename(one)
    away.rename(two)


MANIFESTS: dict[str, dict[str, Any]] = {
    "as it was": {},
    "a prompt changed": {"prompts": [{**PROMPTS[0], "text": "Grey, {{ matrix.light }}"}, *PROMPTS[1:]]},
    "more of an image": {"prompts": [PROMPTS[0], {**PROMPTS[1], "request": {"n": 1}}, PROMPTS[2]]},
    "other names": {"output": {"folder": "out", "path": "{{ key }}-{{ prompt }}{{ variant }}-{{ index }}"}},
    "the names of others": {
        "output": {"folder": "out", "path": SWAPPED}
    },
    "missing is kept": {"rerun": {"missing": "keep", "changed": "keep"}},
}  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
async def test_a_glance_is_never_of_another_opinion_than_a_close_look(bench: Bench, seed: int) -> None:
    """Whatever happened to inputs, outputs, manifest and ledger: what passes at a glance is done, with no warning.

    But for other bytes of the same size and time: those nobody sees who does not read every file.
    """
    await bought(bench)
    chance = random.Random(seed)
    seen: Counter[str] = Counter()
    for _ in range(30):
        deed = chance.choice([*DEEDS, "a run", "a redo"])
        job = bench.job(**{"prompts": PROMPTS, **chance.choice(list(MANIFESTS.values()))})
        if deed in DEEDS:
            try:
                DEEDS[deed](bench, chance)
            except (OSError, IndexError, ValueError):  # what it is done to is gone by now, or no file any more
                continue
        elif inputs(bench):
            mended(bench)
            await bench.run(job, redo="*/white/*" if deed == "a redo" else None, yes=True)
        with_racy_cache, with_cache = compared(job, 0), compared(job, 2**62)
        seen += with_racy_cache + with_cache
    assert seen["glimpsed"] > 50
    assert len(seen) > 3


def mended(bench: Bench) -> None:
    """All inputs are there, so that a manifest that names one can be used, and no symlink is in the way of results."""
    for path in (*(bench.folder / "in").iterdir(), bench.folder / "logo.png"):
        if path.is_symlink():
            path.unlink()
    bench.images(*(name for name in NAMES if not (bench.folder / f"in/{name}.png").exists()))
    for path in (bench.out / "set").rglob("*"):
        if path.is_symlink():
            path.unlink()
    if not (bench.folder / "logo.png").exists():
        (bench.folder / "logo.png").write_bytes(picture(77))


async def test_a_link_as_long_as_the_picture_was_is_no_picture(bench: Bench) -> None:
    """What is at an output's name must be a file."""
    job = await bought(bench)
    for path in outputs(bench):
        link_of_size(path)
    assert compared(job, 0)["glimpsed"] == 0


async def test_results_that_were_moved_behind_a_link_still_count_as_done(bench: Bench) -> None:
    """Reading follows what writing refuses: somebody moved a folder of results to another disk."""
    job = await bought(bench)
    moved = bench.folder / "elsewhere"
    (bench.out / "set").rename(moved)
    (bench.out / "set").symlink_to(moved)
    assert compared(job, 0) == {"glimpsed": 18 - 3 - 1, "done": 3 + 1}


async def test_a_reference_that_changes_meanwhile_is_told_by_its_size_and_time(bench: Bench) -> None:
    """What is known of a file that all items share holds as long as its stat does."""
    job = await bought(bench)
    state, ledgers = replay(job.output)
    cache = InputCache(None)
    with OutputFolder(job.output) as folder:
        examiner, glance = Examiner(job, state, ledgers, folder, cache), Glance(state, folder, cache)
        tasks = [task for task in prepare(job, 0.0).tasks() if task.prompt == "both"]
        for task in tasks:
            glance.learn(examiner.examine(task))
        found = [done is not None and glance.finds(task, done) for task in tasks if (done := state.done_as(task.id))]
        assert found == [True] * 3
        (bench.folder / "logo.png").write_bytes(picture(78))
        glimpsed = [glance.finds(task, done) for task in tasks[:2] if (done := state.done_as(task.id))]
        assert glimpsed == [False, False]
    ledgers.close()


async def test_what_the_survey_found_done_is_not_looked_at_again(bench: Bench, looked: list[str]) -> None:
    """A night run that has nothing to do goes through its tasks once."""
    job = await bought(bench)
    looked.clear()
    summary = await bench.run(job)
    assert (summary.tasks["skipped"], bench.posts) == (18, [])
    assert len(looked) <= 4
    assert all(len(end.outputs) == (2 if "/both" in task else 1) for task, end in bench.ends.items())
    assert all(end.fingerprint for end in bench.ends.values())


@pytest.mark.parametrize("flags", [{}, {"only": "*/white/*"}, {"limit": 1}, {"shard": (1, 2)}, {"sample": 2}])
@pytest.mark.parametrize("order", ["items", "prompts"])
async def test_a_run_without_a_listener_counts_and_sends_the_same(
    bench: Bench, flags: dict[str, Any], order: str
) -> None:
    """What is done is counted at once then; the rest goes the same way, in the same order."""
    bench.say = lambda edit: refusal(400, "bad") if len(bench.posts) % 5 == 0 else answer(picture(len(bench.posts)))
    bench.images(*NAMES)
    (bench.folder / "logo.png").write_bytes(picture(77))
    job = bench.job(prompts=PROMPTS, order=order, stop_on={"failures": "100%"}, limits={"concurrency": 1})
    await bench.run(job)
    outputs(bench)[0].unlink()
    outputs(bench)[3].write_bytes(b"edited")
    shutil.copytree(bench.out, bench.folder / "copy")
    heard = await bench.run(job, **flags)
    sent = [edit.fields for edit in bench.posts]
    shutil.rmtree(bench.out)
    (bench.folder / "copy").rename(bench.out)
    notes, bench.posts = list(bench.notes), []
    bench.notes.clear()
    unheard = await perform(job, Flags(**flags), _noting(bench), chance=bench.chance)
    assert unheard.tasks == heard.tasks
    assert [edit.fields for edit in bench.posts] == sent
    assert bench.notes == notes[-len(bench.notes) :] if bench.notes else True
    assert (unheard.tasks["skipped"] > 0, unheard.exit) == (True, heard.exit)


def _noting(bench: Bench) -> Silent:
    view = Silent()
    view.note = bench.notes.append  # type: ignore[assignment]  # what the user would read
    return view


async def test_edited_outputs_are_told_of_once(bench: Bench) -> None:
    """Of many the first few and how many in all, also where nothing else is to be done."""
    job = await bought(bench)
    for path in outputs(bench)[:12]:
        path.write_bytes(b"edited")
    bench.notes.clear()
    summary = await bench.run(job)
    assert summary.tasks["skipped"] == 18
    told = [note for note in bench.notes if "changed by someone" in note]
    assert sum("stays and counts" in note for note in told) == 5
    assert len(told) == 6


async def test_nothing_to_do_needs_no_second_pass(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the survey found all tasks done, the engine lists none."""
    job = await bought(bench)

    def run(*_: Any) -> None:
        raise AssertionError("the engine ran")

    monkeypatch.setattr(Engine, "run", run)
    summary = await perform(job, Flags(), Silent(), chance=bench.chance)
    assert (summary.exit, summary.tasks["skipped"]) == (0, 18)


async def test_a_redo_of_one_task_finds_its_twin(bench: Bench) -> None:
    """A request that is asked for anew is another for every task that had it, also one that the survey found done."""
    bench.images("one")
    shutil.copy(bench.folder / "in/one.png", bench.folder / "in/two.png")
    await bench.run()
    summary = await bench.run(redo="set/two/*")
    assert (len(bench.posts), summary.tasks["skipped"]) == (1, 0)
    assert sorted(bench.words().values()) == ["done", "reused"]


async def test_the_survey_is_shown_while_it_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many finished tasks take a while: the user sees how far the look at them is."""
    job = await bought(bench)
    moments: list[Moment] = []
    view = Silent()
    view.interval = 0.001
    view.update = moments.append  # type: ignore[assignment]  # what the user would see
    plain = Glance.finds

    def slowly(self: Glance, *what: Any) -> bool:
        import time

        time.sleep(0.01)
        return plain(self, *what)

    monkeypatch.setattr(Glance, "finds", slowly)
    await perform(job, Flags(), view, chance=bench.chance)
    shown = [moment for moment in moments if isinstance(moment, Looking)]
    assert shown
    assert shown[-1].total == 18
    assert 0 < shown[-1].finished <= 18
    assert shown[-1].words == "looking at what is done"


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A run is stopped at its first glance; the ids of the tasks that were glanced at."""
    halts: list[Halt] = []
    glimpsed: list[str] = []
    made, plain = Halt.__init__, Glance.finds

    def keep(self: Halt, *what: Any) -> None:
        made(self, *what)
        halts.append(self)

    def finds(self: Glance, task: Task, done: Done) -> bool:
        glimpsed.append(task.id)
        anyio.from_thread.run_sync(halts[-1].drain, Exit.INTERRUPTED, "interrupted")
        return plain(self, task, done)

    monkeypatch.setattr(Halt, "__init__", keep)
    monkeypatch.setattr(Glance, "finds", finds)
    return glimpsed


async def test_a_stop_during_the_survey_ends_it(bench: Bench, stopped: list[str]) -> None:
    """Nothing is glanced at any more, and nothing is sent; what is done is told as far as that costs no time."""
    job = await bought(bench)
    stopped.clear()
    summary = await bench.run(job)
    assert (len(stopped), bench.posts) == (1, [])
    assert (summary.exit, summary.tasks["skipped"]) == (0, 18)


async def test_a_stopped_run_does_not_go_through_a_long_list(
    bench: Bench, stopped: list[str], looked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some seconds with nothing in flight it ends; what it did not get to is pending."""
    job = await bought(bench)
    monkeypatch.setattr(engine, "LISTED_SECONDS", -1.0)
    monkeypatch.setattr(engine, "FIRST_BATCH", 2)
    looked.clear()
    summary = await bench.run(job)
    assert summary.exit == Exit.INTERRUPTED
    assert len(looked) == len(bench.ends) == 3 - 1
    assert (summary.tasks["total"], summary.tasks["pending"]) == (18, 16)


async def test_a_refused_run_counts_nothing(bench: Bench) -> None:
    """Where too much would be bought again no task has ended, whatever the survey found done."""
    bench.images(*(f"{number:02}" for number in range(60)))
    await bench.run()
    for path in outputs(bench)[:30]:
        path.unlink()
    with pytest.raises(RebuyError, match="30 of 60"):
        await bench.run()
    assert bench.ends == {}


class _Asked:
    """A pick that takes the tasks at some places, and remembers what it was asked."""

    def __init__(self, places: set[int]) -> None:
        self.places = places
        self.ids: list[str] = []

    def passes_over(self, count: int) -> bool:
        return False

    def __call__(self, task: str) -> bool:
        self.ids.append(task)
        return len(self.ids) - 1 in self.places


@pytest.mark.parametrize("order", ["items", "prompts"])
@pytest.mark.parametrize("selection", [Selection(), Selection(only="*/white/*"), Selection(shard=(1, 2))])
async def test_the_places_of_tasks_are_the_same_in_every_pass(bench: Bench, order: str, selection: Selection) -> None:
    """Whatever is selected and passed over: the rest of a survey is what it did not find done."""
    bench.images(*NAMES)
    (bench.folder / "logo.png").write_bytes(picture(77))
    prepared = prepare(bench.job(prompts=PROMPTS, order=order), 0.0)
    ids = [task.id for task in prepared.tasks(selection)]
    for seed in range(30):
        chance = random.Random(seed)
        done = {place for place in range(len(ids)) if chance.random() < seed / 20}
        asked = _Asked(done)
        assert [task.id for task in prepared.tasks(selection, pick=asked)] == [ids[place] for place in sorted(done)]
        assert asked.ids == ids
        found = Survey(len(ids), done=bytearray(place in done for place in range(len(ids))))
        rest = [task.id for task in prepared.tasks(selection, pick=Rest(found))]
        assert rest == [name for place, name in enumerate(ids) if place not in done]
