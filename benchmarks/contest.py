"""Retouch, and what a user would write instead, on the same work: each in a process of its own, one after the other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from types import MappingProxyType
from typing import Any

from benchmarks.clients.work import Work
from benchmarks.nginx import found
from benchmarks.processes import RETOUCH

CLIENTS = Path(__file__).parent / "clients"
LAUNCH = Path(__file__).with_name("launch.py")
WRK_SECONDS = 4
PROMPT = "Put the product on a pure white background. Keep its shape, colour and label unchanged."


@dataclass(frozen=True, slots=True)
class Measured:
    """What a client took for `edits` edits: `seconds` from the first request to the last result, `wall` and `cpu` of
    the whole process, its peak of resident memory in bytes."""

    edits: int
    seconds: float
    wall: float
    cpu: float
    memory: int


@dataclass(frozen=True, slots=True)
class Ground:
    """A folder on disk whose `photos/` holds an entry for each edit, a file or a folder of files; the server's address,
    and the picture that it answers with."""

    folder: Path
    url: str
    picture: bytes

    def work(self, concurrency: int, n: int = 1) -> Work:
        """The work of an edit for each entry."""
        entries = sorted((self.folder / "photos").iterdir())
        items = [[str(entry)] if entry.is_file() else sorted(map(str, entry.iterdir())) for entry in entries]
        return Work(self.url, items, str(self.folder / "out"), concurrency, n, PROMPT)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a process took, in seconds and bytes, and what it wrote to its stdout."""

    wall: float
    cpu: float
    memory: int
    said: str


Client = Callable[[Ground, Work], Measured]


def measure(client: Client, ground: Ground, work: Work) -> Measured:
    """Let a client do the work."""
    with cleared(ground):
        return client(ground, work)


@contextmanager
def cleared(ground: Ground) -> Iterator[None]:
    """Nothing is left to write of what was before the block; what it put into `out/` is out of the way afterwards."""
    output = ground.folder / "out"
    os.sync()
    output.mkdir()
    try:
        yield
    finally:
        _put_aside(output)
        shutil.rmtree(ground.folder / "state", ignore_errors=True)


def _put_aside(folder: Path) -> None:
    """Empty the files and rename the folder; it is removed with its ground. Who makes files on an ext4 without a
    journal steps over each inode that was lost in the last minutes: the next client would pay for a removal."""
    for file in folder.rglob("*"):
        if file.is_file():
            os.truncate(file, 0)
    folder.rename(Path(mkdtemp(prefix="done-", dir=folder.parent), folder.name))


def rival(name: str, ground: Ground, work: Work) -> Measured:
    """One of `benchmarks.clients`."""
    path = ground.folder / "work.json"
    path.write_text(json.dumps(asdict(work)))
    taken = launch(ground.folder, [sys.executable, "-m", f"benchmarks.clients.{name}", str(path)])
    _check(work, ground.picture, Path(work.folder))
    return Measured(len(work.items), json.loads(taken.said)["seconds"], taken.wall, taken.cpu, taken.memory)


def retouch(ground: Ground, work: Work, *, check: str | None = None, processes: int | None = None) -> Measured:
    """`retouch run` with all that it does by default, timed from the first `sent` to the last `settled` of the ledger.

    `check` is `output.check`, None for the default; `processes` is what `--processes` is given, None where it is not.
    """
    manifest = ground.folder / "job.yaml"
    described = job(ground, work)
    if check is not None:
        described["output"]["check"] = check
    manifest.write_text(json.dumps(described))
    run = [RETOUCH, "run", str(manifest), "--json"]
    taken = launch(ground.folder, run if processes is None else [*run, "--processes", str(processes)])
    _check(work, ground.picture, Path(work.folder, "photos"))
    seconds = from_sent_to_settled(Path(work.folder))
    return Measured(len(work.items), seconds, taken.wall, taken.cpu, taken.memory)


