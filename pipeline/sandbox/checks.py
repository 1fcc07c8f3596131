"""Which edits the endpoint takes: a form in, a whole edit or a refusal out. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from pipeline.sandbox.answers import Refusal
from pipeline.sandbox.models import MODELS, Model, find_model, size_fault
from pipeline.sandbox.pictures import Picture
from pipeline.sandbox.request import MAX_IMAGES, Form
from pipeline.sandbox.tokens import Size, Usage, input_image_tokens, output_tokens, text_tokens

MAX_PROMPT = 32_000
AUTO_QUALITY = "medium"
FREE_FIELDS = ("user", "safety_identifier", "moderation", "partial_images")
"""Fields that are taken and change nothing here."""
FIELDS = (
    "model",
    "prompt",
    "n",
    "size",
    "quality",
    "background",
    "output_format",
    "output_compression",
    "input_fidelity",
    "stream",
    *FREE_FIELDS,
)


class Edit(Struct, frozen=True):
    """A request that passed every check, with `auto` decided. `compression` is 0 to 100."""

    model: Model
    prompt: str
    n: int
    size: Size
    quality: str
    background: str
    output_format: str
    compression: int
    high_fidelity: bool
    images: Sequence[Picture]
    mask: Picture | None

    def usage(self, count: int) -> Usage:
        """Return the tokens of an answer with `count` images."""
        sizes = [image.size for image in self.images]
        return Usage(
            text_tokens=text_tokens(self.prompt),
            image_tokens=input_image_tokens(self.model, sizes, high_fidelity=self.high_fidelity),
            output_tokens=count * output_tokens(self.model, self.quality, self.size),
        )


def check_form(form: Form) -> Edit:
    """Turn a form into an edit. Raises Refusal with the first thing that is wrong."""
    fields = form.fields
    if form.problem is not None:
        raise form.problem
    _known_fields(fields)
    model, prompt = _model(fields), _prompt(fields)
    _images(form)
    output_format = _choice(fields, "output_format", ("png", "jpeg", "webp"), "png")
    quality = _choice(fields, "quality", (*model.qualities, "auto"), "auto")
    return Edit(
        model=model,
        prompt=prompt,
        n=_integer(fields, "n", 1, 10, 1),
        size=_size(fields, model, form.images[0]),
        quality=AUTO_QUALITY if quality == "auto" else quality,
        background=_background(fields, output_format),
        output_format=output_format,
        compression=_compression(fields, output_format),
        high_fidelity=_fidelity(fields, model) == "high",
        images=form.images,
        mask=form.mask,
    )


def _known_fields(fields: Mapping[str, str]) -> None:
    unknown = next((name for name in fields if name not in FIELDS), None)
    if unknown is not None:
        raise Refusal(f"Unknown parameter: '{unknown}'.", "unknown_parameter", param=unknown)
    if _choice(fields, "stream", ("true", "false"), "false") == "true":
        raise Refusal("Streaming is not offered here.", "invalid_value", param="stream")


def _required(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name, "")
    if not value:
        raise Refusal(f"Missing required parameter: '{name}'.", "missing_required_parameter", param=name)
    return value


def _model(fields: Mapping[str, str]) -> Model:
    name = _required(fields, "model")
    model = find_model(name)
    if model is None:
        known = ", ".join(f"'{model.name}'" for model in MODELS)
        raise Refusal(f"Invalid value: '{name}'. Supported values are: {known}.", "invalid_value", param="model")
    return model


def _prompt(fields: Mapping[str, str]) -> str:
    prompt = _required(fields, "prompt")
    if len(prompt) > MAX_PROMPT:
        raise Refusal(
            f"Invalid 'prompt': string too long. Expected at most {MAX_PROMPT} characters, got {len(prompt)}.",
            "string_above_max_length",
            param="prompt",
        )
    return prompt


def _images(form: Form) -> None:
    if form.image_count == 0:
        raise Refusal("Missing required parameter: 'image'.", "missing_required_parameter", param="image")
    if form.image_count > MAX_IMAGES:
        raise Refusal(
            f"Invalid 'image': too many images. Expected at most {MAX_IMAGES}, got {form.image_count}.",
            "array_above_max_length",
            param="image",
        )
    if form.mask is not None:
        _mask(form.mask, form.images[0])


def _mask(mask: Picture, image: Picture) -> None:
    faults = (
        (mask.format == "png", "the mask must be a png"),
        (mask.size == image.size, f"the mask is {mask.size}, the image is {image.size}; they must agree"),
        (mask.has_alpha, "the mask has no alpha channel"),
    )
    for holds, text in faults:
        if not holds:
            raise Refusal(f"Invalid mask image: {text}.", "invalid_image_file", param="mask")


def _choice(fields: Mapping[str, str], name: str, allowed: Sequence[str], default: str) -> str:
    value = fields.get(name, default)
    if value not in allowed:
        known = ", ".join(f"'{value}'" for value in allowed)
        raise Refusal(f"Invalid value: '{value}'. Supported values are: {known}.", "invalid_value", param=name)
    return value


def _integer(fields: Mapping[str, str], name: str, low: int, high: int, default: int) -> int:
    text = fields.get(name, str(default))
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise Refusal(f"Invalid type for '{name}': expected an integer, got '{text}'.", "invalid_type", param=name)
    value = int(text)
    if value < low:
        raise Refusal(f"Invalid '{name}': expected at least {low}.", "integer_below_min_value", param=name)
    if value > high:
        raise Refusal(f"Invalid '{name}': expected at most {high}.", "integer_above_max_value", param=name)
    return value


def _size(fields: Mapping[str, str], model: Model, first: Picture) -> Size:
    text = fields.get("size", "auto")
    if text == "auto":
        return auto_size(first.preview.width, first.preview.height)
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    fault = size_fault(model, int(match[1]), int(match[2])) if match else "expected WIDTHxHEIGHT or auto"
    if match is None or fault is not None:
        raise Refusal(f"Invalid size '{text}': {fault}.", "invalid_value", param="size")
    return Size(int(match[1]), int(match[2]))


def auto_size(width: int, height: int) -> Size:
    """Return the fixed size that is nearest in shape to an upright input of this width and height."""
    if width * 4 > height * 5:
        return Size(1536, 1024)
    if height * 4 > width * 5:
        return Size(1024, 1536)
    return Size(1024, 1024)


def _background(fields: Mapping[str, str], output_format: str) -> str:
    background = _choice(fields, "background", ("transparent", "opaque", "auto"), "auto")
    if background == "transparent" and output_format == "jpeg":
        raise Refusal("A transparent background needs png or webp.", "invalid_value", param="background")
    return "opaque" if background == "auto" else background


def _compression(fields: Mapping[str, str], output_format: str) -> int:
    compression = _integer(fields, "output_compression", 0, 100, 100)
    if compression < 100 and output_format == "png":
        raise Refusal("Compression less than 100 needs jpeg or webp.", "invalid_value", param="output_compression")
    return compression


def _fidelity(fields: Mapping[str, str], model: Model) -> str:
    if "input_fidelity" in fields and not model.fidelities:
        raise Refusal(f"'{model.name}' does not take 'input_fidelity'.", "invalid_value", param="input_fidelity")
    return _choice(fields, "input_fidelity", model.fidelities or ("low",), "low")
