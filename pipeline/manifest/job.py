"""A loaded job: the validated manifest with what its file and surroundings add."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from pipeline.errors import Problem
from pipeline.manifest.endpoints import Endpoint, NamedEndpoint
from pipeline.manifest.models import Manifest
from pipeline.manifest.place import Mark as Mark
from pipeline.manifest.place import nearest

OPENAI_BASE_URL = "https://api.openai.com/v1"


class Job(Struct, frozen=True):
    """What a manifest describes, ready to be expanded.

    `path` is the manifest's file as the user named it and `folder` the absolute folder that its relative paths
    start from. `sha256` is over the manifest's bytes. `base_url` is a single endpoint's; of several each has its own,
    see `url_of`. `texts` maps a prompt's name to its template source, read from `text` or `text_file`. `matrix` maps a
    prompt's name to its axes, each `{label: text}` in the manifest's order. `marks` maps a dotted place such as
    `prompts[0].text` to where it stands.
    """

    manifest: Manifest
    path: Path
    folder: Path
    sha256: str
    base_url: str
    texts: Mapping[str, str]
    matrix: Mapping[str, Mapping[str, Mapping[str, str]]]
    marks: Mapping[str, Mark] = field(default_factory=dict)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where requests go: the one endpoint, or each of several, which then are of `NamedEndpoint`."""
        return tuple(self.manifest.endpoints or (self.manifest.endpoint,))

    def endpoint_place(self, index: int) -> str:
        """Where an endpoint stands in the manifest."""
        return "endpoint" if self.manifest.endpoints is None else f"endpoints[{index}]"

    def url_of(self, endpoint: Endpoint) -> str:
        """The base URL of one of the job's endpoints, without a slash at its end."""
        return endpoint.base_url.rstrip("/") if isinstance(endpoint, NamedEndpoint) else self.base_url

    @property
    def json_bodies(self) -> bool:
        """Whether an endpoint takes requests in the JSON form, which limits how large a file may be."""
        return any(endpoint.body == "json" for endpoint in self.endpoints)

    @property
    def output(self) -> Path:
        """The absolute output folder."""
        return Path(os.path.normpath(self.folder / self.manifest.output.folder))

    def request_fields(self, prompt: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The named fields and the `extra_body` of a prompt's requests, the prompt's own overriding the job's."""
        base, own = self.manifest.request, self.manifest.prompts[prompt].request
        return base.sent_fields() | own.sent_fields(), base.extra_body | own.extra_body

    def located(self, problem: Problem) -> Problem:
        """A problem whose place in the manifest is known, with that place's line, unless it has one already."""
        return problem if problem.file else self.problem(problem.where, problem.what, problem.expected)

    def problem(self, where: str, what: str, expected: str = "") -> Problem:
        """A problem at a dotted place of the manifest, with the line of the nearest place that has one."""
        mark = nearest(self.marks, where)
        return Problem(what, expected, where, str(self.path), mark.line, mark.column)
