"""The manifest's schema: what a job may say, with its defaults.

Every field's description is the one that `retouch schema` publishes and that the documentation test looks for.
Only what the user wrote reaches the wire: `Request.sent_fields` leaves defaults out.
"""

from __future__ import annotations

from types import NoneType
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from pipeline.manifest.values import Duration, Label, Money, Name, Share, Size, no_truth_value

Text = Annotated[str, StringConstraints(min_length=1)]
Scalar = Annotated[str | int | float | bool, Field(title="text, a number, true or false")]
Axis = dict[Label, Scalar] | list[Scalar]
PixelSize = Annotated[
    str,
    StringConstraints(pattern=r"^(auto|[1-9][0-9]{1,4}x[1-9][0-9]{1,4})$"),
    Field(title="auto, or WIDTHxHEIGHT such as 1024x1024"),
]


class Model(BaseModel):
    """Closed, immutable, without coercion: `"3"` is not a number and an unknown key is an error.

    `null` is "not set" everywhere: a section whose keys are all commented out keeps its defaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: entry for key, entry in value.items() if entry is not None or cls._keeps_null(key)}

    @classmethod
    def _keeps_null(cls, key: str) -> bool:
        field = cls.model_fields.get(key)
        return field is None or NoneType in get_args(field.annotation)


class HeaderAuth(Model):
    """Authentication by a header of another name than Authorization (Azure: `api-key`)."""

    header: Text
    """Name of the header that carries the key."""


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


class Request(Model):
    """Fields of the images/edits request; only those that are set are sent."""

    model: Text | None = None
    """Model that serves the request, such as gpt-image-1.5."""
    size: PixelSize | None = None
    """auto, or WIDTHxHEIGHT in pixels."""
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max"] | None = None
    """Quality tier of the generation."""
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    """Images per request, 1 to 10."""
    background: Literal["auto", "transparent", "opaque"] | None = None
    """Background of the result; transparent needs png or webp."""
    output_format: Literal["png", "jpeg", "webp"] | None = None
    """File format of the result."""
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    """Compression of a jpeg or webp result, 0 to 100."""
    input_fidelity: Literal["high", "low"] | None = None
    """How closely the input's details are kept."""
    moderation: Literal["auto", "low"] | None = None
    """Strictness of the endpoint's moderation."""
    user: Text | None = None
    """Stable identifier of the end user, for the endpoint's abuse monitoring."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields, sent as they are; strings in it are templates."""

    def sent_fields(self) -> dict[str, Any]:
        """The named fields that the manifest sets to a value, without `extra_body`."""
        return self.model_dump(exclude={"extra_body"}, exclude_none=True, exclude_unset=True)


class Table(Model):
    """A table whose rows are items, with how to read it."""

    path: Text
    """File: .csv, .tsv or .jsonl."""
    delimiter: (
        Annotated[str, StringConstraints(min_length=1, max_length=1), Field(title="one character, such as ;")] | None
    ) = None
    """Cell separator; default: detected for csv, a tab for tsv."""
    encoding: Text | None = None
    """Text encoding; default: UTF-8, with or without a byte order mark."""


class ImageSet(Model):
    """A named source of items: files matched by globs, folders of files, or rows of a table."""

    name: Name
    """Name of the set, unique in the job."""
    images: Text | Annotated[list[Text], Field(min_length=1)] | None = None
    """One glob or a list; of a table, templates that name each row's 1 to 16 images in order."""
    table: Text | Table | None = None
    """CSV, TSV or JSONL file whose rows are items: a path, or {path, delimiter, encoding}."""
    key: Text | None = None
    """Template of the item's key; a table needs one."""
    exclude: list[Text] = Field(default_factory=list)
    """Globs of files to leave out."""
    min_age: Duration | None = None
    """Files younger than this wait for the next run."""
    item: Literal["image", "folder", "row"] | None = None
    """What one item is: each image, all images of a folder together, or a table's row."""
    mask: Text | None = None
    """Template of the path of the item's mask, a PNG with alpha."""
    references: list[Text] = Field(default_factory=list)
    """Templates of paths of images that are sent after the item's own."""
    allow_empty: bool = False
    """Whether a set that yields no item is fine."""


