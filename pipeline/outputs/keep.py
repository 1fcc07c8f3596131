"""Keeping the start of an answer that was paid for and could not be used, for a person to look at."""

from __future__ import annotations

import os
from typing import Final

from pipeline.durable import sync_file, sync_folder, write_all
from pipeline.outputs.folder import UNUSABLE, OutputFolder, storage_errors

KEPT: Final = 1 << 20
"""How many first bytes of a body are kept."""


def keep_unusable(folder: OutputFolder, name: str, body: bytes) -> None:
    """Keep the first `KEPT` bytes of a body in `.retouch/unusable/`, durably, readable by the owner alone.

    `name` must be new, for each attempt has its own; `body` must have secrets masked already.

    Raises:
        StorageError: it cannot be kept.
    """
    with storage_errors(f"keep {folder.root / UNUSABLE / name}"), folder.at(UNUSABLE) as home:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=home)
        try:
            write_all(fd, body[:KEPT])
            sync_file(fd)
        finally:
            os.close(fd)
        sync_folder(folder.root / UNUSABLE)
