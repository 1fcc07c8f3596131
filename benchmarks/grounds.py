"""The photos that a contest is over, on disk."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from benchmarks.contest import Ground
from benchmarks.pictures import Pictures, picture_of


def ground(folder: Path, url: str, image: int, answer: int, edits: int) -> Ground:
    """So many different photos of `image` bytes, each an edit; `answer` is the size of the server's answers."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    pictures = Pictures(image)
    for number in range(edits):
        (photos / f"{number:06}.png").write_bytes(pictures.numbered(number))
    return Ground(folder, url, picture_of(answer))


def ground_of_folders(folder: Path, url: str, image: int, answer: int, edits: int, each: int) -> Ground:
    """So many folders of `each` photos: the same photos, as links, in another order, so that no edit is another's."""
    sources = folder / "sources"
    sources.mkdir(parents=True)
    pictures = Pictures(image)
    for number in range(each):
        (sources / f"{number:02}.png").write_bytes(pictures.numbered(number))
    for edit in range(edits):
        place = folder / f"photos/{edit:04}"
        place.mkdir(parents=True)
        for number, source in enumerate(Random(edit).sample(range(each), each)):
            os.link(sources / f"{source:02}.png", place / f"{edit:04}-{number:02}.png")
    return Ground(folder, url, picture_of(answer))
