"""Token rules: the published figures."""

from __future__ import annotations

import pytest

from pipeline.sandbox.models import find_model, size_fault
from pipeline.sandbox.tokens import (
    Size,
    Usage,
    input_image_tokens,
    output_tokens,
    patch_tokens,
    text_tokens,
    tile_tokens,
)

SQUARE, TALL, WIDE = Size(1024, 1024), Size(1024, 1536), Size(1536, 1024)


@pytest.mark.parametrize(
    ("model", "quality", "size", "tokens"),
    [
        ("gpt-image-1", "low", SQUARE, 272),
        ("gpt-image-1", "low", TALL, 408),
        ("gpt-image-1", "low", WIDE, 400),
        ("gpt-image-1.5", "medium", SQUARE, 1056),
        ("gpt-image-1.5", "medium", TALL, 1584),
        ("gpt-image-1.5", "medium", WIDE, 1568),
        ("gpt-image-1-mini", "high", SQUARE, 4160),
        ("gpt-image-1-mini", "high", TALL, 6240),
        ("gpt-image-1-mini", "high", WIDE, 6208),
        ("gpt-image-2", "medium", SQUARE, 1756),
        ("gpt-image-2", "high", WIDE, 5488),
        ("gpt-image-2.5-flare", "low", Size(2048, 2048), 397),
        ("gpt-image-2.5-flare", "max", SQUARE, 7024),
        ("gpt-image-2.6-flare", "low", SQUARE, 686),
    ],
)
def test_output_tokens_are_the_published_ones(model: str, quality: str, size: Size, tokens: int) -> None:
    found = find_model(model)
    assert found is not None
    assert output_tokens(found, quality, size) == tokens


@pytest.mark.parametrize(
    ("size", "high", "tokens"),
    [
        (SQUARE, False, 194),
        (WIDE, False, 323),
        (Size(4096, 4096), False, 194),
        (Size(8192, 1024), False, 65 + 129 * 8),
        (SQUARE, True, 194 + 4160),
        (WIDE, True, 323 + 6240),
    ],
)
def test_gpt_image_1_counts_tiles_of_an_input(size: Size, high: bool, tokens: int) -> None:
    assert tile_tokens(size, high_fidelity=high) == tokens


@pytest.mark.parametrize(
    ("size", "tokens"), [(SQUARE, 1024), (WIDE, 1536), (Size(96, 96), 1024), (Size(4000, 3000), 1536)]
)
def test_later_models_count_patches_of_an_input(size: Size, tokens: int) -> None:
    assert patch_tokens(size) == tokens


def test_inputs_of_a_request_add_up() -> None:
    model = find_model("gpt-image-1.5")
    assert model is not None
    assert input_image_tokens(model, [SQUARE, WIDE]) == 194 + 323


@pytest.mark.parametrize(("prompt", "tokens"), [("", 0), ("abcd", 1), ("abcde", 2)])
def test_text_tokens_are_a_quarter_of_the_characters_rounded_up(prompt: str, tokens: int) -> None:
    assert text_tokens(prompt) == tokens


def test_usages_add_up() -> None:
    both = Usage(1, 2, 3) + Usage(10, 20, 30)
    assert (both.input_tokens, both.output_tokens, both.total_tokens) == (33, 33, 66)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("gpt-image-1.5", "gpt-image-1.5"),
        ("openai/gpt-image-1.5", "gpt-image-1.5"),
        ("gpt-image-2-2026-04-21", "gpt-image-2"),
        ("gpt-image-9", None),
    ],
)
def test_a_model_is_found_by_name_vendor_or_snapshot(name: str, found: str | None) -> None:
    model = find_model(name)
    assert (model.name if model else None) == found


@pytest.mark.parametrize(
    ("model", "width", "height", "taken"),
    [
        ("gpt-image-1", 1024, 1536, True),
        ("gpt-image-1", 512, 512, False),
        ("gpt-image-2", 1536, 864, True),
        ("gpt-image-2", 1000, 1000, False),
        ("gpt-image-2", 3840, 2160, True),
        ("gpt-image-2", 3856, 2160, False),
        ("gpt-image-2", 640, 640, False),
        ("gpt-image-2", 3200, 1024, False),
        ("gpt-image-2", 3840, 3840, False),
    ],
)
def test_each_model_takes_its_sizes(model: str, width: int, height: int, taken: bool) -> None:
    found = find_model(model)
    assert found is not None
    assert (size_fault(found, width, height) is None) is taken
