"""What is private is made for its owner alone, whatever the umask."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pipeline.outputs.folder import OutputFolder
from pipeline.outputs.spill import Spill, SpillPart
from tests.e2e.command import finished, installed
from tests.e2e.servers import OK, Wire, hostile, says, stage_of

ONE_BY_ONE = {"limits": {"concurrency": 1}, "retries": {"max_attempts": 1}}


@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_private_files_are_0600_and_private_folders_0700(umask: str, tmp_path: Path) -> None:
    """Ledger, lock, kept bodies, torn tails and spilled results; pictures alone follow the umask."""

    async def vanish(wire: Wire) -> None:
        """The output folder goes away while a paid answer is on its way: it is spilled."""
        stage.out.rename(stage.out.with_name("aside"))
        await OK(wire)

    with hostile(plays={"bad": [says(b"<html>")], "last": [vanish]}) as server:
        stage = stage_of(
            tmp_path, server.url, ["good", "bad", "last"], limits={"concurrency": 1}, retries={"max_attempts": 1}
        )
        stage.out.mkdir()
        (stage.out / "ledger.jsonl").write_bytes(b'{"torn')
        (stage.out / "ledger.jsonl").chmod(0o600)
        shell = ["sh", "-c", f'umask {umask}; exec "$@"', "sh", str(installed())]
        assert finished([*shell, "run", str(stage.manifest)], stage.folder, stage.home).code == 7
    aside = stage.out.with_name("aside")
    own, spilled = aside / ".retouch", stage.home / "state/retouch"
    assert {modes(path) for path in (own, own / "parts", own / "replaced", own / "unusable", own / "torn")} == {"700"}
    files = [*own.glob("unusable/*"), *own.glob("torn/*"), aside / "ledger.jsonl", aside / ".lock"]
    assert len(files) == 4
    spill = list(spilled.rglob("*"))
    assert len([path for path in spill if path.is_file()]) == 2
    assert {modes(path) for path in [*files, *(path for path in spill if path.is_file())]} == {"600"}
    assert {modes(path) for path in [spilled, *(path for path in spill if path.is_dir())]} == {"700"}
    assert modes(aside / "p/good/a-1.png") == f"{0o666 & ~int(umask, 8):o}"


def modes(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


def test_a_folder_of_our_own_that_others_can_read_is_closed(tmp_path: Path) -> None:
    """`.retouch/` made by hand or restored from a backup with 0755 stayed open to everyone."""
    (tmp_path / "out/.retouch").mkdir(parents=True, mode=0o755)
    with OutputFolder(tmp_path / "out"):
        assert modes(tmp_path / "out/.retouch") == "700"


def test_the_spill_is_private_under_every_umask(tmp_path: Path) -> None:
    """Its parents too, as far as it makes them."""
    before = os.umask(0)
    try:
        Spill(tmp_path / "state/retouch", tmp_path).store(b"line", [SpillPart("a.part", b"data")])
    finally:
        os.umask(before)
    made = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
    assert {modes(path) for path in made if path.is_dir()} == {"700"}
    assert {modes(path) for path in made if path.is_file()} == {"600"}
