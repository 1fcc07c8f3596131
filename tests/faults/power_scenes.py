"""Recorded runs of the real command: small jobs whose calls are all that the disk model needs.

Every scene is one folder in which runs follow each other, some of them killed; each run is a phase with its calls, the
manifest that it had and the files that it left. Only the output folder and the spill folder are followed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import photo
from tests.faults.forge import Ended
from tests.faults.mutants_forge import MutantForge
from tests.faults.power_calls import WORDS, Began, steps
from tests.faults.power_calls import Ended as Returned
from tests.faults.power_disk import Tree
from tests.faults.strace import Point, traced

Prompt = dict[str, Any]

KEPT = frozenset({"out", "spill"})
"""The folders that the runs write to."""

WHITE: Prompt = {"name": "white", "text": "On white."}
NIGHT: Prompt = {"name": "white", "text": "At night."}
"""The same tasks under another text: their results make way for each other."""
COPY: Prompt = {"name": "copy", "text": "On white.", "image_sets": ["first"]}
"""The same request under another name: its result is taken over."""
ONE: Prompt = {"name": "one", "text": "Once.", "image_sets": ["first"]}
PAIR: Prompt = {"name": "pair", "text": "Twice.", "image_sets": ["first"], "request": {"n": 2}}


@dataclass(frozen=True, slots=True)
class Phase:
    """One run: its manifest, its calls, and what it left; `code` is negative for a kill."""

    manifest: str
    steps: list[Began | Returned]
    there: Tree
    code: int


@dataclass(slots=True)
class Scene:
    """Runs one after another in `folder`; `changes` are put into each of them.

    `left` are the keys of requests that had left before, and `crashes` what took power before.
    """

    folder: Path
    forge: MutantForge
    endpoint: Endpoint
    concurrency: int = 1
    changes: tuple[str, ...] = ()
    before: Tree = field(default_factory=dict)
    left: tuple[str, ...] = ()
    crashes: int = 0
    phases: list[Phase] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "home").mkdir(parents=True, exist_ok=True)
        (self.folder / "photos").mkdir(exist_ok=True)
        for number in range(2):
            (self.folder / f"photos/{number}.png").write_bytes(photo(number))

    @property
    def manifest(self) -> Path:
        return self.folder / "job.yaml"

    def write(self, *prompts: Prompt, **changes: Any) -> None:
        """Write the manifest with these prompts."""
        sets = [{"name": "all", "images": "photos/*.png"}, {"name": "first", "images": "photos/0.png"}]
        used = {name for prompt in prompts for name in prompt.get("image_sets", ["all"])}
        job = {
            "version": 1,
            "name": "power",
            "endpoint": {"base_url": self.endpoint.url, "api_key_env": "E2E_KEY"},
            "request": {"model": "gpt-image-1.5", "size": "1024x1024", "quality": "low"},
            "image_sets": [one for one in sets if one["name"] in used],
            "prompts": [{"image_sets": ["all"]} | prompt for prompt in prompts],
            "limits": {"concurrency": self.concurrency},
            "output": {"folder": "out", "spill": "spill"},
        }
        self.manifest.write_text(json.dumps(job | changes))

    def again(self, tree: Tree, manifest: str, left: tuple[str, ...]) -> Scene:
        """A scene in the same folder: the run that follows a loss of power, recorded."""
        put(tree, self.folder)
        self.manifest.write_text(manifest)
        scene = replace(self, before=tree, left=left, crashes=1, phases=[])
        scene.run()
        return scene

    def run(self, *words: str, fault: str | None = None) -> Ended:
        """Record a run to its end, with further words for strace, and a fault put into it."""
        self.forge.changes = (*self.changes, *([fault] if fault else []))
        log = self.folder / f"trace-{len(self.phases)}"
        process = self.forge.start(
            ["run", "job.yaml", "--json", "--quiet"], self.folder / "home", self.folder, hold=True
        )
        with traced(process, log, *WORDS, *words):
            ended = process.wait()
        self.phases.append(Phase(self.manifest.read_text(), list(steps(log)), files(self.folder), ended.code))
        log.unlink()
        return ended

    def crash(self, point: Point) -> None:
        """Record a run that is killed at a point."""
        assert self.run(point.kill).killed, f"{point} was not reached"


def files(folder: Path) -> Tree:
    """The followed files and folders as they are now."""
    tree: Tree = {}
    for top in sorted(KEPT):
        for path in [folder / top, *(folder / top).rglob("*")] if (folder / top).exists() else ():
            tree[path.relative_to(folder).as_posix()] = None if path.is_dir() else path.read_bytes()
    return tree


def put(tree: Tree, folder: Path) -> None:
    """Make the followed files and folders these."""
    for top in KEPT:
        shutil.rmtree(folder / top, ignore_errors=True)
    for path, data in sorted(tree.items()):
        if data is None:
            (folder / path).mkdir(mode=0o700)
        else:
            (folder / path).write_bytes(data)


def one(scene: Scene) -> None:
    """One result, asked for once."""
    scene.write(ONE)
    scene.run()


def newer(scene: Scene) -> None:
    """One result, and a newer one for which it makes way."""
    one(scene)
    scene.write(ONE | {"text": "Another."})
    scene.run()


def taken_back(scene: Scene) -> None:
    """One result, a newer one, and the older one again."""
    newer(scene)
    one(scene)


def one_by_one(scene: Scene) -> None:
    """A first run; then results that make way for newer ones; then the older ones taken back."""
    for white in (WHITE, NIGHT, WHITE):
        scene.write(white, COPY, PAIR)
        scene.run().with_exit(0)


def several_at_once(scene: Scene) -> None:
    """The same with requests in flight together."""
    for white in (WHITE, NIGHT):
        scene.write(white, COPY, PAIR)
        scene.run().with_exit(0)


def recovery(scene: Scene) -> None:
    """A run that is killed when results have their lines and not their names, and the run that recovers."""
    scene.write(WHITE, COPY, PAIR)
    scene.crash(Point("link", 2))
    scene.run()


def salvage(scene: Scene) -> None:
    """A run that is killed when a part is written and not synced, and the run that takes the part."""
    scene.write(ONE)
    scene.run(fault="killed before a part's sync")
    scene.run()


def early_kills(scene: Scene) -> None:
    """Starts that are killed one after another while they make folders and the ledger."""
    scene.write(PAIR)
    for point in (Point("fsync", 1), Point("mkdir", 2), Point("fsync", 2), Point("fsync", 3), Point("fdatasync", 2)):
        scene.crash(point)
    scene.run()


def spill(scene: Scene) -> None:
    """A result that the output folder does not take, and the run that takes it in."""
    scene.write(PAIR)
    scene.run(fault="disk refuses parts").with_exit(7)
    scene.run()


@dataclass(frozen=True, slots=True)
class Play:
    """A scene's runs, and how many requests they have in flight at most."""

    runs: Callable[[Scene], None]
    concurrency: int = 1


SCENES = {
    "one": Play(one),
    "newer": Play(newer),
    "taken back": Play(taken_back),
    "one by one": Play(one_by_one),
    "three at once": Play(several_at_once, 3),
    "recovery": Play(recovery, 3),
    "salvage": Play(salvage),
    "early kills": Play(early_kills),
    "spill": Play(spill),
}
