"""`retouch validate` at work: in parallel, with progress, in flat memory, and until it is interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import pytest
from PIL import Image

from pipeline.cli.progress import Lines
from pipeline.decode import Picture
from pipeline.ledger.lock import FolderLock
from pipeline.manifest.load import load_job
from pipeline.run.decoding import AT_ONCE, Decoding, Sink
from pipeline.run.progress import Moment
from pipeline.run.validate import validate
from pipeline.tasks.inputs import Unusable
from pipeline.tasks.pictures import picture_of
from pipeline.tasks.task import Input, Item, Task
from tests.bad_input.conftest import BenchOf
from tests.cli.conftest import Retouch

Look = Callable[[str], Picture | Unusable]
LOOK = "pipeline.run.decoding.picture_of"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file is decoded, by its name."""
    names: Counter[str] = Counter()

    def look(path: str) -> Picture | Unusable:
        names[Path(path).name] += 1
        return picture_of(path)

    monkeypatch.setattr(LOOK, look)
    return names


def test_each_file_is_decoded_once(bench: BenchOf, folder: Path, seen: Counter[str]) -> None:
    """However many prompts, variants and repeats use it, and as photo, reference and mask at a time."""
    Image.new("RGBA", (16, 12)).save(folder / "mask.png")
    prompts = "{text: x, references: [in/0.png], mask: mask.png, matrix: {light: [dawn, dusk]}, repeat: 3, "
    job = bench(
        image_sets='[{name: shoes, images: "in/*.png"}, {name: bags, images: "in/*.png"}]',
        prompts=f"[{prompts}name: a}}, {prompts}name: b}}]",
        order="prompts",
    )
    assert job.call("validate", "job.yaml", "--json").json["files"] == 3
    assert seen == {"0.png": 1, "1.png": 1, "mask.png": 1}
    assert job.lines("run", "job.yaml", "--strict", "--limit", "1")[0] == 0
    assert seen["0.png"] == 2


