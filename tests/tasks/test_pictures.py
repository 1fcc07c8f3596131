"""What only decoding shows is found by the full check, and masks are held against their image."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from pipeline.tasks.inputs import InputFile, Unusable, inspect
from pipeline.tasks.pictures import full_check, mask_check, mask_warning


def encode(format: str = "PNG", size: tuple[int, int] = (16, 12), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 7).save(file, format)
    return file.getvalue()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(encode())
    return path


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_image_passes_the_look_and_fails_the_full_check(tmp_path: Path, format: str) -> None:
    path = tmp_path / "photo"
    path.write_bytes(encode(format, (200, 200))[:-40])
    assert isinstance(inspect(str(path)), InputFile)
    found = full_check(str(path))
    assert isinstance(found, Unusable)
    assert found.code == "undecodable"
    assert str(path) in found.message


def test_a_good_image_passes_the_full_check(photo: Path) -> None:
    assert full_check(str(photo)) is None


def test_the_full_check_says_what_the_look_says(tmp_path: Path) -> None:
    found = full_check(str(tmp_path / "absent.png"))
    assert isinstance(found, Unusable)
    assert found.code == "missing"


@pytest.mark.parametrize(
    ("format", "size", "mode", "code"),
    [
        ("PNG", (16, 12), "RGBA", None),
        ("PNG", (16, 12), "LA", None),
        ("PNG", (16, 12), "RGB", "mask_alpha"),
        ("PNG", (12, 16), "RGBA", "mask_dimensions"),
        ("WEBP", (16, 12), "RGBA", "unsupported_format"),
    ],
)
def test_a_mask_is_a_png_with_alpha_of_the_same_pixels(
    tmp_path: Path, photo: Path, format: str, size: tuple[int, int], mode: str, code: str | None
) -> None:
    file = io.BytesIO()
    Image.new(mode, size).save(file, format)
    (tmp_path / "mask").write_bytes(file.getvalue())
    found = mask_check(str(tmp_path / "mask"), str(photo))
    assert (found.code if found else None) == code


def test_a_mask_of_an_image_that_is_missing_names_the_image(tmp_path: Path, photo: Path) -> None:
    found = mask_check(str(photo), str(tmp_path / "absent.png"))
    assert isinstance(found, Unusable)
    assert "absent.png" in found.message


def test_a_large_mask_is_worth_a_warning() -> None:
    assert mask_warning("mask.png", 4_000_000) is None
    assert "4000001 bytes" in (mask_warning("mask.png", 4_000_001) or "")
