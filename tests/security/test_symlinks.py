"""Every write lands inside the output folder, whatever stands in its way and whenever it came there."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import pytest

from pipeline.errors import StorageError
from pipeline.ledger.lock import signature
from pipeline.ledger.scan import repair
from pipeline.outputs.entry import Entry
from pipeline.outputs.folder import OutputFolder
from tests.e2e.command import Finished
from tests.e2e.forked import Forked
from tests.e2e.servers import OK, Scene, Wire, edit, error, hostile, picture, says, stage_of
from tests.e2e.stage import Stage

FOLDERS = (".retouch", ".retouch/parts", ".retouch/replaced", ".retouch/unusable", ".retouch/torn", "p", "p/paint")
FILES = (
    "ledger.jsonl", ".lock", ".lock-1-of-2", "ledger-1-of-2.jsonl", ".retouch/inputs.cache",
    ".retouch/inputs.cache-journal", ".retouch/inputs.cache-wal", "p/paint/a-1.png",
)  # fmt: skip
TORN = b'{"type":"run","torn":'


@dataclass(frozen=True, slots=True)
class Outside:
    """A place that is nobody's business; `taken` is how it was."""

    folder: Path
    taken: dict[str, object]

    @classmethod
    def at(cls, folder: Path) -> Outside:
        for name in ("parts", "replaced", "unusable", "torn", "paint", "deeper/still"):
            (folder / name).mkdir(parents=True)
        for name in ("victim", "a-1.png", "parts/victim", "inputs.cache"):
            (folder / name).write_bytes(b"mine\n")
        return cls(folder, look(folder))

    def untouched(self) -> bool:
        """Whether nothing was made, changed or removed, not even for a moment."""
        return look(self.folder) == self.taken


def look(folder: Path) -> dict[str, object]:
    """What is there; a folder's time tells of a file that came and went."""
    found: dict[str, object] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        state = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (stat.S_IFMT(state.st_mode), state.st_mode, state.st_mtime_ns, state.st_nlink, data)
    return found


def is_named(run: Finished) -> bool:
    """The run ended with a documented code and without a traceback."""
    return run.code in (0, 2, 3, 7) and "bug" not in run.stderr and "Traceback" not in run.stderr


def aged(stage: Stage) -> Stage:
    """With a photo old enough to be remembered."""
    os.utime(stage.folder / "photos/a.png", (1_700_000_000, 1_700_000_000))
    return stage


@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
def test_a_symlink_in_the_output_folder_is_not_followed(name: str, retouch: Forked, tmp_path: Path) -> None:
    """For each name that a run writes to: named, exit 0, 3 or 7, and nothing outside is touched."""
    outside = Outside.at(tmp_path / "outside")
    with hostile() as server:
        stage = aged(stage_of(tmp_path / "here", server.url, ["paint"]))
        place = stage.out / name
        place.parent.mkdir(parents=True)
        if name == ".retouch/torn":
            (stage.out / "ledger.jsonl").write_bytes(TORN)
        place.symlink_to(outside.folder if name in FOLDERS else outside.folder / "victim")
        run = retouch.run(stage, *(("--shard", "1/2") if "1-of-2" in name else ()))
        again = retouch.run(stage)
    assert is_named(run), run.stderr
    assert is_named(again), again.stderr
    assert outside.untouched()
    assert place.is_symlink()
    assert len(server.requests) <= 1
    if run.code == 7:
        assert name.split("/")[-1] in run.stderr


def test_a_dangling_symlink_is_not_filled(retouch: Forked, tmp_path: Path) -> None:
    """O_CREAT through it would make a file elsewhere."""
    for number, name in enumerate(FILES):
        with hostile() as server:
            stage = aged(stage_of(tmp_path / str(number), server.url, ["paint"]))
            place = stage.out / name
            place.parent.mkdir(parents=True)
            target = tmp_path / f"target-{number}"
            place.symlink_to(target)
            assert is_named(retouch.run(stage, *(("--shard", "1/2") if "1-of-2" in name else ())))
        assert not target.exists(), name


def swap(place: Path, outside: Outside) -> None:
    """Move it aside and put a symlink in its place."""
    aside = place.with_name(f"{place.name}.aside")
    if place.exists():
        place.rename(aside)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(outside.folder if place.suffix == "" else outside.folder / "victim")


def put_back(place: Path) -> None:
    """Undo `swap`."""
    place.unlink()
    aside = place.with_name(f"{place.name}.aside")
    if aside.exists():
        aside.rename(place)


def swapping(act: Callable[[], None], answer: Scene) -> Scene:
    """Do it while the request is in flight."""

    async def scene(wire: Wire) -> None:
        act()
        await asyncio.sleep(0.05)
        await answer(wire)

    return scene


UNUSABLE = says(b"<html>no</html>")
MID_RUN = [
    (".retouch", OK, 0),
    (".retouch/parts", OK, 0),
    (".retouch/unusable", UNUSABLE, 1),
    (".retouch/inputs.cache-journal", OK, 0),
    ("p", OK, 0),
    ("p/paint", OK, 0),
    ("ledger.jsonl", OK, 0),
    (".lock", OK, 0),
    ("p/paint/a-1.png", OK, 0),
    ("p/paint/a-1.png", says(error("no", "moderation_blocked"), "400 No"), 0),
]


