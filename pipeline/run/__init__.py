"""A run: what is decided for each task, the task group that sends, and what is reported.

`pipeline.run` is this package and also the function that runs a job: Python binds a subpackage to its parent under
its own name once it is imported, so the module itself can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.manifest.job import Job
    from pipeline.run.summary import Summary


class _Run(ModuleType):
    def __call__(self, job: Job, **flags: Any) -> Summary:
        """Run a job to its end; see `pipeline.run.api.run`."""
        from pipeline.run.api import run

        return run(job, **flags)


sys.modules[__name__].__class__ = _Run
