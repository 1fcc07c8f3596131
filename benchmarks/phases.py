"""To which phase of an edit a place in the code belongs, by the innermost of a thread's frames that belongs to one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

LOOP = "event loop, sockets and all else"

PHASES: Sequence[tuple[str, Sequence[str]]] = (
    ("start: imports and manifest", ("<frozen importlib", "/pipeline/manifest/")),
    ("tasks: list, expand, compare", ("/pipeline/tasks/", "/pipeline/run/survey", "/pipeline/run/glance.py")),
    ("inputs: read and hash", ("/pipeline/endpoint/upload.py", "/pipeline/run/inputs.py", "/pipeline/run/reading.py")),
    ("inputs: examine", ("/pipeline/run/examine.py",)),
    ("admission", ("/pipeline/control/", "/pipeline/run/admission.py", "/pipeline/run/gate.py", "/pipeline/run/lane")),
    ("ledger: write and sync", ("/pipeline/ledger/",)),
    ("upload", ("/pipeline/endpoint/sending.py", "/pipeline/endpoint/form.py")),
    ("download", ("/pipeline/endpoint/answering.py", "/aiohttp/streams.py")),
    ("request and connection", ("/aiohttp/", "/pipeline/endpoint/transport.py", "/pipeline/endpoint/connecting.py")),
    ("answer: parse and decode", ("/pipeline/endpoint/", "/pipeline/run/receive.py", "/pipeline/decode.py:b64")),
    (
        "pictures: check",
        ("/outputs/check.py", "/outputs/png.py", "/outputs/jpeg.py", "/outputs/pixels.py", "/decode.py", "/PIL/"),
    ),
    ("pictures: write and sync", ("/pipeline/outputs/parts.py", "/pipeline/durable.py")),
    ("pictures: publish", ("/pipeline/outputs/",)),
    ("one edit's steps", ("/pipeline/run/",)),
)
"""By phase, what the `path:function` of its frames contains; of a frame that fits several, the first counts."""

_IDLE = ("/threading.py", "/queue.py", "/concurrent/", "/selectors.py")
"""A thread whose innermost frame is here waits for work."""

_LOOPS = "/asyncio/runners.py"
"""What lies outside of this frame started the loop, and is no part of what the loop does."""

WAITING = "threads that wait for work"


def phase_of(places: Sequence[str]) -> str | None:
    """The phase of a thread, from the places of its frames, the innermost first; None where no frame has one."""
    if places and any(part in places[0] for part in _IDLE):
        return WAITING
    inside = takewhile(lambda place: _LOOPS not in place, places)
    found = (name for place in inside for name, parts in PHASES if any(part in place for part in parts))
    return next(found, None)
