import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ledger import reserve as reserve_module
from pipeline.ledger.ledger_file import FullError, LedgerFile
from pipeline.ledger.reserve import SLOT, Reserve, fallocate, retire


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "ledger.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, b"line\n")
    yield fd
    os.close(fd)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> None:
    with contextlib.suppress(OSError), open(folder / "filler", "ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserve_module, "fallocate", lambda *_: False)


def test_reserving_does_not_change_the_length(ledger: int, tmp_path: Path) -> None:
    """An append after a reservation lands right behind the last line, without a hole."""
    Reserve(ledger, tmp_path / ".reserve", SLOT).ensure(5, 5)
    os.write(ledger, b"next\n")
    assert os.pread(ledger, 100, 0) == b"line\nnext\n"


def test_reserving_does_not_use_posix_fallocate(ledger: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call that would grow the file is never made, and the file is as long as before."""
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    size = os.fstat(ledger).st_size
    Reserve(ledger, tmp_path / ".reserve", SLOT).ensure(5, 5)
    assert os.fstat(ledger).st_size == size


def test_space_is_held_again_only_when_half_of_it_is_used(
    ledger: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reservation is made for several writes at once, always `size` past the end of the next one."""
    calls: list[tuple[int, int]] = []

    def record(_: int, begin: int, length: int) -> bool:
        calls.append((begin, length))
        return True

    monkeypatch.setattr(reserve_module, "fallocate", record)
    reserve = Reserve(ledger, tmp_path / ".reserve", 1000)
    for begin, end in ((0, 100), (100, 1000), (1000, 1100), (1100, 1101)):
        reserve.ensure(begin, end)
    assert calls == [(0, 2100), (1100, 2001)]


def test_where_nothing_can_be_reserved_a_filled_file_holds_the_space(
    ledger: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spare file has real bytes, is private, and is gone once its space is needed."""
    unsupported(monkeypatch)
    reserve = Reserve(ledger, tmp_path / ".reserve", SLOT)
    reserve.ensure(5, 5)
    held = (tmp_path / ".reserve").stat()
    assert (held.st_size, held.st_mode & 0o777) == (SLOT, 0o600)
    assert held.st_blocks * 512 >= SLOT
    reserve.release()
    assert not (tmp_path / ".reserve").exists()


def test_a_spare_file_that_a_killed_run_left_is_filled_anew(
    ledger: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leftover of any size becomes the reserve, and closing removes it."""
    unsupported(monkeypatch)
    (tmp_path / ".reserve").write_bytes(b"x")
    reserve = Reserve(ledger, tmp_path / ".reserve", SLOT)
    reserve.ensure(5, 5)
    assert (tmp_path / ".reserve").stat().st_size == SLOT
    reserve.close(5)
    assert not (tmp_path / ".reserve").exists()


@pytest.mark.parametrize("spare", [False, True])
def test_last_words_fit_on_a_disk_that_filled_up(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, spare: bool
) -> None:
    """On a disk without one free block new work is refused, and 16 KiB a slot can still be written and read."""
    if spare:
        unsupported(monkeypatch)
    ledger = LedgerFile(small_disk / "ledger.jsonl", slots=4)
    ledger.append(b"first\n")
    fill(small_disk)
    big = b"x" * (SLOT - 1) + b"\n"
    written = 0
    with contextlib.suppress(FullError):
        for written in range(200):  # noqa: B007  # counted
            ledger.append(big)
    assert written < 10
    size = ledger.end
    with pytest.raises(FullError):
        ledger.append(b"more work\n")
    for _ in range(4):
        ledger.append(big, last_words=True)
    ledger.close()
    assert (small_disk / "ledger.jsonl").stat().st_size == size + 4 * SLOT


def test_a_disk_without_room_for_the_reserve_refuses_the_first_line(small_disk: Path) -> None:
    """A run that could not write its last words does not begin."""
    ledger = LedgerFile(small_disk / "ledger.jsonl", slots=100)
    with pytest.raises(FullError, match="full"):
        ledger.append(b"first\n")
    assert ledger.end == 0
    ledger.close()


def test_no_room_is_an_error_of_its_own(small_disk: Path) -> None:
    """A refused reservation names the reason and is not taken for missing support."""
    fd = os.open(small_disk / "file", os.O_RDWR | os.O_CREAT)
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the errno is checked below
        fallocate(fd, 0, 1 << 30)
    assert caught.value.errno == errno.ENOSPC
    os.close(fd)


def test_a_write_that_is_cut_off_does_not_cost_the_space_that_was_held(small_disk: Path) -> None:
    """Cutting a file gives up what is held past its end: it is held again before anything else can take it."""
    ledger = LedgerFile(small_disk / "ledger.jsonl", slots=4)
    ledger.append(b"first\n")
    fill(small_disk)
    with pytest.raises(FullError):
        ledger.append(b"x" * 600_000 + b"\n")
    with pytest.raises(FullError):
        ledger.append(b"x" * 600_000 + b"\n", last_words=True)
    fill(small_disk)
    for _ in range(4):
        ledger.append(b"x" * (SLOT - 1) + b"\n", last_words=True)
    ledger.close()


@pytest.mark.parametrize("spare", [False, True])
def test_space_that_a_killed_shard_held_is_given_back(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, spare: bool
) -> None:
    """Neither blocks past the ledger's end nor a spare file stay; its lines do."""
    if spare:
        unsupported(monkeypatch)
    path = small_disk / "ledger-1-of-2.jsonl"
    shard = LedgerFile(path, slots=4)
    shard.append(b"line\n")
    os.close(shard._fd)
    assert os.statvfs(small_disk).f_bfree * 4096 < 1_000_000
    retire(path)
    assert path.read_bytes() == b"line\n"
    assert os.statvfs(small_disk).f_bfree * 4096 > 1_000_000
    assert os.listdir(small_disk) == [path.name]
