"""Whose an output folder is, where its results go in need, and the folder that the sandbox uses instead."""

from __future__ import annotations

import os
from typing import Any, TypeVar

from msgspec.structs import replace

from pipeline.errors import JobError
from pipeline.manifest.endpoints import Endpoint
from pipeline.manifest.job import Job
from pipeline.outputs.spill import Spill, spill_folder


def check_owner(job: Job, owner: str | None) -> None:
    """Raises JobError where the output folder's first run was another job's, the `owner`; None: it had none."""
    if owner is None or owner == job.manifest.name:
        return
    problem = job.problem(
        "output.folder",
        f"{job.output} belongs to the job {owner!r}, and this one is {job.manifest.name!r}",
        "name another folder, or give the job its old name",
    )
    raise JobError([problem])


def spill_of(job: Job) -> Spill:
    """Where the job's paid results wait while its output folder cannot take them."""
    configured = job.manifest.output.spill
    return Spill(spill_folder(os.environ, None if configured is None else job.folder / configured), job.output)


def in_sandbox(job: Job, url: str | None) -> Job:
    """The job against the sandbox at `url`, in a folder of its own: nothing in it counts for the real one.

    Without a URL only the folder changes, for verbs that send nothing.
    """
    manifest = job.manifest
    output = manifest.output.model_copy(update={"folder": f"{manifest.output.folder.rstrip('/')}.sandbox"})
    several = None if manifest.endpoints is None else [_in_sandbox(each, url) for each in manifest.endpoints]
    changed = manifest.model_copy(
        update={"output": output, "endpoint": _in_sandbox(manifest.endpoint, None), "endpoints": several}
    )
    return replace(job, manifest=changed, base_url=url or job.base_url)


E = TypeVar("E", bound=Endpoint)


def _in_sandbox(endpoint: E, url: str | None) -> E:
    """The endpoint as the sandbox plays it: its limits, prices and models stay, what leads elsewhere does not."""
    elsewhere: dict[str, Any] = {
        "auth": "bearer",
        "path": "/images/edits",
        "query": {},
        "headers": {},
        "proxy": None,
        "ca_bundle": None,
        "allow_http": False,
    }
    return endpoint.model_copy(update=elsewhere | ({} if url is None else {"base_url": url}))
