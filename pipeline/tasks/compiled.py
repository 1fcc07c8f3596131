"""The manifest's templates, compiled and checked against the fields that each place knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from pipeline.errors import Problem
from pipeline.manifest.job import Job
from pipeline.manifest.models import ImageSet
from pipeline.tasks.faults import FaultError
from pipeline.tasks.matrix import Axes
from pipeline.tasks.naming import Naming, check_literal, naming_for
from pipeline.tasks.templates import Template, Value, compile_template, compile_value

OF_VARIANT = frozenset({"matrix", "variant", "seed"})
"""Fields that differ from variant to variant."""
OF_REPEAT = frozenset({"variant", "seed"})
"""Fields that differ from repeat to repeat."""

_FILE = frozenset({"set", "key", "file"})
_TASK = _FILE | {"prompt", "variant", "seed"}

Report = Callable[[Problem], None]


class Source(Struct, frozen=True):
    """An image set's templates; `key` is None where keys are taken from paths."""

    set: ImageSet
    where: str
    key: Template | None
    images: tuple[Template, ...]
    references: tuple[Template, ...]
    mask: Template | None

    @property
    def files(self) -> tuple[Template, ...]:
        """Templates of the files that go along with an item's own."""
        return (*self.references, *((self.mask,) if self.mask else ()))


class Asked(Struct, frozen=True):
    """A prompt's templates and what else its requests hold; `sets` are the names of the image sets it is for."""

    name: str
    sets: frozenset[str]
    text: Template
    references: tuple[Template, ...]
    mask: Template | None
    fields: Mapping[str, Any]
    extra: Mapping[str, Value]
    axes: Axes
    repeat: int

    @property
    def images(self) -> int:
        """How many images each of its requests asks for."""
        return int(self.fields.get("n", 1))

    @property
    def files(self) -> tuple[Template, ...]:
        """Templates of the files that go along with an item's own."""
        return (*self.references, *((self.mask,) if self.mask else ()))


class Compiler:
    """Compiles a job's templates, reports what is wrong with them, and goes on with the next."""

    def __init__(self, job: Job, report: Report) -> None:
        self._job = job
        self._report = report

    def naming(self) -> Naming | None:
        """How outputs are named; None where the template is wrong."""
        sets = frozenset(each.name for each in self._job.manifest.image_sets)
        source = self._job.manifest.output.path
        found = self._templates(source, "output.path", self._known(sets) | {"index", "matrix"})
        try:
            check_literal(source)
        except FaultError as fault:
            self._refuse(fault)
            return None
        return naming_for(found[0]) if found else None

    def source(self, number: int) -> Source | None:
        """An image set's templates; None where one is wrong."""
        own, where = self._job.manifest.image_sets[number], f"image_sets[{number}]"
        table = own.table is not None
        for name in ("exclude", "min_age") if table else ():
            if getattr(own, name):
                self._report(self._job.problem(f"{where}.{name}", f"{name} is for sets of files", "expected none here"))
        known = _FILE | {"row"} if table else _FILE
        key = self._templates(own.key, f"{where}.key", frozenset({"set", "row" if table else "file"}))
        images = self._templates(own.images if table else (), f"{where}.images", frozenset({"set", "key", "row"}))
        references = self._templates(own.references, f"{where}.references", known)
        mask = self._templates(own.mask, f"{where}.mask", known)
        if key is None or images is None or references is None or mask is None:
            return None
        return Source(own, where, _first(key), images, references, _first(mask))

    def asked(self, number: int) -> Asked | None:
        """A prompt's templates; None where one is wrong."""
        job, own, where = self._job, self._job.manifest.prompts[number], f"prompts[{number}]"
        axes = job.matrix.get(own.name, {})
        sets = frozenset(own.image_sets or (each.name for each in job.manifest.image_sets))
        known = self._known(sets) | ({"matrix"} if axes else frozenset())
        place = f"{where}.text" if own.text_file is None else f"{where}.text_file"
        text = self._templates(job.texts[own.name], place, known)
        references = self._templates(own.references, f"{where}.references", known)
        mask = self._templates(own.mask, f"{where}.mask", known)
        extra = self._extra(number, known)
        if not text or references is None or mask is None or extra is None:
            return None
        fields, _ = job.request_fields(number)
        return Asked(own.name, sets, text[0], references, _first(mask), fields, extra, axes, own.repeat)

    def _known(self, sets: frozenset[str]) -> frozenset[str]:
        """What a task's templates know: `row` only where all sets are tables."""
        tables = all(each.table is not None for each in self._job.manifest.image_sets if each.name in sets)
        return _TASK | {"row"} if tables else _TASK

    def _extra(self, number: int, known: frozenset[str]) -> dict[str, Value] | None:
        _, merged = self._job.request_fields(number)
        own = self._job.manifest.prompts[number].request.extra_body
        values: dict[str, Value] = {}
        for name, value in merged.items():
            where = f"prompts[{number}].request.extra_body" if name in own else "request.extra_body"
            try:
                values[name] = compile_value(value, f"{where}.{name}", known)
            except FaultError as fault:
                self._refuse(fault)
        return values if len(values) == len(merged) else None

    def _templates(
        self, sources: str | Sequence[str] | None, where: str, known: frozenset[str]
    ) -> tuple[Template, ...] | None:
        if isinstance(sources, str):
            places = {where: sources}
        else:
            places = {f"{where}[{at}]": source for at, source in enumerate(sources or ())}
        found = tuple(self._compiled(places, known))
        return found if len(found) == len(places) else None

    def _compiled(self, places: Mapping[str, str], known: frozenset[str]) -> Iterator[Template]:
        for where, source in places.items():
            try:
                yield compile_template(source, where, known)
            except FaultError as fault:
                self._refuse(fault)

    def _refuse(self, fault: FaultError) -> None:
        self._report(self._job.problem(fault.where, fault.what, fault.expected))


def _first(templates: tuple[Template, ...]) -> Template | None:
    return templates[0] if templates else None