def test_two_files_are_decoded_at_the_same_time(bench: BenchOf, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the two waits for the other to begin; one after the other would wait in vain."""
    both = threading.Barrier(2, timeout=20)

    def look(path: str) -> Picture | Unusable:
        both.wait()
        return picture_of(path)

    monkeypatch.setattr(LOOK, look)
    assert bench().lines("validate", "job.yaml") == (0, [], 0)


class Seen:
    """A view that keeps what it is shown."""

    interval = 0.0

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.closed = False

    def update(self, moment: Moment) -> None:
        self.moments.append(moment)

    def note(self, text: str) -> None:
        """Nothing is noted."""

    def close(self) -> None:
        self.closed = True


def test_progress_grows_to_all_tasks(folder: Path) -> None:
    """It counts tasks, says how many files were decoded and how many problems there are, and is taken away."""
    for number in range(2, 120):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(folder / f"in/{number:03}.png")
    (folder / "in/zz.png").touch()
    view = Seen()
    found = validate(load_job(folder / "job.yaml", {}), view)
    assert (found.tasks, found.files, len(found.problems)) == (121, 121, 1)
    finished = [moment.finished for moment in view.moments]
    assert finished == sorted(finished)
    assert (finished[-1], view.moments[-1].total, view.closed) == (121, 121, True)
    assert 0 < finished[0] < 121
    assert view.moments[-1].words == "121 files decoded, 1 problem"


def test_progress_without_a_terminal_is_a_line_now_and_then(call: Retouch, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `run` does: in a log nothing is drawn over; `--quiet` has none."""
    monkeypatch.setattr(Lines, "every", 0.0)
    monkeypatch.setattr(Lines, "interval", 0.0)
    monkeypatch.setattr("pipeline.run.decoding.AT_ONCE", 0)
    said = call("validate", "job.yaml")
    form = r"([01]/2 tasks, [01] files decoded, ETA \S+\n)*1/2 tasks, 2 files decoded, ETA \S+\n"
    assert re.fullmatch(form, said.err), said.err
    assert call("validate", "job.yaml", "-q").err == ""


def test_a_file_that_hangs_does_not_stop_the_progress(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network disk that does not answer is seen as a count that stands still, not as a dead program."""
    view = Seen()

    def look(path: str) -> Picture | Unusable:
        until = time.monotonic() + 20
        while len(view.moments) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        return picture_of(path)

    monkeypatch.setattr(LOOK, look)
    monkeypatch.setattr("pipeline.run.decoding.TICK", 0.01)
    validate(load_job(folder / "job.yaml", {}), view)
    assert len(view.moments) >= 3


def test_a_crowded_memory_is_no_fault_of_the_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit beside others is looked into alone."""
    tries: Counter[str] = Counter()

    def look(path: str) -> Picture | Unusable:
        tries[path] += 1
        if tries[path] == 1:
            raise MemoryError
        return picture_of(path)

    monkeypatch.setattr(LOOK, look)
    assert validate(load_job(folder / "job.yaml", {})).problems == ()
    assert set(tries.values()) == {2}


def test_where_no_thread_can_be_started_the_files_are_looked_into_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, seen: Counter[str]
) -> None:
    """A limit on processes makes it slow, and is no fault of the job."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    (folder / "in/1.png").write_bytes(b"no image")
    said = validate(load_job(folder / "job.yaml", {}))
    assert [problem.where for problem in said.problems] == ["shoes/1/white"]
    assert set(seen.values()) == {1}


SLOW = """\
import os
import time
import pipeline.run.decoding

def look(path):
    os.write(1, b"looking\\n")  # at once, as several threads do it
    time.sleep(float(os.environ["SECONDS"]))

pipeline.run.decoding.picture_of = look
from pipeline.cli import main
main()
"""
INTERRUPTED = [b"\n", b"error: interrupted\n"]
"""The line break ends what a terminal shows as ^C."""


@contextmanager
def slow_validate(folder: Path, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """Validates 200 files in a process of its own, each for so long; the first has begun."""
    for number in range(2, 200):
        (folder / f"in/{number}.png").touch()
    command = [sys.executable, "-c", SLOW, "validate", "job.yaml"]
    environ = {**os.environ, "SECONDS": str(seconds)}
    with subprocess.Popen(command, cwd=folder, env=environ, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"looking\n"
        yield process


@pytest.mark.timeout(60)
def test_an_interrupt_ends_it_cleanly(folder: Path) -> None:
    """Ctrl-C: one line and exit 130, once the files that are being decoded are; what waits is not begun."""
    with slow_validate(folder, 1) as process:
        time.sleep(0.5)  # a full queue waits by now
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=40)
    assert (process.returncode, err) == (130, b"".join(INTERRUPTED))
    assert out.count(b"looking") < AT_ONCE / 2


@pytest.mark.timeout(60)
def test_a_second_interrupt_ends_it_at_once(folder: Path) -> None:
    """A file on a disk that does not answer keeps nobody waiting, and there is no traceback."""
    with slow_validate(folder, 50) as process:
        assert process.stderr is not None
        process.send_signal(signal.SIGINT)
        assert [process.stderr.readline(), process.stderr.readline()] == INTERRUPTED
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=40)
    # By the signal itself, which a shell shows as 130.
    assert (process.returncode, err) == (-signal.SIGINT, b"")


def task(number: int) -> Task:
    path = f"/photos/of/the/spring/catalogue/{number}.jpg"
    item = Item("shoes", str(number), (path,))
    return Task(f"shoes/{number}/white", item, "white", (), 1, {}, (Input("item", path),), (f"{number}",))


def test_memory_grows_by_a_note_for_each_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 images: at most 200 bytes each, and never more than a queue of pictures under way."""
    most = 0

    def look(_: str) -> Picture | Unusable:
        return Picture("jpeg", 4000, 3000, alpha=False)

    monkeypatch.setattr(LOOK, look)
    with ThreadPoolExecutor(2) as threads:
        found = Decoding(load_job(folder / "job.yaml", {}), Sink(lambda problem: pytest.fail(str(problem))), threads)
        for number in range(100):
            found.look_into(task(number), None)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(100, 10_100):
            found.look_into(task(number), None)
            most = max(most, number + 1 - found.files)
        found.finish()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    assert found.files == 10_100
    assert grown < 200 * 10_000
    assert most <= AT_ONCE


def test_the_answer_in_json_places_each_finding(bench: BenchOf, folder: Path) -> None:
    """One object, with where to look and what is wrong of each, also where the manifest itself is wrong."""
    (folder / "in/bad.png").touch()
    said = bench().call("validate", "job.yaml", "--json")
    assert said.json["problems"] == [
        {
            "what": "is empty",
            "expected": "expected an image",
            "where": "shoes/bad/white",
            "file": "in/bad.png",
            "line": 0,
            "column": 0,
        }
    ]
    assert (said.json["job"], said.json["exit"], said.json["tasks"]) == ("shop", 2, 3)
    said = bench(order="random").call("validate", "job.yaml", "--json")
    (problem,) = said.json["problems"]
    assert (said.code, said.json["exit"], said.json["job"], said.json["files"]) == (2, 2, None, 0)
    assert (problem["where"], problem["file"], problem["line"], problem["column"]) == ("order", "job.yaml", 7, 1)
    said = bench().call("validate", "job.yaml", "--json", "-q")
    assert said.json["error"] == "in/bad.png: shoes/bad/white: is empty; expected an image"
    (folder / "in/bad.png").unlink()
    assert "error" not in bench().call("validate", "job.yaml", "--json").json


def test_nothing_is_written_and_no_key_is_needed(call: Retouch, folder: Path) -> None:
    """It can run beside a run, and where no key is."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert call("validate", "job.yaml").out == "shop: 2 items, 2 tasks, 2 files: all can be sent\n"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_run_that_goes_on_does_not_matter(bench: BenchOf, folder: Path) -> None:
    """Its lock is not asked for, and its results are no foreign files."""
    found = bench()
    assert found.lines("run", "job.yaml", "-q")[0] == 0
    with FolderLock(folder / "out"):
        assert found.lines("validate", "job.yaml") == (0, [], 0)
