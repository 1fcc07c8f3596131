"""What each recorded call does to the model of the disk.

A call that has no rule here is refused, as is one whose effect the model does not know: neither is passed over.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from tests.faults.power_calls import Call
from tests.faults.power_disk import Change, Disk, File, Folder, Length, Naming, UnmodelledError, Write


class Rules:
    """Takes in the calls of runs in the folder `root`, of which only the names in `kept` at its top are followed."""

    def __init__(self, disk: Disk, root: str, kept: frozenset[str]) -> None:
        self._disk = disk
        self._root = root
        self._kept = kept
        self._rules = {
            "openat": self._openat,
            "write": self._append,
            "writev": self._append,
            "pwrite64": self._pwrite,
            "ftruncate": self._ftruncate,
            "fallocate": self._fallocate,
            "fsync": self._sync,
            "fdatasync": self._sync,
            "mkdir": self._make,
            "mkdirat": self._make,
            "linkat": self._link,
            "unlink": self._unlink,
            "unlinkat": self._unlink,
            "rmdir": self._unlink,
            "rename": self._rename,
            "ioctl": self._clone,
            "sendto": self._nothing,
            "sendmsg": self._nothing,
        }

    def began(self, call: Call) -> bool:
        """Take in a call that began; whether a crash may leave other states now. Raises UnmodelledError."""
        if call.failed:
            return False
        if call.name not in self._rules:
            raise UnmodelledError(str(call))
        changes = self._rules[call.name](call)
        self._disk.began(call, changes)
        return bool(changes)

    def _openat(self, call: Call) -> list[Change]:
        flags = call.arguments.rpartition('", ')[2]
        place = self._named(call)
        if place is None or not ("O_CREAT" in flags or "O_TRUNC" in flags):
            return []
        if "O_TMPFILE" in flags or "SYNC" in flags:
            raise UnmodelledError(str(call))
        there = self._disk.find(place)
        if there is None:
            return [self._naming(call, place, self._disk.new(File()))]
        return [Length(there, call)] if "O_TRUNC" in flags else []

    def _append(self, call: Call) -> list[Change]:
        inode = self._open_file(call)
        # Whatever is written so is appended; were it not, the files at the run's end would tell.
        return [] if inode is None else [Write(inode, call, offset=len(self._disk.bytes(inode)), data=_written(call))]

    def _pwrite(self, call: Call) -> list[Change]:
        inode = self._open_file(call)
        return [] if inode is None else [Write(inode, call, offset=call.last_number(), data=_written(call))]

    def _ftruncate(self, call: Call) -> list[Change]:
        inode = self._open_file(call)
        return [] if inode is None else [Length(inode, call, size=call.last_number())]

    def _fallocate(self, call: Call) -> list[Change]:
        if "FALLOC_FL_KEEP_SIZE" not in call.arguments:
            raise UnmodelledError(str(call))
        return []

    def _sync(self, call: Call) -> list[Change]:
        inode = self._open_file(call)
        if inode is not None:
            self._disk.sync_began(call, inode)
        return []

    def _make(self, call: Call) -> list[Change]:
        place = self._named(call)
        return [self._naming(call, place, self._disk.new(Folder()))] if place else []

    def _link(self, call: Call) -> list[Change]:
        source, target = (self._below(path, name) for path, name in zip(call.paths, call.strings, strict=True))
        if target is None:
            return []
        return [self._naming(call, target, self._there(call, source))]

    def _unlink(self, call: Call) -> list[Change]:
        place = self._named(call)
        return [self._naming(call, place, None)] if place else []

    def _rename(self, call: Call) -> list[Change]:
        source, target = (self._below("/", path) for path in call.strings)
        if source is None and target is None:
            return []
        old, new = PurePosixPath(source or ""), PurePosixPath(target or "")
        if source is None or target is None or old.parent != new.parent:
            raise UnmodelledError(f"{call}: a rename from folder to folder")
        home = self._there(call, str(old.parent))
        return [Naming(home, call, names=((old.name, None), (new.name, self._there(call, source))))]

    def _clone(self, call: Call) -> list[Change]:
        target = self._open_file(call) if "CLONE" in call.arguments else None
        if target is None or (call.result is None and len(call.paths) < 2):  # cut off before its source was told
            return []
        source = self._there(call, self._below(call.paths[1]))
        return [Write(target, call, data=self._disk.bytes(source))]

    def _nothing(self, _call: Call) -> list[Change]:
        """What goes to a socket is no change of the disk."""
        return []

    def _naming(self, call: Call, place: str, to: int | None) -> Naming:
        path = PurePosixPath(place)
        return Naming(self._there(call, str(path.parent)), call, names=((path.name, to),))

    def _there(self, call: Call, place: str | None) -> int:
        inode = None if place is None else self._disk.find(place)
        if inode is None:
            raise UnmodelledError(f"{call}: {place} is not there")
        return inode

    def _named(self, call: Call) -> str | None:
        """The place of the name that a call makes or takes away."""
        return self._below(call.paths[0] if call.name.endswith("at") else "/", call.strings[0])

    def _open_file(self, call: Call) -> int | None:
        """The file or folder of the descriptor that a call is about, where it is followed and has a name still."""
        place = self._below(call.paths[0]) if call.paths else None
        if place is None or "(deleted)" in call.arguments:
            return None
        return self._there(call, place)

    def _below(self, folder: str, name: bytes = b"") -> str | None:
        """A path below the root, "." for the root itself; None where it is not followed."""
        path = str(PurePosixPath(folder) / name.decode()) if name else folder
        if path == self._root:
            return "."
        below = path.removeprefix(f"{self._root}/")
        return below if below != path and below.split("/")[0] in self._kept else None


def _written(call: Call) -> bytes:
    """What a call wrote; of one that a kill cut off, all that it would have."""
    data = b"".join(call.strings)
    return data if call.result is None else data[: call.result]
