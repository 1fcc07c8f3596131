"""A snapshot of the folded state: it says what a replay says, or it is not believed."""

from __future__ import annotations

import errno
import os
import random
import stat
import zlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.errors import StorageError
from pipeline.ledger import snapshot
from pipeline.ledger.packing import buffers_of, rest_of
from pipeline.ledger.places import Where
from pipeline.ledger.records import Output, Record
from pipeline.ledger.replay import Ledgers, Replayed, replay, replay_for_reader
from pipeline.ledger.snapshot import NAME, Recalled, discard_unfinished, keep, recall
from pipeline.ledger.state import State
from pipeline.outcome import Outcome
from tests.ledger.lines import end, fp, grouped, output, reopened, reused, run, sent, settled, write_ledger

TASKS = ("a", "b", "c", "d")
GENERATIONS = 3


def at(second: int) -> str:
    return f"2026-11-{1 + second // 50:02}T00:00:{second % 50:02}.000Z"


def own_of(folder: Path) -> Path:
    own = folder / ".retouch"
    own.mkdir(exist_ok=True)
    return own


def kept(folder: Path) -> Path:
    """A snapshot of what is in the folder now, and its path."""
    state, ledgers = replay(folder)
    assert keep(own_of(folder), state, ledgers.paths, None, worth=0)
    return own_of(folder) / NAME


def recalled(folder: Path) -> Recalled | None:
    return recall(folder / ".retouch", Ledgers(folder).paths)


def fields(state: State) -> list[Any]:
    """All that a state holds."""
    rest = msgspec.structs.asdict(rest_of(state))
    rest["foreign"] = sorted(rest["foreign"])
    rest["courses"] = list(rest["courses"].items())  # in their order too
    return [
        *(buffer.tobytes() if not isinstance(buffer, bytearray) else bytes(buffer) for buffer in buffers_of(state)),
        rest,
    ]


def answers(state: State) -> list[Any]:
    """All that a state tells."""
    names = [f"out/{task}{mark}.{kind}" for task in TASKS for mark in ("", "~" + fp(task)[:8]) for kind in ("png", "x")]
    wants = [fp(name) for task in TASKS for name in (task, *(f"{task}{each}" for each in range(GENERATIONS)))]
    histories = [state.history(want) for want in wants]
    invalid = [settled(task, "invalid", 0, code=code) for task in TASKS for code in ("item", "missing")]
    return [
        (state.job, state.images, state.images_possible, state.ended, state.last_end, state.done, state.untouched),
        (state.money.total, state.money.days(), state.money.days([0]), state.money.days([1])),
        [(state.task(task), state.done_as(task), state.tried(task)) for task in TASKS],
        [(one.mark, *msgspec.structs.astuple(one)[:-2], list(one.sources)) for one in histories],
        [state.generation(want) for want in wants],
        [state.invalid_known(line) for line in invalid],
        [state.knows_path(name) for name in names],
        [state.owns(task, [name]) for task in TASKS for name in names],
        (state.open_sent, sorted(state.without_result)),
    ]


