"""What the proxy makes of each of the upstream's answers, as files in `captured/`.

The files feed the tests of how answers are judged. Write them anew with `python -m tests.peer.capture`.
"""

from __future__ import annotations

import base64
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import openai
from anyio.from_thread import start_blocking_portal

from tests.peer import proxy, upstream

FOLDER = Path(__file__).parent / "captured"
MODEL = "gpt-image-1"
"""The model that the proxy forwards to the scripted upstream."""
SANDBOX_MODEL = "gpt-image-1.5"
"""The model that the proxy forwards to the sandbox."""
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
UNREACHABLE = "unreachable"
"""A model whose upstream refuses every connection."""
NOWHERE = "http://127.0.0.1:9/v1"
PROXYS_OWN: Mapping[str, Mapping[str, str]] = {
    "proxy_unreachable_upstream": {"model": UNREACHABLE},
    "proxy_unknown_model": {"model": "nonesuch"},
    "proxy_wrong_key": {"key": "sk-wrong"},
}
"""Answers that the proxy gives without any from its upstream: how the call differs."""
CASES = (*upstream.CASES, *PROXYS_OWN)
"""Every captured case."""
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_CHANGING = re.compile(r"date|server|content-length|x-litellm-(call-id|model-|key-spend|.*duration|response-cost)")


@dataclass(frozen=True, slots=True)
class Message:
    """An HTTP answer: its status (0: none, the connection was cut), headers in lower case, and body as text."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Capture:
    """What the upstream said, and what the proxy, named with its version, made of it.

    `upstream` is null where the proxy answered by itself.
    """

    proxy: str
    upstream: Message | None
    answer: Message


def post(base_url: str, key: str, model: str = MODEL) -> Message:
    """Send one edit with OpenAI's SDK, without its retries, and return the answer as it came."""
    headers = {"Accept-Encoding": "identity"}
    with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=60, default_headers=headers) as client:
        try:
            raw = client.images.with_raw_response.edit(
                image=("pixel.png", _PIXEL, "image/png"), prompt="x", model=model, n=1, size="1024x1024", quality="low"
            )
            response = raw.http_response
        except openai.APIStatusError as error:
            response = error.response
    return Message(
        response.status_code, {name.lower(): value for name, value in response.headers.items()}, response.text
    )


def ask(peer: proxy.Proxy, server: upstream.Upstream, case: str) -> Capture:
    """Let the upstream answer with a case, and return what the proxy makes of it."""
    name = f"litellm {peer.version}"
    if case in PROXYS_OWN:
        own = PROXYS_OWN[case]
        return Capture(name, None, _lasting(post(peer.url, own.get("key", peer.key), own.get("model", MODEL))))
    answer = upstream.CASES[case]
    server.script(case)
    said = Message(answer.status, {"content-type": answer.content_type, **answer.headers}, answer.body)
    return Capture(name, said, _lasting(post(peer.url, peer.key)))


def load(case: str) -> Capture:
    """The captured exchange of a case; raises FileNotFoundError where there is none."""
    return msgspec.json.decode((FOLDER / f"{case}.json").read_bytes(), type=Capture)


def _lasting(message: Message) -> Message:
    """The message without what differs from one call to the next."""
    headers = {name: value for name, value in sorted(message.headers.items()) if not _CHANGING.search(name)}
    return Message(message.status, headers, _ADDRESS.sub("0x0", message.body))


def main() -> None:
    """Capture every case."""
    command = proxy.executable()
    if command is None:
        sys.exit(proxy.ABSENT)
    with (
        tempfile.TemporaryDirectory() as folder,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(upstream.serve()) as server,
        proxy.run(command, Path(folder), {MODEL: server.url, UNREACHABLE: NOWHERE}) as peer,
    ):
        for case in CASES:
            text = msgspec.json.format(msgspec.json.encode(ask(peer, server, case)))
            (FOLDER / f"{case}.json").write_bytes(text + b"\n")


if __name__ == "__main__":
    main()
