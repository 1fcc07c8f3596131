"""What the endpoint knows about its models: names, families and the values that their fields take.

Source: the images/edits reference at https://platform.openai.com/docs/api-reference/images/createEdit
and the types of the openai Python SDK.
"""

from __future__ import annotations

import re
from enum import StrEnum

from msgspec import Struct

FIXED_SIZES = ("1024x1024", "1024x1536", "1536x1024")
QUALITIES = ("low", "medium", "high")
SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


class Family(StrEnum):
    """Models that share sizes, qualities and token rules."""

    ONE = "1"
    TWO = "2"
    TWO_FIVE = "2.5"
    TWO_SIX = "2.6"


class Model(Struct, frozen=True):
    """One model by its undated name, with the values that it takes of `input_fidelity`."""

    name: str
    family: Family
    fidelities: tuple[str, ...] = ()

    @property
    def any_size(self) -> bool:
        """Whether sizes beyond the three fixed ones are taken."""
        return self.family is not Family.ONE

    @property
    def qualities(self) -> tuple[str, ...]:
        """The values of `quality`, `auto` aside."""
        more = ("xhigh", "max") if self.family in (Family.TWO_FIVE, Family.TWO_SIX) else ()
        return QUALITIES + more


MODELS = (
    Model("gpt-image-1", Family.ONE, ("low", "high")),
    Model("gpt-image-1-mini", Family.ONE, ("low",)),
    Model("gpt-image-1.5", Family.ONE, ("low", "high")),
    Model("chatgpt-image-latest", Family.ONE, ("low", "high")),
    Model("gpt-image-2", Family.TWO),
    Model("gpt-image-2.5-sunburst", Family.TWO_FIVE, ("low", "high")),
    Model("gpt-image-2.5-flare", Family.TWO_FIVE, ("low", "high")),
    Model("gpt-image-2.6-sunburst", Family.TWO_SIX, ("low", "high")),
    Model("gpt-image-2.6-flare", Family.TWO_SIX, ("low", "high")),
)
BY_NAME = {model.name: model for model in MODELS}


def find_model(name: str) -> Model | None:
    """Return the model of a name, which may carry a router's `vendor/` prefix and a snapshot's date."""
    return BY_NAME.get(SNAPSHOT.sub("", name.rsplit("/", 1)[-1]))


def size_fault(model: Model, width: int, height: int) -> str | None:
    """Say what is wrong with an explicit size in pixels, or None where the model takes it."""
    if f"{width}x{height}" in FIXED_SIZES:
        return None
    if not model.any_size:
        return f"supported values are: {', '.join(FIXED_SIZES)}, and auto"
    rules = (
        (width % 16 == 0 and height % 16 == 0, "width and height must be divisible by 16"),
        (0 < width <= 3840 and 0 < height <= 3840, "the longest edge must be at most 3840 pixels"),
        (width <= 3 * height and height <= 3 * width, "the aspect ratio must be between 1:3 and 3:1"),
        (655_360 <= width * height <= 8_294_400, "the image must have between 655,360 and 8,294,400 pixels"),
    )
    return next((text for holds, text in rules if not holds), None)
