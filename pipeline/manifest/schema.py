"""The manifest's JSON Schema (draft 2020-12), from the models: for editors, and for the wording of messages."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from pipeline.manifest.model import Model
from pipeline.manifest.models import Manifest

Schema = dict[str, Any]


class _Generator(GenerateJsonSchema):
    """Without the titles that pydantic makes of field names; those that the types give stay."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


@cache
def job_schema() -> Schema:
    """The schema that `retouch schema` prints; a manifest that it refuses, `load_job` refuses too."""
    schema: Schema = _closed(_described(Manifest.model_json_schema(schema_generator=_Generator)))
    schema["title"] = "Retouch job manifest"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "job.schema.json"} | schema


def _described(schema: Schema) -> Schema:
    """The schema with the texts that stand below the models' fields.

    Pydantic can read them too, when each class is made: a fifth of a second, of each start of the command.
    """
    sections = {"Manifest": schema, **schema.get("$defs", {})}
    for model in _models(Model):
        properties = sections.get(model.__name__, {}).get("properties", {})
        for name, text in dict(_texts(model)).items():
            entry = properties.get(name, {})
            own = sections.get(entry.get("$ref", "").rpartition("/")[2], {}).get("description")
            if entry and text != own:
                properties[name] = dict(sorted({"description": text, **entry}.items()))
    return schema


def _models(above: type[Model]) -> Iterator[type[Model]]:
    for model in above.__subclasses__():
        yield model
        yield from _models(model)


def _texts(model: type[Model]) -> Iterator[tuple[str, str]]:
    """The name and the text of each of a model's fields, inherited ones first."""
    for owner in reversed(model.__mro__[: model.__mro__.index(Model)]):
        (node,) = ast.parse(inspect.getsource(owner)).body
        assert isinstance(node, ast.ClassDef)
        yield from _fields(node)


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(node.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value.value if isinstance(below.value, ast.Constant) else None
            if isinstance(text, str):
                yield field.target.id, inspect.cleandoc(text)


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
