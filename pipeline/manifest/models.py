"""The manifest's schema: what a job may say, with its defaults.

Every field's description is the one that `retouch schema` publishes and that the documentation test looks for.
Only what the user wrote reaches the wire: `Request.sent_fields` leaves defaults out.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from pipeline.manifest.endpoints import Endpoint as Endpoint
from pipeline.manifest.endpoints import HeaderAuth as HeaderAuth
from pipeline.manifest.endpoints import NamedEndpoint as NamedEndpoint
from pipeline.manifest.model import Model, PerMinute, Text
from pipeline.manifest.values import Duration, Label, Money, Name, Share, no_truth_value

Scalar = Annotated[str | int | float | bool, Field(title="text, a number, true or false")]
Axis = dict[Label, Scalar] | list[Scalar]
PixelSize = Annotated[
    str,
    StringConstraints(pattern=r"^(auto|[1-9][0-9]{1,4}x[1-9][0-9]{1,4})$"),
    Field(title="auto, or WIDTHxHEIGHT such as 1024x1024"),
]


class Request(Model):
    """Fields of the images/edits request; only those that are set are sent."""

    model: Text | None = None
    """Model that serves the request, such as gpt-image-2."""
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


class Limits(Model):
    """How much may be under way."""

    concurrency: Annotated[int, Field(ge=1, le=4096)] = 16
    """Most requests in flight."""
    requests_per_minute: PerMinute | None = None
    """Cap on requests a minute; default: what the endpoint's answers say and bear."""
    images_per_minute: PerMinute | None = None
    """Cap on images a minute, of which each request takes its `n`."""
    tokens_per_minute: PerMinute | None = None
    """Cap on tokens a minute, estimated before a request and corrected after it."""
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
    """Caps on what is bought; a shard gets its 1/N of each."""

    max_cost: Money | None = None
    """US dollars over the whole ledger, what may have been billed included."""
    max_cost_per_run: Money | None = None
    """US dollars that one run may cost."""
    max_cost_per_day: Money | None = None
    """US dollars of one day, in UTC."""
    max_cost_per_month: Money | None = None
    """US dollars of one calendar month, in UTC."""
    max_images: Annotated[int, Field(gt=0)] | None = None
    """Images bought, over the whole ledger."""


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
    check: Literal["full", "fast"] = "fast"
    """How closely each result is looked at before it is stored: its checksums and structure, or all its pixel data."""


class Manifest(Model):
    """A job manifest: image sets, prompts, and how to send and store them."""

    version: Annotated[Literal[1], BeforeValidator(no_truth_value)]
    """Version of this format."""
    name: Name
    """Name of the job; its output folder belongs to it."""
    endpoint: Endpoint = Field(default_factory=Endpoint)
    """Where requests go, and with which key."""
    endpoints: Annotated[list[NamedEndpoint], Field(min_length=1)] | None = None
    """Several endpoints instead of one; each prompt's model picks those that serve it."""
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
    """Caps on what is bought."""
    rerun: Rerun = Field(default_factory=Rerun)
    """What a rerun does with tasks that were done before."""
    on_invalid: Literal["skip", "stop"] = "skip"
    """What an item whose image cannot be used does to the run."""
    output: Output
    """Where results go."""
