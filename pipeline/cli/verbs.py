"""The verbs of the command line, each in a file of its own."""

from __future__ import annotations

import importlib

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
