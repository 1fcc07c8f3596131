"""What a job asks of its models, held against what is known of them: refusals, caps that could not hold, and notes.

1. A model that is not known is never refused, and neither is a parameter of which nothing is known.
2. A cap on money is refused where the worst case of a request has no price: it could not be held.
3. A model that its maker does not serve any more is worth a note and no refusal: routers go on to serve it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

from msgspec import Struct

from pipeline.endpoint.model import Bounds, Model
from pipeline.endpoint.models import Catalogue, load_catalogue
from pipeline.endpoint.pricing import Price, estimate_request
from pipeline.errors import JobError, Problem
from pipeline.manifest.endpoints import Endpoint, NamedEndpoint
from pipeline.manifest.expectation import either
from pipeline.manifest.job import Job

SOON: Final = 30
"""Days before a model's end from which it is told."""

CAPS: Final = ("max_cost", "max_cost_per_run", "max_cost_per_day", "max_cost_per_month")
_CHECKED: Final = (
    "size",
    "quality",
    "n",
    "background",
    "output_format",
    "output_compression",
    "input_fidelity",
    "moderation",
)


class Offer(Struct, frozen=True):
    """One endpoint as a place to buy: what is known of its models, by the job's names for them."""

    endpoint: Endpoint
    place: str
    catalogue: Catalogue

    def serves(self, name: str) -> bool:
        """Whether it takes requests for a model."""
        models = self.endpoint.models if isinstance(self.endpoint, NamedEndpoint) else None
        return models is None or name in models

    def model(self, name: str) -> Model | None:
        """The rules of a model; None where they are not known."""
        return self.catalogue.model(self.served(name)) or self.catalogue.model(name)

    def price(self, name: str) -> Price | None:
        """What a model costs here; None where that is not known."""
        return self.catalogue.price(self.served(name)) or self.catalogue.price(name)

    def origin(self, name: str) -> str | None:
        """Where that price is from, and of when."""
        return self.catalogue.origin(self.served(name)) or self.catalogue.origin(name)

    def served(self, name: str) -> str:
        """The endpoint's own name of a model."""
        models = self.endpoint.models if isinstance(self.endpoint, NamedEndpoint) else None
        return (models or {}).get(name, name)


Offers = Sequence[Offer]


def offers_of(job: Job) -> Offers:
    """Each endpoint of a job with its catalogue. Raises JobError with all that is wrong in their files of models."""
    found: list[Offer] = []
    problems: dict[Problem, None] = {}
    for index, endpoint in enumerate(job.endpoints):
        place = job.endpoint_place(index)
        try:
            found.append(Offer(endpoint, place, load_catalogue(endpoint, job.folder)))
        except JobError as error:
            problems |= dict.fromkeys(_located(job, place, each) for each in error.problems)
    if problems:
        raise JobError(problems)
    return found


class Checked(Struct, frozen=True):
    """What is wrong between a job and its models, and what is only worth a warning; no `offers` where files of models
    are wrong."""

    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()
    offers: Offers = ()


def check_models(job: Job, today: date, *, max_cost: bool = False) -> Checked:
    """All that there is to say of a job's models; `max_cost`: a flag caps the run's cost."""
    try:
        offers = offers_of(job)
    except JobError as error:
        return Checked(error.problems)
    problems = (*model_problems(job, offers), *check_caps(job, offers, max_cost=max_cost))
    return Checked(problems, tuple(model_notes(job, offers, today)), offers)


def utc_day(now: float) -> date:
    """The UTC day of a wall clock's seconds."""
    return datetime.fromtimestamp(now, UTC).date()


def model_problems(job: Job, offers: Offers) -> Iterator[Problem]:
    """Parameters that a model does not take, each where the manifest sets it, with what the model takes."""
    told: set[tuple[str, str]] = set()
    for index, model, fields in _asked(job):
        for offer in offers:
            known = offer.model(model) if offer.serves(model) else None
            for name in _CHECKED if known is not None else ():
                expected = _expected(known, name, fields[name]) if known and name in fields else None
                where = _place(job, index, name)
                if expected is not None and (where, expected) not in told:
                    told.add((where, expected))
                    yield job.problem(where, _refused(model, name, fields[name], expected), expected)


