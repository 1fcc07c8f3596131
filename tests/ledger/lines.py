"""Records with only what a test is about spelled out, and ledgers written from them without a committer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.ledger.codec import encode
from pipeline.ledger.places import Where
from pipeline.ledger.records import End, Output, Record, Reopened, Reused, Run, Sent, Settled
from pipeline.ledger.state import State
from pipeline.outcome import Outcome


def fp(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def stem(task: str) -> str:
    """A file's name for a task of any text."""
    return task if task.isalnum() else fp(task)


def output(path: str) -> Output:
    return Output(path=path, part=None, sha256=fp(path), bytes=10, width=2, height=3, format="png")


def run(job: str = "job") -> Run:
    return Run(job=job, manifest=fp(job), version="1", argv=[], sandbox=False, settings={})


def sent(task: str, attempt: int = 1, *, fingerprint: str | None = None, key: str = "key") -> Sent:
    return Sent(
        task=task,
        fingerprint=fingerprint or fp(task),
        attempt=attempt,
        generation=0,
        endpoint="host",
        idempotency_key=key,
        estimated_cost=None,
        request={"prompt": "white"},
        paths=[f"out/{stem(task)}"],
    )


def settled(
    task: str, outcome: str, attempt: int = 1, *, fingerprint: str | None = None, paths: Iterable[str] = (), **more: Any
) -> Settled:
    given = [output(path) for path in paths] or ([output(f"out/{stem(task)}.png")] if outcome == "succeeded" else [])
    return Settled(
        task=task,
        fingerprint=fingerprint or fp(task),
        attempt=attempt,
        outcome=Outcome(outcome),
        outputs=given,
        **more,
    )


def reused(task: str, source: str, *, fingerprint: str | None = None) -> Reused:
    return Reused(
        task=task, fingerprint=fingerprint or fp(source), from_=source, outputs=[output(f"out/{stem(task)}.png")]
    )


def reopened(task: str, generation: int = 0, *, fingerprint: str | None = None, base: str | None = None) -> Reopened:
    own = fingerprint or fp(task)
    return Reopened(task=task, fingerprint=own, base=base or own, generation=generation)


def end() -> End:
    return End(counts={}, attempts={}, images=0, usage={}, cost={}, seconds=1.0, exit=0)


def folded(*records: Record, file: int = 0) -> State:
    """The state after these records, each at an offset of its own."""
    state = State()
    for number, record in enumerate(records):
        state.apply(record, Where(file, 100 * number, 100))
    return state


def grouped(groups: Iterable[Iterable[Record]], at: str = "2026-11-01T00:00:00.000Z") -> bytes:
    """The bytes of a ledger whose records were written in these groups, stamped as a committer does."""
    data = bytearray()
    for group in groups:
        start = len(data)
        for record in group:
            record.run, record.at, record.group = "r1", record.at or at, start
            data += encode(record)
    return bytes(data)


def write_ledger(path: Path, *records: Record) -> Path:
    path.write_bytes(grouped([record] for record in records))
    return path
