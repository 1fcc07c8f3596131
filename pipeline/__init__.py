"""Retouch: bulk image edits through any OpenAI-compatible images/edits endpoint.

    import pipeline

    job = pipeline.load("jobs/catalog.yaml")
    print(pipeline.plan(job).tasks)
    summary = pipeline.run(job, limit=10)

Everything is imported when it is first used.
"""

from __future__ import annotations

from pipeline.version import __version__

TYPE_CHECKING = False  # as in `typing`, whose import takes a fifth of the time of `retouch --version`
if TYPE_CHECKING:
    from typing import Any

    from pipeline.errors import JobError, LockedError, Problem, RebuyError, RetouchError, StorageError
    from pipeline.manifest.job import Job
    from pipeline.run.api import Result, arun, load, results, run
    from pipeline.run.plan import Plan, plan
    from pipeline.run.summary import Summary
    from pipeline.run.verify import Verification, verify

__all__ = [
    "Job",
    "JobError",
    "LockedError",
    "Plan",
    "Problem",
    "RebuyError",
    "Result",
    "RetouchError",
    "StorageError",
    "Summary",
    "Verification",
    "__version__",
    "arun",
    "load",
    "plan",
    "results",
    "run",
    "verify",
]

_ERRORS = ("JobError", "LockedError", "Problem", "RebuyError", "RetouchError", "StorageError")
_HOMES = dict.fromkeys(_ERRORS, "pipeline.errors") | {
    "Job": "pipeline.manifest.job",
    "Plan": "pipeline.run.plan",
    "Result": "pipeline.run.api",
    "Summary": "pipeline.run.summary",
    "Verification": "pipeline.run.verify",
    "arun": "pipeline.run.api",
    "load": "pipeline.run.api",
    "plan": "pipeline.run.plan",
    "results": "pipeline.run.api",
    "verify": "pipeline.run.verify",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "run":
        return importlib.import_module("pipeline.run")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
