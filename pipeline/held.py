"""Input files that stay in memory from the look at them until they are sent, so that each is read and hashed once.

1. What is held was hashed as it is held, and is given out only while the file has the stat that it was read with: an
   edit made meanwhile is noticed as it is without holding.
2. Never more than `most` bytes are held at once; what finds no room, and what is sent again, is read from its file.
3. Room is given back when the bytes are taken, or when nobody refers to them any more.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Final

LARGEST: Final = 1_000_000
"""Longest file, in bytes, that is held in memory; a longer one is read again in parts while it is sent."""


class Room:
    """Room for `most` bytes. Safe to use from several threads."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.RLock()  # reentrant: bytes may be given up at any moment, also at one within the lock

    def fits(self, size: int) -> bool:
        """Whether a file of so many bytes would be held now."""
        return size <= min(LARGEST, self._left)

    def hold(self, path: str, state: os.stat_result, data: bytes) -> Held | None:
        """Keep a file's bytes until they are taken; `state` is its stat at their reading. None: no room."""
        size = len(data)
        with self._lock:
            if not self.fits(size):
                return None
            self._left -= size  # without a call in it, at whose end bytes may be given up
        return Held(self, path, state, data)

    def give_back(self, size: int) -> None:
        """There is room for so many bytes again."""
        with self._lock:
            self._left += size


class Held:
    """A file's bytes that are held in a room; equal to nothing but itself."""

    __slots__ = ("_data", "_path", "_room", "_state")

    def __init__(self, room: Room, path: str, state: os.stat_result, data: bytes) -> None:
        self._room = room
        self._path = path
        self._state = state
        self._data: bytes | None = data

    def take(self) -> bytes | None:
        """The bytes, the first time, where the file is as it was; they are held no more."""
        data = self._given_up()
        with suppress(OSError):
            if data is not None and is_same(os.stat(self._path), self._state):
                return data
        return None

    def _given_up(self) -> bytes | None:
        data, self._data = self._data, None
        if data is not None:
            self._room.give_back(len(data))
        return data

    def __del__(self) -> None:
        self._given_up()


def is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two stats are of one file, and agree in all that changes with its content."""
    return (
        one.st_mtime_ns == other.st_mtime_ns
        and one.st_ctime_ns == other.st_ctime_ns
        and one.st_size == other.st_size
        and one.st_ino == other.st_ino
        and one.st_dev == other.st_dev
    )
