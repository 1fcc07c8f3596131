import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pipeline.durable import write_all
from pipeline.errors import StorageError
from pipeline.ledger import committer as committer_module
from pipeline.ledger import ledger_file
from pipeline.ledger.committer import COMMITS, Committer
from pipeline.ledger.entries import Entry, UnpublishedError
from pipeline.ledger.last_words import DISPENSABLE
from pipeline.ledger.places import Where
from pipeline.ledger.records import Record, Sent, Settled
from pipeline.ledger.replay import Ledgers
from pipeline.ledger.reserve import SLOT, Reserve
from pipeline.ledger.scan import repair
from tests.ledger.lines import end, reused, run, sent, settled

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 1, 12, 0, 0, 5678, tzinfo=timezone(timedelta(hours=2)))


@asynccontextmanager
async def serving(folder: Path, *, slots: int = 2) -> AsyncIterator[Committer]:
    (folder / "parts").mkdir(exist_ok=True)
    limiter = anyio.CapacityLimiter(2)
    path = folder / "ledger.jsonl"
    committer = Committer(path, "r1", folder / "parts", slots=slots, now=lambda: NOON, limiter=limiter, file=3)
    async with anyio.create_task_group() as group:
        group.start_soon(committer.serve)
        try:
            yield committer
        finally:
            committer.close()


def written(folder: Path) -> list[Record]:
    return [entry.record for entry in Ledgers(folder).entries()]


def failing(code: int, calls: list[int] | None = None, *, times: int = 1) -> Callable[..., Any]:
    """A call that fails with an errno its first `times` times, and then does nothing."""
    left = [times]

    def call(*_: object, **__: object) -> None:
        if calls is not None:
            calls.append(1)
        if left[0]:
            left[0] -= 1
            raise OSError(code, f"injected: {os.strerror(code)}")

    return call


def made() -> Callable[[], object]:
    """Parts that are begun, and durable as soon as somebody waits for them."""
    return str


async def refused(committer: Committer, record: Record) -> str:
    with pytest.raises(StorageError) as caught:
        await committer.append(record)
    return str(caught.value)


