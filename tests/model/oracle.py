"""What has to become of each task, told from what is on disk by queries over the ledger's lines.

It folds nothing and keeps nothing: every answer is looked for in the whole ledger, from its end. So it is slow, and
shares no fault with a fold that goes wrong.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import product, takewhile
from pathlib import Path, PurePosixPath
from typing import Any

from tests.faults.invariants import Line
from tests.model.world import Ask, View, Wish

IN_VAIN = ("in_doubt", "unusable")
OURS = ("interrupted", "cancelled")
PARTS = ".retouch/parts/"
REPLACED = ".retouch/replaced/"


@dataclass(frozen=True, slots=True)
class Want:
    """A task: its id, its item, exactly the text fields to send, its files in order with their roles, and the paths of
    its results without extension."""

    id: str
    item: tuple[str, str]
    fields: dict[str, Any]
    files: tuple[tuple[str, str], ...]
    repeat: int
    stems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fate:
    """What is to become of a task: its `kind` in the words of `plan`, the request's fingerprint, whether it would be
    bought again, and whether the task had a result."""

    want: Want
    kind: str
    fingerprint: str = ""
    base: str = ""
    generation: int = 0
    again: bool = False
    had: bool = False

    @property
    def sends(self) -> bool:
        """Whether a request is to be made."""
        return self.kind in ("new", "changed", "missing")


def wants(wish: Wish, view: View, folder: Path) -> list[Want]:
    """Every task of the job, in the manifest's order."""
    items = [
        (name, path.rpartition("/")[2].removesuffix(".png"), path)
        for name in wish.sets
        for path in sorted(view.inputs)
        if path.startswith(f"{folder}/in/{name}/")
    ]
    pairs = [(item, ask) for item in items for ask in wish.asks]
    if wish.order == "prompts":
        pairs = [(item, ask) for ask in wish.asks for item in items]
    return [
        _want(wish, ask, item, tone, repeat, folder)
        for item, ask in pairs
        if item[0] in ([name for name in ask.sets if name in wish.sets] or wish.sets)
        for tone, repeat in product(ask.tones or [""], range(1, ask.repeat + 1))
    ]


def _want(wish: Wish, ask: Ask, item: tuple[str, str, str], tone: str, repeat: int, folder: Path) -> Want:
    name, key, path = item
    variant = (f"--{tone}" if tone else "") + (f"--r{repeat}" if repeat > 1 else "")
    text = ask.text.replace("{{ matrix.tone }}", ask.tones.get(tone, ""))
    fields = {"model": wish.model} | ask.request | {"prompt": text}
    files = (("item", path), *([("reference", str(folder / "brand.png"))] if ask.brand else []))
    home = {
        "default": f"{name}/{ask.name}{variant}/{key}",
        "flat": f"flat/{name}-{ask.name}{variant}-{key}",
        "crossed": f"{name}/{ {'p0': 'p1', 'p1': 'p0'}.get(ask.name, ask.name) }{variant}/{key}",
    }[wish.path]
    number = int(ask.request.get("n", 1))
    return Want(
        f"{name}/{key}/{ask.name}" + (f"/tone={tone}" if tone else "") + (f"#{repeat}" if repeat > 1 else ""),
        (name, key),
        fields,
        files,
        repeat,
        tuple(f"{home}-{index}" for index in range(1, number + 1)),
    )


