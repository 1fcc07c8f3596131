"""Flags over a manifest: a job with some of its values changed, checked as if they stood in the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from pipeline.errors import JobError, Problem
from pipeline.manifest.address import check_base_url
from pipeline.manifest.check import check_manifest
from pipeline.manifest.document import scalar
from pipeline.manifest.expectation import kinds, schema_at
from pipeline.manifest.job import Job
from pipeline.manifest.validate import validate


def override(job: Job, changes: Mapping[str, Any]) -> Job:
    """The job with values changed: `{"limits.concurrency": 4}`; text is read as the manifest would read it.

    Raises JobError whose problems name the flag of a place, `--concurrency` for `limits.concurrency`.
    """
    value = job.manifest.model_dump(exclude_unset=True)
    for place, change in changes.items():
        _set(value, place.split("."), change)
    try:
        manifest = validate(value, {})
        problems = [*check_manifest(manifest)]
        if "endpoint.base_url" in changes or "endpoint.allow_http" in changes:
            url = manifest.endpoint.base_url or job.base_url
            problems += check_base_url(url, manifest.endpoint.allow_http, "endpoint.base_url")
    except JobError as error:
        problems = list(error.problems)
    if problems:
        raise JobError(_flagged(problem, changes, job) for problem in problems)
    base_url = (manifest.endpoint.base_url or job.base_url).rstrip("/")
    return replace(job, manifest=manifest, base_url=base_url)


def flag(place: str) -> str:
    """The flag that changes a place: its last key, with `-` for `_`."""
    return "--" + place.rpartition(".")[2].replace("_", "-")


def _set(value: dict[str, Any], path: list[str], change: Any) -> None:
    *sections, key = path
    for section in sections:
        value = value.setdefault(section, {})
    text_only = kinds(schema_at(path)) <= {"string"}
    value[key] = scalar(change) if isinstance(change, str) and not text_only else change


def _flagged(problem: Problem, changes: Mapping[str, Any], job: Job) -> Problem:
    if problem.where in changes:
        return problem.but(where=flag(problem.where))
    return job.problem(problem.where, problem.what, problem.expected)
