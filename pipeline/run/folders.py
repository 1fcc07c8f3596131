"""Whose an output folder is, and the folder that the sandbox uses instead."""

from __future__ import annotations

from dataclasses import replace

from pipeline.errors import JobError
from pipeline.ledger.state import State
from pipeline.manifest.job import Job


def check_owner(job: Job, state: State) -> None:
    """Raises JobError where the output folder's first run was another job's."""
    if state.job is None or state.job == job.manifest.name:
        return
    problem = job.problem(
        "output.folder",
        f"{job.output} belongs to the job {state.job!r}, and this one is {job.manifest.name!r}",
        "name another folder, or give the job its old name",
    )
    raise JobError([problem])


def in_sandbox(job: Job, url: str | None) -> Job:
    """The job against the sandbox at `url`, in a folder of its own: nothing in it counts for the real one.

    Without a URL only the folder changes, for verbs that send nothing.
    """
    manifest = job.manifest
    output = manifest.output.model_copy(update={"folder": f"{manifest.output.folder.rstrip('/')}.sandbox"})
    endpoint = manifest.endpoint.model_copy(
        update={
            "auth": "bearer",
            "path": "/images/edits",
            "query": {},
            "headers": {},
            "proxy": None,
            "ca_bundle": None,
            "allow_http": False,
        }
    )
    changed = manifest.model_copy(update={"output": output, "endpoint": endpoint})
    return replace(job, manifest=changed, base_url=url or job.base_url)
