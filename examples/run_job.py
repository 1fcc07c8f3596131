"""Run a job from Python and look at each result as it arrives; here in the sandbox, without a key and without cost.

python examples/run_job.py [JOB]
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pipeline as retouch

CATALOG = Path(__file__).parents[1] / "jobs" / "catalog.yaml"


async def main(path: Path) -> None:
    """Say what the job would send, then run it."""
    job = retouch.load(path)
    plan = retouch.plan(job, sandbox=True)
    print(f"{plan.job}: {plan.tasks['total']} tasks, {plan.images} images to buy")

    # Tasks come in the order in which they end; one that was done before comes at once.
    async for result in retouch.results(job, sandbox=True):
        print(result.end, result.task, *result.paths)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else CATALOG))
