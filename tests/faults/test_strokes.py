"""What strace's log is read as."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.strace import LOOP, Point
from tests.faults.strokes import Stroke, about, made, strikeable, stroke

LOG = r"""10 write(7<pipe:[5]>, "*", 1) = 1
11 write(9</j/out/ledger.jsonl>, "{\"type\":\"sent\""..., 481) = 481
11 fdatasync(9</j/out/ledger.jsonl> <unfinished ...>
10 connect(12<TCP:[77]>, {sa_family=AF_INET, sin_port=htons(8000)}, 16) = 0
11 <... fdatasync resumed>) = 0
11 write(6<anon_inode:[eventfd]>, "\1\0\0\0\0\0\0\0", 8) = 8
10 write(12<TCP:[127.0.0.1:4->127.0.0.1:8000]>, "POST /v1"..., 300) = ?
11 +++ killed by SIGKILL +++
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log in which the loop's thread, 10, is behind a worker."""
    (tmp_path / "trace").write_text(LOG)
    return tmp_path / "trace"


def test_an_n_is_of_the_thread_that_comes_to_it_first(log: Path) -> None:
    """The worker's second write hides the loop's; an interrupted call counts once, where it began."""
    assert strikeable(log) == [
        Stroke("write", "a wake-up", 1),
        Stroke("fdatasync", "the ledger", 1),
        Stroke("connect", "the endpoint", 1),
        Stroke("write", "a wake-up", 2),
    ]
    assert stroke(log, Point("write", 2)).about == "a wake-up"


def test_what_is_looked_at_alone_is_not_hidden(log: Path) -> None:
    """The loop's thread is the first in the log; a path counts wherever it is named."""
    assert [one.about for one in strikeable(log, on=LOOP)] == ["a wake-up", "the endpoint", "the endpoint"]
    assert strikeable(log, on="/j/out/ledger.jsonl")[0] == Stroke("write", "the ledger", 1)


def test_a_recovery_ends_at_the_first_connection(log: Path) -> None:
    """What follows is a run like any other."""
    assert made(log, until="connect") == {("write", "a wake-up"), ("write", "the ledger"), ("fdatasync", "the ledger")}
    assert [one.call for one in strikeable(log, until="connect")] == ["write", "fdatasync"]


def test_a_log_of_one_thread_has_no_column_for_it(tmp_path: Path) -> None:
    """As strace writes it where it does not follow threads."""
    (tmp_path / "trace").write_text('write(12<TCP:[9]>, "POST"..., 300) = 300\nwrite(12<TCP:[9]>, "x", 1) = ?\n')
    assert stroke(tmp_path / "trace", Point("write", 2, LOOP)) == Stroke("write", "the endpoint", 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("18</j/out/ledger-1-of-2.jsonl>) = 0", "the ledger"),
        (
            '19</j/out/.retouch/parts>, "20260101T0-abcdef-00-1-1.part", 22</j/out/photos>, "0.png", 0) = ?',
            "a part",
        ),
        ("19</j/out/.retouch/parts>) = ?", "the parts' folder"),
        ('19</j/out/.retouch>, "torn", 0700) = 0', "a torn tail"),
        ("7</j/out/.retouch/torn/12.jsonl>, 64) = 64", "a torn tail"),
        ("9</j/out/.retouch/inputs.cache-journal>) = 0", "the inputs' cache"),
        ('AT_FDCWD</j>, "/j/home/state/retouch/0123/4567/line.new", O_WRONLY) = 5', "a spilled result"),
        ("9</j/out/.lock>, LOCK_EX) = 0", "a lock"),
        ("22</j/out/photos>) = ?", "a final name"),
        ('AT_FDCWD</j>, "/j/photos/000.png", O_RDONLY) = 5', "an input"),
        ("5</j/out>) = 0", "the output folder"),
        ("5</j/out/.retouch>) = 0", "the output folder"),
        ('16<UNIX-STREAM:[1->2]>, "\\0", 1) = 1', "a wake-up"),
        ("5</usr/lib/x>) = 0", "something else"),
    ],
)
def test_what_a_call_is_about(arguments: str, said: str) -> None:
    """Told by the paths and descriptors among its arguments."""
    assert about(arguments) == said
