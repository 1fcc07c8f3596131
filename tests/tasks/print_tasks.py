"""Prints the tasks of a job over the images of the folder that is named, without that folder; run by a test."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.manifest.job import Job
from pipeline.manifest.models import Manifest
from pipeline.tasks.expand import prepare

folder = Path(sys.argv[1]).absolute()
axes = {"light": {"dawn": "soft", "dusk": "low"}}
manifest = Manifest.model_validate(
    {
        "version": 1,
        "name": "job",
        "image_sets": [{"name": "set", "images": "in/**/*.JPG"}],
        "prompts": [{"name": "p", "text": "{{ matrix.light }} {{ key | upper }}", "matrix": axes, "repeat": 2}],
        "output": {"folder": "out", "path": "{{ key }}-{{ prompt }}{{ variant }}"},
    }
)
job = Job(manifest, Path("job.yaml"), folder, "", "", {"p": manifest.prompts[0].text or ""}, {"p": axes})
for task in prepare(job, 0.0).tasks():
    shown = (task.id, task.fields["prompt"], task.paths, [each.path.removeprefix(str(folder)) for each in task.inputs])
    sys.stdout.write(f"{shown!a}\n")
