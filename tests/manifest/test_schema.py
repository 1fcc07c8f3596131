from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipeline.manifest.document import read_document
from pipeline.manifest.load import load_job
from pipeline.manifest.models import Manifest
from pipeline.manifest.schema import job_schema
from pipeline.manifest.starter import starter_manifest
from tests.manifest.conftest import Faults
from tests.manifest.minimal import minimal

SAMPLE = (Path(__file__).parent / "sample.yaml").read_text(encoding="utf-8")


def value(text: str) -> Any:
    return read_document(text.encode(), "f").value


def test_schema_is_a_valid_schema() -> None:
    """It is draft 2020-12, and closed at every level."""
    Draft202012Validator.check_schema(job_schema())
    assert job_schema()["additionalProperties"] is False
    assert all(model["additionalProperties"] is False for model in job_schema()["$defs"].values())


@pytest.mark.parametrize("text", [SAMPLE, starter_manifest(), minimal(limits="", order="null")])
def test_good_manifests_are_valid(text: str) -> None:
    """What loads is valid, null sections included."""
    Draft202012Validator(job_schema()).validate(value(text))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "2"},
        {"version": "'1'"},
        {"name": "a--b"},
        {"name": "2024"},
        {"promts": "[]"},
        {"prompts": "[]"},
        {"prompts": "{name: p, text: hi}"},
        {"prompts": "[{text: hi}]"},
        {"prompts": "[{name: p, text: hi, matrix: {a: {b c: x}}}]"},
        {"prompts": "[{name: p, text: hi, matrix: {a b: {c: x}}}]"},
        {"prompts": "[{name: p, text: hi, matrix: {a: x}}]"},
        {"request": "{n: 11}"},
        {"request": "{n: '1'}"},
        {"request": "{size: huge}"},
        {"limits": "{concurrency: 0}"},
        {"limits": "{timeout: 0}"},
        {"limits": "{timeout: soon}"},
        {"stop_on": "{failures: 2}"},
        {"endpoint": "{auth: {headr: x}}"},
        {"endpoint": "{max_response: many}"},
        {"output": "null"},
    ],
    ids=str,
)
def test_schema_and_loader_refuse_the_same(faults: Faults, changes: dict[str, str]) -> None:
    """An editor with the schema marks what loading refuses."""
    text = minimal(**changes)
    assert not Draft202012Validator(job_schema()).is_valid(value(text))
    assert faults(text)


def test_every_key_is_described() -> None:
    """Each field has its description, its own or its section's, and no title made of its name."""
    for model in [job_schema(), *job_schema()["$defs"].values()]:
        for name, field in model["properties"].items():
            section = "$ref" in str(field)
            assert "description" in field or section, name
            assert field.get("title", "").lower() != name.replace("_", " "), name


def test_starter_explains_every_top_level_key() -> None:
    """Each key stands in the starter, with a comment on its line or above it."""
    lines = starter_manifest().split("\n")
    assert lines[0] == "# yaml-language-server: $schema=job.schema.json"
    for key in Manifest.model_fields:
        (at,) = [number for number, line in enumerate(lines) if line.removeprefix("# ").startswith(f"{key}:")]
        assert "#" in lines[at] or lines[at - 1].startswith("#"), key


def test_starter_loads_without_variables(tmp_path: Path) -> None:
    """What `retouch init` writes is a valid job as it stands."""
    (tmp_path / "job.yaml").write_text(starter_manifest(), encoding="utf-8")
    job = load_job(tmp_path / "job.yaml", {})
    assert list(job.texts) == ["white-background", "lifestyle"]
    assert job.output == tmp_path / "out/my-job"
