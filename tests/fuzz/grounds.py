"""The folders that cases work in: small pictures under the names that the corpus uses, and a fence around them."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from PIL import Image

from pipeline.tasks import sources
from pipeline.tasks.sources import Entry

ROOT = Path(__file__).parents[2]


def picture(colour: int = 0, size: tuple[int, int] = (8, 6), format: str = "PNG") -> bytes:
    """A small picture; another colour makes other bytes."""
    file = io.BytesIO()
    Image.new("RGB", size, (colour % 256, colour // 256 % 256, 7)).save(file, format)
    return file.getvalue()


def furnish(folder: Path) -> None:
    """Lay out the ready jobs and their examples in small, with two pictures in `in/`."""
    (folder / "in").mkdir(parents=True)
    for number in range(2):
        (folder / f"in/{number}.png").write_bytes(picture(number))
    shutil.copytree(ROOT / "jobs", folder / "jobs")
    for path in sorted((ROOT / "examples").rglob("*.*")):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture(len(target.name)) if path.suffix in (".jpg", ".png", ".webp") else path.read_bytes())
    for name in ("photos/shoes/red.png", "photos/tote.png", "looks/one/1.png", "masks/looks/one.png", "brand/logo.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(len(name)))
    (folder / "bags.csv").write_text("sku,file,colour\n7,tote.png,red\n")


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Work in `folder`, with no key, no base URL and no state of the user's, and no look at any folder above."""
    before = Path.cwd()
    fence = str(folder.resolve())
    scan = sources.scan

    def fenced(path: str, prefix: str) -> Iterator[Entry]:
        if not f"{os.path.realpath(path)}/".startswith(f"{fence}/"):
            raise PermissionError(1, "beyond the fence", path)
        return scan(path, prefix)

    env = {"PATH": os.environ["PATH"], "HOME": fence, "XDG_STATE_HOME": f"{fence}/state", "LC_ALL": "C.UTF-8"}
    with patch.object(sources, "scan", fenced), patch.dict(os.environ, env, clear=True):
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
