"""A paid result that cannot get its name: it stays, and keeps no later run from its work."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from itertools import count

import pytest

from pipeline.errors import StorageError
from pipeline.ledger.records import Reused, Sent, Settled
from pipeline.outcome import Outcome
from tests.run.conftest import Bench, answer, picture
from tests.run.test_recovery import cut_after, leave_part

pytestmark = pytest.mark.anyio

BAD = "set/white/bad-1.png"
LINK = os.link


def refusing(code: int, leaf: str = "bad-1.png") -> Callable[..., None]:
    """A file system that takes no file of this name."""

    def link(source: str, target: str, **more: int) -> None:
        if target.startswith(leaf.removesuffix(".png")):
            raise OSError(code, os.strerror(code))
        LINK(source, target, **more)  # type: ignore[arg-type]  # what was given is given on

    return link


@pytest.fixture
def refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench where `bad` can have no name."""
    monkeypatch.setattr(os, "link", refusing(errno.EINVAL))
    bench.images("bad")
    colours = count(1)
    bench.say = lambda edit: answer(picture(next(colours)))
    return bench


async def test_a_name_that_is_refused_stops_no_later_run(refused: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are sent as ever, it is not bought again, and once the name can be had it gets it for nothing."""
    assert (await refused.run()).exit == 7
    parts = refused.parts()
    refused.images("one", "two")
    for sent in (2, 0):
        refused.notes.clear()
        summary = await refused.run()
        assert (summary.exit, len(refused.posts)) == (7, sent)
        assert refused.ends["set/bad/white"].code == "name_refused"
        assert refused.words()["set/one/white"] == ("done" if sent else "skipped")
        assert refused.parts() == parts
        assert any("set/bad/white" in note and "Invalid argument" in note for note in refused.notes)
    monkeypatch.setattr(os, "link", LINK)
    assert (await refused.run()).exit == 0
    assert (refused.posts, refused.parts(), BAD in refused.files()) == ([], set(), True)
    assert (len(refused.lines(Settled)), refused.lines(Reused)) == (4, [])


async def test_a_refused_result_is_taken_under_a_name_that_can_be_had(refused: Bench) -> None:
    """`output.path` is changed: the waiting picture is used, for nothing, and the run's fault is over then."""
    await refused.run()
    job = refused.job(output={"folder": "out", "spill": "spill", "path": "{{ set }}/{{ prompt }}/good-{{ key }}"})
    summary = await refused.run(job)
    assert (refused.words(), refused.posts) == ({"set/bad/white": "reused"}, [])
    assert summary.exit == 7
    assert (await refused.run(job)).exit == 0
    assert refused.files() == {"set/white/good-bad.png"}
    assert refused.parts() == set()


async def test_a_salvaged_result_that_gets_no_name_is_settled_and_kept(refused: Bench) -> None:
    """A run was killed after its answer had come: the line is written, and the next start does not stop either."""
    await refused.run()
    cut_after(refused, Sent)
    leave_part(refused, picture(1))
    for _ in range(2):
        assert (await refused.run()).exit == 7
        assert (len(refused.parts()), refused.posts) == (1, [])
    assert refused.lines(Settled)[0].outcome is Outcome.SUCCEEDED


async def test_a_file_where_a_result_needs_a_folder_stops_no_later_run(bench: Bench) -> None:
    """Someone made it after the result was paid for."""
    bench.images("bad")
    await bench.run()
    cut_after(bench, Settled)
    (line,) = bench.lines(Settled)
    (bench.out / BAD).rename(bench.out / ".retouch/parts" / line.outputs[0].part)
    (bench.out / "set/white").rmdir()
    (bench.out / "set/white").write_bytes(b"")
    assert (await bench.run()).exit == 7
    assert (bench.posts, len(bench.parts())) == ([], 1)
    (bench.out / "set/white").unlink()
    assert (await bench.run()).exit == 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
async def test_what_the_whole_disk_refuses_stops_the_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Nothing is sent while results cannot be named at all."""
    bench.images("bad")
    monkeypatch.setattr(os, "link", refusing(code))
    await bench.run()
    bench.images("one")
    with pytest.raises(StorageError):
        await bench.run()
    assert (bench.posts, len(bench.parts())) == ([], 1)


async def test_a_part_under_its_second_name_is_kept_as_well(refused: Bench) -> None:
    """What came by way of the spill may have another name than its line gives."""
    await refused.run()
    (part,) = refused.parts()
    folder = refused.out / ".retouch/parts"
    (folder / part).rename(folder / part.replace(".part", ".2.part"))
    for _ in range(2):
        assert (await refused.run()).exit == 7
        assert refused.parts() == {part.replace(".part", ".2.part")}
