"""Bytes of inputs between the look and the sending."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.held import LARGEST, Room
from pipeline.tasks.cache import InputCache
from pipeline.tasks.inputs import AT_ONCE, InputFile, inspect
from tests.run.conftest import picture


def photo_of(folder: Path, size: int) -> Path:
    """A file that begins as a picture does."""
    path = folder / f"{size}.png"
    path.write_bytes(picture(1)[:100].ljust(size, b"x"))
    return path


def looked_at(path: Path, room: Room) -> InputFile:
    found = inspect(str(path), room=room)
    assert isinstance(found, InputFile)
    return found


@pytest.mark.parametrize("size", [100, AT_ONCE, AT_ONCE + 1, LARGEST])
def test_a_file_is_held_with_its_digest_and_given_once(size: int, tmp_path: Path) -> None:
    """The digest is that of an ordinary reading; the second time there is nothing left to give."""
    path = photo_of(tmp_path, size)
    found = looked_at(path, Room(LARGEST))
    plain = inspect(str(path))
    assert isinstance(plain, InputFile)
    assert (found.sha256, found.bytes, found.pixels) == (plain.sha256, size, plain.pixels)
    assert plain.held is None
    assert found.held is not None
    assert [found.held.take(), found.held.take()] == [path.read_bytes(), None]


def test_a_file_longer_than_the_largest_is_not_held(tmp_path: Path) -> None:
    """It is sent in parts, which are read one after the other."""
    assert looked_at(photo_of(tmp_path, LARGEST + 1), Room(10 * LARGEST)).held is None


@pytest.mark.parametrize("end", ["taken", "forgotten", "changed"])
def test_room_is_given_back(end: str, tmp_path: Path) -> None:
    """Whatever becomes of what is held, the next finds room; until then it does not, and is hashed all the same."""
    path, room = photo_of(tmp_path, 1000), Room(1999)
    held = looked_at(path, room).held
    second = looked_at(path, room)
    assert held is not None
    assert (second.held, len(second.sha256)) == (None, 64)
    if end == "changed":
        path.write_bytes(path.read_bytes()[::-1])
    if end != "forgotten":
        assert (held.take() is None) == (end == "changed")
    del held
    path.write_bytes(picture(1)[:100].ljust(1000, b"x"))
    assert looked_at(path, room).held is not None


@pytest.mark.parametrize(
    "change", [Path.unlink, lambda path: path.write_bytes(b""), os.utime], ids=["gone", "cut", "touched"]
)
def test_bytes_of_a_file_that_changed_are_not_given(change: Callable[[Path], object], tmp_path: Path) -> None:
    """Who sends it reads it then, and notices what reading notices."""
    path = photo_of(tmp_path, 1000)
    os.utime(path, (1, 1))
    held = looked_at(path, Room(LARGEST)).held
    change(path)
    assert held is not None
    assert held.take() is None


def test_a_file_that_the_cache_knows_is_not_read_to_be_held(tmp_path: Path) -> None:
    """A rerun's look reads nothing; what is sent after all is read then."""
    path = photo_of(tmp_path, 1000)
    with InputCache(tmp_path / "cache", now_ns=lambda: path.stat().st_mtime_ns + 10**10) as cache:
        first = cache.inspect(str(path), room=Room(LARGEST))
        second = cache.inspect(str(path), room=Room(LARGEST))
    assert isinstance(first, InputFile)
    assert isinstance(second, InputFile)
    assert first.sha256 == second.sha256
    assert first.held is not None
    assert second.held is None


def test_room_given_back_at_any_moment_of_a_holding_is_not_lost(tmp_path: Path) -> None:
    """A collection runs where a call ends, and may be the end of other bytes."""
    room, collected = Room(100), []

    class Collecting(bytes):
        def __len__(self) -> int:
            collected.append(10)
            room.give_back(10)
            return super().__len__()

    held = room.hold("photo", os.stat(tmp_path), Collecting(50))
    assert held is not None
    assert room.fits(50 + sum(collected))