class Prompt(Model):
    """What is asked of each item."""

    name: Name
    """Name of the prompt, unique in the job."""
    text: Text | None = None
    """The prompt, a template of at most 32,000 characters once rendered."""
    text_file: Text | None = None
    """File that holds the prompt, instead of `text`."""
    image_sets: Annotated[list[Name], Field(min_length=1, title="a list of the names of image sets")] | None = None
    """Names of the image sets that it applies to; default: all."""
    references: list[Text] = Field(default_factory=list)
    """Templates of paths of images that are sent after the item's own and the set's."""
    mask: Text | None = None
    """Template of the path of a mask, instead of the set's."""
    matrix: dict[Name, Axis] = Field(default_factory=dict)
    """Axes whose product gives variants: {axis: {label: text}} or {axis: [short values]}."""
    request: Request = Field(default_factory=Request)
    """Fields that override the job's `request` one by one."""
    repeat: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Independent samples of the same request."""


PerMinute = Annotated[int, Field(gt=0)]


class Limits(Model):
    """How much may be under way."""

    concurrency: Annotated[int, Field(ge=1, le=4096)] = 16
    """Most requests in flight."""
    requests_per_minute: PerMinute | None = None
    """Cap on requests a minute; not available in this version."""
    images_per_minute: PerMinute | None = None
    """Cap on images a minute; not available in this version."""
    tokens_per_minute: PerMinute | None = None
    """Cap on tokens a minute; not available in this version."""
    timeout: Duration = 600.0
    """From the first byte of a request to the last byte of its response."""
    drain: Duration = 600.0
    """How long a first SIGINT or SIGTERM waits for attempts in flight."""


class Retries(Model):
    """When an attempt is made again."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """Most possibly billed attempts of one request."""
    max_wait: Duration = 120.0
    """Longest backoff; a longer Retry-After pauses the run."""
    in_doubt: Literal["retry", "hold"] = "retry"
    """Whether an attempt that may have been billed without a result is made again."""


class StopOn(Model):
    """When a run gives up early."""

    failures: Share | None = 0.2
    """Share of this run's finished tasks that failed."""
    in_doubt: Share | None = 0.1
    """Share of this run's attempts that ended in doubt."""
    duration: Duration | None = None
    """How long a run may take; the next run goes on."""


class Budget(Model):
    """Caps over the whole ledger."""

    max_cost: Money | None = None
    """US dollars; not available in this version."""
    max_images: Annotated[int, Field(gt=0)] | None = None
    """Images bought."""


class Rerun(Model):
    """What a rerun does with tasks that were done before."""

    changed: Literal["remake", "keep"] = "remake"
    """A task whose input bytes changed: make it again, or keep it."""
    missing: Literal["remake", "keep"] = "remake"
    """A task whose output is gone: make it again, or count it as done."""
    limit: Share = 0.2
    """Share of the tasks done before above which nothing is bought again without --yes."""


class Output(Model):
    """Where results go."""

    folder: Text
    """Folder of the outputs and the ledger; it belongs to one job."""
    path: Text = "{{ set }}/{{ prompt }}{{ variant }}/{{ key }}-{{ index }}"
    """Template of an output's path in the folder, without extension."""
    spill: Text | None = None
    """Folder on another file system for paid results that cannot be stored; default: $XDG_STATE_HOME/retouch."""


class Manifest(Model):
    """A job manifest: image sets, prompts, and how to send and store them."""

    version: Annotated[Literal[1], BeforeValidator(no_truth_value)]
    """Version of this format."""
    name: Name
    """Name of the job; its output folder belongs to it."""
    endpoint: Endpoint = Field(default_factory=Endpoint)
    """Where requests go, and with which key."""
    request: Request = Field(default_factory=Request)
    """Fields of every request."""
    image_sets: Annotated[list[ImageSet], Field(min_length=1)]
    """Sources of items."""
    prompts: Annotated[list[Prompt], Field(min_length=1)]
    """What is asked of each item."""
    order: Literal["items", "prompts"] = "items"
    """What is finished first: an item with all its prompts, or a prompt over all items."""
    limits: Limits = Field(default_factory=Limits)
    """How much may be under way."""
    retries: Retries = Field(default_factory=Retries)
    """When an attempt is made again."""
    stop_on: StopOn = Field(default_factory=StopOn)
    """When a run gives up early."""
    budget: Budget = Field(default_factory=Budget)
    """Caps over the whole ledger."""
    rerun: Rerun = Field(default_factory=Rerun)
    """What a rerun does with tasks that were done before."""
    on_invalid: Literal["skip", "stop"] = "skip"
    """What an item whose image cannot be used does to the run."""
    output: Output
    """Where results go."""
