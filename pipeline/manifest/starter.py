"""The manifest that `retouch init` writes: it runs as it stands on a folder of photos, and explains every key."""

from __future__ import annotations

from importlib.resources import files


def starter_manifest() -> str:
    """The starter manifest's text."""
    return (files("pipeline.manifest") / "starter.yaml").read_text(encoding="utf-8")
