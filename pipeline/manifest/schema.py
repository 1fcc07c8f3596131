"""The manifest's JSON Schema (draft 2020-12), from the models: for editors, and for the wording of messages."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from pipeline.manifest.models import Manifest

Schema = dict[str, Any]


class _Generator(GenerateJsonSchema):
    """Without the titles that pydantic makes of field names; those that the types give stay."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


@cache
def job_schema() -> Schema:
    """The schema that `retouch schema` prints; a manifest that it refuses, `load_job` refuses too."""
    schema: Schema = _closed(Manifest.model_json_schema(schema_generator=_Generator))
    schema["title"] = "Retouch job manifest"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "job.schema.json"} | schema


def _closed(schema: Any) -> Any:
    """The same schema where keys by pattern allow no others, and where a key that may be left out may be null."""
    if isinstance(schema, list):
        return [_closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(entry) for key, entry in schema.items()}
    if "patternProperties" in found:
        found["additionalProperties"] = False
    if "properties" in found:
        required = found.get("required", ())
        properties = found["properties"].items()
        found["properties"] = {key: entry if key in required else _nullable(entry) for key, entry in properties}
    return found


def _nullable(schema: Schema) -> Schema:
    if {"type": "null"} in schema.get("anyOf", ()):
        return schema
    about: Schema = {key: schema[key] for key in ("description", "default") if key in schema}
    rest = {key: entry for key, entry in schema.items() if key not in about}
    return {"anyOf": [rest, {"type": "null"}]} | about
