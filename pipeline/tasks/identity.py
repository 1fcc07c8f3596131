"""What makes a task the same task, and a request the same request, in every run.

1. A task's id reads `set/key/prompt`, then `/axis=label` for each axis, then `#2`, `#3`, … from the second repeat on.
2. In a key `%`, `#`, `=` and control characters are percent-encoded, so that no two tasks share an id.
3. A fingerprint is over what would be sent, never over paths, names of sets or the endpoint. docs/fingerprint.md has
   the format and four vectors; to change one is to buy every finished request again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

Labels = tuple[tuple[str, str], ...]
"""A variant: each axis with its label, in the manifest's order."""

_compact = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_KEPT: Final = 1024
_RESERVED = re.compile(r"[%#=\x00-\x1f\x7f-\x9f]")


def item_id(set_name: str, key: str) -> str:
    """`set/key` as a task's id begins."""
    return f"{set_name}/{_RESERVED.sub(_encoded, key)}"


def task_id(set_name: str, key: str, prompt: str, variant: Labels, repeat: int) -> str:
    """The stable, readable name under which a result is wanted; `repeat` counts from 1."""
    return item_id(set_name, key) + task_suffix(prompt, variant, repeat)


def task_suffix(prompt: str, variant: Labels, repeat: int) -> str:
    """What follows `set/key` in a task's id."""
    axes = "".join(f"/{axis}={label}" for axis, label in variant)
    return f"/{prompt}{axes}" + (f"#{repeat}" if repeat > 1 else "")


def seed(task: str) -> int:
    """A number from 0 to 2**31 - 1 that is always the same for a task's id."""
    return int.from_bytes(sha256(task.encode()).digest()[:4], "big") & 0x7FFFFFFF


def fingerprint(
    fields: Mapping[str, Any], images: Sequence[str], mask: str | None, repeat: int, generation: int
) -> str:
    """What would be sent, as 64 hexadecimal digits.

    `fields` are exactly the text fields to send, `images` the sha256 of the item's images and then of the references,
    `mask` that of the mask. `repeat` counts from 1, `generation` from 0. Raises ValueError for a number that JSON does
    not have.
    """
    return joined(fields_part(fields), generation, files_part(images, mask), repeat)


def fields_part(fields: Mapping[str, Any]) -> bytes:
    """What stands before the generation: of many requests with the same fields it is made once. Raises ValueError."""
    return f'{{"fields":{_compact(fields)},"generation":'.encode()


def files_part(images: Sequence[str], mask: str | None) -> bytes:
    """What stands between generation and repeat: of many requests with the same files it is made once."""
    return f',"images":{_compact(images)},"mask":{"null" if mask is None else _compact(mask)},"repeat":'.encode()


def joined(before: bytes, generation: int, between: bytes, repeat: int) -> str:
    """The fingerprint of a request by the parts of its JSON, whose keys are sorted."""
    return sha256(b'%b%d%b%d,"v":1}' % (before, generation, between, repeat)).hexdigest()


class FieldsParts:
    """The parts of the last mappings of fields that were asked for: the items of a variant share theirs."""

    def __init__(self) -> None:
        self._made: dict[int, _Part] = {}

    def of(self, fields: Mapping[str, Any]) -> bytes:
        """As `fields_part`; fields that were given once must not change. Raises ValueError."""
        found = self._made.get(id(fields))
        if found is None:
            if len(self._made) >= _KEPT:
                self._made.clear()
            found = self._made[id(fields)] = _Part(fields, fields_part(fields))
        return found.part


class _Part(NamedTuple):
    """`fields` are held so that nothing else gets their identity."""

    fields: Mapping[str, Any]
    part: bytes


def item_digest(set_name: str, key: str) -> bytes:
    """The sha256 that decides an item's shard and whether it is in a sample."""
    return sha256(f"{set_name}/{key}".encode()).digest()


def shard_of(set_name: str, key: str, shards: int) -> int:
    """Which of `shards` an item belongs to, from 1 on."""
    return int.from_bytes(item_digest(set_name, key), "big") % shards + 1


def _encoded(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())
