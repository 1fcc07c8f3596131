"""The part of a manifest that says where requests go: one endpoint, or several."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from pipeline.manifest.model import Model, PerMinute, Text
from pipeline.manifest.values import Name, Price, Size


class HeaderAuth(Model):
    """Authentication by a header of another name than Authorization (Azure: `api-key`)."""

    header: Text
    """Name of the header that carries the key."""


class Prices(Model):
    """What an endpoint charges for a model, in US dollars for a million tokens."""

    text_in: Price
    """Tokens of the prompt."""
    image_in: Price
    """Tokens of the images that are sent."""
    image_out: Price
    """Tokens of the images that come back."""
    text_out: Price | None = None
    """Tokens of text that comes back, where a model counts them apart; default: as `image_out`."""


class Endpoint(Model):
    """Where requests go, and with which key."""

    base_url: Annotated[Text, Field(title="a URL such as https://api.openai.com/v1")] | None = None
    """URL up to and without `/images/edits`; default: OPENAI_BASE_URL, else OpenAI's own."""
    api_key_env: Text = "OPENAI_API_KEY"
    """NAME of the environment variable that holds the key; never the key itself."""
    api_key_file: Text | None = None
    """Path of a file outside the project that holds the key, instead of `api_key_env`."""
    body: Literal["multipart", "json"] = "multipart"
    """Form of the request: multipart/form-data, or OpenAI's JSON form with data URLs."""
    auth: Literal["bearer", "none"] | HeaderAuth = "bearer"
    """bearer, none, or {header: NAME}."""
    path: Annotated[str, StringConstraints(pattern=r"^/"), Field(title="a path that begins with /")] = "/images/edits"
    """Path below `base_url`."""
    query: dict[str, str] = Field(default_factory=dict)
    """Query parameters of every request, such as {api-version: 2025-04-01-preview}."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Further headers of every request; a header that carries a key is refused."""
    allow_http: bool = False
    """Allow http:// to a host that is not loopback."""
    ca_bundle: Text | None = None
    """PEM file with the certificate authorities to trust, instead of the system's."""
    proxy: Text | None = None
    """URL of an HTTP proxy; no proxy is taken from the environment."""
    fetch_urls: Literal["never", "same-host"] = "never"
    """Whether an answer that names a URL instead of holding the image may be fetched; never with the key."""
    max_response: Size = 320_000_000
    """Longest response body that is read."""
    models_file: Text | None = None
    """YAML file with models, prices and rules that override or add to the built-in ones."""
    prices: dict[Text, Literal["free"] | Prices] = Field(default_factory=dict)
    """Prices of this endpoint by model: free, or {text_in, image_in, image_out, text_out}."""


class EndpointLimits(Model):
    """How much one of several endpoints may have under way."""

    concurrency: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Most requests in flight here; default: the job's `limits.concurrency`."""
    requests_per_minute: PerMinute | None = None
    """Cap on requests a minute; default: what the endpoint's answers say and bear."""
    images_per_minute: PerMinute | None = None
    """Cap on images a minute, of which each request takes its `n`."""
    tokens_per_minute: PerMinute | None = None
    """Cap on tokens a minute, estimated before a request and corrected after it."""


class NamedEndpoint(Endpoint):
    """One of several endpoints."""

    name: Name
    """Name of the endpoint, unique in the job; it stands in the ledger."""
    base_url: Annotated[Text, Field(title="a URL such as https://api.openai.com/v1")]
    """URL up to and without `/images/edits`; its key is sent nowhere else."""
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Its share of the requests, in relation to the others' weights."""
    models: Annotated[dict[Text, Text], Field(min_length=1)] | None = None
    """Models that it serves: {name in the job: name at the endpoint}; default: all, under their own names."""
    limits: EndpointLimits = Field(default_factory=EndpointLimits)
    """How much it may have under way."""
