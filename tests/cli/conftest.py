"""The `retouch` command in a process of its own, in a folder with a job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.cli import main

JOB = """\
version: 1
name: shop
endpoint: {base_url: "http://127.0.0.1:9/v1"}
request: {model: gpt-image-2, size: 1024x1024, quality: low}
image_sets: [{name: shoes, images: "in/*.png"}]
prompts: [{name: white, text: White background}]
output: {folder: out, spill: spill}
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout, which must be one object on one line."""
        assert self.out.count("\n") == 1
        return json.loads(self.out)


Retouch = Callable[..., Said]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a job of two small photos."""
    (tmp_path / "in").mkdir()
    for number in range(2):
        Image.new("RGB", (16, 12), (number, 2, 3)).save(tmp_path / f"in/{number}.png")
    (tmp_path / "job.yaml").write_text(JOB)
    return tmp_path


@pytest.fixture
def environ(folder: Path) -> dict[str, str]:
    """An environment without the tester's own keys and locale."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")}
    return kept | {"LC_ALL": "C.UTF-8", "XDG_STATE_HOME": str(folder / "state")}


@pytest.fixture
def call(
    folder: Path, environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Retouch:
    """Runs the command in this process, which is quicker; for what needs no signal and no stream of its own."""
    monkeypatch.chdir(folder)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "RETOUCH_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["retouch", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        assert isinstance(caught.value.code, int)
        return Said(caught.value.code, *capfd.readouterr())

    return run


@pytest.fixture
def retouch(folder: Path, environ: Mapping[str, str]) -> Retouch:
    """Runs the command as an installed one is run."""

    def run(*arguments: str, env: Mapping[str, str] | None = None, shell: str = "", **more: Any) -> Said:
        command = [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments]
        if shell:
            command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
        done = subprocess.run(
            command, cwd=folder, env={**environ, **(env or {})}, capture_output=True, timeout=60, check=False, **more
        )
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run
