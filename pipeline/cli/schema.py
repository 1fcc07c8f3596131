"""`retouch schema`: the manifest's JSON Schema."""

from __future__ import annotations

import click


@click.command("schema")
@click.option("--json", "as_json", is_flag=True, help="The schema is JSON with or without this.")
def command(*, as_json: bool) -> None:  # noqa: ARG001 - every verb takes --json
    """Print the JSON Schema of a job manifest, for editors and validators."""
    import json

    from pipeline.cli.terminal import out
    from pipeline.manifest.schema import job_schema

    out(json.dumps(job_schema(), indent=2, ensure_ascii=False))
