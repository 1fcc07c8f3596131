"""What an install brings, under which licences, and that the audit of it cannot pass in silence."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

ROOT = Path(__file__).parents[2]
LICENCES = {
    "aiohappyeyeballs": "PSF-2.0",
    "aiohttp": "Apache-2.0 AND MIT",
    "aiosignal": "Apache 2.0",
    "annotated-types": "MIT",
    "anyio": "MIT",
    "attrs": "MIT",
    "click": "BSD-3-Clause",
    "frozenlist": "Apache-2.0",
    "idna": "BSD-3-Clause",
    "jinja2": "BSD License",
    "markupsafe": "BSD-3-Clause",
    "msgspec": "BSD-3-Clause",
    "multidict": "Apache-2.0",
    "pillow": "MIT-CMU",
    "propcache": "Apache-2.0",
    "pybase64": "BSD-2-Clause",
    "pydantic": "MIT",
    "pydantic-core": "MIT",
    "pyyaml": "MIT",
    "tenacity": "Apache-2.0",
    "tqdm": "MPL-2.0 AND MIT",
    "typing-extensions": "PSF-2.0",
    "typing-inspection": "MIT",
    "uvloop": "MIT License",
    "yarl": "Apache-2.0",
    "zlib-ng": "PSF-2.0",
}
"""Everything that runs beside Retouch. One more is a decision: look at it before it is added here."""


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """The script of the audit."""
    spec = importlib.util.spec_from_file_location("audit_of_dependencies", ROOT / ".ci/audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def licence(name: str) -> str:
    """A package's own word for it."""
    told = metadata(name).json
    named = [line.rpartition(" :: ")[2] for line in told.get("classifier", []) if line.startswith("License")]
    return str(told.get("license_expression") or told.get("license") or " AND ".join(named))


def test_no_dependency_comes_unnoticed(audit: ModuleType) -> None:
    """Direct and transitive: each is known here, with the licence that it says it has."""
    assert {name: licence(name) for name in audit.closure("retouch")} == LICENCES


PAGES: dict[str, Any] = {
    "/good/1.0/json": {"info": {"version": "1.0"}, "vulnerabilities": []},
    "/bad/1.0/json": {
        "info": {"version": "1.0"},
        "vulnerabilities": [{"id": "PYSEC-1", "withdrawn": None}, {"id": "PYSEC-0", "withdrawn": "2026-01-01"}],
    },
    "/latest/json": {"info": {"version": "1.0"}, "vulnerabilities": [{"id": "GHSA-2", "withdrawn": None}]},
    "/older/json": {"info": {"version": "2.0"}, "vulnerabilities": []},
    "/mute/json": {"info": {"version": "1.0"}},
}


class Index(BaseHTTPRequestHandler):
    pages: ClassVar[dict[str, Any]] = PAGES

    def do_GET(self) -> None:
        page = self.pages.get(self.path)
        self.send_response(200 if page else 500 if "broken" in self.path else 404)
        self.end_headers()
        self.wfile.write(json.dumps(page).encode() if page else b"")

    def log_message(self, format: str, *words: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def index() -> Iterator[str]:
    """A package index of our own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_known_vulnerability_fails_the_audit(
    audit: ModuleType, index: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the page of the version, else from the project's; a withdrawn one does not count."""
    findings = list(audit.audit(dict.fromkeys(("good", "bad", "latest"), "1.0"), index))
    assert audit.report(findings) == 1
    assert capsys.readouterr().out.splitlines() == [
        "VULNERABLE: bad 1.0: PYSEC-1",
        "VULNERABLE: latest 1.0: GHSA-2",
        "3 of 3 runtime dependencies audited, 2 vulnerable",
    ]


def test_what_could_not_be_asked_is_named_and_not_counted(
    audit: ModuleType, index: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No page, a page of another release, a page that tells nothing, an index that fails: each with its reason."""
    findings = list(audit.audit(dict.fromkeys(("good", "none", "older", "mute", "broken"), "1.0"), index))
    assert audit.report(findings) == 0
    assert capsys.readouterr().out.splitlines() == [
        "NOT AUDITED: none 1.0: the index has no page for it",
        "NOT AUDITED: older 1.0: the index only answers for its latest release, 2.0",
        "NOT AUDITED: mute 1.0: the index tells no vulnerabilities",
        "NOT AUDITED: broken 1.0: the index answers 500",
        "1 of 5 runtime dependencies audited, 0 vulnerable",
    ]
    [finding] = audit.audit({"good": "1.0"}, "http://127.0.0.1:9")
    assert finding.unasked


def test_the_audit_is_a_part_of_ci() -> None:
    """Its section fails with it: nothing swallows its exit code."""
    run = (ROOT / ".ci/run").read_text()
    assert "set -euo pipefail" in run
    assert "\n.venv/bin/python .ci/audit.py\n" in run
    subprocess.run(["bash", "-n", str(ROOT / ".ci/run")], check=True)
