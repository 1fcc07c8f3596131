"""What a signal does to a run: the first SIGINT or SIGTERM drains it, the second cancels what is in flight, the third
ends the process at once; SIGHUP is survived, as a run outlives its terminal.
"""

from __future__ import annotations

import os
import signal

import anyio
from anyio.abc import TaskGroup

from pipeline.awake import sleep_awake
from pipeline.run.context import Context
from pipeline.run.exits import Exit


async def listen(context: Context) -> None:
    """Obey signals until cancelled; only in the main thread."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with anyio.create_task_group() as patience:
            heard = 0
            async for number in signals:
                if number != signal.SIGHUP:
                    heard += 1
                    obey(context, number, heard, patience)


def obey(context: Context, number: signal.Signals, heard: int, patience: TaskGroup) -> None:
    """Do what the `heard`th signal asks; after the first, `limits.drain` is how long the user has patience."""
    reason = stop_of(number)
    if heard == 1:
        context.halt.drain(reason, told(heard, context.gauge.in_flight))
        patience.start_soon(_cancel_later, context)
    elif heard == 2:
        context.halt.note(told(heard, context.gauge.in_flight))
        context.halt.cancel()
    else:
        os._exit(int(reason))


def told(heard: int, in_flight: int) -> str:
    """What the user is told at the `heard`th signal, of so many requests in flight."""
    if heard == 1:
        return f"stopping: {in_flight} requests in flight may finish; once more cancels them"
    return "cancelling what is in flight; it may be billed all the same. Once more exits at once"


def stop_of(number: signal.Signals) -> Exit:
    """The reason that a signal is for a run to stop."""
    return Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED


async def _cancel_later(context: Context) -> None:
    await sleep_awake(context.job.manifest.limits.drain)
    context.halt.note("limits.drain is over: cancelling what is in flight")
    context.halt.cancel()
