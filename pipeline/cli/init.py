"""`retouch init`: begin a job."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import json_option


@click.command("init")
@click.argument("path", metavar="[PATH]", default="job.yaml", type=click.Path(path_type=Path))
@json_option
def command(*, path: Path, as_json: bool) -> int:
    """Write a commented manifest to PATH (default: job.yaml) and its JSON Schema beside it. Overwrites nothing."""
    import json
    import shlex

    from pipeline.cli.terminal import out, print_json
    from pipeline.manifest.schema import job_schema
    from pipeline.manifest.starter import starter_manifest

    schema = path.parent / "job.schema.json"
    _write_new(path, starter_manifest())
    if not schema.exists():
        _write_new(schema, json.dumps(job_schema(), indent=2, ensure_ascii=False) + "\n")
    if as_json:
        print_json({"manifest": str(path), "schema": str(schema)})
    else:
        name = shlex.quote(str(path))
        out(f"wrote {path}; edit it, then: retouch validate {name}, retouch run {name} --sandbox, retouch run {name}")
    return 0


def _write_new(path: Path, text: str) -> None:
    from pipeline.errors import JobError, Problem

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise JobError([Problem(f"{path} exists already", "name another file, or move it away")]) from None
    except OSError as error:
        raise JobError([Problem(f"{path} cannot be written: {error.strerror}", "name another place")]) from error
