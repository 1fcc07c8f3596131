"""What only decoding shows is found by the full check, and masks are held against their image."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from pipeline.decode import Picture
from pipeline.tasks.inputs import InputFile, Unusable, inspect
from pipeline.tasks.pictures import mask_fault, mask_warning, name_warning, picture_of


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
def test_a_truncated_image_passes_the_look_and_fails_the_picture_of(tmp_path: Path, format: str) -> None:
    path = tmp_path / "photo"
    path.write_bytes(encode(format, (200, 200))[:-40])
    assert isinstance(inspect(str(path)), InputFile)
    found = picture_of(str(path))
    assert isinstance(found, Unusable)
    assert found.code == "undecodable"
    assert str(path) in found.message


def test_a_good_image_passes_the_picture_of(photo: Path) -> None:
    assert picture_of(str(photo)) == Picture("png", 16, 12, alpha=False)


def test_the_full_check_says_what_the_look_says(tmp_path: Path) -> None:
    found = picture_of(str(tmp_path / "absent.png"))
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
    mask, first = picture_of(str(tmp_path / "mask")), picture_of(str(photo))
    assert isinstance(mask, Picture)
    assert isinstance(first, Picture)
    found = mask_fault("mask", mask, first)
    assert (found.code if found else None) == code


def test_a_large_mask_is_worth_a_warning() -> None:
    assert mask_warning(4_000_000) is None
    assert mask_warning(4_000_001) == "is a mask of 4,000,001 bytes; some endpoints take 4,000,000"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a.png", None),
        ("a.PNG", None),
        ("a.heic", None),
        ("a", None),
        ("a.jpg", "is a png by its first bytes, and is sent as one"),
        ("a.WebP", "is a png by its first bytes, and is sent as one"),
    ],
)
def test_an_extension_unlike_the_content_is_worth_a_warning(name: str, told: str | None) -> None:
    assert name_warning(name, Picture("png", 1, 1, alpha=False)) == told


def test_a_file_that_becomes_a_pipe_after_the_look_does_not_block(
    tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes are read through the descriptor that was judged, opened without waiting for a writer."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    look = os.stat
    monkeypatch.setattr("pipeline.tasks.inputs.os.stat", lambda _: look(photo))
    found = picture_of(str(pipe))
    assert isinstance(found, Unusable)
    assert found.code == "not_a_file"