def from_sent_to_settled(folder: Path) -> float:
    """Seconds from the first `sent` to the last `settled` line of the ledgers in an output folder."""
    first, last = "~", ""
    for path in folder.glob("ledger*.jsonl"):
        with path.open("rb") as ledger:
            for line in map(json.loads, ledger):
                if line["type"] == "sent":
                    first = min(first, line["at"])
                elif line["type"] == "settled":
                    last = max(last, line["at"])
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def wrk(ground: Ground, work: Work) -> Measured:
    """The wire's limit: wrk posts the body of the first edit for some seconds and throws the answers away."""
    body = ground.folder / "body"
    body.write_bytes(form(work))
    command = [found("wrk"), "-t1", f"-c{work.concurrency}", f"-d{WRK_SECONDS}s", "--timeout", "60s"]
    command += ["-s", str(CLIENTS / "post.lua"), f"{work.url}/images/edits"]
    taken = launch(ground.folder, command, {"BENCHMARK_BODY": str(body)})
    reached = json.loads(taken.said.splitlines()[-1])
    if reached["failed"]:
        raise RuntimeError(f"wrk: {taken.said}")
    return Measured(reached["edits"], reached["seconds"], taken.wall, taken.cpu, taken.memory)


def job(ground: Ground, work: Work) -> dict[str, Any]:
    """The manifest of the work, with nothing in it but what the work asks for."""
    several = len(work.items[0]) > 1
    images = {"images": "photos/*/*.png", "item": "folder"} if several else {"images": "photos/*.png"}
    return {
        "version": 1,
        "name": "benchmark",
        "endpoint": {"base_url": ground.url, "api_key_env": "BENCHMARK_KEY"},
        "request": {"model": "gpt-image-1.5", "size": "1024x1024", "quality": "low", "n": work.n},
        "image_sets": [{"name": "photos", **images}],
        "prompts": [{"name": "white", "text": work.prompt}],
        "limits": {"concurrency": work.concurrency},
        "output": {"folder": work.folder},
    }


def form(work: Work) -> bytes:
    """The multipart body of the first edit, as the clients send it."""
    fields = {"model": "gpt-image-1.5", "prompt": work.prompt, "size": "1024x1024", "quality": "low", "n": str(work.n)}
    parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    for path in map(Path, work.items[0]):
        head = f'name="image"; filename="{path.name}"\r\nContent-Type: image/png\r\n\r\n'
        parts.append(head.encode() + path.read_bytes())
    disposition = b"--benchmark\r\nContent-Disposition: form-data; "
    return b"".join(disposition + part + b"\r\n" for part in parts) + b"--benchmark--\r\n"


def launch(folder: Path, command: Sequence[str], surroundings: Mapping[str, str] = MappingProxyType({})) -> Taken:
    """Run a command of which something is wanted. Raises RuntimeError where it fails."""
    known = {"BENCHMARK_KEY": "sk-benchmark", "XDG_STATE_HOME": str(folder / "state")}
    with TemporaryDirectory(dir=folder) as place:
        output, errors = Path(place, "stdout"), Path(place, "stderr")
        with errors.open("wb") as stderr:
            done = subprocess.run(
                [sys.executable, "-S", "-E", LAUNCH, output, *command],
                env={**os.environ, **known, **surroundings},
                stdout=subprocess.PIPE,
                stderr=stderr,
                check=True,
            )
        taken = json.loads(done.stdout)
        if code := taken.pop("code"):
            raise RuntimeError(f"{' '.join(command)} exited {code}: {errors.read_text()[-2000:]}")
        return Taken(**taken, said=output.read_text())


def _check(work: Work, picture: bytes, folder: Path) -> None:
    """Raises RuntimeError where a picture is missing or is not what the server sent."""
    paths = sorted(folder.rglob("*.png"))
    wrong = [path for path in paths if path.stat().st_size != len(picture)]
    if len(paths) != len(work.items) * work.n or wrong or paths[0].read_bytes() != picture:
        raise RuntimeError(f"{len(paths)} of {len(work.items) * work.n} pictures, of which {len(wrong)} are not whole")