class Histories:
    """Random lines, sensible and not."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def line(self) -> Record:
        dice = self.dice
        task, attempt = dice.choice(TASKS), dice.randint(1, 3)
        want = fp(dice.choice((task, dice.choice(TASKS), f"{task}{dice.randrange(GENERATIONS)}")))
        kind = dice.randrange(12)
        if kind < 4:
            line = sent(task, attempt, fingerprint=want, key=f"key-{dice.randrange(9)}")
            line.estimated_cost = dice.choice((None, Decimal("0.02"), Decimal("0.110")))
            return line
        if kind < 9:
            return self.settled(task, attempt, want)
        if kind == 9:
            reuse = reused(task, dice.choice((task, dice.choice(TASKS))), fingerprint=want)
            reuse.outputs = [output(f"out/{task}{dice.choice(('', '~' + want[:8]))}.png")]
            return reuse
        if kind == 10:
            return reopened(task, dice.randrange(GENERATIONS), fingerprint=want, base=fp(task))
        return dice.choice((run(dice.choice(("job", "other"))), end()))

    def settled(self, task: str, attempt: int, want: str) -> Record:
        dice = self.dice
        outcome = dice.choice(("succeeded", "succeeded", *(each.value for each in Outcome)))
        line = settled(task, outcome, attempt, fingerprint=want, n=dice.choice((None, 1, 3)))
        line.cost = dice.choice((None, Decimal("0.0123")))
        line.code = dice.choice((None, "item", "missing", "storage", "interrupted"))
        line.probe = dice.random() < 0.1
        if outcome == "succeeded":
            line.outputs = self.outputs(task)
        return line

    def outputs(self, task: str) -> list[Output]:
        dice = self.dice
        endings = dice.choice((["png"], ["png"], ["png", "png"], ["png", "webp"], ["x"], []))
        size = dice.choice((10, 11, 2**32, 2**40))
        return [
            msgspec.structs.replace(output(f"out/{task}{dice.choice(('', '-1', '~0'))}.{ending}"), bytes=size)
            for ending in endings
        ]

    def ledger(self, start: int = 0) -> list[Record]:
        """A ledger's lines; their clock goes on, stands, and is at times set back."""
        lines, now = [], start
        for _ in range(self.dice.randint(1, 60)):
            now = max(0, now + self.dice.choice((0, 1, 1, 3, 3, -2) if self.dice.random() < 0.2 else (0, 1, 2)))
            line = self.line()
            line.at = at(now)
            lines.append(line)
        return lines


@pytest.mark.parametrize("seed", range(300))
def test_a_snapshot_and_the_lines_behind_it_say_what_a_replay_says(tmp_path: Path, seed: int) -> None:
    """Any history, cut anywhere, of one to three ledgers: all fields and all answers are those of a full replay."""
    histories = Histories(seed)
    dice = histories.dice
    names = ["ledger.jsonl", "ledger-1-of-2.jsonl", "ledger-2-of-2.jsonl"][: dice.choice((1, 1, 2, 3))]
    ledgers = {name: histories.ledger(dice.choice((0, 20))) for name in names}
    moment = dice.choice((None, at(dice.randrange(100))))
    for name, lines in ledgers.items():
        cut = dice.randint(1, len(lines)) if moment is None else max(1, sum(line.at <= moment for line in lines))
        (tmp_path / name).write_bytes(grouped([line] for line in lines[:cut]))
    kept(tmp_path)
    for name, lines in ledgers.items():
        (tmp_path / name).write_bytes(grouped([line] for line in lines))
    found = recalled(tmp_path)
    assert found is not None
    state, _ = replay(tmp_path, recalled=found)
    whole, _ = replay(tmp_path)
    assert fields(state) == fields(whole)
    assert answers(state) == answers(whole)


