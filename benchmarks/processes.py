"""The command as users run it: `retouch sandbox` in one process, `retouch run` in another, and the sandbox's bill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

from PIL import Image

RETOUCH = str(Path(sys.executable).with_name("retouch"))
PHOTOS = 20


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that ended: its exit code and wall time, its summary, what it said, and the endpoint's bill."""

    code: int
    seconds: float
    summary: Mapping[str, Any]
    said: str
    bill: Mapping[str, Any]


@contextmanager
def sandbox(*options: str) -> Iterator[str]:
    """A served endpoint's address, while the block lasts."""
    command = [RETOUCH, "sandbox", "--port", "0", "--plain", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())["url"]
        finally:
            server.terminate()


def job(url: str, tasks: int, limits: Mapping[str, Any]) -> dict[str, Any]:
    """A job of so many tasks, a multiple of `PHOTOS`."""
    return {
        "version": 1,
        "name": "benchmark",
        "endpoint": {"base_url": url, "api_key_env": "BENCHMARK_KEY"},
        "request": {"model": "gpt-image-1.5", "size": "1024x1024", "quality": "low"},
        "image_sets": [{"name": "photos", "images": "photos/*.png"}],
        "prompts": [{"name": f"p{number}", "text": f"Prompt {number}."} for number in range(tasks // PHOTOS)],
        "limits": dict(limits),
        "output": {"folder": "out"},
    }


def run(tasks: int, limits: Mapping[str, Any], *served: str) -> Ran:
    """Run a job against a sandbox with the options `served`, in a folder that is gone afterwards."""
    with TemporaryDirectory(prefix="retouch-benchmark-") as name, sandbox(*served) as url:
        folder = Path(name)
        (folder / "photos").mkdir()
        for number in range(PHOTOS):
            (folder / f"photos/{number:02}.png").write_bytes(photo(number))
        (folder / "job.yaml").write_text(json.dumps(job(url, tasks, limits)))
        surroundings = os.environ | {"BENCHMARK_KEY": "sk-benchmark", "XDG_STATE_HOME": str(folder / "state")}
        began = time.monotonic()
        done = subprocess.run(
            [RETOUCH, "run", "job.yaml", "--json"],
            cwd=folder,
            env=surroundings,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - began
        with urlopen(url.removesuffix("/v1") + "/sandbox/bill") as answer:
            bill = json.load(answer)
    assert done.stdout, done.stderr
    return Ran(done.returncode, seconds, json.loads(done.stdout), done.stderr, bill)


def photo(number: int) -> bytes:
    """A small PNG, another one for each number."""
    data = BytesIO()
    Image.new("RGB", (48, 48), (number, 90, 90)).save(data, "PNG")
    return data.getvalue()
