"""The ledger's lines as types; field order is the order on disk, and every key is always present.

`run`, `at` and `group` are stamped by the committer, which is the only writer.
Money is a JSON number that is read and written as a decimal, never through a binary float.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pipeline.outcome import Outcome

SCHEMA = 1
"""Version of the line format that this code writes; a higher one is refused."""


Count = Annotated[int, Meta(ge=0, lt=2**32)]
Size = Annotated[int, Meta(ge=0)]
InFolder = Annotated[str, Meta(pattern=r"\A(?!\.\.?(/|\Z))[^/\0]+(/(?!\.\.?(/|\Z))[^/\0]+)*\Z", max_length=4096)]
"""A path that stays in the output folder."""
FileName = Annotated[str, Meta(pattern=r"\A(?!\.\.?\Z)[^/\0]+\Z", max_length=255)]


class Line(msgspec.Struct, tag_field="type"):
    """What every line has: `schema`, the `run` that wrote it, `at` (UTC, RFC 3339) and its write's `group` offset."""

    schema: int = SCHEMA
    run: str = ""
    at: str = ""
    group: Size = 0


class Run(Line, tag="run", kw_only=True):
    """A run began: which job, with which settings."""

    job: str
    manifest: str
    version: str
    argv: list[str]
    sandbox: bool
    settings: dict[str, Any]


class Sent(Line, tag="sent", kw_only=True):
    """An attempt is about to be sent; durable before its first byte leaves."""

    task: str
    fingerprint: str
    attempt: Count
    generation: Count
    endpoint: str
    idempotency_key: Annotated[str, Meta(pattern=r"\A[!-~]*\Z")]
    estimated_cost: Decimal | None
    request: dict[str, Any]
    paths: list[InFolder]


class Output(msgspec.Struct, frozen=True):
    """One image of a result: `path` below the output folder, `part` the file's name below `.retouch/parts/`."""

    path: InFolder
    part: FileName | None
    sha256: str
    bytes: Size
    width: Size
    height: Size
    format: str


class Input(msgspec.Struct, frozen=True):
    """A file that was sent, with the stat that lets a rerun skip reading it again.

    `path` is relative to the manifest's folder where it lies below it, else absolute.
    """

    role: Literal["item", "reference", "mask"]
    path: str
    sha256: str
    bytes: int
    mtime_ns: int


class Settled(Line, tag="settled", kw_only=True):
    """An attempt ended, with everything that is known of it.

    `probe`: it was made to see whether an endpoint is back, and does not use up `retries.max_attempts`.
    """

    task: str
    fingerprint: str
    attempt: Count
    outcome: Outcome
    status: int | None = None
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    seconds: float | None = None
    endpoint: str | None = None
    model: str | None = None
    n: Count | None = None
    size: str | None = None
    quality: str | None = None
    usage: dict[str, Any] | None = None
    cost: Decimal | None = None
    outputs: list[Output] = []
    mismatch: list[Literal["size", "format", "count"]] = []
    inputs: list[Input] | None = None
    set: str | None = None
    key: str | None = None
    prompt: str | None = None
    variant: str | None = None
    row: dict[str, Any] | None = None
    salvaged: bool = False
    probe: bool = False


class Reused(Line, tag="reused", kw_only=True):
    """A task took over a result that was paid for under another name; `from` is the task that holds it."""

    task: str
    fingerprint: str
    from_: str = msgspec.field(name="from")
    outputs: list[Output] = []
    inputs: list[Input] | None = None


class Reopened(Line, tag="reopened", kw_only=True):
    """Attempts of `fingerprint` count from here.

    `--redo` asks for the next `generation` of `base`, the fingerprint with generation 0, whatever task asks.
    """

    task: str
    fingerprint: str
    base: str
    generation: Count


class End(Line, tag="end", kw_only=True):
    """A run ended in order; `concurrency` is how the live limit of each endpoint changed, as [seconds, limit]."""

    counts: dict[str, int]
    attempts: dict[str, Count]
    images: int
    usage: dict[str, int]
    cost: dict[str, Any]
    concurrency: dict[str, list[tuple[float, int]]] = {}
    seconds: Annotated[float, Meta(ge=0)]
    exit: int


Record = Run | Sent | Settled | Reused | Reopened | End