def test_a_snapshot_is_of_use_to_most_histories(tmp_path: Path) -> None:
    """What the property test compares is seldom a full replay with itself."""
    used = 0
    for seed in range(40):
        folder = tmp_path / str(seed)
        folder.mkdir()
        lines = Histories(seed).ledger()
        write_ledger(folder / "ledger.jsonl", *lines[: 1 + len(lines) // 2])
        kept(folder)
        write_ledger(folder / "ledger.jsonl", *lines)
        found = recalled(folder)
        used += found is not None and replay(folder, recalled=found).state is found.state
    assert used == 40


@pytest.mark.parametrize("seed", range(40))
def test_lines_that_a_run_took_in_in_another_order_are_packed_as_they_stand(tmp_path: Path, seed: int) -> None:
    """Two workers' lines may be folded in another order than they were written: the next start sees no difference."""
    dice = random.Random(seed)
    lines: list[Record] = [run()]
    for task in ("a", "b"):
        lines += [sent(task), settled(task, dice.choice(("succeeded", "in_doubt")))]
    lines += [reused("c", "x", fingerprint=fp("c0")), reused("d", "x", fingerprint=fp("c0"))]
    data, offset, places = grouped([line] for line in lines), 0, []
    for line in data.splitlines(keepends=True):
        places.append(Where(0, offset, len(line)))
        offset += len(line)
    (tmp_path / "ledger.jsonl").write_bytes(data)
    tracks = [[0], [1, 2], [3, 4], [5], [6]]  # what one worker wrote stays in its order
    state = State()
    while tracks:
        track = dice.choice(tracks)
        number = track.pop(0)
        state.apply(lines[number], places[number])
        tracks = [track for track in tracks if track]
    assert keep(own_of(tmp_path), state, [tmp_path / "ledger.jsonl"], None, worth=0)
    found = recalled(tmp_path)
    assert found is not None
    assert answers(found.state) == answers(replay(tmp_path).state)


LINES = (run, lambda: sent("a"), lambda: settled("a", "succeeded"), lambda: sent("b"), lambda: settled("b", "in_doubt"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a ledger of a few lines, and its snapshot."""
    write_ledger(tmp_path / "ledger.jsonl", *(line() for line in LINES))
    kept(tmp_path)
    assert recalled(tmp_path) is not None
    return tmp_path


def is_as_without(folder: Path) -> None:
    """What a reader sees is what it sees without a snapshot, an error too."""
    assert told(lambda: replay_for_reader(folder, folder / ".retouch")) == told(lambda: replay(folder))


def told(look: Callable[[], Replayed]) -> str | list[Any]:
    """What a replay says, or why it cannot."""
    try:
        return answers(look().state)
    except StorageError as error:
        return str(error)


def with_crc_of(line: bytes) -> bytes:
    return line[:-19] + b',"crc":"%08x"}\n' % zlib.crc32(line[:-19])


def edited(data: bytes) -> bytes:
    """Of the same length, every line whole: another outcome's worth of truth in the middle."""
    lines = data.splitlines(keepends=True)
    lines[2] = with_crc_of(lines[2].replace(b'"task":"a"', b'"task":"z"'))
    return b"".join(lines)


def damaged(data: bytes) -> bytes:
    return data[:700] + bytes([data[700] ^ 1]) + data[701:]


def reordered(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([lines[0], *lines[3:], *lines[1:3]])


def shortened(data: bytes) -> bytes:
    return b"".join(data.splitlines(keepends=True)[:-1])


def torn_within(data: bytes) -> bytes:
    return data[:-5]


def emptied(data: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("change", [edited, damaged, reordered, shortened, torn_within, emptied])
@pytest.mark.parametrize("more", [b"", grouped([[sent("later")]])], ids=["alone", "with-more"])
def test_a_ledger_whose_folded_bytes_changed_is_replayed_in_full(folder: Path, change: Any, more: bytes) -> None:
    """Edited at the same length, damaged, cut, re-ordered: a stale snapshot is never used, and damage raises."""
    path = folder / "ledger.jsonl"
    state = path.stat()
    path.write_bytes(change(path.read_bytes()) + more)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert recalled(folder) is None
    is_as_without(folder)


def test_another_ledger_of_the_same_length_is_replayed_in_full(folder: Path) -> None:
    """A backup that was put back, or another job's ledger: length and name do not make it the one that was folded."""
    path = folder / "ledger.jsonl"
    length = path.stat().st_size
    other = write_ledger(folder / "other", run(), sent("q"), settled("q", "refused", message="")).read_bytes()
    spare = length - len(other)
    write_ledger(path, run(), sent("q"), settled("q", "refused", message="x" * spare))
    assert path.stat().st_size == length
    assert recalled(folder) is None
    is_as_without(folder)


def test_a_ledger_that_appears_or_goes_away_is_noticed(folder: Path) -> None:
    """Places name ledgers by number, and lines are merged: another set of ledgers is another state."""
    write_ledger(folder / "ledger-1-of-2.jsonl", run("shard"), sent("c"))
    assert recalled(folder) is None
    is_as_without(folder)
    kept(folder)
    assert recalled(folder) is not None
    (folder / "ledger-1-of-2.jsonl").unlink()
    assert recalled(folder) is None
    is_as_without(folder)


def stamped(record: Record, second: int) -> Record:
    record.at = at(second)
    return record


@pytest.mark.parametrize(("second", "used"), [(5, False), (10, False), (11, True)])
def test_a_line_of_a_shard_that_is_not_later_than_all_folded_ones_asks_for_a_full_replay(
    tmp_path: Path, second: int, used: bool
) -> None:
    """Ledgers are merged by time: a line that belongs among the folded ones must be folded in its place."""
    first = [stamped(run("one"), 1), stamped(sent("a"), 10)]
    write_ledger(tmp_path / "ledger-1-of-2.jsonl", *first)
    write_ledger(tmp_path / "ledger-2-of-2.jsonl", stamped(run("two"), 2))
    kept(tmp_path)
    write_ledger(tmp_path / "ledger-2-of-2.jsonl", stamped(run("two"), 2), stamped(sent("a"), second))
    found = recalled(tmp_path)
    assert found is not None
    state, _ = replay(tmp_path, recalled=found)
    assert (state is found.state) is used
    assert fields(state) == fields(replay(tmp_path).state)


def test_a_clock_that_was_set_back_matters_not_within_a_ledger(folder: Path) -> None:
    """In one ledger the order on disk rules, whatever the times say."""
    path = folder / "ledger.jsonl"
    before = path.read_bytes()
    path.write_bytes(before + grouped([[stamped(settled("b", "succeeded", 1), 0)]], at=at(0)))
    found = recalled(folder)
    assert found is not None
    assert replay(folder, recalled=found).state is found.state
    is_as_without(folder)


def test_a_snapshot_cut_short_is_not_believed(folder: Path) -> None:
    """Whatever a loss of power leaves of it."""
    path = folder / ".retouch" / NAME
    data = path.read_bytes()
    for length in {*range(0, len(data), 64), len(data) - 1}:
        path.write_bytes(data[:length])
        assert recalled(folder) is None, length
    path.write_bytes(data + b"\0")
    assert recalled(folder) is None


def test_a_snapshot_with_a_flipped_bit_is_not_believed(folder: Path) -> None:
    """Every seventh byte, and all of the first and last hundred, one bit each."""
    path = folder / ".retouch" / NAME
    data = path.read_bytes()
    for place in sorted({*range(100), *range(0, len(data), 7), *range(len(data) - 100, len(data))}):
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
        assert recalled(folder) is None, place


def test_a_snapshot_of_another_folder_is_not_believed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A copy of another job's."""
    other = tmp_path_factory.mktemp("other")
    write_ledger(other / "ledger.jsonl", run("other"), sent("q"))
    (folder / ".retouch" / NAME).write_bytes(kept(other).read_bytes())
    assert recalled(folder) is None
    is_as_without(folder)


def test_a_snapshot_of_other_code_is_not_believed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another version folded may mean something else now."""
    monkeypatch.setattr(snapshot, "_maker", lambda: b"another")
    assert recalled(folder) is None


def test_what_stands_in_a_snapshot_s_place_is_not_followed(folder: Path) -> None:
    """A symlink, a FIFO, a folder: each is passed over by readers, and only a folder outlives the next writer."""
    path = folder / ".retouch" / NAME
    data = path.read_bytes()
    (folder / "elsewhere").write_bytes(data)
    state, ledgers = replay(folder)
    for make in ("a symlink", "a fifo", "a folder"):
        path.unlink()
        if make == "a symlink":
            path.symlink_to(folder / "elsewhere")
        elif make == "a fifo":
            os.mkfifo(path)
        else:
            path.mkdir()
        assert recalled(folder) is None
        is_as_without(folder)
        written = keep(own_of(folder), state, ledgers.paths, None, worth=0)
        assert written is not path.is_dir()
        assert (folder / "elsewhere").read_bytes() == data
        assert os.listdir(folder / ".retouch") == [NAME]


def test_a_folder_that_is_a_symlink_is_not_entered(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A snapshot is neither read nor written through a link that someone put in the place of `.retouch`."""
    beyond = tmp_path_factory.mktemp("beyond") / "own"
    (folder / ".retouch").rename(beyond)
    (folder / ".retouch").symlink_to(beyond)
    (beyond / NAME).rename(beyond / "aside")
    state, ledgers = replay(folder)
    assert not keep(folder / ".retouch", state, ledgers.paths, None, worth=0)
    assert os.listdir(beyond) == ["aside"]
    (beyond / "aside").rename(beyond / NAME)
    assert recalled(folder) is None


def test_a_snapshot_is_for_its_owner_alone(folder: Path) -> None:
    """It is private and a plain file."""
    state = (folder / ".retouch" / NAME).lstat()
    assert (stat.S_ISREG(state.st_mode), stat.S_IMODE(state.st_mode)) == (True, 0o600)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_refuses_leaves_the_old_snapshot(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A full disk is no error, and nothing half-written stays."""
    before = (folder / ".retouch" / NAME).read_bytes()
    state, ledgers = replay(folder)
    real, count = os.write, [0]

    def write(fd: int, data: Any) -> int:
        count[0] += 1
        if count[0] > 2:
            raise OSError(code, os.strerror(code))
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    assert not keep(own_of(folder), state, ledgers.paths, None, worth=0)
    assert count[0] == 3
    assert os.listdir(folder / ".retouch") == [NAME]
    assert (folder / ".retouch" / NAME).read_bytes() == before


def test_a_folder_that_cannot_be_written_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read-only, or another's."""
    state, ledgers = replay(folder)
    real = os.open

    def refuse(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EROFS, "read-only")
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", refuse)
    assert not keep(own_of(folder), state, ledgers.paths, None, worth=0)


def test_what_a_kill_left_of_a_snapshot_goes(folder: Path) -> None:
    """A half-written one is removed by the next run, and in nobody's way."""
    left = folder / ".retouch" / f"{NAME}.new"
    left.write_bytes(b"half")
    state, ledgers = replay(folder)
    assert keep(own_of(folder), state, ledgers.paths, None, worth=0)
    assert not left.exists()
    left.write_bytes(b"half")
    discard_unfinished(folder / ".retouch")
    assert not left.exists()
    discard_unfinished(folder / ".retouch")
    discard_unfinished(folder / "nowhere")


def test_a_snapshot_that_saves_little_is_not_written(tmp_path: Path) -> None:
    """A few lines are replayed faster than they are saved."""
    write_ledger(tmp_path / "ledger.jsonl", *(line() for line in LINES))
    state, ledgers = replay(tmp_path)
    assert not keep(own_of(tmp_path), state, ledgers.paths, None)
    size = (tmp_path / "ledger.jsonl").stat().st_size
    assert not keep(own_of(tmp_path), state, ledgers.paths, None, worth=size + 1)
    assert keep(own_of(tmp_path), state, ledgers.paths, None, worth=size)


def test_a_snapshot_is_carried_on(folder: Path) -> None:
    """A run that began with one reads only its own lines again to write the next."""
    path = folder / "ledger.jsonl"
    before = path.read_bytes()
    path.write_bytes(before + grouped([[sent("c")], [settled("c", "succeeded")]]))
    found = recalled(folder)
    state, ledgers = replay(folder, recalled=found)
    assert found is not None
    assert keep(own_of(folder), state, ledgers.paths, found, worth=0)
    again = recalled(folder)
    assert again is not None
    assert again.length_of(path) == path.stat().st_size > found.length_of(path)
    assert fields(again.state) == fields(replay(folder).state)


def folds(lines: Sequence[Record], data: bytes, left_out: Sequence[int] = (), twice: Sequence[int] = ()) -> State:
    state, offset = State(), 0
    for number, (record, line) in enumerate(zip(lines, data.splitlines(keepends=True), strict=True)):
        for _ in range((number not in left_out) + (number in twice)):
            state.apply(record, Where(0, offset, len(line)))
        offset += len(line)
    return state


def test_a_state_that_missed_a_line_or_took_one_twice_is_not_saved(tmp_path: Path) -> None:
    """A line that is durable and was never folded could be one that was paid for."""
    lines = [line() for line in LINES]
    data = grouped([line] for line in lines)
    (tmp_path / "ledger.jsonl").write_bytes(data)
    paths, own = [tmp_path / "ledger.jsonl"], own_of(tmp_path)
    assert not keep(own, folds(lines, data, left_out=[2]), paths, None, worth=0)
    assert not keep(own, folds(lines, data, twice=[2]), paths, None, worth=0)
    assert not (own / NAME).exists()
    assert keep(own, folds(lines, data, left_out=[4]), paths, None, worth=0), "the last line is behind the snapshot"
    is_as_without(tmp_path)


def test_a_ledger_that_was_damaged_while_a_run_went_on_is_not_saved(tmp_path: Path) -> None:
    """Else its damage would lie in bytes that nobody looks at again."""
    lines = [line() for line in LINES]
    data = grouped([line] for line in lines)
    (tmp_path / "ledger.jsonl").write_bytes(damaged(data))
    assert not keep(own_of(tmp_path), folds(lines, data), [tmp_path / "ledger.jsonl"], None, worth=0)


def test_a_snapshot_is_shown_to_nobody_who_wants_each_record(folder: Path) -> None:
    """Who watches is shown every line, snapshot or not."""
    shown: list[Record] = []
    replay(folder, shown.append, recalled=recalled(folder))
    assert len(shown) == len(LINES)


def test_a_torn_tail_behind_a_snapshot_is_ignored(folder: Path) -> None:
    """As without one; damage behind it that no crash made raises, at its place in the file."""
    path = folder / "ledger.jsonl"
    before = path.read_bytes()
    path.write_bytes(before + b'{"type":"sent"')
    assert recalled(folder) is not None
    is_as_without(folder)
    more = grouped([[sent("x")], [sent("y")]])
    path.write_bytes(before + b"#" + more[1:])
    is_as_without(folder)


def test_a_kill_while_the_state_is_kept_costs_a_reading_of_the_ledger(folder: Path) -> None:
    """At each of its calls: what was kept before stays, or the new one is whole; what is left is removed."""
    path, own = folder / "ledger.jsonl", folder / ".retouch"
    first, before = (own / NAME).read_bytes(), path.read_bytes()
    path.write_bytes(before + grouped([[sent("c")], [settled("c", "succeeded")]]))
    state, ledgers = replay(folder)
    killed = 0
    for moment in range(1, 100):
        (own / NAME).write_bytes(first)
        child = os.fork()
        if not child:
            _die_at(moment)
            keep(own, state, ledgers.paths, None, worth=0)
            os._exit(0)
        over = os.waitpid(child, 0)[1] == 0
        killed += not over
        assert recalled(folder) is not None
        is_as_without(folder)
        discard_unfinished(own)
        assert os.listdir(own) == [NAME]
        if over:
            break
    assert killed > 20
    assert (own / NAME).read_bytes() != first


def _die_at(moment: int) -> None:
    """Kill this process at one of its system calls that change files."""
    left = [moment]

    def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), 9)
            return real(*args, **more)

        return call

    for name in ("write", "rename", "unlink", "open"):
        setattr(os, name, deadly(getattr(os, name)))
