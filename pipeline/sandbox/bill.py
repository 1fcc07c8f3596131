"""The endpoint's own account of what it saw and billed, to be held against a client's ledger.

1. `requests` counts every edit request whose body came in whole, whatever the answer.
2. A request is billed once, when its images are made: before the first byte of its answer, so that a
   client that went away is billed all the same. With a file, its line is durable before the answer.
3. `in_flight` falls before the last byte of an answer leaves: a client that keeps to C requests is
   never seen with C + 1.
4. `throttled` counts what was turned away for its rate or for want of capacity; `by_second` tells for each second
   since the first request how many were taken on and how many turned away, of the first hour.
"""

from __future__ import annotations

import os
from collections import Counter
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct, field

from pipeline.sandbox.answers import usage_json
from pipeline.sandbox.tokens import Usage

NO_ANSWER = "none"
"""Stands for the status in `statuses` where no whole head of an answer was sent, or the client left before it."""

LONGEST = 3600
"""Seconds that `by_second` tells of."""


def edit_id(fields: dict[str, str], images: list[str], mask: str | None) -> str:
    """Name an edit by what was sent: sha256 of text fields, image digests in order and the mask's digest."""
    content = {"fields": fields, "images": images, "mask": mask}
    return sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


class Entry(msgspec.Struct, kw_only=True):
    """One request in the log. `at` is Unix seconds; `status` is None where nothing was answered."""

    at: float
    idempotency_key: str | None = None
    model: str | None = None
    prompt: str | None = None
    status: int | None = None
    billed: bool = False
    fault: str | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One billed request, as a line of the bill's file."""

    at: float
    edit: str
    idempotency_key: str | None
    images: int
    input_tokens: int
    output_tokens: int
    total_tokens: int


class Second(msgspec.Struct):
    """Requests that were taken on and turned away in one second."""

    accepted: int = 0
    throttled: int = 0


class Bill(Struct):
    """The running totals; all methods but `write_item` are for the server's loop alone."""

    keep_log: bool = False
    requests: int = 0
    billed: int = 0
    images: int = 0
    usage: Usage = field(default_factory=Usage)
    statuses: Counter[str] = field(default_factory=Counter)
    idempotency_keys: Counter[str] = field(default_factory=Counter)
    edits: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    max_in_flight: int = 0
    throttled: int = 0
    by_second: list[Second] = field(default_factory=list)
    log: list[Entry] = field(default_factory=list)

    def enter(self, entry: Entry) -> None:
        """Count a complete request, in flight from now on."""
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        if entry.idempotency_key is not None:
            self.idempotency_keys[entry.idempotency_key] += 1
        if self.keep_log:
            self.log.append(entry)

    def leave(self, entry: Entry) -> None:
        """Count the end of a request that entered."""
        self.in_flight -= 1
        self.statuses[NO_ANSWER if entry.status is None else str(entry.status)] += 1

    def judge(self, seconds: float, *, throttled: bool) -> None:
        """Count a request that is taken on or turned away, `seconds` after the first one."""
        self.throttled += throttled
        index = int(seconds)
        if index >= LONGEST:
            return
        self.by_second += [Second() for _ in range(index + 1 - len(self.by_second))]
        if throttled:
            self.by_second[index].throttled += 1
        else:
            self.by_second[index].accepted += 1

    def charge(self, entry: Entry, edit: str, images: int, usage: Usage) -> Item:
        """Bill a request; the item returned is what a bill's file holds of it."""
        entry.billed = True
        self.billed += 1
        self.images += images
        self.usage += usage
        self.edits[edit] += 1
        return Item(
            at=entry.at,
            edit=edit,
            idempotency_key=entry.idempotency_key,
            images=images,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            total_tokens=usage.total_tokens,
        )

    def reset(self) -> None:
        """Forget all but the requests in flight."""
        self.requests = self.billed = self.images = self.throttled = 0
        self.usage = Usage()
        self.max_in_flight = self.in_flight
        for kept in (self.statuses, self.idempotency_keys, self.edits, self.by_second, self.log):
            kept.clear()

    def as_json(self) -> bytes:
        """Return the answer of `GET /sandbox/bill`."""
        return msgspec.json.encode(
            {
                "requests": self.requests,
                "billed": self.billed,
                "images": self.images,
                "usage": usage_json(self.usage),
                "statuses": self.statuses,
                "idempotency_keys": self.idempotency_keys,
                "edits": self.edits,
                "in_flight": self.in_flight,
                "max_in_flight": self.max_in_flight,
                "throttled": self.throttled,
                "by_second": self.by_second,
                "log": self.log if self.keep_log else None,
            }
        )


def write_item(path: Path, item: Item) -> None:
    """Append one line to the bill's file and make it durable. Blocking. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, msgspec.json.encode(item) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
