"""The shortest valid manifest, one line a section, for tests that change or add a line."""

from __future__ import annotations

LINES = {
    "version": "1",
    "name": "x",
    "request": "{model: m}",
    "image_sets": '[{name: a, images: "*.png"}]',
    "prompts": "[{name: p, text: hi}]",
    "output": "{folder: out}",
}


def minimal(**changes: str) -> str:
    """The manifest with sections replaced in their line, or added after the last; lines count from 1."""
    return "".join(f"{key}: {value}\n" for key, value in (LINES | changes).items())
