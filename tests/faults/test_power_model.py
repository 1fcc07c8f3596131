"""The model of a disk that loses power: what an fsync brings to the medium, and that nothing passes unseen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.faults.power import key_of
from tests.faults.power_calls import Began, Call, Ended, UnreadableError, steps
from tests.faults.power_disk import Disk, Landing, Length, Naming, Tree, UnmodelledError, Write
from tests.faults.power_rules import Rules
from tests.faults.power_states import Thoroughness, choices

Log = Callable[..., list[Began | Ended]]


def hexed(text: str) -> str:
    """As strace writes a string with -xx."""
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def at(path: str) -> str:
    """A descriptor of a path."""
    return f"3<{hexed(path)}>"


def quoted(text: str) -> str:
    return f'"{hexed(text)}"'


CREATE = f"openat({at('/r/out')}, {quoted('a')}, O_WRONLY|O_CREAT|O_EXCL, 0600) = 4<{hexed('/r/out/a')}>"
WRITE = f"write({at('/r/out/a')}, {quoted('bytes')}, 5) = 5"
WRITE_LINKED = WRITE.replace(hexed("/r/out/a"), hexed("/r/out/b"))
SYNC = f"fdatasync({at('/r/out/a')}) = 0"
SYNC_FOLDER = f"fsync({at('/r/out')}) = 0"
LINK = f"linkat({at('/r/out')}, {quoted('a')}, {at('/r/out')}, {quoted('b')}, 0) = 0"
UNLINK = f"unlinkat({at('/r/out')}, {quoted('a')}, 0) = 0"


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """The steps of a log with these lines, all of one thread where no other is named."""

    def read(*lines: str) -> list[Began | Ended]:
        path = tmp_path / "log"
        path.write_text("".join(f"{line}\n" if line[0].isdigit() else f"7  {line}\n" for line in lines))
        return list(steps(path))

    return read


def after(steps: list[Began | Ended], disk: Disk | None = None) -> Disk:
    """A disk with an empty durable folder `out`, after these steps."""
    if disk is None:
        disk = Disk()
        disk.hold({"out": None})
    rules = Rules(disk, "/r", frozenset({"out"}))
    for step in steps:
        if isinstance(step, Began):
            rules.began(step.call)
        else:
            disk.ended(step.call)
    return disk


@pytest.mark.parametrize(
    ("lines", "durable"),
    [
        ([CREATE, WRITE], {}),
        ([CREATE, WRITE, SYNC], {}),
        ([CREATE, WRITE, SYNC_FOLDER], {"out/a": b""}),
        ([CREATE, WRITE, SYNC, SYNC_FOLDER], {"out/a": b"bytes"}),
        ([CREATE, SYNC_FOLDER, WRITE, SYNC], {"out/a": b"bytes"}),
        ([CREATE, WRITE, SYNC, LINK, UNLINK], {}),
        ([CREATE, WRITE, SYNC, LINK, SYNC_FOLDER, UNLINK], {"out/a": b"bytes", "out/b": b"bytes"}),
        (
            [CREATE, SYNC, LINK, UNLINK, SYNC_FOLDER, WRITE.replace(hexed("/r/out/a"), hexed("/r/out/b"))],
            {"out/b": b""},
        ),
    ],
)
def test_what_is_on_the_medium_whatever_happens(log: Log, lines: list[str], durable: Tree) -> None:
    """Bytes by the file's sync, names by the folder's, neither by the other's."""
    assert after(log(*lines)).crashed({}) == {"out": None} | durable


def test_a_sync_covers_what_ended_before_it_began_when_it_has_returned(log: Log) -> None:
    """A write of another thread that overlaps with the sync may be missing, and so may all before it returned."""
    second = WRITE.replace(hexed("bytes"), hexed("later"))
    overlapping = log(
        CREATE,
        SYNC_FOLDER,
        WRITE,
        f"8  {second.removesuffix(') = 5')} <unfinished ...>",
        f"7  {SYNC.removesuffix(') = 0')} <unfinished ...>",
        "8  <... write resumed>) = 5",
        "7  <... fdatasync resumed>) = 0",
    )
    assert after(overlapping[:-1]).crashed({})["out/a"] == b""
    assert after(overlapping).crashed({})["out/a"] == b"bytes"
    assert after(overlapping).tree()["out/a"] == b"byteslater"


@pytest.mark.parametrize(
    ("landing", "left"),
    [(None, b"bytes"), (Landing(0, 2, 2), b"by"), (Landing(2, 5, 5), b"\0\0tes"), (Landing(0, 0, 5), b"\0" * 5)],
)
def test_any_piece_of_a_write_may_land(log: Log, landing: Landing | None, left: bytes) -> None:
    """All of it, its beginning, its end behind a hole, or its length alone."""
    disk = after(log(CREATE, SYNC_FOLDER, WRITE))
    [write] = disk.pending()
    assert disk.crashed({write: landing})["out/a"] == left


