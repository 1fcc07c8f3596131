"""What a place of a manifest expects, in words taken from its JSON Schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pipeline.manifest.place import Part
from pipeline.manifest.schema import Schema, job_schema

_TYPES = {"string": "text", "boolean": "true or false", "number": "a number"}


def schema_at(path: Sequence[Part]) -> Schema:
    """The schema of the place at the end of a path; an empty one where nothing is known."""
    schema = job_schema()
    for part in path:
        schema = next((inner for option in _options(schema) if (inner := _inner(option, part))), {})
    return schema


def known_keys(schema: Schema) -> list[str]:
    """The keys that a mapping at this place may have; empty where any may stand."""
    return [key for option in _options(schema) for key in option.get("properties", ())]


def choices(schema: Schema) -> list[str]:
    """The words that the place may hold, where it is a choice."""
    return [word for option in _options(schema) for word in option.get("enum", ())]


def kinds(schema: Schema) -> set[str]:
    """The JSON types that the place may hold, but null."""
    return {option["type"] for option in _options(schema) if "type" in option} - {"null"}


def phrase(schema: Schema) -> str:
    """The expectation in words: `a whole number from 1 to 10`, `auto, low or high`, `text or a list of text`."""
    if "title" in schema and "properties" not in schema:
        return str(schema["title"])
    if "anyOf" in schema:
        phrases = [phrase(option) for option in schema["anyOf"] if option.get("type") != "null"]
        return either(dict.fromkeys(phrases))
    if "$ref" in schema:
        return phrase(_resolve(schema))
    return _plain(schema)


def either(words: Iterable[str]) -> str:
    """Words as `a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _plain(schema: Schema) -> str:
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return either(schema["enum"])
    kind = schema.get("type", "")
    if kind == "integer":
        return "a whole number" + _range(schema)
    if kind == "array":
        entry = phrase(schema.get("items", {}))
        return "a list of mappings" if entry.startswith("a mapping") else f"a list of {entry}"
    if kind == "object":
        keys = known_keys(schema)
        return f"a mapping with {', '.join(keys)}" if keys and len(keys) < 6 else "a mapping"
    return _TYPES.get(kind, "another value") + _range(schema)


def _range(schema: Schema) -> str:
    if "maximum" in schema:
        return f" from {schema['minimum']} to {schema['maximum']}"
    return f" above {schema['exclusiveMinimum']:g}" if "exclusiveMinimum" in schema else ""


def _options(schema: Schema) -> Iterator[Schema]:
    schema = _resolve(schema)
    for option in schema.get("anyOf", ()):
        yield from _options(option)
    if "anyOf" not in schema:
        yield schema


def _resolve(schema: Schema) -> Schema:
    reference = schema.get("$ref", "")
    found: Schema = job_schema()["$defs"][reference.rpartition("/")[2]] if reference else schema
    return found


def _inner(schema: Schema, part: Part) -> Schema | None:
    if isinstance(part, int):
        return schema.get("items")
    found: Any = schema.get("properties", {}).get(part)
    found = found or next(iter(schema.get("patternProperties", {}).values()), None)
    found = found or schema.get("additionalProperties")
    return found if isinstance(found, dict) else None
