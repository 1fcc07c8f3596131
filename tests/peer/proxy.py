"""A real LiteLLM proxy as a child process on a loopback port."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MASTER_KEY = "sk-0123456789abcdef0123456789abcdef"
"""The proxy's key; it wants one that is long and begins with sk-."""
ABSENT = "no LiteLLM: set RETOUCH_LITELLM to its command, or install 'litellm[proxy]' into .venv-litellm"
UPSTREAM_TIMEOUT = 5
"""Seconds that the proxy gives its upstream."""
_START = 100.0
"""Seconds until the proxy must answer: about 10 on an idle machine, over 40 with cold caches."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy; its `url` ends in /v1."""

    url: str
    key: str
    version: str


def executable() -> Path | None:
    """The `litellm` command: RETOUCH_LITELLM, else the one in `.venv-litellm` of the checkout, else None."""
    named = os.environ.get("RETOUCH_LITELLM")
    path = Path(named) if named else Path(__file__).parents[2] / ".venv-litellm/bin/litellm"
    return path if path.is_file() else None


def config(upstreams: Mapping[str, str]) -> dict[str, object]:
    """The proxy's configuration: each model name with the base URL that it is forwarded to.

    Without `num_retries: 0` the proxy makes three calls of each of ours, and without `disable_cooldowns` it answers
    429 by itself once an upstream has failed.
    """
    models = [
        {
            "model_name": model,
            "litellm_params": {
                "model": f"openai/{model}",
                "api_base": url,
                "api_key": "sk-upstream-0123456789abcdef",
                "timeout": UPSTREAM_TIMEOUT,
            },
        }
        for model, url in upstreams.items()
    ]
    return {
        "model_list": models,
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "litellm_settings": {"num_retries": 0, "telemetry": False},
        "general_settings": {"master_key": MASTER_KEY},
    }


@contextmanager
def run(command: Path, folder: Path, upstreams: Mapping[str, str]) -> Iterator[Proxy]:
    """Start the proxy with its files in `folder`, wait until it is ready, and end it afterwards.

    Raises RuntimeError, with the end of its log, when it does not become ready.
    """
    settings = folder / "litellm.yaml"
    settings.write_text(json.dumps(config(upstreams)))
    port = _free_port()
    log = folder / "litellm.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [command, "--config", settings, "--host", "127.0.0.1", "--port", str(port)],
            env=_environment(folder),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}/health/readiness", log)
        yield Proxy(f"http://127.0.0.1:{port}/v1", MASTER_KEY, _version(command))
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(folder: Path) -> dict[str, str]:
    # PRODUCTION keeps the proxy from reading .env files; the local cost map keeps it from fetching one.
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the LiteLLM proxy did not become ready:\n{log.read_text(errors='replace')[-4000:]}")


def _version(command: Path) -> str:
    script = "import importlib.metadata as m; print(m.version('litellm'))"
    done = subprocess.run([command.parent / "python", "-c", script], check=True, capture_output=True, text=True)
    return done.stdout.strip()