def test_a_rename_is_one_change_and_a_cut_is_another(log: Log) -> None:
    """Either name is there, never both and never none."""
    rename = f"rename({quoted('/r/out/a')}, {quoted('/r/out/b')}) = 0"
    disk = after(log(CREATE, SYNC_FOLDER, rename, f"ftruncate({at('/r/out/b')}, 2) = 0"))
    name, length = sorted(disk.pending(), key=lambda change: isinstance(change, Length))
    assert isinstance(name, Naming)
    assert disk.crashed({}) == {"out": None, "out/a": b""}
    assert disk.crashed({name: None, length: None}) == {"out": None, "out/b": b"\0\0"}


def test_what_a_kill_cut_off_is_told_by_what_is_there(log: Log) -> None:
    """A call without an end had its effect, or had none; other files than the calls explain are refused."""
    left: list[Tree] = [{"out": None}, {"out": None, "out/a": b""}]
    for there in left:
        disk = after(log(f"{CREATE.partition(' = ')[0].removesuffix(')')} <unfinished ...>"))
        disk.killed(there)
        assert disk.tree() == there
    with pytest.raises(UnmodelledError, match="not what its calls"):
        after(log(CREATE)).killed({"out": None, "out/z": b""})


def test_a_copy_that_a_kill_cut_off_before_its_source_was_told_did_nothing(log: Log) -> None:
    """The tracer tells a command's number before its argument: between the two the process may be gone."""
    disk = after(log(CREATE, f"ioctl({at('/r/out/a')}, BTRFS_IOC_CLONE or FICLONE, <unfinished ...>"))
    assert disk.tree() == {"out": None, "out/a": b""}


@pytest.mark.parametrize(
    "line",
    [
        "sync() = 0",
        f"syncfs({at('/r/out')}) = 0",
        f"fallocate({at('/r/out/a')}, 0, 0, 100) = 0",
        f"openat({at('/r/out')}, {quoted('b')}, O_WRONLY|O_CREAT|O_DSYNC, 0600) = 4<{hexed('/r/out/b')}>",
        f"openat({at('/r')}, {quoted('out')}, O_WRONLY|O_CREAT|O_TMPFILE, 0600) = 4<{hexed('/r/out/#1')}>",
        f"rename({quoted('/r/out/a')}, {quoted('/elsewhere/a')}) = 0",
        f"write({at('/r/out/unknown')}, {quoted('x')}, 1) = 1",
    ],
)
def test_a_call_without_a_rule_is_refused(log: Log, line: str) -> None:
    """The model would be wrong from there on."""
    with pytest.raises(UnmodelledError):
        after(log(CREATE, line))


def test_calls_that_failed_and_calls_elsewhere_change_nothing(log: Log) -> None:
    """Only what the kernel did below the followed folders counts."""
    elsewhere = WRITE.replace(hexed("/r/out/a"), hexed("/r/home/log"))
    failed = UNLINK.replace("= 0", "= -1 ENOENT (No such file or directory)")
    assert after(log(elsewhere, failed)).pending() == []


def test_a_string_that_was_cut_short_is_refused(log: Log) -> None:
    """Half of what was written is not what was written."""
    with pytest.raises(UnreadableError):
        after(log(CREATE, WRITE.replace(quoted("bytes"), f"{quoted('by')}...")))


def test_a_request_is_known_by_its_key_when_its_first_bytes_leave(log: Log) -> None:
    """The head of a POST on a socket, and nothing else."""
    head = "POST /v1/images/edits HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k1\r\n\r\n"
    sent, filed = (f"write({at(path)}, {quoted(head)}, {len(head)}) = {len(head)}" for path in ("socket:[5]", "/r/x"))
    assert [key_of(step.call) for step in log(sent, filed, WRITE) if isinstance(step, Began)] == ["k1", None, None]


def test_each_change_is_lost_alone_and_kept_alone_and_writes_are_torn(log: Log) -> None:
    """The bounded choice holds none, all, each one by itself, and pieces of every write."""
    disk = after(log(CREATE, WRITE, LINK))
    pending = disk.pending()
    chosen = [frozenset(choice.items()) for choice in choices(pending, frozenset(), Random(1), Thoroughness(0, 1))]
    everything = frozenset((change, None) for change in pending)
    assert {frozenset(), everything} <= set(chosen)
    for change in pending:
        assert frozenset({(change, None)}) in chosen
        assert everything - {(change, None)} in chosen
    torn = {landing for choice in chosen for change, landing in choice if isinstance(change, Write) and landing}
    assert torn == {Landing(0, 0, 5), Landing(0, 2, 2), Landing(2, 5, 5)}
    dull = frozenset(change.inode for change in pending)
    assert len(list(choices(pending, dull, Random(1), Thoroughness(0, 1)))) == 2


def test_a_call_shows_its_paths_in_clear(log: Log) -> None:
    """What a person reads of a broken promise."""
    [step, _] = log(SYNC)
    assert isinstance(step.call, Call)
    assert str(step.call) == "fdatasync(3</r/out/a>) = 0"
