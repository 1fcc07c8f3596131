"""Every kind of case, by name."""

from __future__ import annotations

from tests.fuzz import answers, images, ledgers, manifests, tables, templates, wire
from tests.fuzz.harness import Kind

_MODULES = (manifests, tables, templates, answers, wire, images, ledgers)

KINDS: dict[str, Kind] = {kind.name: kind for module in _MODULES for kind in module.KINDS}
