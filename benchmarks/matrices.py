"""Jobs of many tasks: photos by a matrix of prompts, and a folder in which all of them are done."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.processes import photo
from pipeline import load
from pipeline.ledger.codec import encode
from pipeline.ledger.records import End, Input, Output, Record, Run, Sent, Settled
from pipeline.manifest.job import Job
from pipeline.outcome import Outcome
from pipeline.run.inputs import Inputs, Look, SentFile, fingerprint_of
from pipeline.tasks.cache import InputCache
from pipeline.tasks.expand import prepare
from pipeline.tasks.task import Task

_PICTURE = b"a picture"
_LONG_AGO = 1_700_000_000


@contextmanager
def matrix_job(images: int, variants: int, url: str = "http://127.0.0.1:9/v1") -> Iterator[Path]:
    """The manifest of a job of so many images, each in so many variants, for `url`, while the block lasts."""
    with TemporaryDirectory(prefix="retouch-benchmark-") as name:
        folder = Path(name)
        data = photo(1)
        for number in range(images):
            place = folder / f"photos/{number // 100:04}/{number:06}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data + number.to_bytes(8, "big"))  # after a png's end anything may follow
            os.utime(place, (_LONG_AGO, _LONG_AGO))
        manifest = folder / "job.yaml"
        manifest.write_text(json.dumps(_manifest(variants, url)))
        yield manifest


def _manifest(variants: int, url: str) -> dict[str, Any]:
    matrix = {"light": {f"l{number}": f"light number {number}" for number in range(variants)}}
    text = "Put the product on a white background, {{ matrix.light }}."
    return {
        "version": 1,
        "name": "benchmark",
        "endpoint": {"base_url": url, "api_key_env": "BENCHMARK_KEY"},
        "request": {"model": "gpt-image-1.5", "size": "1024x1024", "quality": "low"},
        "image_sets": [{"name": "photos", "images": "photos/**/*.png"}],
        "prompts": [{"name": "white", "text": text, "matrix": matrix}],
        "limits": {"concurrency": 32},
        "output": {"folder": "out"},
    }


def finish(manifest: Path) -> Path:
    """Give every task of a job its result, as a run would have left it; its ledger."""
    job = load(manifest)
    (job.output / ".retouch").mkdir(parents=True)
    path = job.output / "ledger.jsonl"
    offset = 0
    with path.open("wb", buffering=1 << 20) as ledger:
        for line in _lines(job):
            line.run, line.at, line.group = "20261101T000000Z-benchm", "2026-11-01T00:00:00.000Z", offset
            offset += ledger.write(encode(line))
    return path


def _lines(job: Job) -> Iterator[Record]:
    yield Run(job=job.manifest.name, manifest=job.sha256, version="0", argv=[], sandbox=False, settings={})
    inputs = Inputs(str(job.folder), InputCache(None), once=True)
    for task in prepare(job, 0.0).tasks():
        files = inputs.of(task, None, Look.HASH)
        assert isinstance(files, tuple)
        yield from _attempt(job, task, files, inputs.recorded(files))
    yield End(counts={}, attempts={"succeeded": 1}, images=1, usage={}, cost={}, seconds=1.0, exit=0)


def _attempt(job: Job, task: Task, files: tuple[SentFile, ...], recorded: list[Input]) -> Iterator[Record]:
    fingerprint = fingerprint_of(task, files, 0)
    yield Sent(
        task=task.id,
        fingerprint=fingerprint,
        attempt=1,
        generation=0,
        endpoint="127.0.0.1",
        idempotency_key="0" * 32,
        estimated_cost=Decimal("0.02"),
        request=dict(task.fields),
        paths=list(task.paths),
    )
    output = Output(f"{task.paths[0]}.png", None, "0" * 64, len(_PICTURE), 1024, 1024, "png")
    place = job.output / output.path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(_PICTURE)
    yield Settled(
        task=task.id,
        fingerprint=fingerprint,
        attempt=1,
        outcome=Outcome.SUCCEEDED,
        status=200,
        seconds=10.0,
        model="gpt-image-1.5",
        n=1,
        size="1024x1024",
        quality="low",
        usage={"input_tokens": 300, "output_tokens": 400, "total_tokens": 700},
        cost=Decimal("0.0123"),
        outputs=[output],
        inputs=recorded,
        set=task.item.set,
        key=task.item.key,
        prompt=task.prompt,
        variant=task.variant_text,
    )
