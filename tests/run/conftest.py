"""A job in a folder of its own, run against an endpoint that is a script: real ledger, real files, no network."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.lowlevel
import pytest
from PIL import Image

from pipeline.endpoint.form import Edit
from pipeline.endpoint.reply import Failure, Flight, Reply
from pipeline.ledger.records import Record
from pipeline.ledger.replay import Ledgers
from pipeline.manifest.job import Job
from pipeline.manifest.models import Manifest
from pipeline.run.context import Chance
from pipeline.run.engine import End
from pipeline.run.flags import Flags
from pipeline.run.halt import Halt
from pipeline.run.perform import perform
from pipeline.run.progress import Silent
from pipeline.run.summary import Summary

Say = Callable[[Edit], Reply]
PLAIN_SLEEP = Halt.sleep


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def picture(colour: int = 0, size: tuple[int, int] = (16, 12), format: str = "PNG") -> bytes:
    """A small picture; another colour makes other bytes."""
    file = io.BytesIO()
    Image.new("RGB", size, (colour % 256, colour // 256, 7)).save(file, format)
    return file.getvalue()


def answer(*images: bytes, usage: Any = None) -> Reply:
    """A 200 with these images."""
    document = {
        "created": 1,
        "data": [{"b64_json": base64.b64encode(image).decode()} for image in images],
        "usage": usage or {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12},
    }
    return Reply(status=200, body=json.dumps(document).encode(), began=True, seconds=1.0)


def refusal(status: int, code: str = "", seconds: float = 1.0, **headers: str) -> Reply:
    """An error in OpenAI's envelope."""
    body = json.dumps({"error": {"message": f"said {code or status}", "code": code or None}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, headers=named, body=body, began=True, seconds=seconds)


def broken(failure: Failure = Failure.RESET, *, began: bool = True, seconds: float = 1.0) -> Reply:
    """No answer at all."""
    return Reply(failure=failure, detail=failure, began=began, seconds=seconds)


@dataclass(slots=True)
class Clock:
    """Monotonic seconds that pass only when somebody sleeps or a script says so."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now


class Bench:
    """Runs a job in `folder`; `say` answers each request, `posts` are the requests that were made.

    Sleeps of a length in `patient` last until somebody else's have passed as much time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.clock = Clock()
        self.posts: list[Edit] = []
        self.notes: list[str] = []
        self.ends: dict[str, End] = {}
        self.say: Say = lambda edit: answer(picture(self.number(edit)))
        self.before: Callable[[Edit], Any] | None = None
        self.patient: set[float] = set()
        self.plain_sleep = PLAIN_SLEEP
        self.in_flight = self.most_in_flight = 0
        self._tokens = itertools.count()
        self._seconds = itertools.count()

    def images(self, *names: str) -> None:
        """Make input pictures, each of its own bytes."""
        (self.folder / "in").mkdir(exist_ok=True)
        for name in names:
            colour = int.from_bytes(hashlib.sha256(name.encode()).digest()[:2], "big")
            (self.folder / "in" / f"{name}.png").write_bytes(picture(colour))

    def job(self, **parts: Any) -> Job:
        """A job over `in/*.png`, with sections of the manifest replaced."""
        manifest = Manifest.model_validate(
            {
                "version": 1,
                "name": "job",
                "endpoint": {"auth": "none"},
                "request": {"model": "m"},
                "image_sets": [{"name": "set", "images": "in/*.png"}],
                "prompts": [{"name": "white", "text": "White background"}],
                "limits": {"concurrency": 4},
                "output": {"folder": "out", "spill": "spill"},
            }
            | parts
        )
        return Job(
            manifest=manifest,
            path=Path("job.yaml"),
            folder=self.folder,
            sha256=hashlib.sha256(b"").hexdigest(),
            base_url="http://127.0.0.1:1/v1",
            texts={prompt.name: prompt.text or "" for prompt in manifest.prompts},
            matrix={prompt.name: {axis: dict(texts) for axis, texts in prompt.matrix.items()}  # type: ignore[arg-type]  # tests give labelled axes
                    for prompt in manifest.prompts},
        )  # fmt: skip

    @property
    def chance(self) -> Chance:
        began = datetime(2026, 1, 1, tzinfo=UTC)
        return Chance(
            random=lambda: 0.5,
            token=lambda: hashlib.sha256(str(next(self._tokens)).encode()).hexdigest()[:32],
            clock=self.clock,
            now=lambda: began + timedelta(seconds=next(self._seconds)),
        )

    async def run(self, job: Job | None = None, **flags: Any) -> Summary:
        """One run to its end."""
        self.ends = {}
        self.posts = []

        def on_end(end: End, root: Path) -> None:
            self.ends[end.task.id] = end

        view = Silent()
        view.note = self.notes.append  # type: ignore[assignment]  # what the user would read
        return await perform(job or self.job(), Flags(**flags), view, on_end=on_end, chance=self.chance)

    def words(self) -> dict[str, str]:
        """How each task of the last run ended."""
        return {task: end.word for task, end in self.ends.items()}

    def lines(self, *types: type[Record]) -> list[Any]:
        """The ledger's records, of these types."""
        return [e.record for e in Ledgers(self.out).entries() if not types or isinstance(e.record, types)]

    def files(self) -> set[str]:
        """The files in the output folder, but for bookkeeping."""
        found = (path.relative_to(self.out).as_posix() for path in self.out.rglob("*") if path.is_file())
        return {path for path in found if not path.startswith((".", "ledger"))}

    def parts(self) -> set[str]:
        """What is left in the parts folder."""
        return {path.name for path in (self.out / ".retouch/parts").iterdir()}

    async def fetch(self, url: str) -> Reply:
        """No answer of these tests names a URL."""
        raise AssertionError(url)

    def number(self, edit: Edit) -> int:
        """The how-manieth request it is, from 1."""
        return next(number for number, one in enumerate(self.posts, 1) if one is edit)

    async def post(self, edit: Edit, flight: Flight) -> Reply:
        """What the transport would do."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        flight.began = True
        self.posts.append(edit)
        try:
            if self.before is not None:
                await self.before(edit)
            await anyio.lowlevel.checkpoint()
            return self.say(edit)
        finally:
            self.in_flight -= 1


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose transport is its own `post`, and whose sleeps pass at once on its own clock."""
    return bench_in(tmp_path, monkeypatch)


def bench_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """As the fixture, for who has a folder and a patch of their own; it holds for the command in this process too."""
    made = Bench(folder)

    class Scripted:
        def __init__(self, *_: object, **__: object) -> None:
            self.post = made.post
            self.fetch = made.fetch

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None: ...

    async def sleep(halt: Halt, seconds: float | None, woken: anyio.Event | None = None) -> None:
        await anyio.lowlevel.checkpoint()
        if halt.draining or (woken is not None and woken.is_set()):
            return
        if seconds is None:
            await made.plain_sleep(halt, seconds, woken)
            return
        if seconds in made.patient:
            until = made.clock.now + seconds
            while made.clock.now < until and not halt.draining:  # noqa: ASYNC110 - the clock has no events
                await anyio.sleep(0.001)
            return
        made.clock.slept.append(seconds)
        made.clock.now += seconds

    monkeypatch.setattr("pipeline.run.lanes.Transport", Scripted)
    monkeypatch.setattr(Halt, "sleep", sleep)
    return made
