"""Ways to break the write protocol of a run: each puts patches into the real package, and one rule holds no more."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from pipeline.durable import sync_file, sync_folder, write_all
from pipeline.ledger.committer import Committer
from pipeline.ledger.ledger_file import LedgerFile
from pipeline.ledger.places import Where
from pipeline.ledger.records import Sent
from pipeline.outputs import publish as publishing
from pipeline.outputs.folder import OWN, PARTS, OutputFolder
from pipeline.run import attempt, store

Patch = pytest.MonkeyPatch


def nothing(*_: object, **__: object) -> None:
    """A call that is left out."""


def no_temporary_name(patch: Patch) -> None:
    """Images are written under their final names at once."""

    def write(context: Any, work: Any, line: Any, images: Any) -> Callable[[], object]:
        outputs = store.outputs_of(work, line, images, context.run)
        for output, image in zip(outputs, images, strict=True):
            home, _, name = output.path.rpartition("/")
            with context.folder.at(home, create=True) as folder:
                fd = os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=folder)
                write_all(fd, image.data)
                sync_file(fd)
                os.close(fd)
            sync_folder(context.folder.root / home)
        line.outputs = [msgspec.structs.replace(output, part=None) for output in outputs]
        return nothing

    patch.setattr(store, "_write_parts", write)
    patch.setattr(store, "publish_outputs", lambda context, work, outputs: [output.path for output in outputs])


def no_sent_line(patch: Patch) -> None:
    """A request leaves without a line."""
    real = Committer.append

    async def append(self: Committer, record: Any, **how: Any) -> Where:
        return Where(0, 0, 1) if isinstance(record, Sent) else await real(self, record, **how)

    patch.setattr(Committer, "append", append)


def unsynced(kind: bytes) -> Callable[[Patch], None]:
    """A mutant that does not sync the groups in which a kind of line is."""

    def mutate(patch: Patch) -> None:
        real_append, real_sync = LedgerFile.append, LedgerFile._sync
        lazy: list[bool] = [False]

        def append(self: LedgerFile, data: bytes, *, last_words: bool = False) -> None:
            lazy[0] = b'"type":"%s"' % kind in data
            real_append(self, data, last_words=last_words)

        patch.setattr(LedgerFile, "append", append)
        patch.setattr(LedgerFile, "_sync", lambda self: None if lazy[0] else real_sync(self))

    return mutate


def parts_not_synced(patch: Patch) -> None:
    """The bytes of a part are left to the kernel."""
    patch.setattr("pipeline.outputs.parts.sync_file", nothing)


def parts_folder_not_synced(patch: Patch) -> None:
    """The names of parts are left to the kernel."""
    patch.setattr("pipeline.outputs.parts.sync_folder", nothing)
    patch.setattr("pipeline.ledger.committer.sync_folder", nothing)


def publish_before_settled(patch: Patch) -> None:
    """A result gets its name, and then its line."""
    real = Committer._store

    def publish_first(self: Committer, group: Any) -> None:
        for entry in group:
            if entry.publish is not None:
                if entry.prepare is not None:
                    entry.prepare()()
                    entry.prepare = None
                names = entry.publish()
                entry.publish = lambda names=names: names
        real(self, group)

    patch.setattr(Committer, "_store", publish_first)


def settled_before_parts(patch: Patch) -> None:
    """A result gets its line, and then its bytes are written."""
    real_write, real_publish = store._write_parts, store.publish_outputs
    waiting: dict[str, Callable[[], object]] = {}

    def write_late(*these: Any) -> None:
        real_write(*these)()

    def note(context: Any, work: Any, line: Any, images: Any) -> Callable[[], object]:
        line.outputs = store.outputs_of(work, line, images, context.run)
        waiting[line.outputs[0].part or ""] = partial(write_late, context, work, line, images)
        return nothing

    def publish(context: Any, work: Any, outputs: Any) -> list[str]:
        waiting.pop(outputs[0].part, nothing)()
        return real_publish(context, work, outputs)

    patch.setattr(store, "_write_parts", note)
    patch.setattr(store, "publish_outputs", publish)


def final_names_not_synced(patch: Patch) -> None:
    """Parts go before the folders of the final names were synced."""
    real = OutputFolder.sync

    def sync(self: OutputFolder) -> None:
        self.dirty = {path for path in self.dirty if not path or path.startswith(OWN)}
        real(self)

    patch.setattr(OutputFolder, "sync", sync)


def part_removed_at_once(patch: Patch) -> None:
    """A part goes as soon as it has its final name."""
    real = publishing.publish

    def publish(folder: OutputFolder, part: str, *rest: Any) -> str:
        name = real(folder, part, *rest)
        (folder.root / PARTS / part).unlink()
        return name

    patch.setattr(store, "publish", publish)


def older_result_removed(patch: Patch) -> None:
    """An older result is removed where it should make way."""

    def remove(_folder: OutputFolder, entry: Any, *_: object) -> bool:
        os.unlink(entry.name, dir_fd=entry.fd)
        return True

    patch.setattr(publishing, "_make_way", remove)


def replaced_not_synced(patch: Patch) -> None:
    """An older result loses its old name before its new one is on the medium."""
    patch.setattr(publishing, "sync_folder", nothing)


def ledger_name_not_synced(patch: Patch) -> None:
    """A new ledger's name is left to the kernel."""
    patch.setattr("pipeline.ledger.ledger_file.sync_folder", nothing)


def new_key_each_time(patch: Patch) -> None:
    """What is sent again has another idempotency key."""
    real = attempt._sent

    def sent(context: Any, work: Any, ticket: Any) -> Sent:
        return msgspec.structs.replace(real(context, work, ticket), idempotency_key=uuid.uuid4().hex)

    patch.setattr(attempt, "_sent", sent)


def output_folder_not_synced(patch: Patch) -> None:
    """The output folder's own name is left to the kernel."""
    patch.setattr("pipeline.outputs.folder._make_root", lambda root: root.mkdir(parents=True, exist_ok=True))


def own_folders_not_synced(patch: Patch) -> None:
    """The names of the folders in `.retouch/` are left to the kernel."""
    real = OutputFolder._make_own
    # SQLite syncs the folder of its file, by chance the right one.
    patch.setattr("pipeline.tasks.cache._connect", nothing)

    def make(self: OutputFolder) -> None:
        with pytest.MonkeyPatch.context() as unsynced:
            unsynced.setattr(OutputFolder, "sync", nothing)
            real(self)
        self.dirty.clear()

    patch.setattr(OutputFolder, "_make_own", make)
