"""Sizes, durations, shares and money: what is read, and what is no number in any notation."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from pipeline.manifest.values import parse_duration, parse_money, parse_share, parse_size
from tests.manifest.conftest import Faults
from tests.manifest.minimal import minimal


@pytest.mark.parametrize(
    ("parse", "value"),
    [
        (parse_size, "9" * 400 + "MB"),
        (parse_size, "٣MB"),
        (parse_size, True),
        (parse_duration, "٣s"),
        (parse_duration, False),
        (parse_share, "٣%"),
        (parse_money, "5"),
        (parse_money, "/x"),
        (parse_money, True),
    ],
)
def test_what_is_no_number_is_a_value_error(parse: Callable[[Any], Any], value: Any) -> None:
    """Digits of other scripts, more digits than a number has, and text where a number belongs."""
    with pytest.raises(ValueError, match="expected"):
        parse(value)


def test_true_is_not_version_1(faults: Faults) -> None:
    """Python takes true for 1, and the schema does not."""
    assert faults(minimal(version="true")) == ["1:1: version: true is a truth value; expected 1"]


def test_money_is_what_was_written() -> None:
    """Never a binary float's digits."""
    assert [parse_money(value) for value in (0.1, 3, Decimal("1.10"))] == [Decimal("0.1"), Decimal(3), Decimal("1.10")]


@pytest.mark.parametrize("folder", ["a" * 256, "é" * 128, "a/" * 600])
def test_a_folder_that_no_file_system_can_make_is_refused(faults: Faults, folder: str) -> None:
    """`usage`, `plan` and `status` would end as a bug where they look for it."""
    words = "a name of over 255 bytes, or over 1,000 in all; expected a shorter one"
    assert faults(minimal(output=f"{{folder: {folder}}}")) == [f"6:10: output.folder: {words}"]
    assert faults(minimal(output=f"{{folder: out, spill: {folder}}}")) == [f"6:23: output.spill: {words}"]