def print_of(want: Want, digests: Sequence[str], generation: int) -> str:
    """The fingerprint of a task's request."""
    sent = {"v": 1, "fields": want.fields, "images": list(digests), "mask": None}
    text = json.dumps(
        sent | {"repeat": want.repeat, "generation": generation},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return sha256(text.encode()).hexdigest()


class Oracle:
    """Answers questions about one view, under one manifest."""

    def __init__(self, wish: Wish, view: View) -> None:
        self.wish = wish
        self.view = view

    @cached_property
    def named(self) -> set[str]:
        """The paths at which a file is ours."""
        return self.view.named

    @cached_property
    def _parts(self) -> dict[str, list[str]]:
        """Where each content is among the parts."""
        found: dict[str, list[str]] = {}
        for path, file in self.view.files.items():
            if path.startswith(PARTS):
                found.setdefault(file.sha256, []).append(path)
        return found

    def fate(self, want: Want) -> Fate:
        """What is to become of a task."""
        view = self.view
        if any(path not in view.inputs or path in view.garbage for _, path in want.files):
            return Fate(want, "invalid")
        digests = [view.inputs[path].sha256 for _, path in want.files]
        base = print_of(want, digests, 0)
        generation = self.generation(base)
        wanted = print_of(want, digests, generation)
        last = self.result(want.id)
        kind, again = self._kind(want, wanted, last)
        if kind in ("new", "changed", "missing", "reused") and self._is_taken(want):
            kind, again = "invalid", False
        return Fate(want, kind, wanted, base, generation, again, last is not None)

    def _kind(self, want: Want, wanted: str, last: Line | None) -> tuple[str, bool]:
        rerun = {"changed": "remake", "missing": "remake"} | self.wish.rerun
        same = last is not None and last["fingerprint"] == wanted
        touched = last is not None and not same and self._touched(want, last)
        stays = same or (touched and rerun["changed"] == "keep")
        assert last is not None or not stays
        if stays and last is not None and all(output["path"] in self.view.files for output in last["outputs"]):
            return "done", False
        if any(all(self.place(output, wanted) for output in line["outputs"]) for line in self.sources(wanted)):
            return "reused", False
        if stays and rerun["missing"] == "keep":
            return "done", False
        standing = self.standing(wanted)
        if standing in ("failed", "held"):
            return standing, False
        if self.sources(wanted):
            return "missing", True
        return ("changed" if last else "new"), touched

    def _touched(self, want: Want, last: Line) -> bool:
        """Whether nothing but the bytes of its files tells the wanted request from that of the last result."""
        before = last["inputs"]
        if before is None or [file["role"] for file in before] != [role for role, _ in want.files]:
            return False
        digests = [file["sha256"] for file in before]
        generation = self.generation(print_of(want, digests, 0))
        return print_of(want, digests, generation) == str(last["fingerprint"])

    def _is_taken(self, want: Want) -> bool:
        names = (f"{stem}.{extension}" for stem in want.stems for extension in ("png", "jpg", "webp"))
        return any(name in self.view.files and name not in self.named for name in names)

    def result(self, task: str) -> Line | None:
        """The line that last gave a task its result."""
        return next((line for line in reversed(self.view.lines) if line.get("outputs") and line["task"] == task), None)

    def generation(self, base: str) -> int:
        """The generation that is wanted of a request."""
        lines = (line for line in reversed(self.view.lines) if line["type"] == "reopened" and line["base"] == base)
        return next((int(line["generation"]) for line in lines), 0)

    def sources(self, wanted: str) -> list[Line]:
        """The lines that name results of a request, the newest first."""
        return [line for line in reversed(self.view.lines) if line.get("outputs") and line["fingerprint"] == wanted]

    def place(self, output: Line, wanted: str) -> str | None:
        """Where a result's bytes are now."""
        path, sha = output["path"], output["sha256"]
        own = (path, beside(path, wanted), f"{REPLACED}{sha}{PurePosixPath(path).suffix}")
        files = self.view.files
        places = [p for p in own if p in files and files[p].sha256 == sha] + self._parts.get(sha, [])
        return places[0] if places else None

    def standing(self, wanted: str) -> str:
        """What the attempts so far let be done: pending, failed, held, or done where nothing followed a success."""
        since = self.since(wanted)
        return judge(since, self.wish) if since else "done" if self._won(wanted) else "pending"

    def since(self, wanted: str) -> list[Line]:
        """The ends of a request's attempts after its last success or reopening, in order."""
        own = (line for line in reversed(self.view.lines) if line.get("fingerprint") == wanted)
        ends = (line for line in own if line["type"] in ("settled", "reopened"))
        return list(takewhile(lambda line: line.get("outcome", "succeeded") != "succeeded", ends))[::-1]

    def _won(self, wanted: str) -> bool:
        own = [line for line in self.view.lines if line.get("fingerprint") == wanted and line["type"] != "sent"]
        return any(line.get("outcome") == "succeeded" for line in own)

    def open_sent(self) -> list[Line]:
        """The attempts without an end. One that a shard sent may have its end in another ledger, if not in its own."""
        lines = self.view.lines
        ends = [(line["fingerprint"], line["attempt"], line["ledger"]) for line in lines if line["type"] == "settled"]
        left = []
        for line in (line for line in lines if line["type"] == "sent"):
            if (own := (line["fingerprint"], line["attempt"], line["ledger"])) in ends:
                ends.remove(own)
            else:
                left.append(line)
        others = Counter((fingerprint, attempt) for fingerprint, attempt, _ in ends)
        for line in list(left):
            if others[line["fingerprint"], line["attempt"]] > 0:
                others[line["fingerprint"], line["attempt"]] -= 1
                left.remove(line)
        return left


def judge(since: Sequence[Line], wish: Wish) -> str:
    """What attempts without a result, in order, let be done: pending, failed or held."""
    vain = [line for line in since if line["outcome"] in IN_VAIN and line["code"] not in OURS and not line["probe"]]
    last = since[-1]
    used_up = len(vain) >= wish.retries.get("max_attempts", 3)
    useless = sum(line["outcome"] == "unusable" for line in since)
    if last["outcome"] == "refused":
        return "failed"
    if last["outcome"] == "unusable":
        return "held" if last["code"] == "storage" else "failed" if used_up or useless > 1 else "pending"
    if last["outcome"] == "in_doubt" and wish.retries.get("in_doubt") == "hold":
        return "held"
    return "held" if used_up else "pending"


def beside(path: str, wanted: str) -> str:
    """The name beside a foreign file."""
    stem, _, extension = path.rpartition(".")
    return f"{stem}~{wanted[:8]}.{extension}"
