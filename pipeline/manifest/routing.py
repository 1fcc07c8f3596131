"""Rules for the endpoints of a job: one, or several that share its requests. Pure.

1. A key is sent to its own endpoint's base URL only: of several endpoints each names its URL, and no two may confuse
   theirs, as the ledger knows them by name.
2. Every model that the job asks for is served by an endpoint, and every endpoint serves one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.errors import Problem
from pipeline.manifest.address import check_base_url, check_endpoint
from pipeline.manifest.endpoints import NamedEndpoint
from pipeline.manifest.models import Manifest

_RATES = ("requests_per_minute", "images_per_minute", "tokens_per_minute")


def moved(problem: Problem, place: str) -> Problem:
    """A problem of `endpoint`, told of the endpoint at another place."""
    rest = problem.where.removeprefix("endpoint")
    return problem.but(where=place + rest) if problem.where != rest else problem


def check_endpoints(manifest: Manifest, environ: Mapping[str, str]) -> Iterator[Problem]:
    """What is wrong with where requests go, but for the base URL of a single endpoint; `environ` holds the keys."""
    if manifest.endpoints is None:
        yield from check_endpoint(manifest.endpoint, environ.get(manifest.endpoint.api_key_env, ""))
        return
    if "endpoint" in manifest.model_fields_set:
        yield Problem("both endpoint and endpoints are set", "expected one of them", "endpoints")
    yield from _several(manifest.endpoints, environ)
    yield from _served(manifest, manifest.endpoints)
    for name in _RATES:
        if getattr(manifest.limits, name) is not None:
            expected = f"expected it in the limits of each, such as endpoints[0].limits.{name}"
            yield Problem("of several endpoints each has its own rates", expected, f"limits.{name}")


def _several(endpoints: list[NamedEndpoint], environ: Mapping[str, str]) -> Iterator[Problem]:
    names: set[str] = set()
    for index, endpoint in enumerate(endpoints):
        place = f"endpoints[{index}]"
        if endpoint.name in names:
            yield Problem(f"two endpoints are named '{endpoint.name}'", "expected a name of its own", f"{place}.name")
        names.add(endpoint.name)
        for problem in check_endpoint(endpoint, environ.get(endpoint.api_key_env, "")):
            yield moved(problem, place)
        yield from check_base_url(endpoint.base_url, endpoint.allow_http, f"{place}.base_url")


def _served(manifest: Manifest, endpoints: list[NamedEndpoint]) -> Iterator[Problem]:
    asked = {model: index for index, model in reversed(list(enumerate(models_of(manifest)))) if model is not None}
    unserved = {model: index for model, index in asked.items() if not any(_serves(each, model) for each in endpoints)}
    for model, index in unserved.items():
        own = manifest.prompts[index].request.model is not None
        where = f"prompts[{index}].request.model" if own else "request.model"
        served = sorted({model for endpoint in endpoints for model in endpoint.models or ()})
        yield Problem(f"no endpoint serves the model '{model}'", f"expected one of {', '.join(served)}", where)
    for index, endpoint in enumerate(endpoints):
        if not unserved and not any(_serves(endpoint, model) for model in asked):
            what = f"'{endpoint.name}' serves no model that the job asks for"
            expected = f"expected one of {', '.join(sorted(asked))} among its models"
            yield Problem(what, expected, f"endpoints[{index}].models")


def _serves(endpoint: NamedEndpoint, model: str) -> bool:
    return endpoint.models is None or model in endpoint.models


def models_of(manifest: Manifest) -> list[str | None]:
    """The model of each prompt's requests, None where none is set."""
    return [prompt.request.model or manifest.request.model for prompt in manifest.prompts]
