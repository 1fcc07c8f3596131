"""The `retouch` command: one file for each verb, and the only place where errors become exit codes."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

VERBS = ("init", "validate", "plan", "run", "status", "usage", "reconcile", "verify", "schema", "sandbox")


class Verbs(click.Group):
    """Imports a verb's file only when that verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"pipeline.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; expected one of {', '.join(VERBS)}"
            raise click.UsageError(f"there is no verb {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from pipeline.version import __version__

        click.echo(f"retouch {__version__}")
        ctx.exit()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def cli() -> None:
    """Bulk image edits through any OpenAI-compatible images/edits endpoint.

    A YAML manifest names image sets and prompts; `run` sends what is not done yet, writes the images and a ledger, and
    can be interrupted and run again at any time.
    """


def main() -> None:
    """Run the command line; every error leaves as one of the documented exit codes."""
    import os

    from pipeline.cli.errors import report
    from pipeline.cli.terminal import fill_closed

    fill_closed()
    # Python would write the secrets of each TLS session there, and an upload on the wire could be read with them.
    os.environ.pop("SSLKEYLOGFILE", None)
    arguments = sys.argv[1:]
    try:
        code: Any = cli.main(arguments, prog_name="retouch", standalone_mode=False)
    except BaseException as error:  # the one switch from errors to exit codes
        code = report(error, as_json="--json" in arguments)
    leave(told(code if isinstance(code, int) else 0))


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