async def test_a_line_is_stamped_and_placed(tmp_path: Path) -> None:
    """A line carries its run, UTC time in milliseconds and its write's offset, and its place reads back."""
    async with serving(tmp_path) as committer:
        first = await committer.append(run())
        second = await committer.append(sent("a"))
    lines = (tmp_path / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    assert (first, second) == (Where(3, 0, len(lines[0])), Where(3, len(lines[0]), len(lines[1])))
    record = written(tmp_path)[1]
    assert (record.run, record.at, record.group) == ("r1", "2026-11-01T10:00:00.005Z", len(lines[0]))


async def test_a_new_ledger_s_name_is_durable_before_its_first_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output folder is synced once, between creating the file and writing to it."""
    sizes: list[int] = []
    monkeypatch.setattr(ledger_file, "sync_folder", lambda path: sizes.append(os.stat(path / "ledger.jsonl").st_size))
    async with serving(tmp_path) as committer:
        await committer.append(run())
        await committer.append(sent("a"))
    assert sizes == [0]


async def test_lines_that_come_together_share_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty workers' lines are one group: one sync, one offset."""
    synced: list[int] = []
    monkeypatch.setattr(ledger_file, "sync_file", synced.append)
    async with serving(tmp_path) as committer:
        await committer.append(run())
        async with anyio.create_task_group() as workers:
            for number in range(20):
                workers.start_soon(committer.append, sent(str(number)))
    assert len({record.group for record in written(tmp_path)[1:]}) == 1
    assert len(synced) == 2


async def test_the_first_write_of_a_ledger_is_one_line(tmp_path: Path) -> None:
    """Lines queued together into an empty ledger do not share the first group."""
    async with serving(tmp_path) as committer, anyio.create_task_group() as workers:
        for number in range(5):
            workers.start_soon(committer.append, sent(str(number)))
    assert [record.group == 0 for record in written(tmp_path)] == [True, False, False, False, False]


async def test_commit_syncs_parts_then_the_line_then_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts folder, the line and the name become durable in this order, and the publish's value comes back."""
    order: list[str] = []
    monkeypatch.setattr(committer_module, "sync_folder", lambda path: order.append(path.name))
    monkeypatch.setattr(ledger_file, "sync_file", lambda _: order.append("line"))

    def publish() -> int:
        order.append("publish")
        return 42

    async with serving(tmp_path) as committer:
        done = await committer.commit(settled("a", "succeeded"), publish)
    assert order == ["parts", "line", "publish"]
    assert (done.value, done.where.offset) == (42, 0)


async def test_a_line_without_parts_waits_for_one_groups_parts_at_most(tmp_path: Path) -> None:
    """Of many answers that come at once the first make room for new requests while the last are stored."""
    async with serving(tmp_path) as committer:
        await committer.append(run())
        async with anyio.create_task_group() as workers:
            for number in range(3 * COMMITS):
                workers.start_soon(committer.commit, settled(str(number), "succeeded"), str, made)
            workers.start_soon(committer.append, sent("new"))
    kinds = [type(record) for record in written(tmp_path)[1:]]
    assert (len(kinds), kinds.count(Sent)) == (3 * COMMITS + 1, 1)
    assert kinds.index(Sent) <= COMMITS


async def test_a_line_is_written_while_parts_are_made(tmp_path: Path) -> None:
    """A disk that is busy with pictures keeps no request waiting."""
    written_meanwhile = threading.Event()

    def slow() -> Callable[[], object]:
        assert written_meanwhile.wait(20)
        return str

    async with serving(tmp_path) as committer:
        await committer.append(run())
        async with anyio.create_task_group() as workers:
            workers.start_soon(committer.commit, settled("a", "succeeded"), str, slow)
            await anyio.sleep(0.05)
            await committer.append(sent("new"))
            written_meanwhile.set()
    assert [type(record) for record in written(tmp_path)[1:]] == [Sent, Settled]


async def test_a_result_is_named_within_what_surrounds_its_group(tmp_path: Path) -> None:
    """Parts are made, and later named, by a thread that holds their folders open."""
    inside: list[bool] = [False]
    seen: list[bool] = []

    @contextmanager
    def around() -> Iterator[None]:
        inside[0] = True
        yield
        inside[0] = False

    async with serving(tmp_path) as committer:
        committer._around = around
        await committer.commit(settled("a", "succeeded"), lambda: seen.append(inside[0]), made)
    assert seen == [True]
    assert not inside[0]


async def test_parts_are_made_before_their_folder_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All parts of a group are begun, then each is waited for; then their folder is synced once."""
    order: list[str] = []
    monkeypatch.setattr(committer_module, "sync_folder", lambda path: order.append(path.name))
    monkeypatch.setattr(ledger_file, "sync_file", lambda _: order.append("line"))
    async with serving(tmp_path) as committer:
        await committer.append(run())
        order.clear()
        async with anyio.create_task_group() as workers:
            for name in "ab":
                record = settled(name, "succeeded")

                def finish(name: str = name, record: Settled = record) -> None:
                    order.append(f"part {name}")
                    record.code = name

                def make(name: str = name, finish: Callable[[], None] = finish) -> Callable[[], None]:
                    order.append(f"begin {name}")
                    return finish

                workers.start_soon(committer.commit, record, lambda name=name: order.append(f"name {name}"), make)
    assert order == ["begin a", "begin b", "part a", "part b", "parts", "line", "name a", "name b"]
    assert [record.code for record in written(tmp_path) if isinstance(record, Settled)] == ["a", "b"]


@pytest.mark.parametrize("prepare", [failing(errno.ENOSPC), lambda: failing(errno.ENOSPC)], ids=["begun", "ended"])
async def test_a_part_that_cannot_be_made_costs_its_own_result_its_line(
    tmp_path: Path, prepare: Callable[[], Callable[[], object]]
) -> None:
    """Its worker hears of it and nothing is named; the others of the group are written."""
    async with serving(tmp_path) as committer:
        await committer.append(run())

        async def without_part() -> None:
            with pytest.raises(StorageError, match="No space"):
                await committer.commit(settled("a", "succeeded"), lambda: pytest.fail("published"), prepare)

        async with anyio.create_task_group() as workers:
            workers.start_soon(without_part)
            workers.start_soon(committer.commit, settled("b", "succeeded"), str, made)
    assert [record.task for record in written(tmp_path) if isinstance(record, Settled)] == ["b"]


async def test_an_append_of_the_group_does_not_wait_for_its_publishes(tmp_path: Path) -> None:
    """A plain line's worker goes on while another's result is still being named."""
    appended = anyio.Event()
    order: list[str] = []

    def slow() -> None:
        time.sleep(0.2)
        order.append("published")

    async def append() -> None:
        await committer.append(sent("b"))
        order.append("appended")
        appended.set()

    async with serving(tmp_path) as committer:
        await committer.append(run())
        async with anyio.create_task_group() as workers:
            workers.start_soon(committer.commit, settled("a", "succeeded"), slow)
            workers.start_soon(append)
    assert order == ["appended", "published"]


async def test_a_cancelled_worker_s_line_is_written(tmp_path: Path) -> None:
    """Cancellation that arrives while a line is queued neither drops it nor hides its place."""
    places: list[Where] = []
    async with serving(tmp_path) as committer:
        with anyio.CancelScope() as scope:
            scope.cancel()
            places.append(await committer.append(run()))
            await anyio.lowlevel.checkpoint()
            pytest.fail("the cancellation was lost")
    assert len(written(tmp_path)) == len(places) == 1


async def test_serving_outlives_the_cancellation_of_its_task_group(tmp_path: Path) -> None:
    """Lines queued before `close` are written although the group that serves was cancelled."""
    (tmp_path / "parts").mkdir()
    committer = Committer(
        tmp_path / "ledger.jsonl",
        "r1",
        tmp_path / "parts",
        slots=1,
        now=lambda: NOON,
        limiter=anyio.CapacityLimiter(2),
    )

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            await committer.append(run())
            committer.close()

    async with anyio.create_task_group() as group:
        group.start_soon(committer.serve)
        group.start_soon(work)
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert len(written(tmp_path)) == 1


async def test_a_record_for_a_closed_committer_is_a_bug(tmp_path: Path) -> None:
    """Queuing after `close` raises instead of waiting for ever."""
    async with serving(tmp_path) as committer:
        pass
    with pytest.raises(RuntimeError):
        await committer.append(run())


async def test_a_publish_that_fails_leaves_the_line(tmp_path: Path) -> None:
    """The worker learns that the line is durable and the name was not given; the others of the group go on."""
    async with serving(tmp_path) as committer:
        await committer.append(run())
        with pytest.raises(UnpublishedError, match="no name") as caught:
            await committer.commit(
                settled("a", "succeeded"), lambda: (_ for _ in ()).throw(OSError("no name")).__next__()
            )
        await committer.append(sent("b"))
    assert caught.value.where.offset > 0
    assert len(written(tmp_path)) == 3


async def test_a_result_that_gets_no_name_is_settled_once(tmp_path: Path) -> None:
    """One thread fails to name a result while the other still tells which lines are durable: serving ends all the
    same."""
    handed_on = threading.Event()

    class Watched(deque[Entry]):
        """Lets the thread that writes lines go on when the other has failed to name what it was handed."""

        def extend(self, entries: Iterable[Entry]) -> None:
            entries = list(entries)
            super().extend(entries)
            handed_on.set()
            until = time.monotonic() + 10
            while any(e.error is None for e in entries if e.prepare is not busy) and time.monotonic() < until:
                time.sleep(0.001)

    def busy() -> Callable[[], object]:
        assert handed_on.wait(10)
        return str

    async def unnamed(committer: Committer) -> None:
        with pytest.raises(UnpublishedError, match="injected"):
            await committer.commit(settled("a", "succeeded"), failing(errno.EIO))

    async with serving(tmp_path) as committer, anyio.create_task_group() as group:
        await committer.append(run())
        committer._durable = Watched()
        group.start_soon(unnamed, committer)
        while not committer._lines and not handed_on.is_set():
            await anyio.lowlevel.checkpoint()
        await committer.commit(settled("b", "succeeded"), str, busy)
    assert len(written(tmp_path)) == 3


async def test_a_failed_sync_of_the_parts_folder_stops_commits_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results whose parts may be lost get no line, now or later, and no second sync; other lines are still written."""
    calls: list[int] = []
    monkeypatch.setattr(committer_module, "sync_folder", failing(errno.EIO, calls))
    async with serving(tmp_path) as committer:
        await committer.append(run())
        for _ in range(2):
            with pytest.raises(StorageError, match="parts"):
                await committer.commit(settled("a", "succeeded"), lambda: pytest.fail("published"))
        await committer.append(settled("a", "unusable", code="storage"))
    assert [record.outcome for record in written(tmp_path) if isinstance(record, Settled)] == ["unusable"]
    assert len(calls) == 1


async def test_eio_on_fdatasync_breaks_the_ledger_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed sync the lines are cut off, nobody syncs again, and every later line is refused."""
    calls: list[int] = []
    async with serving(tmp_path) as committer:
        await committer.append(run())
        monkeypatch.setattr(ledger_file, "sync_file", failing(errno.EIO, calls))
        for record in (sent("a"), settled("a", "in_doubt"), end()):
            assert "cannot be synced" in await refused(committer, record)
    assert len(calls) == 1
    assert len(written(tmp_path)) == 1


async def test_a_full_disk_fails_new_work_and_keeps_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no more space can be reserved, what begins work fails, and `settled` and `end` lines are written."""
    async with serving(tmp_path) as committer:
        await committer.append(run())
        monkeypatch.setattr(Reserve, "ensure", failing(errno.ENOSPC))
        results: dict[str, str] = {}

        async def attempt(name: str, record: Record) -> None:
            try:
                await committer.append(record)
                results[name] = "written"
            except StorageError as exc:
                results[name] = str(exc)

        async with anyio.create_task_group() as workers:
            workers.start_soon(attempt, "sent", sent("a"))
            workers.start_soon(attempt, "settled", settled("b", "unusable", code="storage"))
            workers.start_soon(attempt, "invalid", settled("c", "invalid", 0))
        await attempt("reused", reused("d", "e"))
        await attempt("end", end())
    assert results["settled"] == results["end"] == "written"
    assert all("disk is full" in results[name] for name in ("sent", "invalid", "reused"))
    assert [type(record).__name__ for record in written(tmp_path)] == ["Run", "Settled", "End"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
async def test_a_short_write_on_a_full_disk_is_cut_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Half a line that a full disk left is cut off before the next line, which is last words, is written."""

    def short(fd: int, data: bytes) -> None:
        monkeypatch.setattr(ledger_file, "write_all", write_all)
        os.write(fd, data[: len(data) // 2])
        raise OSError(code, os.strerror(code))

    async with serving(tmp_path) as committer:
        await committer.append(run())
        monkeypatch.setattr(ledger_file, "write_all", short)
        assert "disk is full" in await refused(committer, sent("a"))
        await committer.append(settled("b", "in_doubt"))
    assert [type(record).__name__ for record in written(tmp_path)] == ["Run", "Settled"]


async def test_eio_on_write_is_cut_back_and_breaks_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails for another reason than space leaves a whole ledger, and no line is tried again."""

    def short(fd: int, data: bytes) -> None:
        os.write(fd, data[:10])
        raise OSError(errno.EIO, "injected")

    async with serving(tmp_path) as committer:
        await committer.append(run())
        size = (tmp_path / "ledger.jsonl").stat().st_size
        with monkeypatch.context() as patch:
            patch.setattr(ledger_file, "write_all", short)
            await refused(committer, settled("a", "in_doubt"))
        await refused(committer, settled("a", "in_doubt"))
    assert (tmp_path / "ledger.jsonl").stat().st_size == size


def replace(path: Path) -> None:
    path.write_bytes(path.rename(path.with_suffix(".old")).read_bytes())


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"{}\n")


def cut(path: Path) -> None:
    os.truncate(path, 10)


@pytest.mark.parametrize("change", [replace, lengthen, cut, Path.unlink])
async def test_a_ledger_that_changed_during_the_run_is_left_alone(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """Replaced, cut, lengthened or removed: nothing is written, cut or created any more."""
    path = tmp_path / "ledger.jsonl"
    async with serving(tmp_path) as committer:
        await committer.append(run())
        change(path)
        after = path.read_bytes() if path.exists() else None
        assert "during the run" in await refused(committer, sent("a"))
        await refused(committer, settled("a", "in_doubt"))
    assert (path.read_bytes() if path.exists() else None) == after


async def test_a_ledger_that_cannot_be_opened_is_told_to_every_worker(tmp_path: Path) -> None:
    """A folder in the ledger's place fails each line, and nobody waits for ever."""
    (tmp_path / "ledger.jsonl").mkdir()
    async with serving(tmp_path) as committer:
        for _ in range(2):
            assert "cannot be opened" in await refused(committer, run())


@pytest.mark.parametrize("call", ["sync_folder", "fstat", "pread"])
async def test_a_ledger_that_cannot_be_looked_at_is_opened_once_and_not_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A sync that failed is not asked again, and no line costs a descriptor."""
    (tmp_path / "ledger.jsonl").write_bytes(b"{}\n")
    calls: list[int] = []
    before = len(os.listdir("/dev/fd"))
    async with serving(tmp_path) as committer:
        with monkeypatch.context() as patch:
            patch.setattr(ledger_file if call == "sync_folder" else os, call, failing(errno.EIO, calls, times=9))
            for _ in range(3):
                assert "cannot be opened" in await refused(committer, run())
    assert len(calls) == 1
    assert len(os.listdir("/dev/fd")) == before


async def test_a_ledger_that_cannot_be_closed_does_not_fail_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every line was synced before: closing has nothing to say."""
    real = os.close
    async with serving(tmp_path) as committer:
        await committer.append(run())
        assert committer._ledger is not None
        mine = committer._ledger._fd

        def close(fd: int) -> None:
            real(fd)
            if fd == mine:
                raise OSError(errno.EIO, "injected")

        monkeypatch.setattr(os, "close", close)
    assert len(written(tmp_path)) == 1


async def test_a_torn_ledger_is_not_appended_to(tmp_path: Path) -> None:
    """A line behind an unfinished one would be lost with it."""
    (tmp_path / "ledger.jsonl").write_bytes(b'{"type":')
    async with serving(tmp_path) as committer:
        assert "repaired" in await refused(committer, run())


async def test_one_record_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    """The others of its group are written, in places that are right."""
    places: list[Where] = []

    async def append(record: Record) -> None:
        places.append(await committer.append(record))

    async with serving(tmp_path) as committer:
        await committer.append(run())
        async with anyio.create_task_group() as workers:
            workers.start_soon(append, sent("a"))
            workers.start_soon(refused, committer, settled("b", "refused", row={"x": object()}))
            workers.start_soon(append, sent("c"))
    ledgers = Ledgers(tmp_path)
    assert [ledgers.read(where._replace(file=0)).task for where in places] == ["a", "c"]  # type: ignore[union-attr]  # they are `sent` records
    ledgers.close()


async def test_a_bug_in_the_clock_reaches_the_worker(tmp_path: Path) -> None:
    """Whatever goes wrong while a group is written, its workers hear of it."""
    async with serving(tmp_path) as committer:
        committer._now = lambda: 1 // 0  # type: ignore[assignment,return-value]  # a broken clock
        assert "division" in await refused(committer, run())


class NamelessError(Exception):
    """An error whose text cannot be made."""

    def __str__(self) -> str:
        raise MemoryError


def broken() -> AbstractContextManager[None]:
    raise NamelessError


async def test_an_error_that_says_nothing_reaches_its_worker_alone(tmp_path: Path) -> None:
    """Neither a part's nor a name's ends the writing: each is told by its kind."""

    def fail() -> Callable[[], object]:
        raise NamelessError

    async with serving(tmp_path) as committer:
        await committer.append(run())
        with pytest.raises(StorageError, match="NamelessError"):
            await committer.commit(settled("a", "succeeded"), str, fail)
        with pytest.raises(UnpublishedError, match="NamelessError"):
            await committer.commit(settled("b", "succeeded"), fail, made)
        await committer.append(sent("c"))
    assert len(written(tmp_path)) == 3


async def test_storing_that_breaks_down_leaves_nobody_waiting(tmp_path: Path) -> None:
    """Who waits hears of it, who comes later is refused, and serving ends."""
    ends: list[type[Exception]] = []

    async def commit(name: str) -> None:
        with pytest.raises(StorageError, match="NamelessError") as caught:
            await committer.commit(settled(name, "succeeded"), str, made)
        ends.append(caught.type)

    with anyio.fail_after(10):
        async with serving(tmp_path) as committer:
            await committer.append(run())
            committer._around = broken
            async with anyio.create_task_group() as workers:
                for number in range(COMMITS + 2):
                    workers.start_soon(commit, str(number))
            assert "NamelessError" in await refused(committer, sent("late"))
    assert ends == [StorageError] * (COMMITS + 2)
    assert len(written(tmp_path)) == 1


async def test_a_durable_result_whose_name_is_not_reached_is_not_told_as_lost(tmp_path: Path) -> None:
    """Its line is in the ledger: who spilled or bought it again would have it twice."""
    with anyio.fail_after(10):
        async with serving(tmp_path) as committer:
            await committer.append(run())

            @contextmanager
            def once() -> Iterator[None]:
                committer._around = broken
                yield

            committer._around = once
            with pytest.raises(UnpublishedError, match="NamelessError") as caught:
                await committer.commit(settled("a", "succeeded"), str, made)
    ledgers = Ledgers(tmp_path)
    assert ledgers.read(caught.value.where._replace(file=0)).task == "a"  # type: ignore[union-attr]  # a `settled`
    ledgers.close()


@pytest.mark.parametrize("written_first", [False, True], ids=["before", "after"])
async def test_writing_that_breaks_down_tells_the_truth_of_each_line(tmp_path: Path, written_first: bool) -> None:
    """A group that a thread had taken when it broke down is told too: durable is what is in the ledger."""
    ends: dict[str, str] = {}

    async def tell(name: str, call: Awaitable[object]) -> None:
        try:
            await call
            ends[name] = "written"
        except StorageError as exc:
            ends[name] = type(exc).__name__

    with anyio.fail_after(10):
        async with serving(tmp_path) as committer:
            await committer.append(run())
            store = committer._store

            def fail(group: list[Entry]) -> None:
                if written_first:
                    store(group)
                raise NamelessError

            committer._store = fail  # type: ignore[method-assign]  # what no disk brings about
            async with anyio.create_task_group() as workers:
                workers.start_soon(tell, "line", committer.append(sent("a")))
                workers.start_soon(tell, "result", committer.commit(settled("b", "succeeded"), str, made))
    got = {type(record).__name__ for record in written(tmp_path)}
    assert ends["line"] == ("written" if "Sent" in got else "StorageError")
    assert ends["result"] == ("UnpublishedError" if "Settled" in got else "StorageError")
    assert ("Sent" in got or "Settled" in got) == written_first


async def test_the_ledger_is_private_and_its_reserve_given_back(tmp_path: Path) -> None:
    """The file is 0600, and once closed it takes no more space than its bytes need."""
    async with serving(tmp_path, slots=64) as committer:
        await committer.append(run())
        held = (tmp_path / "ledger.jsonl").stat()
    after = (tmp_path / "ledger.jsonl").stat()
    assert after.st_mode & 0o777 == 0o600
    assert held.st_size == after.st_size
    assert after.st_blocks * 512 <= 8192
    assert sorted(os.listdir(tmp_path)) == ["ledger.jsonl", "parts"]


APPENDER = """
import sys, anyio
from datetime import datetime, UTC
from pathlib import Path
from pipeline.ledger.committer import Committer
from tests.ledger.lines import run, sent

async def main(folder):
    limiter = anyio.CapacityLimiter(2)
    now = lambda: datetime.now(UTC)
    committer = Committer(folder / "ledger.jsonl", "r", folder, slots=8, now=now, limiter=limiter)
    async def work(name):
        for number in range(100000):
            await committer.append(sent(f"{name}-{number}"))
            print(f"{name}-{number}", flush=True)
    async with anyio.create_task_group() as group:
        group.start_soon(committer.serve)
        await committer.append(run())
        for name in range(8):
            group.start_soon(work, name)

anyio.run(main, Path(sys.argv[1]))
"""


def test_every_acknowledged_line_outlives_kill_9(tmp_path: Path) -> None:
    """What a worker was told is durable is in the ledger after the writer was killed, and the ledger is whole."""
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", APPENDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        told = [writer.stdout.readline().strip() for _ in range(100)]
        writer.send_signal(signal.SIGKILL)
        told += writer.stdout.read().split("\n")[:-1]
        writer.wait()
        writer.stdout.close()
        repair(tmp_path / "ledger.jsonl", tmp_path / ".retouch" / "torn")
        tasks = [getattr(record, "task", None) for record in written(tmp_path)]
        assert set(told) <= set(tasks)


async def test_where_no_thread_can_be_started_lines_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on processes: nobody waits for ever, lines are durable, results get their names, and serving ends."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    named: list[int] = []
    with anyio.fail_after(10):
        async with serving(tmp_path) as committer:
            await committer.append(run())
            await committer.commit(settled("a", "succeeded"), lambda: named.append(1))
    assert (len(written(tmp_path)), named) == (2, [1])


HUGE = {"text": "x" * 40_000}


@pytest.mark.parametrize(
    ("more", "gone"),
    [
        ({}, set()),
        ({"row": {"sku": "1"}}, set()),
        ({"row": HUGE}, {"row"}),
        ({"row": HUGE, "usage": {"total_tokens": 3}, "message": "why"}, {"row"}),
        ({"row": {"sku": "1"}, "usage": HUGE}, {"row", "inputs", "message", "usage"}),
    ],
)
async def test_a_last_word_is_written_without_what_does_not_fit_its_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], gone: set[str]
) -> None:
    """A full disk: what is left of the line still says how the attempt ended, and fits 16 KiB."""
    async with serving(tmp_path) as committer:
        await committer.append(run())
        monkeypatch.setattr(Reserve, "ensure", failing(errno.ENOSPC, times=9))
        await refused(committer, sent("a"))
        where = await committer.append(settled("a", "refused", **more))
    last = written(tmp_path)[-1]
    assert isinstance(last, Settled)
    assert where.length <= SLOT
    assert {name for name in DISPENSABLE if name in more and getattr(last, name) is None} == gone & more.keys()
    assert (last.task, last.outcome) == ("a", "refused")


