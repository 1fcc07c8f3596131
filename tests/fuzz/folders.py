"""Output folders of real runs: made once, laid out for each case, and held against what a run must never do to one."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipeline.endpoint.form import Edit
from tests.fuzz.command import retouch
from tests.fuzz.grounds import picture, working_in
from tests.run.conftest import Bench, answer, bench_in, broken, refusal

Tree = Mapping[str, bytes]

WORK = "work"
LEDGER = f"{WORK}/out/ledger.jsonl"
LONG_AGO = 1_700_000_000


@cache
def folders() -> tuple[Tree, ...]:
    """A job's folder after several runs; after one killed with a picture on its way; and with a spilled picture."""
    with tempfile.TemporaryDirectory(prefix="fuzz-made-") as made:
        whole = _made(Path(made))
    ends = [at for at, byte in enumerate(whole[LEDGER]) if byte == 10]
    last = next(
        at for at in reversed(range(len(ends) - 1)) if b'"outcome":"succeeded"' in _line(whole[LEDGER], ends, at)
    )
    line = json.loads(_line(whole[LEDGER], ends, last))
    killed, spilled = dict(whole), dict(whole)
    for output in line["outputs"]:
        killed[f"{WORK}/out/.retouch/parts/{output['part']}"] = killed.pop(f"{WORK}/out/{output['path']}")
    killed[LEDGER] = whole[LEDGER][: ends[last - 1] + 1]
    for output in line["outputs"]:
        spilled[f"spill/{output['part']}"] = spilled.pop(f"{WORK}/out/{output['path']}")
    spilled["spill/line"] = _line(whole[LEDGER], ends, last)
    spilled[LEDGER] = killed[LEDGER]
    return whole, killed, spilled


def _line(data: bytes, ends: Sequence[int], at: int) -> bytes:
    return data[ends[at - 1] + 1 : ends[at] + 1]


def manifest(text: str = "White") -> dict[str, Any]:
    """The job of all cases."""
    return {
        "version": 1,
        "name": "job",
        "endpoint": {"auth": "none"},
        "request": {"model": "m"},
        "image_sets": [{"name": "set", "images": "in/*.png"}],
        "prompts": [{"name": "p", "text": text, "request": {"n": 2}}, {"name": "q", "text": "Blue"}],
        "limits": {"concurrency": 2},
        "stop_on": {"failures": None, "in_doubt": None},
        "output": {"folder": "out", "spill": "../state"},
    }


def _made(folder: Path) -> dict[str, bytes]:
    """Runs a job until its ledger holds every type of line and most outcomes."""
    (folder / WORK).mkdir()
    with working_in(folder / WORK), scripted(folder / WORK) as bench:
        bench.images("a", "b", "c")
        (folder / WORK / "in/d.png").write_bytes(b"no image")
        _age(folder / WORK / "in")
        (folder / "beyond.txt").write_text("not of this job")
        script = itertools.chain([refusal(400, "moderation_blocked"), broken(), refusal(503)], itertools.repeat(None))
        bench.say = lambda edit: next(script) or answer(*pictures(edit))
        for text, flags in (
            ("White", ()),
            ("Black", ("--yes",)),
            ("White", ("--redo", "set/a/q")),
            ("White", ("--retry", "failed,held")),
        ):
            Path("job.yaml").write_text(json.dumps(manifest(text)))
            retouch("run", "job.yaml", "--quiet", *flags)
    return dict(tree(folder))


def pictures(edit: Edit) -> list[bytes]:
    """As many pictures as are asked for, of the attempt's own bytes."""
    digest = hashlib.sha256(edit.idempotency_key.encode()).digest()
    return [picture(digest[0] + number) for number in range(int(edit.fields.get("n", 1)))]


@contextmanager
def scripted(folder: Path) -> Iterator[Bench]:
    """Runs send to a script, on a clock of its own."""
    with pytest.MonkeyPatch.context() as patch:
        bench = bench_in(folder, patch)
        patch.setattr("pipeline.run.perform.real_chance", lambda: bench.chance)
        yield bench


def _age(folder: Path) -> None:
    """Give input files a time at which no run can have read them in the act, so that the cache takes them in."""
    for path in sorted(folder.iterdir()):
        os.utime(path, (LONG_AGO, LONG_AGO))


def tree(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every regular file below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def lay_out(folder: Path, files: Tree, changed_file: str, body: bytes, make: str | None) -> None:
    """Write a tree, with one file as the case wants it."""
    for path in sorted(folder.iterdir()):
        for inner in path.iterdir() if path.name == WORK else ():
            _remove(inner)
        if path.name != WORK:
            _remove(path)
    home = hashlib.sha256(os.fsencode(os.path.realpath(folder / WORK / "out"))).hexdigest()[:32]
    for name, data in {**files, changed_file: body}.items():
        path = folder / name.replace("spill/", f"state/{home}/{'ab' * 16}/", 1)
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for name in (".retouch/parts", ".retouch/replaced", ".retouch/unusable"):
        (folder / WORK / "out" / name).mkdir(parents=True, exist_ok=True)
    _age(folder / WORK / "in")
    if make is not None:
        _remove(folder / changed_file)
        _MAKERS[make](folder / changed_file)


_MAKERS: dict[str, Callable[[Path], None]] = {
    "folder": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to(path.parents[-len(path.parents)].joinpath("beyond.txt")),
    "loop": lambda path: path.symlink_to(path.name),
    "fifo": os.mkfifo,
}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_kept(before: Tree, after: Tree) -> None:
    """What is not the job's is as it was; every picture under a name is somewhere; the ledger only grew."""
    ours = (f"{WORK}/out/", "state/")
    for name, data in before.items():
        if not name.startswith(ours):
            assert after.get(name) == data, f"{name} was touched"
    assert {name for name in after if not name.startswith(ours)} <= set(before), "a file outside the folder"
    there = {hashlib.sha256(data).digest() for data in after.values()}
    for name, data in before.items():
        if name.endswith((".png", ".body")) and name.startswith(ours):
            assert hashlib.sha256(data).digest() in there, f"{name}: a picture that was paid for is gone"
    old, new = before.get(LEDGER, b""), after.get(LEDGER, b"")
    torn = [data for name, data in after.items() if "/.retouch/torn/" in name]
    assert any(new.startswith(old[: len(old) - len(tail)]) and old.endswith(tail) for tail in (b"", *torn)), (
        "lines are gone"
    )