@pytest.mark.parametrize(("name", "answer", "more"), MID_RUN, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(MID_RUN)])
def test_a_symlink_that_comes_while_a_request_is_in_flight_is_not_followed(
    name: str, answer: Scene, more: int, retouch: Forked, tmp_path: Path
) -> None:
    """What was paid for is kept elsewhere or told; put back in place, it is taken in and not bought again."""
    outside = Outside.at(tmp_path / "outside")
    with hostile() as server:
        stage = aged(stage_of(tmp_path / "here", server.url, ["paint"], retries={"max_attempts": 1}))
        place = stage.out / name
        server.plays["paint"] = [swapping(lambda: swap(place, outside), answer), answer]
        run = retouch.run(stage)
        assert is_named(run), run.stderr
        assert outside.untouched()
        if place.is_symlink():
            put_back(place)
        again = retouch.run(stage)
        assert is_named(again), again.stderr
        assert len(server.requests) == 1
    assert outside.untouched()
    if answer is OK:
        assert again.json["tasks"]["done"] + again.json["tasks"]["skipped"] == 1, again.stderr


def test_a_result_that_is_replaced_does_not_leave_through_a_symlink(retouch: Forked, tmp_path: Path) -> None:
    """`--redo` moves the old picture; with `.retouch/replaced` swapped it stays, and nothing lands outside."""
    outside = Outside.at(tmp_path / "outside")
    with hostile() as server:
        stage = stage_of(tmp_path / "here", server.url, ["paint"])
        retouch.run(stage).ended(0)
        old = (stage.out / "p/paint/a-1.png").read_bytes()
        replaced = stage.out / ".retouch/replaced"
        other = says(edit(picture((512, 512))))
        server.plays["paint"] = [swapping(lambda: swap(replaced, outside), other)]
        run = retouch.run(stage, "--redo", "*")
        assert run.code == 7, run.stderr
        assert (stage.out / "p/paint/a-1.png").read_bytes() == old
        put_back(replaced)
        retouch.run(stage).ended(0)
        assert len(server.requests) == 2
    assert (stage.out / "p/paint/a-1.png").read_bytes() == picture((512, 512))
    assert len(list(replaced.iterdir())) == 1
    assert outside.untouched()


def test_a_torn_tail_was_saved_through_a_symlink(tmp_path: Path) -> None:
    """The tail of the ledger went to where `.retouch/torn` led; now nothing is cut, and it is said."""
    outside = Outside.at(tmp_path / "outside")
    (tmp_path / "out/.retouch").mkdir(parents=True)
    (tmp_path / "out/.retouch/torn").symlink_to(outside.folder / "torn")
    ledger = tmp_path / "out/ledger.jsonl"
    ledger.write_bytes(TORN)
    with pytest.raises(StorageError, match="cannot be repaired"):
        repair(ledger, tmp_path / "out/.retouch/torn")
    assert ledger.read_bytes() == TORN
    assert outside.untouched()


def test_a_ledger_of_others_could_name_any_file_as_a_part_to_unlink(retouch: Forked, tmp_path: Path) -> None:
    """A part called `../../victim` was unlinked there after its picture had its name: exit 7, and it stays."""
    victim = tmp_path / "here/victim"
    with hostile() as server:
        stage = stage_of(tmp_path / "here", server.url, ["paint"])
        victim.write_bytes(b"mine")
        retouch.run(stage).ended(0)
        ledger = stage.out / "ledger.jsonl"
        lines = ledger.read_bytes().split(b"\n")[:-1]
        [part] = [output["part"] for line in stage.ledger() for output in line.get("outputs") or ()]
        lines = [line for line in lines if b'"type":"end"' not in line]
        forged = b"".join(sealed(line.replace(part.encode(), b"../../../../victim")) for line in lines)
        ledger.write_bytes(forged)
        shutil.copy(stage.out / "p/paint/a-1.png", stage.out / ".retouch/parts" / part)
        run = retouch.run(stage)
    assert victim.read_bytes() == b"mine"
    assert is_named(run), run.stderr


def sealed(line: bytes) -> bytes:
    """A ledger's line with the checksum that belongs to it now."""
    body = line[: line.rindex(b',"crc":"')]
    return body + b',"crc":"%08x"}\n' % crc32(body)


@pytest.mark.parametrize("name", ["", ".", "..", "/", "../x", "a/b", "/etc/passwd", "a\0b"])
def test_no_name_leads_out_of_its_folder(name: str, tmp_path: Path) -> None:
    """An entry is one name in one folder: what a ledger or a spill says cannot be more."""
    with pytest.raises(StorageError, match="is no name in a folder"):
        Entry(0, name)
    with OutputFolder(tmp_path) as folder:
        folder.mark("", name)
        with pytest.raises(StorageError):
            folder.sync()


def test_a_lock_that_is_no_file_is_neither_read_nor_waited_for(retouch: Forked, tmp_path: Path) -> None:
    """A FIFO as `.lock` made `status` wait for ever, and a symlink's text was printed as the holder's name."""
    secret = tmp_path / "secret"
    secret.write_text("pid 1 on elsewhere since yesterday")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(secret)
    (tmp_path / "own").write_bytes(b"pid 1\nerror: \x1b[31mforged" + b"x" * 5000)
    assert [signature(tmp_path / name) for name in ("fifo", "link", "missing")] == ["", "", ""]
    assert signature(tmp_path / "own").startswith("pid 1\\nerror: \\x1b[31mforged")
    assert len(signature(tmp_path / "own")) < 1100
    with hostile() as server:
        stage = stage_of(tmp_path / "here", server.url, ["paint"])
        stage.out.mkdir()
        os.mkfifo(stage.out / ".lock")
        assert stage.retouch("status").ended(0)["running"] is None
