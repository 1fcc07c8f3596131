"""Pictures and output folders for the tests of this folder."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from pipeline.outputs.folder import OutputFolder

Picture = Callable[..., bytes]


@pytest.fixture(scope="session")
def picture() -> Picture:
    """Encode a noisy picture: `picture("PNG", (64, 48), mode="RGB", **save options)`."""

    def encode(format: str = "PNG", size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: object) -> bytes:
        file = io.BytesIO()
        Image.effect_noise(size, 80).convert(mode).save(file, format, **options)
        return file.getvalue()

    return encode


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[OutputFolder]:
    with OutputFolder(tmp_path / "out") as opened:
        yield opened


@pytest.fixture(params=["links", "no links"])
def linking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With hard links, and on a file system that has none."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if request.param == "no links":
        monkeypatch.setattr(os, "link", refuse)
    return str(request.param)
