"""A model of a disk that loses power: what each file and each name is now, and what of it is on the medium.

1. Bytes and the length of a file are on the medium once an fsync or fdatasync of it that began after the write ended
   has returned; through which descriptor does not matter. That brings no name to the medium.
2. A name is on the medium once an fsync of its folder, begun after the name's call ended, has returned.
3. Until then each write and each name, its removal too, may be lost or there, independently of all others; of a
   write any piece may be there, and the file may have its new length without the bytes.
4. What the model does not know it refuses: no call is passed over in silence.

This is harsher than file systems with a journal are, on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tests.faults.power_calls import Call

ROOT = 0

Tree = dict[str, bytes | None]
"""Files with their bytes and folders (None), by path."""


class UnmodelledError(Exception):
    """The run did something that the model has no rule for."""


@dataclass(frozen=True, slots=True)
class Landing:
    """What of a write reaches the medium: its bytes from `begin` to `end`, and the length up to `length` of it."""

    begin: int
    end: int
    length: int


@dataclass(slots=True, eq=False)
class Change:
    """A change of one inode that is not known to be on the medium; `done` once its call has returned."""

    inode: int
    call: Call
    done: bool = False


@dataclass(slots=True, eq=False)
class Write(Change):
    """Bytes of a file from `offset` on."""

    offset: int = 0
    data: bytes = b""

    @property
    def whole(self) -> Landing:
        return Landing(0, len(self.data), len(self.data))


@dataclass(slots=True, eq=False)
class Length(Change):
    """A file cut, or made longer."""

    size: int = 0


@dataclass(slots=True, eq=False)
class Naming(Change):
    """A folder's names for other inodes, given at once; None takes a name away."""

    names: tuple[tuple[str, int | None], ...] = ()


Choice = Mapping[Change, Landing | None]
"""What became of each pending change: None where all of it landed; one that is not there is lost."""


@dataclass(slots=True)
class File:
    """A file's bytes on the medium, and what may follow them there."""

    medium: bytes = b""
    pending: list[Change] = field(default_factory=list)

    def after(self, choice: Choice) -> bytes:
        """Its bytes when this much has landed."""
        data = self.medium
        for change in self.pending:
            if change not in choice:
                continue
            if isinstance(change, Length):
                data = data[: change.size].ljust(change.size, b"\0")
            elif isinstance(change, Write):
                data = _landed(data, change, choice[change] or change.whole)
        return data

    def land(self, choice: Choice) -> None:
        """Take it that this much is on the medium now."""
        self.medium = self.after(choice)


@dataclass(slots=True)
class Folder:
    """A folder's names on the medium, and what may follow them there."""

    medium: dict[str, int] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def after(self, choice: Choice) -> dict[str, int]:
        """Its names when this much has landed."""
        names = dict(self.medium)
        for change in self.pending:
            if change in choice and isinstance(change, Naming):
                for name, to in change.names:
                    names.pop(name, None)
                    if to is not None:
                        names[name] = to
        return names

    def land(self, choice: Choice) -> None:
        """Take it that this much is on the medium now."""
        self.medium = self.after(choice)


class Disk:
    """A folder of files and folders, empty at first; paths are relative to it, "." is itself."""

    def __init__(self) -> None:
        self._inodes: dict[int, File | Folder] = {ROOT: Folder()}
        self._changes: dict[Call, list[Change]] = {}
        self._syncs: dict[Call, list[Change]] = {}

    def hold(self, tree: Tree) -> None:
        """Put files and folders on the medium."""
        for path, data in sorted(tree.items()):
            home = self._inodes[self.find(str(PurePosixPath(path).parent)) or ROOT]
            assert isinstance(home, Folder)
            home.medium[PurePosixPath(path).name] = self.new(Folder() if data is None else File(data))

    def new(self, node: File | Folder) -> int:
        """The number of a new inode, which has no name yet."""
        self._inodes[len(self._inodes)] = node
        return len(self._inodes) - 1

    def began(self, call: Call, changes: Sequence[Change]) -> None:
        """A call may have had its effect from now on."""
        self._changes[call] = list(changes)
        for change in changes:
            self._inodes[change.inode].pending.append(change)

    def sync_began(self, call: Call, inode: int) -> None:
        """A sync covers what was done before it began."""
        self._syncs[call] = [change for change in self._inodes[inode].pending if change.done]

    def ended(self, call: Call) -> bool:
        """A call returned; whether a crash may leave other states now."""
        for change in self._changes.pop(call, ()):
            change.done = True
        covered = dict.fromkeys(self._syncs.pop(call, ()))
        for node in [self._inodes[inode] for inode in {change.inode for change in covered}]:
            node.land(covered)
            node.pending = [change for change in node.pending if change not in covered]
        return bool(covered)

    def killed(self, there: Tree) -> None:
        """Decide by what is there whether calls that a kill cut off had their effect. Raises UnmodelledError."""
        cut = [change for changes in self._changes.values() for change in changes]
        self._changes.clear()
        self._syncs.clear()
        for number in range(1 << len(cut)):
            lost = {change for place, change in enumerate(cut) if number >> place & 1}
            if self.crashed(dict.fromkeys(change for change in self.pending() if change not in lost)) == there:
                break
        else:
            raise UnmodelledError("the files that a run left are not what its calls should have left")
        for node in self._inodes.values():
            node.pending = [change for change in node.pending if change not in lost]
        for change in self.pending():
            change.done = True

    def pending(self) -> list[Change]:
        """Every change that may still be lost, oldest first within an inode."""
        return [change for node in self._inodes.values() for change in node.pending]

    def tree(self) -> Tree:
        """Files and folders as a running process sees them."""
        return self.crashed(dict.fromkeys(self.pending()))

    def crashed(self, choice: Choice) -> Tree:
        """Files and folders after a loss of power."""
        return {path: node.after(choice) if isinstance(node, File) else None for path, node in self._walk(choice)}

    def find(self, path: str) -> int | None:
        """The inode at a path, as a running process sees it."""
        inode = ROOT
        for name in PurePosixPath(path).parts:
            node = self._inodes[inode]
            names = node.after(dict.fromkeys(node.pending)) if isinstance(node, Folder) else {}
            if name not in names:
                return None
            inode = names[name]
        return inode

    def bytes(self, inode: int) -> bytes:
        """A file's bytes, as a running process sees them."""
        node = self._inodes[inode]
        assert isinstance(node, File)
        return node.after(dict.fromkeys(node.pending))

    def paths(self) -> dict[int, str]:
        """Where each inode is, as a running process sees it."""
        numbers = {id(node): inode for inode, node in self._inodes.items()}
        return {numbers[id(node)]: path for path, node in self._walk(dict.fromkeys(self.pending()))}

    def _walk(self, choice: Choice) -> Iterator[tuple[str, File | Folder]]:
        waiting = [("", ROOT)]
        while waiting:
            path, inode = waiting.pop()
            node = self._inodes[inode]
            if path:
                yield path, node
            if isinstance(node, Folder):
                waiting += [(f"{path}/{name}" if path else name, to) for name, to in node.after(choice).items()]


def _landed(data: bytes, write: Write, landing: Landing) -> bytes:
    begin, end = write.offset + landing.begin, write.offset + landing.end
    data = data.ljust(write.offset + landing.length, b"\0")
    return data[:begin] + write.data[landing.begin : landing.end] + data[end:]