def check_caps(job: Job, offers: Offers, *, max_cost: bool = False) -> Iterator[Problem]:
    """Caps on money that could not be held, because the worst case of a model's requests has no price.

    `max_cost`: a flag caps the run's cost.
    """
    caps = [f"budget.{cap}" for cap in CAPS if getattr(job.manifest.budget, cap) is not None]
    caps += ["--max-cost"] if max_cost else []
    told: set[str] = set()
    for _, model, fields in _asked(job) if caps else ():
        for offer in offers:
            if not offer.serves(model) or (what := _priceless(offer, model, fields)) is None or what in told:
                continue
            told.add(what)
            expected = (
                f"expected its prices under `{offer.place}.prices` or its rules in a models_file; "
                f"or `{offer.place}.prices: {{{model}: free}}`, which no cap counts"
            )
            where = caps[0]
            flag = where.startswith("--")
            yield Problem(what, expected, where) if flag else job.problem(where, what, expected)


def model_notes(job: Job, offers: Offers, today: date) -> Iterator[Problem]:
    """A warning for each model whose end is past or near, with its successor."""
    told: set[str] = set()
    for index, name, _ in _asked(job):
        for offer in offers:
            model = offer.model(name) if offer.serves(name) else None
            if model is None or model.shutdown is None or (model.shutdown - today).days > SOON or name in told:
                continue
            told.add(name)
            verb = "was" if model.shutdown <= today else "is to be"
            instead = f"its successor is {model.successor}" if model.successor else ""
            what = f"{name} {verb} shut down by its maker on {model.shutdown}; others may go on to serve it"
            yield job.problem(_place(job, index, "model"), what, instead)


def _asked(job: Job) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Each prompt's number, model and fields."""
    for index in range(len(job.manifest.prompts)):
        fields, _ = job.request_fields(index)
        yield index, str(fields.get("model", "")), fields


def _place(job: Job, prompt: int, name: str) -> str:
    own = getattr(job.manifest.prompts[prompt].request, name) is not None
    return f"prompts[{prompt}].request.{name}" if own else f"request.{name}"


def _refused(model: str, name: str, value: Any, expected: str) -> str:
    if expected.startswith("leave"):
        return f"{model} does not take {name}"
    return f"{model} does not take the {name} {value}"


def _expected(model: Model, name: str, value: Any) -> str | None:
    """What a parameter should be; None where the model takes it, or nothing is known of it."""
    if name == "size":
        rule = None if model.sizes is None else model.sizes.fault(value)
        return None if rule is None else f"expected {rule}"
    allowed = model.parameters.get(name)
    if allowed == ():
        return "leave it out, or name another model"
    if isinstance(allowed, Bounds):
        return None if allowed.low <= value <= allowed.high else f"expected {allowed.low} to {allowed.high}"
    return None if allowed is None or value in allowed else f"expected {either(allowed)}"


def _priceless(offer: Offer, model: str, fields: dict[str, Any]) -> str | None:
    """Why the worst case of a model's requests has no price; None where it has one."""
    price = offer.price(model)
    if price is None:
        return f"no price is known for {model}, so that no cap on its cost can hold"
    if estimate_request(offer.model(model), price, fields, ()).high is not None:
        return None
    chosen = {name: fields.get(name, "auto") for name in ("size", "quality")}
    words = " and ".join(f"{name} {value}" for name, value in chosen.items())
    return f"how many tokens {model} uses at most at {words} is not known, so that no cap on its cost can hold"


def _located(job: Job, place: str, problem: Problem) -> Problem:
    """A problem of a file of models, at its place in the manifest where it has none in the file."""
    if problem.file:
        return problem
    return job.problem(f"{place}.models_file", problem.what, problem.expected)
