"""Names as 16-byte digests, and a set of them that numbers its members.

A dict of a million digests takes some 150 bytes an entry, and the state needs three of them; this takes 22 to 30.
"""

from __future__ import annotations

import unicodedata
from array import array
from hashlib import blake2b
from struct import Struct

SIZE = 16
"""Bytes of a digest."""


def digest(text: str) -> bytes:
    """A digest of `text`; equal for a lone surrogate and for the way in which the ledger spells it."""
    return blake2b(text.encode("utf-8", "backslashreplace"), digest_size=SIZE).digest()


def fingerprint_digest(fingerprint: str) -> bytes:
    """The first half of a fingerprint, which is a digest already; the `digest` of a text that is none."""
    try:
        whole = bytes.fromhex(fingerprint)
    except ValueError:
        return digest(fingerprint)
    return whole[:SIZE] if whole.hex() == fingerprint and len(whole) == 2 * SIZE else digest(fingerprint)


def path_digest(path: str) -> bytes:
    """A digest of a path that is equal where a file system might take two spellings for one name."""
    if path.isascii():
        return blake2b(path.lower().encode(), digest_size=SIZE).digest()
    return digest(unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold()))


class DigestIndex:
    """Digests numbered from 0 in the order in which they came; none is ever removed.

    An open-addressed table of row numbers over one run of keys: at most two thirds full, doubled when it is.
    """

    __slots__ = ("_keys", "_slots")

    def __init__(self) -> None:
        self._keys = bytearray()
        self._slots = array("I", bytes(4 * 8))

    def __len__(self) -> int:
        return len(self._keys) // SIZE

    @property
    def buffers(self) -> tuple[bytearray, array[int]]:
        """All that it holds, to be saved, or filled in while it is empty."""
        return self._keys, self._slots

    def key(self, row: int) -> bytes:
        """The digest of that number."""
        return bytes(self._keys[row * SIZE : row * SIZE + SIZE])

    def find(self, key: bytes) -> int:
        """The digest's number, or -1."""
        slots = self._slots  # one table for the look, though another thread may double it meanwhile
        return slots[self._slot(slots, key)] - 1

    def add(self, key: bytes) -> int:
        """The digest's number, a new one if it is new."""
        keys, slots = self._keys, self._slots
        slot = self._slot(slots, key)
        row = slots[slot]
        if row:
            return row - 1
        keys += key
        count = len(keys) // SIZE
        slots[slot] = count
        if 3 * count > 2 * len(slots):
            self._double()
        return count - 1

    def _slot(self, slots: array[int], key: bytes) -> int:
        """Where `key` is in the table, or where it would go."""
        keys = self._keys
        mask = len(slots) - 1
        slot: int = _start_of(key)[0] & mask
        while row := slots[slot]:
            if keys.startswith(key, row * SIZE - SIZE):
                break
            slot = (slot + 1) & mask
        return slot

    def _double(self) -> None:
        slots = array("I", bytes(8 * len(self._slots)))
        mask = len(slots) - 1
        for row, (start,) in enumerate(_STARTS.iter_unpack(self._keys), 1):
            slot = start & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = row
        self._slots = slots


_STARTS = Struct("<I12x")
_start_of = _STARTS.unpack
"""The part of each key that says where in the table it is looked for first."""
