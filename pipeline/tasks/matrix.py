"""The variants of a prompt: the product of its axes, one at a time, so that a million of them cost no memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product

from pipeline.tasks.identity import Labels

Axes = Mapping[str, Mapping[str, str]]
"""Each axis's texts by label, in the manifest's order."""


def variants(axes: Axes) -> Iterator[Labels]:
    """Every combination of labels, the last axis changing fastest; of no axes, the one empty combination."""
    return product(*([(axis, label) for label in labels] for axis, labels in axes.items()))


def variant_count(axes: Axes) -> int:
    """How many variants there are."""
    return math.prod(len(labels) for labels in axes.values())


def texts(axes: Axes, variant: Labels) -> dict[str, str]:
    """What `matrix.AXIS` means in a template of this variant."""
    return {axis: axes[axis][label] for axis, label in variant}


def variant_text(variant: Labels, repeat: int) -> str:
    """`--label` for each axis, and `--r2`, `--r3`, … from the second repeat on."""
    return "".join(f"--{label}" for _, label in variant) + (f"--r{repeat}" if repeat > 1 else "")


def longest_variant_text(axes: Axes, repeat: int) -> str:
    """The variant text with most bytes."""
    labels = ((axis, max(labels, key=lambda label: len(label.encode()))) for axis, labels in axes.items())
    return variant_text(tuple(labels), repeat)
