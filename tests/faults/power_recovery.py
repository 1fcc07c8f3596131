"""The run that follows a loss of power: the package itself, in this process, against an endpoint that is a script."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipeline.endpoint.form import Edit
from pipeline.endpoint.reply import Reply
from pipeline.errors import RetouchError
from pipeline.manifest.job import Job
from pipeline.manifest.load import load_job
from pipeline.run.summary import as_json
from tests.faults.forge import KEY
from tests.faults.invariants import sound
from tests.faults.mutants import CHANGES
from tests.faults.power_checks import Recovered
from tests.faults.power_disk import Tree
from tests.faults.power_scenes import files, put
from tests.run.conftest import Bench, answer, bench_in, picture


@dataclass(slots=True)
class Recovery:
    """Runs a job again in the folder in which it was recorded, on files that a loss of power left there."""

    folder: Path
    changes: tuple[str, ...] = ()
    _jobs: dict[str, Job] = field(default_factory=dict)
    _drawn: int = 0

    def after(self, tree: Tree, manifest: str, *, again: bool = True) -> Recovered:
        """The next run on this state, and one more where that is asked for."""
        put(tree, self.folder)
        job = self._job(manifest)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("E2E_KEY", KEY)
            bench = bench_in(self.folder, patch)
            for name in self.changes:
                CHANGES[name](patch)
            bench.say = self._answer
            posted, summary, error = self._run(bench, job)
            there = files(self.folder)
            restless = ""
            if again and summary is not None:
                sent, _, _ = self._run(bench, job)
                restless = difference(there, files(self.folder)) + "".join(sent)
        return Recovered(posted, summary, error, there, restless)

    def _run(self, bench: Bench, job: Job) -> tuple[tuple[str, ...], dict[str, Any] | None, str]:
        try:
            summary, error = as_json(anyio.run(bench.run, job)), ""
        except RetouchError as failed:
            summary, error = None, f"{type(failed).__name__}: {failed}"
        return tuple(edit.idempotency_key for edit in bench.posts), summary, error

    def _job(self, manifest: str) -> Job:
        if manifest not in self._jobs:
            (self.folder / "job.yaml").write_text(manifest)
            self._jobs[manifest] = load_job(self.folder / "job.yaml", {"E2E_KEY": KEY})
        return self._jobs[manifest]

    def _answer(self, edit: Edit) -> Reply:
        """As many new pictures as were asked for."""
        self._drawn += 10
        return answer(*(picture(self._drawn + index) for index in range(int(edit.fields.get("n", 1)))))


def difference(before: Tree, after: Tree) -> str:
    """What a further run changed that it should not have: anything but a run's two lines and its own files."""
    changed = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    told = [path for path in sorted(changed) if "/.lock" not in path and "/inputs.cache" not in path]
    for path in [path for path in told if path.endswith(".jsonl")]:
        old, new = before.get(path) or b"", after.get(path) or b""
        types = [line["type"] for line in sound(new).lines[len(sound(old).lines) :]]
        if new.startswith(old) and types == ["run", "end"]:
            told.remove(path)
    return ", ".join(told)
