"""A manifest's file to a Job: the one place here that reads files."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Set
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec import Struct

from pipeline.errors import JobError, Problem
from pipeline.manifest.address import check_base_url
from pipeline.manifest.check import check_manifest
from pipeline.manifest.document import CONTROL, MAX_BYTES, Document, read_document
from pipeline.manifest.job import OPENAI_BASE_URL, Job
from pipeline.manifest.matrix import read_matrix
from pipeline.manifest.models import Manifest, Prompt
from pipeline.manifest.place import around, below, lineage, nearest
from pipeline.manifest.substitute import substitute
from pipeline.manifest.validate import validate

MAX_TEXT = 1_000_000
"""Bytes of a prompt's file; a prompt has at most 32,000 characters once rendered."""

_KEY = re.compile(r"\b((?:sk|pk|rk)[-_])[\w-]{4,}")
_BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class _Content(Struct, frozen=True):
    """What a manifest's values amount to, with what is wrong between them."""

    manifest: Manifest
    texts: Mapping[str, str]
    matrix: Mapping[str, Mapping[str, Mapping[str, str]]]
    base_url: str
    problems: tuple[Problem, ...]


def load_job(path: str | os.PathLike[str], environ: Mapping[str, str]) -> Job:
    """Reads and checks a manifest and its prompts' files; `environ` gives variables, and the base URL's default.

    Raises JobError with everything that is wrong, in the order of the file.
    """
    file = os.fspath(path)
    try:
        data = read_regular(file, MAX_BYTES)
    except ValueError as error:
        what, _, expected = str(error).partition("; ")
        raise JobError([Problem(what, expected, file=file)]) from error
    document = read_document(data, file)
    reader = _Reader(Path(file).resolve().parent, document.written, environ)
    substituted = substitute(document.value, environ)
    faults = [*document.problems, *substituted.problems]
    content: _Content | None
    try:
        content = reader.content(validate(substituted.value, document.written))
    except JobError as error:
        faults += _apart(error.problems, faults)
        content = reader.salvage(substituted.value, frozenset(fault.where for fault in faults if fault.where))
    if content is not None:
        faults += _apart(content.problems, faults)
    if faults or content is None:
        raise JobError(_ordered(faults, document, file, environ))
    return Job(
        manifest=content.manifest,
        path=Path(file),
        folder=reader.folder,
        sha256=sha256(data).hexdigest(),
        base_url=content.base_url,
        texts=content.texts,
        matrix=content.matrix,
        marks=document.marks,
    )


class _Reader(Struct, frozen=True):
    """What the values of a manifest are read with."""

    folder: Path
    written: Mapping[str, str]
    environ: Mapping[str, str]

    def content(self, manifest: Manifest) -> _Content:
        problems = [*check_manifest(manifest, self.environ)]
        texts: dict[str, str] = {}
        axes: dict[str, Mapping[str, Mapping[str, str]]] = {}
        for index, prompt in enumerate(manifest.prompts):
            matrix = read_matrix(prompt.matrix, f"prompts[{index}].matrix", self.written)
            axes[prompt.name] = matrix.axes
            problems += matrix.problems
            try:
                texts[prompt.name] = self.text(prompt)
            except ValueError as error:
                what, _, expected = str(error).partition("; ")
                problems.append(Problem(what, expected, f"prompts[{index}].text_file"))
        base_url = manifest.endpoint.base_url or self.environ.get("OPENAI_BASE_URL") or OPENAI_BASE_URL
        if manifest.endpoints is None:
            problems += self.base_url_problems(manifest, base_url)
        return _Content(manifest, texts, axes, base_url.rstrip("/"), tuple(problems))

    def text(self, prompt: Prompt) -> str:
        """A prompt's template source. Raises ValueError, worded for the user, where its file cannot be used."""
        if prompt.text is not None or prompt.text_file is None:
            return prompt.text or ""
        try:
            text = read_regular(self.folder / prompt.text_file, MAX_TEXT).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{prompt.text_file} is not UTF-8 at byte {error.start}; save it as UTF-8") from error
        except ValueError as error:
            raise ValueError(f"{prompt.text_file} {error}") from error
        if match := CONTROL.search(text):
            raise ValueError(
                f"{prompt.text_file} holds the control character U+{ord(match[0]):04X}; expected plain text"
            )
        if not text.strip():
            raise ValueError(f"{prompt.text_file} is empty; expected the prompt's text")
        return text

    def base_url_problems(self, manifest: Manifest, base_url: str) -> Iterator[Problem]:
        for problem in check_base_url(base_url, manifest.endpoint.allow_http, "endpoint.base_url"):
            own = manifest.endpoint.base_url is not None
            yield problem if own else problem.but(file="environment", where="OPENAI_BASE_URL")

    def salvage(self, value: Any, bad: frozenset[str]) -> _Content | None:
        """The content without the places that are wrong, or what they are in, so that all problems are told at once.

        None where nothing is left without them.
        """
        try:
            return self.content(validate(_without(value, bad, ""), self.written))
        except JobError as error:
            wider = bad | {around(problem.where) for problem in error.problems}
            return self.salvage(value, wider) if wider > bad and "" not in wider else None


