"""Composes pairs.png from the photographs of jobs/catalog.yaml and what a sandbox run made of them.

retouch run jobs/catalog.yaml --sandbox && python docs/images/pairs.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "examples/photos/products"
RESULTS = ROOT / "out/catalog.sandbox/products"
PRODUCTS = {
    "CUP-001": "espresso-cup.jpg",
    "PAT-006": "mission-patch.png",
    "SUI-003": "flight-suit.jpg",
    "SHU-005": "shuttle-model.jpg",
}
ROWS = ("the photograph", "white-background", "lifestyle")
TILE, GAP, LEFT, BOTTOM = 128, 8, 128, 28


def main() -> None:
    """Write pairs.png beside this file."""
    width = LEFT + len(PRODUCTS) * (TILE + GAP)
    height = GAP + len(ROWS) * (TILE + GAP) + BOTTOM
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for row, name in enumerate(ROWS):
        top = GAP + row * (TILE + GAP)
        draw.text((GAP, top + TILE // 2 - 8), name, "black", font)
        for column, (sku, photo) in enumerate(PRODUCTS.items()):
            path = RESULTS / name / f"{sku}-1.png" if row else PHOTOS / photo
            sheet.paste(tile(path), (LEFT + column * (TILE + GAP), top))
    words = "drawn by the built-in sandbox, which stands in for a model"
    draw.text((LEFT, height - BOTTOM + 4), words, "#555", font)
    sheet.save(Path(__file__).with_name("pairs.png"), optimize=True)


def tile(path: Path) -> Image.Image:
    """The middle of a picture as a square with a thin frame."""
    with Image.open(path) as picture:
        square = ImageOps.fit(picture.convert("RGB"), (TILE, TILE), Image.Resampling.LANCZOS)
    ImageDraw.Draw(square).rectangle((0, 0, TILE - 1, TILE - 1), outline="#ccc")
    return square


if __name__ == "__main__":
    main()
