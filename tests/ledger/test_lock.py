import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import LockedError, StorageError
from pipeline.ledger.lock import FolderLock

HOLDER = """
import sys, time
from pathlib import Path
from pipeline.ledger.lock import FolderLock
shard = tuple(map(int, sys.argv[2:])) or None
with FolderLock(Path(sys.argv[1]), shard):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path, *shard: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), *map(str, shard)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("first", "second", "free"),
    [
        (None, None, False),
        (None, (1, 2), False),
        ((1, 2), None, False),
        ((1, 2), (1, 2), False),
        ((1, 2), (2, 2), True),
        ((1, 2), (1, 3), True),
    ],
)
def test_who_excludes_whom(
    tmp_path: Path, first: tuple[int, int] | None, second: tuple[int, int] | None, free: bool
) -> None:
    """An unsharded run excludes everyone; a shard excludes unsharded runs and its like."""
    with FolderLock(tmp_path, first):
        if free:
            with FolderLock(tmp_path, second):
                pass
        else:
            with pytest.raises(LockedError), FolderLock(tmp_path, second):
                pass
    with FolderLock(tmp_path, second):
        pass


def test_the_message_names_the_process_that_holds_the_folder(tmp_path: Path) -> None:
    """The one who is refused learns the pid, the host and since when."""
    process = holder(tmp_path)
    try:
        with pytest.raises(LockedError, match=rf"pid {process.pid} on \S+ since 2\d\d\d-.*wait for it"):
            FolderLock(tmp_path).__enter__()
    finally:
        kill(process)


def test_the_message_names_the_shards_that_hold_the_folder(tmp_path: Path) -> None:
    """An unsharded run that meets shards is told of them, not of the unsharded run that was killed before."""
    gone = holder(tmp_path)
    kill(gone)
    shards = [holder(tmp_path, 1, 2), holder(tmp_path, 2, 2)]
    try:
        with pytest.raises(LockedError) as caught:
            FolderLock(tmp_path).__enter__()
    finally:
        for shard in shards:
            kill(shard)
    assert f"shard 1-of-2, pid {shards[0].pid}" in str(caught.value)
    assert f"shard 2-of-2, pid {shards[1].pid}" in str(caught.value)
    assert f"pid {gone.pid} " not in str(caught.value)


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    """The lock ends with the process, though its file stays."""
    kill(holder(tmp_path))
    assert (tmp_path / ".lock").exists()
    with FolderLock(tmp_path):
        pass


def test_the_file_is_private_and_never_unlinked(tmp_path: Path) -> None:
    """Leaving empties the file but keeps its inode, so that all contend for one."""
    with FolderLock(tmp_path):
        inside = (tmp_path / ".lock").stat()
    outside = (tmp_path / ".lock").stat()
    assert (inside.st_ino, inside.st_mode & 0o777) == (outside.st_ino, 0o600)
    assert inside.st_size > outside.st_size == 0


def test_closing_another_descriptor_keeps_the_lock(tmp_path: Path) -> None:
    """Reading the lock's file in the same process does not drop the lock, as it would with lockf."""
    with FolderLock(tmp_path):
        (tmp_path / ".lock").read_text()
        with pytest.raises(LockedError):
            FolderLock(tmp_path).__enter__()


FORKER = """
import os, sys
from pathlib import Path
from pipeline.ledger.lock import FolderLock
readable, writable = os.pipe()
with FolderLock(Path(sys.argv[1])):
    if os.fork() == 0:
        os.close(writable)
        os.read(readable, 1)
        os._exit(0)
with FolderLock(Path(sys.argv[1])):
    pass
"""


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """Leaving unlocks although a child that was only forked still has the file open."""
    subprocess.run([sys.executable, "-c", FORKER, str(tmp_path)], check=True)


def test_a_refused_lock_leaves_no_descriptor_open(tmp_path: Path) -> None:
    """A shard that is refused gives back the shared lock that it already had."""
    with FolderLock(tmp_path, (1, 2)), pytest.raises(LockedError):
        FolderLock(tmp_path, (1, 2)).__enter__()
    with FolderLock(tmp_path):
        pass


def test_a_folder_that_is_missing_is_a_storage_error(tmp_path: Path) -> None:
    """The lock never makes the output folder."""
    with pytest.raises(StorageError, match="cannot be opened"):
        FolderLock(tmp_path / "gone").__enter__()


def test_a_lock_that_is_a_symlink_is_refused(tmp_path: Path) -> None:
    """The lock's text is written only inside the output folder."""
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError):
        FolderLock(tmp_path).__enter__()
    assert (tmp_path / "victim").read_text() == "mine"
