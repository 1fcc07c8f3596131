"""Manifests: real ones with bytes changed, and values drawn from the JSON Schema, right and slightly wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import yaml
from jsonschema import Draft202012Validator

from pipeline.errors import JobError
from pipeline.manifest.document import Document, read_document
from pipeline.manifest.schema import job_schema
from pipeline.manifest.starter import starter_manifest
from pipeline.manifest.validate import validate
from tests.fuzz.command import Said, retouch
from tests.fuzz.grounds import ROOT, furnish, working_in
from tests.fuzz.harness import Check, Kind
from tests.fuzz.mutate import NUMBERS, TEXTS, changed
from tests.manifest.minimal import minimal

JOB = "jobs/job.yaml"
_PLACE = re.compile(r"and \d+ more problems?$|(jobs/job\.yaml|environment|[^\n]{1,300}?)(:\d+(:\d+)?)?: .", re.DOTALL)
_EXACT = re.compile(r"jobs/job\.yaml:\d+:\d+: ")
_ENCODINGS = ("utf-16", "utf-16-le", "utf-8-sig", "utf-32", "latin-1", "cp1252")


@cache
def corpus() -> tuple[bytes, ...]:
    """The ready jobs, the sample and the starter, and what docs/manifest.md shows."""
    shown = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/manifest.md").read_text("utf-8"), re.DOTALL)
    files = [*sorted((ROOT / "jobs").glob("*.yaml")), ROOT / "tests/manifest/sample.yaml"]
    texts = [minimal(), starter_manifest(), *shown]
    return (*(path.read_bytes() for path in files), *(text.encode() for text in texts))


@cache
def words() -> tuple[bytes, ...]:
    """Every key and choice of the format, and what YAML makes something of."""
    named = set(re.findall(r'"([A-Za-z_][\w-]*)"', json.dumps(job_schema())))
    yaml_words = ("&a ", "*a", "<<: *a", "!!binary ", "!<x> ", "---\n", "...\n", "%YAML 1.1\n", "? ", "- ", "{}", "[]")
    return tuple(word.encode() for word in (*sorted(named), *yaml_words, "[" * 60, "{a: " * 60, "x: &a [*a]"))


def damaged(rng: Random) -> bytes:
    """A real manifest with bytes changed, or saved in another encoding."""
    data = rng.choice(corpus())
    if rng.random() < 0.05:
        return data.decode().encode(rng.choice(_ENCODINGS), "replace")
    if rng.random() < 0.03:
        return rng.randbytes(rng.randrange(200))
    return changed(rng, data, corpus(), words())


def structured(rng: Random) -> bytes:
    """A manifest drawn from the schema, with a few values that do not fit, in one of YAML's ways to write it."""
    value = drawn(rng, job_schema(), 0)
    if rng.random() < 0.6:
        _agree(value)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
        value = _spoilt(rng, value)
    if rng.random() < 0.5:
        return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "replace")
    style = rng.choice((None, True, False))
    return yaml.safe_dump(value, default_flow_style=style, allow_unicode=True, sort_keys=False).encode(
        "utf-8", "replace"
    )


def drawn(rng: Random, schema: dict[str, Any], depth: int) -> Any:
    """A value that a schema of the kind that pydantic makes allows."""
    schema = resolved(schema)
    if "anyOf" in schema:
        return drawn(rng, rng.choice(schema["anyOf"]), depth)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    match schema.get("type"):
        case "object":
            return _object(rng, schema, depth)
        case "array":
            size = rng.randrange(schema.get("minItems", 0), schema.get("minItems", 0) + 3)
            return [drawn(rng, schema.get("items", {}), depth + 1) for _ in range(size)]
        case "string":
            return _text(rng, schema)
        case "integer":
            return rng.choice((schema.get("minimum", 1), schema.get("maximum", 10**12), rng.randrange(1, 10)))
        case "number":
            return rng.choice((0.5, 1, schema.get("maximum", 1e9)))
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
    return rng.choice(("x", 1, 1.5, True, None, [1], {"a": "b"}))


