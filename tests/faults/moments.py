"""The real command, killed at a moment that is named by a function of the package.

Where strace strikes at the N-th system call, whichever step of the protocol that is, this strikes at one step: before a
call, after it, or halfway through the bytes that it was given. The process still dies by `kill -9`, with nothing caught
and nothing flushed. Run as a module: one JSON list of orders, then the command's own arguments.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tests.faults.forge import PATIENCE, Ended
from tests.faults.trial import Trial

BEFORE, AFTER, HALFWAY, REFUSE = "before", "after", "halfway", "refuse"


@dataclass(frozen=True, slots=True)
class Moment:
    """Kill `when` the function is called for the `number`-th time with bytes that hold `match`; or refuse every call.

    `function` is `module:name` or `module:Class.name`, in the module that calls it.
    """

    function: str
    when: str = BEFORE
    match: str = ""
    number: int = 1


def line(kind: str, when: str = BEFORE, number: int = 1) -> Moment:
    """The write of a ledger line of this type."""
    return Moment("pipeline.ledger.ledger_file:write_all", when, f'"type":"{kind}"', number)


def killed_at(trial: Trial, *moments: Moment, options: tuple[str, ...] = ()) -> Ended:
    """A run that ends at the last of these moments; the others come before it. Fails where it was not reached."""
    orders = json.dumps([asdict(moment) for moment in moments])
    command = [sys.executable, "-m", __name__, orders, "run", "job.yaml", "--json", "--quiet", *options]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "RETOUCH", "XDG"))}
    env = kept | {
        "E2E_KEY": "fault-key-0123456789",
        "HOME": str(trial.home),
        "XDG_STATE_HOME": str(trial.home / "state"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        command, cwd=trial.folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
        check=False,
    )  # fmt: skip
    ended = Ended(done.returncode, done.stdout, done.stderr)
    assert ended.killed, f"the run did not come to {moments[-1]}: exit {ended.code}\n{ended.stderr}"
    trial.settle_server()
    return ended


def _arm(moment: Moment) -> None:
    module, _, path = moment.function.partition(":")
    holder: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for step in outer:
        holder = getattr(holder, step)
    setattr(holder, name, _armed(getattr(holder, name), moment))


def _armed(real: Callable[..., Any], moment: Moment) -> Callable[..., Any]:
    left = [moment.number]

    @functools.wraps(real)
    def armed(*args: Any, **named: Any) -> Any:
        if not _meant(args, moment.match):
            return real(*args, **named)
        if moment.when == REFUSE:
            from pipeline.errors import StorageError

            raise StorageError("the disk refuses")
        left[0] -= 1
        if left[0]:
            return real(*args, **named)
        if moment.when == HALFWAY:
            real(*[arg[: len(arg) // 2] if isinstance(arg, bytes) else arg for arg in args], **named)
        elif moment.when == AFTER:
            real(*args, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable: the process is dead")

    return armed


def _meant(args: tuple[Any, ...], match: str) -> bool:
    return not match or any(match.encode() in arg for arg in args if isinstance(arg, bytes))


def _main() -> None:
    from pipeline.cli import main

    orders = json.loads(sys.argv[1])
    sys.argv = ["retouch", *sys.argv[2:]]
    for order in orders:
        _arm(Moment(**order))
    main()


if __name__ == "__main__":
    _main()
