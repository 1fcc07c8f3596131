"""Looking for a key, byte by byte, in everything that a run wrote or printed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.command import Finished
from tests.e2e.servers import KEY, forms_of
from tests.e2e.stage import Stage

PLAIN = "sk-proj-CANARYplain0123456789abcdefghijklmnop"
"""A key that looks like an error's code, too."""
WINDOW = 10
"""Bytes of a form of the key that count as a part of it."""


def pieces(key: str = KEY) -> set[bytes]:
    """Every part of the key in every form, in lower case; of base64 at each alignment."""
    forms = {*forms_of(key).values(), repr(key), repr(key.encode())}
    found = {form[at : at + WINDOW] for form in forms for at in range(len(form) - WINDOW + 1)}
    for shift in range(3):
        encoded = base64.b64encode(b"x" * shift + key.encode()).decode().rstrip("=")
        own = encoded[4 * (shift > 0) : -1]
        found |= {own[at : at + WINDOW] for at in range(len(own) - WINDOW + 1)}
    return {piece.lower().encode() for piece in found}


def told(data: bytes, key: str = KEY) -> set[bytes]:
    """The parts of the key that are in the data."""
    lower = data.lower()
    return {piece for piece in pieces(key) if piece in lower}


def everything(stage: Stage, *runs: Finished) -> Iterator[tuple[str, bytes]]:
    """All files around the job but the key's own, hidden ones included, their names, and all that was printed."""
    root = stage.folder.parent
    for path in sorted(root.rglob("*")):
        yield f"the name of {path.name}", path.name.encode(errors="surrogateescape")
        if path.is_file() and path.name != "key":
            yield str(path.relative_to(root)), path.read_bytes()
    for run in runs:
        yield "stdout", run.stdout.encode(errors="surrogateescape")
        yield "stderr", run.stderr.encode(errors="surrogateescape")


def leaks(stage: Stage, *runs: Finished, key: str = KEY) -> dict[str, set[bytes]]:
    """Where parts of the key are; empty where there is none."""
    return {place: found for place, data in everything(stage, *runs) if (found := told(data, key))}


def surroundings(home: Path) -> dict[str, str]:
    """Folders that libraries write to, within what is searched."""
    names = ("TMPDIR", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")
    places = {name: home / name.lower() for name in names}
    for place in places.values():
        place.mkdir(exist_ok=True)
    return {name: str(place) for name, place in places.items()} | {"RETOUCH_DEBUG": "1"}