async def test_a_last_word_that_does_not_fit_at_all_keeps_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is spilled whole: only a line that is in the ledger leaves its record without what was not written."""
    said: dict[str, Any] = {"row": HUGE, "usage": {"total_tokens": 3}, "message": "why"}
    kept, shortened = settled("a", "succeeded", **said), settled("b", "refused", **said)
    real = write_all

    def full(fd: int, data: bytes) -> None:
        if b'"task":"a"' in data:
            raise OSError(errno.ENOSPC, "injected: full")
        real(fd, data)

    async with serving(tmp_path) as committer:
        await committer.append(run())
        monkeypatch.setattr(Reserve, "ensure", failing(errno.ENOSPC, times=9))
        monkeypatch.setattr(ledger_file, "write_all", full)
        with pytest.raises(StorageError, match="full"):
            await committer.commit(kept, str, made)
        await committer.append(shortened)
    assert {name: getattr(kept, name) for name in said} == said
    assert {name: getattr(shortened, name) for name in said} == said | {"row": None}
    assert written(tmp_path)[-1] == shortened


async def test_a_line_that_fits_the_disk_keeps_what_it_has(tmp_path: Path) -> None:
    """Only a full disk makes lines short."""
    async with serving(tmp_path) as committer:
        await committer.append(settled("a", "refused", row=HUGE))
    (line,) = written(tmp_path)
    assert isinstance(line, Settled)
    assert line.row == HUGE


async def test_a_last_word_that_does_not_fit_costs_no_other_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a group on a full disk each line is tried by itself."""
    real = write_all

    def full(fd: int, data: bytes) -> None:
        if len(data) > 2000:
            raise OSError(errno.ENOSPC, "injected: full")
        real(fd, data)

    ends: dict[str, str] = {}

    async def append(record: Settled) -> None:
        try:
            await committer.append(record)
            ends[record.task] = "written"
        except StorageError:
            ends[record.task] = "refused"

    async with serving(tmp_path) as committer:
        await committer.append(run())
        monkeypatch.setattr(Reserve, "ensure", failing(errno.ENOSPC, times=9))
        monkeypatch.setattr(ledger_file, "write_all", full)
        async with anyio.create_task_group() as workers:
            for task in ("a", "b" * 3000, "c"):
                workers.start_soon(append, settled(task, "in_doubt"))
    assert ends == {"a": "written", "b" * 3000: "refused", "c": "written"}
