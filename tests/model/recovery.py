"""What the start of a run makes of what killed runs left, foretold from a view of the disk."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from tests.faults.invariants import Line
from tests.model.oracle import PARTS, REPLACED, Oracle, beside
from tests.model.world import File, View, Wish, named_by


@dataclass(slots=True)
class Recovery:
    """What the start of a run makes of a view: the lines that it appends, and the view after it."""

    appended: list[Line]
    view: View


def recovered(wish: Wish, view: View, shard: tuple[int, int] | None) -> Recovery:
    """Finish what killed runs left, as the start of an unsharded run or of a shard does."""
    view = View(
        dict(view.files), view.ledgers, list(view.lines), list(view.spilled), view.loose, view.inputs, view.garbage
    )
    own = None if shard is None else "ledger-{}-of-{}.jsonl".format(*shard)
    done = Recovery([], view)
    left = {path.removeprefix(PARTS) for path in view.files if path.startswith(PARTS)}
    unnamed = [
        line
        for line in view.lines
        if own in (None, line["ledger"]) and any(output["part"] in left for output in line.get("outputs") or ())
    ]
    known = named_by([line for line in view.lines if line not in unnamed])
    for line in unnamed:
        _name(done, line, known)
    for spilled in list(view.spilled):
        _take_in(done, spilled, own)
    for sent in Oracle(wish, view).open_sent():
        if own in (None, sent["ledger"]):
            _settle(done, sent)
    held = {(line["fingerprint"][:16], str(line["attempt"])) for line in view.lines if line.get("code") == "storage"}
    held = {(p, a) for p, a in held if any(_is_held(wish, view, line, p) for line in view.lines)}
    ending = "" if shard is None else "-{}of{}".format(*shard)
    for path in [path for path in view.files if path.startswith(PARTS)]:
        run, mark, attempt, _ = path.removeprefix(PARTS).removesuffix(".2.part").rsplit("-", 3)
        if run.endswith(ending) and (mark, attempt) not in held:
            del view.files[path]
    return done


def _is_held(wish: Wish, view: View, line: Line, mark: str) -> bool:
    """Whether the last word on a request is that its result could not be stored."""
    wanted = str(line.get("fingerprint", ""))
    since = Oracle(wish, view).since(wanted) if wanted.startswith(mark) else []
    return bool(since) and since[-1]["code"] == "storage"


def _append(done: Recovery, line: Line, **changes: Any) -> Line:
    line = deepcopy(line) | changes
    done.appended.append(line)
    done.view.lines.append(line)
    return line


def _name(done: Recovery, line: Line, known: set[str]) -> None:
    """Give a result's pictures their names; where a foreign file has one, a line says so."""
    newest = Oracle(Wish([]), done.view).result(line["task"]) is line
    names = [_finish(done.view, output, line["fingerprint"], known, newest) for output in line["outputs"]]
    if names != [output["path"] for output in line["outputs"]]:
        outputs = [output | {"path": name} for output, name in zip(line["outputs"], names, strict=True)]
        _append(done, line, type="reused", outputs=outputs, **{"from": line["task"]})


def _finish(view: View, output: Line, wanted: str, known: set[str], newest: bool) -> str:
    place = Oracle(Wish([]), view).place(output, wanted)
    path = str(output["path"])
    if newest and place is not None and place.startswith(REPLACED):
        parts = (name for name in sorted(view.files) if name.startswith(PARTS))
        place = next((name for name in parts if view.files[name].sha256 == output["sha256"]), place)
    if place is None or place.startswith(REPLACED):
        return path
    if not place.startswith(PARTS):
        return place
    for name in (path, beside(path, wanted)):
        there = view.files.get(name)
        if there is not None and there.sha256 != output["sha256"]:
            if name not in known:
                continue
            view.files.setdefault(f"{REPLACED}{there.sha256}{PurePosixPath(name).suffix}", there)
        view.files[name] = view.files[place]
        return name
    raise AssertionError(f"no name is left for {path}")


def _take_in(done: Recovery, spilled: tuple[Line, dict[str, str]], own: str | None) -> None:
    line, parts = spilled
    view = done.view
    opened = Oracle(Wish([]), view).open_sent()
    mine = [s for s in opened if (s["fingerprint"], s["attempt"]) == (line["fingerprint"], line["attempt"])]
    if not mine:
        shas = {output["sha256"] for output in line["outputs"]}
        sources = Oracle(Wish([]), view).sources(line["fingerprint"])
        if any(shas <= {output["sha256"] for output in source["outputs"]} for source in sources):
            view.spilled.remove(spilled)
        return
    if own not in (None, mine[0]["ledger"]):
        return
    for name, sha in parts.items():
        size = next(output["bytes"] for output in line["outputs"] if output["sha256"] == sha)
        view.files[PARTS + name] = File(sha, size)
    known = view.named
    _name(done, _append(done, line, ledger=mine[0]["ledger"]), known)
    view.spilled.remove(spilled)


def _settle(done: Recovery, sent: Line) -> None:
    view = done.view
    mark = f"{PARTS}{sent['run']}-{sent['fingerprint'][:16]}-{sent['attempt']}-"
    found: dict[int, tuple[str, File]] = {}
    for path in sorted(path for path in view.files if path.startswith(mark)):
        index = int(path.removeprefix(mark).split(".")[0])
        if view.files[path].sha256 in WHOLE:
            found.setdefault(index, (path, view.files[path]))
    end = {"type": "settled", "salvaged": False, "outcome": "in_doubt", "code": "interrupted", "outputs": []}
    known = view.named
    line = sent | end | {"inputs": None}
    if set(found) != set(range(1, len(sent["paths"]) + 1)):
        _append(done, line)
        return
    outputs = [
        {
            "path": f"{stem}.{WHOLE[file.sha256]}",
            "part": path.removeprefix(PARTS),
            "sha256": file.sha256,
            "bytes": file.size,
        }
        for stem, (_, (path, file)) in zip(sent["paths"], sorted(found.items()), strict=True)
    ]
    _name(done, _append(done, line, salvaged=True, outcome="succeeded", code=None, outputs=outputs), known)


WHOLE: dict[str, str] = {}
"""The digests of the pictures that the server ever sent whole, each with its extension."""
