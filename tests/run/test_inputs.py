"""How closely inputs are looked at."""

from __future__ import annotations

from pathlib import Path

from pipeline.run.inputs import Inputs, Look
from pipeline.tasks.cache import InputCache
from pipeline.tasks.inputs import InputFile
from pipeline.tasks.task import Input, Item, Task
from tests.run.conftest import picture


class Liar(InputCache):
    """A cache that vouches for bytes that are not there."""

    def __init__(self) -> None:
        super().__init__(None)

    def inspect(self, path: str, *, known: object = None, room: object = None) -> InputFile:
        return InputFile(path, "0" * 64, 1, 1, "image/png")


def test_a_look_afresh_believes_no_cache(tmp_path: Path) -> None:
    """Sending noticed that a file is not what the cache says: asking the cache again would go on for ever."""
    photo = tmp_path / "a.png"
    photo.write_bytes(picture())
    item = Item("set", "a", (str(photo),))
    task = Task("set/a/p", item, "p", (), 1, {}, (Input("item", str(photo)),), ("a",))
    inputs = Inputs(str(tmp_path), Liar())
    (cached,) = inputs.of(task, None, Look.HASH)  # type: ignore[misc]  # it is usable
    (read,) = inputs.of(task, None, Look.AFRESH)  # type: ignore[misc]  # as above
    assert cached.sha256 == "0" * 64
    assert (read.sha256, read.bytes) != (cached.sha256, cached.bytes)
    assert read.bytes == photo.stat().st_size


def test_only_a_reader_looks_once_at_a_file_that_several_tasks_share(tmp_path: Path) -> None:
    """A plan may take a file as it first was; a run must notice that it changed meanwhile."""
    photo = tmp_path / "a.png"
    item = Item("set", "a", (str(photo),))
    task = Task("set/a/p", item, "p", (), 1, {}, (Input("item", str(photo)),), ("a",))
    for once, changed in ((True, False), (False, True)):
        photo.write_bytes(picture())
        inputs = Inputs(str(tmp_path), InputCache(None), once=once)
        for look in (Look.HEAD, Look.HASH):
            before = inputs.of(task, None, look)
            photo.write_bytes(photo.read_bytes() + b"more")
            assert (inputs.of(task, None, look) != before) is changed
