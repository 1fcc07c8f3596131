"""The documentation's pages as tests read them: sections, fenced blocks, tables, code words, links' anchors."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

SMALL = """
version: 1
name: small
request: {model: gpt-image-2}
image_sets: [{name: photos, images: "*.png"}]
prompts: [{name: white, text: A white background.}]
output: {folder: out}
"""
"""A manifest that loads as it stands; it needs no file."""


def read(name: str) -> str:
    """A page by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def unfenced(page: str) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)


def fenced(page: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def section(page: str, heading: str) -> str:
    """The text below a heading, up to the next heading of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", unfenced(page), re.MULTILINE | re.DOTALL)
    assert found, f"there is no section {heading!r}"
    return found[1]


def code(text: str) -> set[str]:
    """What stands in `code`, and the word that each begins with."""
    found = set(re.findall(r"`([^`]+)`", text))
    return found | {re.split(r"[ =(]", one)[0] for one in found}


def rows(text: str) -> dict[str, list[str]]:
    """The rows of all tables by their first cell, which loses its code marks; heads are left out."""
    lines = text.splitlines()
    body = [
        line
        for at, line in enumerate(lines)
        if line.startswith("| ") and not (at + 1 < len(lines) and lines[at + 1].startswith("|--"))
    ]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in body]
    return {first.strip("`"): rest for first, *rest in cells}


def anchors(page: str) -> set[str]:
    """The headings as GitHub's links name them."""
    headings = re.findall(r"^#+ (.+)$", unfenced(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
