"""The `retouch` command: one file for each verb, and the only place where errors become exit codes.

Nothing is imported here before it is needed: `retouch --version` takes little more than starting Python does.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as in `typing`, whose import takes a fifth of the time of `retouch --version`
if TYPE_CHECKING:
    from typing import Any

    from pipeline.cli.verbs import VERBS, cli

__all__ = ["VERBS", "cli", "leave", "main", "told"]


def __getattr__(name: str) -> Any:
    if name not in ("VERBS", "cli"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pipeline.cli.verbs

    return getattr(pipeline.cli.verbs, name)


def main() -> None:
    """Run the command line; every error leaves as one of the documented exit codes."""
    import os

    from pipeline.cli.terminal import fill_closed, out

    fill_closed()
    # Python would write the secrets of each TLS session there, and an upload on the wire could be read with them.
    os.environ.pop("SSLKEYLOGFILE", None)
    # Looking for plug-ins reads the metadata of all that is installed, and one would be handed every manifest.
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        from pipeline.version import __version__

        out(f"retouch {__version__}")
        leave(told(0))
    leave(told(_called(arguments)))


def _called(arguments: list[str]) -> int:
    """The exit code of the verb that the arguments name."""
    from pipeline.cli.errors import report

    try:
        from pipeline.cli.verbs import cli

        code: Any = cli.main(arguments, prog_name="retouch", standalone_mode=False)
    except BaseException as error:  # the one switch from errors to exit codes
        code = report(error, as_json="--json" in arguments)
    return code if isinstance(code, int) else 0


def told(code: int) -> int:
    """The exit code of a command that ended with `code`; data that stdout could not take is a fault of its own."""
    from pipeline.cli.terminal import complain, data_lost

    error = data_lost()
    if error is None:
        return code
    from pipeline.run.exits import RANK, Exit

    complain(f"stdout cannot be written: {error.strerror}; what was printed there is not whole")
    return min(Exit(code), Exit.STORAGE, key=RANK.index)


def leave(code: int) -> None:
    """Exit with `code`, also when whoever read stdout or stderr is gone."""
    import os

    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            # What is left in the buffer would be tried again at exit, and turn the exit code into 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    sys.exit(code)