def read_regular(path: str | os.PathLike[str], limit: int) -> bytes:
    """The bytes of a regular file.

    Raises ValueError, worded to follow the file's name, for anything else and for more than `limit` bytes.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError(f"is {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}; expected a file")
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}; expected a readable file") from error
    if len(data) > limit:
        raise ValueError(f"is longer than {limit:,} bytes; expected less")
    return data


def _without(value: Any, bad: Set[str], place: str) -> Any:
    """Values without the keys at bad places, and without lists that hold a bad item."""
    if isinstance(value, dict):
        places = {key: below(place, key) for key in value}
        return {
            key: _without(entry, bad, places[key])
            for key, entry in value.items()
            if places[key] not in bad and not _holds_bad(entry, bad, places[key])
        }
    if isinstance(value, list):
        return [_without(entry, bad, below(place, index)) for index, entry in enumerate(value)]
    return value


def _holds_bad(value: Any, bad: Set[str], place: str) -> bool:
    return isinstance(value, list) and any(below(place, index) in bad for index in range(len(value)))


def _apart(problems: Iterable[Problem], faults: Iterable[Problem]) -> list[Problem]:
    """The problems that are not mere consequences of faults at the same place, in it or around it."""
    places = {fault.where for fault in faults}
    touched = {each for place in places for each in lineage(place)}
    return [
        problem for problem in problems if problem.where not in touched and places.isdisjoint(lineage(problem.where))
    ]


def _ordered(faults: Iterable[Problem], document: Document, file: str, environ: Mapping[str, str]) -> list[Problem]:
    """Problems with their lines, in the file's order, fit for one line of a terminal and for a log: no key in them."""
    keys = _keys(document.value, environ)
    located = [_located(fault, document, file) for fault in faults]
    located.sort(key=lambda problem: (problem.line == 0, problem.line, problem.column))
    return [
        problem.but(
            what=_fit(problem.what, keys), expected=_fit(problem.expected, keys), where=_fit(problem.where, keys)
        )
        for problem in located
    ]


def _located(problem: Problem, document: Document, file: str) -> Problem:
    if problem.file:
        return problem
    mark = nearest(document.marks, problem.where)
    return problem.but(file=file, line=mark.line, column=mark.column)


def _keys(value: Mapping[str, Any], environ: Mapping[str, str]) -> list[str]:
    """The keys that the manifest's endpoints name, where they are set, whatever else is wrong with it."""
    several = value.get("endpoints")
    endpoints = [value.get("endpoint"), *(several if isinstance(several, list) else ())]
    names = [each.get("api_key_env") for each in endpoints if isinstance(each, dict)]
    return [environ.get(name, "") for name in ("OPENAI_API_KEY", *names) if isinstance(name, str)]


def _fit(text: str, keys: Iterable[str]) -> str:
    for key in keys:
        text = text.replace(key, "…") if len(key) >= 8 else text
    return _BREAKING.sub(lambda match: f"\\x{ord(match[0]):02x}", _KEY.sub(r"\1…", text))