def _agree(value: dict[str, Any]) -> None:
    """Mend what the schema cannot say: names that differ, something to send, values that go together."""
    for number, each in enumerate(value["image_sets"]):
        each |= {"name": f"s{number}", "images": "in/*.png"}
        for key in ("table", "key", "item", "mask", "references", "exclude", "min_age"):
            each.pop(key, None)
    for number, each in enumerate(value["prompts"]):
        each |= {"name": f"p{number}", "text": "White"}
        for key in ("text_file", "image_sets", "references", "mask", "matrix", "repeat", "request"):
            each.pop(key, None)
    request = (value.get("request") or {}) | {"model": "m"}
    value["request"] = {key: entry for key, entry in request.items() if key not in ("output_compression", "background")}
    value["output"] = {"folder": "out"}
    limits = value.get("limits") or {}
    value["limits"] = {key: entry for key, entry in limits.items() if not key.endswith("_per_minute")}
    value.pop("budget", None)
    endpoint = value.get("endpoint") or {}
    kept = ("body", "path", "allow_http", "max_response", "fetch_urls")
    value["endpoint"] = {key: entry for key, entry in endpoint.items() if key in kept}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, or what it refers to."""
    reference = schema.get("$ref")
    found: dict[str, Any] = job_schema()["$defs"][reference.rpartition("/")[2]] if reference else schema
    return found


def _object(rng: Random, schema: dict[str, Any], depth: int) -> dict[str, Any]:
    required = schema.get("required", ())
    chance = 0.5 if depth == 0 else 0.3
    found = {
        key: drawn(rng, inner, depth + 1)
        for key, inner in schema.get("properties", {}).items()
        if key in required or rng.random() < chance
    }
    free = schema.get("additionalProperties")
    named = list(schema.get("patternProperties", {}).values()) + ([free] if isinstance(free, dict) else [])
    for inner in named:
        found |= {rng.choice(("a", "b1", "light")): drawn(rng, inner, depth + 1) for _ in range(rng.randrange(3))}
    return found


def _text(rng: Random, schema: dict[str, Any]) -> str:
    likely = (
        "in/*.png",
        "a",
        "b",
        "shoes",
        "out",
        "{{ key }}",
        "{{ row.sku }}",
        "m",
        "bags.csv",
        "/x",
        "1024x1024",
        "5s",
    )
    fitting = [text for text in (*likely, "20%", "3MB", "auto") if fits(text, schema)]
    return rng.choice(fitting) if fitting else rng.choice(schema.get("examples", ("x",)))


def fits(text: str, schema: dict[str, Any]) -> bool:
    """Whether a text has the length and the pattern that a schema asks for."""
    long = schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", 1000)
    return long and re.search(schema.get("pattern", ""), text) is not None


def _spoilt(rng: Random, value: Any) -> Any:
    """The value with something in it replaced, added or left out."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        return value | {key: _spoilt(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        return [*value[:at], _spoilt(rng, value[at]), *value[at + 1 :]]
    if isinstance(value, dict) and rng.random() < 0.6:
        if value and rng.random() < 0.4:
            gone = rng.choice(list(value))
            return {key: entry for key, entry in value.items() if key != gone}
        return value | {rng.choice((*TEXTS, "nmae", "api_key", "model", "text")): rng.choice((None, 1, "x"))}
    numbers = [int(text) for text in NUMBERS if text.isascii() and text.lstrip("-").isdigit() and len(text) < 50]
    return rng.choice((None, True, [], {}, 0.5, -1.5, 1e300, [None], {"": 1}, *numbers, *TEXTS, *NUMBERS))


@contextmanager
def opened(folder: Path) -> Iterator[Check]:
    """Checks what the command says of a manifest."""
    furnish(folder)
    with working_in(folder):
        yield command


def command(data: bytes) -> str:
    """Exit 0 or 2 (7 where the folder itself is in the way), each line with its place."""
    return f"exit {told(data).code}"


def told(data: bytes) -> Said:
    """What one of the verbs that send nothing says of a manifest."""
    Path(JOB).write_bytes(data)
    verb = ("validate", "plan", "status", "usage")[crc32(data) % 4]
    said = retouch(verb, JOB, allowed=frozenset({0, 2, 7}))
    assert all(_PLACE.match(line) for line in said.errors), said.err
    return said


@contextmanager
def agreeing(folder: Path) -> Iterator[Check]:
    """Checks that the schema and the loader say the same of a manifest."""
    furnish(folder)
    with working_in(folder):
        yield agreement


def agreement(data: bytes) -> str:
    """What the schema refuses the loader refuses, at a line and a column; what it takes, the models take."""
    try:
        document = read_document(data, JOB)
    except JobError as error:
        problems = error.problems
    else:
        return compared(data, document)
    assert all(problem.line for problem in problems)
    return command(data) + ", not YAML"


def compared(data: bytes, document: Document) -> str:
    """What the schema says of a manifest that is YAML, against what the command says."""
    valid = schema_takes(document.value)
    said = told(data)
    if not document.problems and not _beyond_schema(document.value):
        takes = (
            "the schema takes it, and the loader does not" if valid else "the loader takes it, and the schema does not"
        )
        assert models_take(document) == valid, f"{takes}\n{said.err[:600]}"
    if not valid:
        assert said.code == 2
        assert any(_EXACT.match(line) for line in said.errors), said.err
    return f"exit {said.code}, schema {'valid' if valid else 'invalid'}"


def schema_takes(value: Any) -> bool:
    """Whether the published schema takes a value."""
    return _validator().is_valid(value)


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(job_schema())


def models_take(document: Document) -> bool:
    """Whether the loader's models take a document's values."""
    try:
        validate(document.value, document.written)
    except JobError:
        return False
    return True


def _beyond_schema(value: Any) -> bool:
    """Whether a value holds what JSON Schema, or the Python that checks it, sees otherwise.

    1.0 is a whole number there, and `$` matches before a last line break.
    """
    if isinstance(value, dict):
        return any(map(_beyond_schema, (*value, *value.values())))
    if isinstance(value, list):
        return any(map(_beyond_schema, value))
    return (isinstance(value, float) and value.is_integer()) or (isinstance(value, str) and value.endswith("\n"))


KINDS: Sequence[Kind] = (
    Kind("manifest-bytes", damaged, opened),
    Kind("manifest-schema", structured, agreeing),
)
