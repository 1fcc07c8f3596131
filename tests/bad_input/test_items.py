# ruff: noqa: E501 - an expected message is one line
"""Masks, references, rows and folders: what is wrong between an item's images, or with how many there are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.bad_input import pictures
from tests.bad_input.conftest import BenchOf
from tests.bad_input.row import Make

MASKED = '[{name: shoes, images: "in/*.png", mask: "masks/{{ key }}.png"}]'
MARKED = '[{name: shoes, images: "in/*.png", references: ["logos/{{ key }}.png"]}]'
ROWS = "[{name: bags, table: bags.csv, key: '{{ row.sku }}', images: ['{{ row.file }}']}]"
FOLDERS = '[{name: looks, images: "looks/*/*.png", item: folder}]'

GOOD_MASK = pictures.encoded(size=(16, 12), mode="RGBA")


@dataclass(frozen=True, slots=True)
class Items:
    """Files of a job over `image_sets`, and what is said of them; a plain run settles `invalid` tasks and sends `sent`."""

    name: str
    image_sets: str
    files: Mapping[str, bytes | Make]
    lines: tuple[str, ...]
    invalid: int
    sent: int
    sections: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def masked(name: str, mask: bytes | Make | None, *lines: str, invalid: int = 0, sent: int = 2) -> Items:
    """The mask of the first photo, beside a good one of the second; only decoding finds what is wrong with one."""
    files = {"masks/1.png": GOOD_MASK} | ({} if mask is None else {"masks/0.png": mask})
    return Items(name, MASKED, files, lines, invalid, sent)


def rows(name: str, table: str, *lines: str, invalid: int = 1, sent: int = 1) -> Items:
    return Items(name, ROWS, {"bags.csv": table.encode()}, lines, invalid, sent)


def looks(count: int) -> dict[str, bytes]:
    return {f"looks/one/{number:02}.png": GOOD_MASK for number in range(count)} | {"looks/two/0.png": GOOD_MASK}


ITEMS = [
    masked("no mask", None, "masks/0.png: shoes/0/white: does not exist; expected an image file", invalid=1, sent=1),
    masked("an empty mask", b"", "masks/0.png: shoes/0/white: is empty; expected an image", invalid=1, sent=1),
    masked("a mask that is a pipe", os.mkfifo, "masks/0.png: shoes/0/white: is not a regular file; expected an image file", invalid=1, sent=1),
    masked("a mask that is a folder", Path.mkdir, "masks/0.png: shoes/0/white: is not a regular file; expected an image file", invalid=1, sent=1),
    masked("a mask that is text", b"mask", "masks/0.png: shoes/0/white: is no image by its first bytes; expected png, jpeg or webp", invalid=1, sent=1),
    masked("a mask that is cut short", GOOD_MASK[:-20], "masks/0.png: shoes/0/white: is cut short: a png without its end; expected an undamaged image"),
    masked("a mask of other dimensions", pictures.encoded(size=(12, 16), mode="RGBA"), "masks/0.png: shoes/0/white: is a mask of 12x16 pixels, and its image has 16x12; expected the same"),
    masked("a mask without transparency", pictures.encoded(size=(16, 12)), "masks/0.png: shoes/0/white: is a mask without transparency; expected alpha 0 where the edit may happen"),
    masked("a grey mask", pictures.encoded(size=(16, 12), mode="L"), "masks/0.png: shoes/0/white: is a mask without transparency; expected alpha 0 where the edit may happen"),
    masked("a mask that is a JPEG", pictures.encoded("JPEG", (16, 12)), "masks/0.png: shoes/0/white: is a mask in jpeg; expected a png"),
    masked("a mask that is a WebP", pictures.encoded("WEBP", (16, 12), "RGBA"), "masks/0.png: shoes/0/white: is a mask in webp; expected a png"),
    masked("a mask of 196 megapixels", pictures.bomb(), "masks/0.png: shoes/0/white: declares 14000x14000 pixels, more than the 100,000,000 that are decoded; expected a smaller image"),
    Items("one mask for photos of two sizes", '[{name: shoes, images: "in/*.png", mask: mask.png}]', {"mask.png": GOOD_MASK, "in/2.png": pictures.encoded(size=(20, 20))}, ("mask.png: shoes/2/white: is a mask of 16x12 pixels, and its image has 20x20; expected the same",), 0, 3),
    Items("a mask of a prompt", '[{name: shoes, images: "in/0.png"}]', {"mask.png": pictures.encoded(size=(16, 12))}, ("mask.png: shoes/0/a: is a mask without transparency; expected alpha 0 where the edit may happen",), 0, 2, {"prompts": "[{name: a, text: a, mask: mask.png}, {name: b, text: b, mask: mask.png}]"}),
    Items("no reference", MARKED, {"logos/1.png": GOOD_MASK}, ("logos/0.png: shoes/0/white: does not exist; expected an image file",), 1, 1),
    Items("a reference that is text", MARKED, {"logos/0.png": b"logo", "logos/1.png": GOOD_MASK}, ("logos/0.png: shoes/0/white: is no image by its first bytes; expected png, jpeg or webp",), 1, 1),
    Items("a bad reference of all", '[{name: shoes, images: "in/*.png", references: [logo.png]}]', {"logo.png": b""}, ("logo.png: shoes/0/white: is empty; expected an image",), 2, 0),
    Items("a bad photo of three prompts", '[{name: shoes, images: "in/*.png"}]', {"in/0.png": b""}, ("in/0.png: shoes/0/a: is empty; expected an image",), 3, 3, {"prompts": "[{name: a, text: a}, {name: b, text: b}, {name: c, text: c}]"}),
    Items("a bad photo with a bad mask", MASKED, {"in/0.png": b"", "masks/0.png": b"x", "masks/1.png": GOOD_MASK}, ("in/0.png: shoes/0/white: is empty; expected an image", "masks/0.png: shoes/0/white: is no image by its first bytes; expected png, jpeg or webp",), 1, 1),
    rows("a row of a file that is not there", "sku,file\nA1,in/0.png\nA2,in/9.png\n", "bags.csv:3: bags/A2/white: in/9.png does not exist; expected an image file"),
    rows("a row of a folder", "sku,file\nA1,in/0.png\nA2,in\n", "bags.csv:3: bags/A2/white: in is not a regular file; expected an image file"),
    rows("a row of a glob without a match", "sku,file\nA1,in/0.png\nA2,in/9*.png\n", "bags.csv:3: bags/A2: no file matches 'in/9*.png'; expected an image"),
    rows("a row of a glob that is wrong", "sku,file\nA1,in/0.png\nA2,in/*/../*.png\n", "bags.csv:3: bags/A2: no file matches 'in/*/../*.png'; expected an image"),
    rows("a row without an image", "sku,file\nA1,in/0.png\nA2,\n", "bags.csv:3: bags/A2: the row names no image; expected 1 to 16"),
    rows("a row of a home's tilde", "sku,file\nA1,in/0.png\nA2,~/a.png\n", "bags.csv:3: bags/A2/white: ~/a.png does not exist; expected an image file"),
    rows("a row of a name too long", f"sku,file\nA1,in/0.png\nA2,{'x' * 300}\n", "bags.csv:3: bags/A2/white: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx cannot be read: File name too long; expected a readable image file"),
    rows("a row of the table itself", "sku,file\nA1,in/0.png\nA2,bags.csv\n", "bags.csv:3: bags/A2/white: bags.csv is no image by its first bytes; expected png, jpeg or webp"),
    rows("a row of a URL", "sku,file\nA1,in/0.png\nA2,https://shop.example/9.png\n", "bags.csv:3: bags/A2: 'https://shop.example/9.png' is a URL; expected a file, as nothing is fetched"),
    rows("two rows of one bad file", "sku,file\nA1,in/0.png\nA2,in/9.png\nA3,in/9.png\n", "bags.csv:3: bags/A2/white: in/9.png does not exist; expected an image file", invalid=2),
    Items("a row of 17 images", ROWS, {"bags.csv": b"sku,file\nA1,in/0.png\nA2,looks/one/*.png\n", **looks(17)}, ("bags.csv:3: bags/A2: the item has 17 images; expected at most 16",), 1, 1),
    Items("a folder of 17 images", FOLDERS, looks(17), ("looks/one: looks/one: the item has 17 images; expected at most 16",), 1, 1),
    Items("a folder of 16 images and a reference", FOLDERS.replace("item:", "references: [in/0.png], item:"), looks(16), ("looks/one: looks/one: the item has 17 images with its references; expected at most 16",), 1, 1),
    Items("a photo too large for JSON", '[{name: shoes, images: "in/*.png"}]', {"in/2.png": pictures.sized(15_730_000)}, ("shoes/2/white: {folder}/in/2.png: the image makes a data URL of 20,973,358 characters; expected at most 20,971,520; use a smaller image, or body: multipart",), 1, 2, {"endpoint": "{body: json}"}),
]  # fmt: skip


@pytest.mark.timeout(30)
@pytest.mark.parametrize("items", ITEMS, ids=str)
def test_a_bad_item_is_named_and_costs_the_others_nothing(bench: BenchOf, folder: Path, items: Items) -> None:
    """Refused by `validate` and `--strict` at the table's line or the file; a plain run goes on and exits 3."""
    for name, content in items.files.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            content(folder / name)
    job = bench(image_sets=items.image_sets, **items.sections)
    job.refused(*(line.replace("{folder}", str(folder)) for line in items.lines))
    code, lines, connections = job.lines("run", "job.yaml")
    told = [line for line in lines if line.split(": ")[0].split("/")[0] in ("shoes", "bags", "looks")]
    assert (code, len(told), connections) == (3 if items.invalid else 0, items.invalid, items.sent)
