"""The scripted endpoint: how it takes each request follows from a number, and it keeps a bill of its own.

The bill is a file beside the job, written past everything that a crash or a fault of the run can stop.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import anyio.lowlevel

from pipeline.endpoint.form import Edit
from pipeline.endpoint.reply import Failure, Reply
from tests.run.conftest import answer, broken, picture, refusal

JPEG = picture(5, format="JPEG")

MOODS = {
    "ok": "succeeded",
    "same": "succeeded",
    "more": "succeeded",
    "fewer": "succeeded",
    "other size": "succeeded",
    "other format": "succeeded",
    "no usage": "succeeded",
    "one bad": "succeeded",
    "refused": "refused",
    "moderated": "refused",
    "throttled": "throttled",
    "wait": "throttled",
    "pause": "throttled",
    "long": "throttled",
    "busy": "throttled",
    "error": "in_doubt",
    "reset": "in_doubt",
    "timeout": "in_doubt",
    "cut": "in_doubt",
    "unreachable": "unsent",
    "html": "unusable",
    "empty": "unusable",
    "torn": "unusable",
    "undecodable": "unusable",
    "quota": "stopped",
    "key": "stopped",
}
"""Each mood with the outcome that an attempt has to have then."""

PAID = frozenset(mood for mood, outcome in MOODS.items() if outcome == "succeeded")
REFUSING = ("refused", "moderated")
DELAYING = ("throttled", "wait", "pause", "busy")
DOUBTFUL = ("error", "reset", "timeout", "cut")
USELESS = ("html", "empty", "torn", "undecodable")
ODD = ("same", "more", "fewer", "other size", "other format", "no usage", "one bad")

CLIMATES: dict[str, dict[str, int]] = {
    "fair": {"ok": 1},
    "odd": {"ok": 6} | dict.fromkeys(ODD, 2),
    "copying": {"same": 3, "ok": 1},
    "mixed": {"ok": 12} | dict.fromkeys((*ODD, *REFUSING, *DELAYING, *DOUBTFUL, *USELESS, "unreachable"), 1),
    "refusing": {"ok": 1} | dict.fromkeys(REFUSING, 1),
    "doubtful": {"ok": 2} | dict.fromkeys(DOUBTFUL, 1),
    "useless": {"ok": 2} | dict.fromkeys(USELESS, 1),
    "delaying": {"ok": 4} | dict.fromkeys((*DELAYING, "unreachable"), 1),
    "down": dict.fromkeys((*DELAYING, "unreachable", "error"), 1),
    "closing": {"ok": 8, "quota": 1, "key": 1, "long": 1},
}
"""Weights of the moods of one run."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the endpoint made of a request: its mood, the tokens it charges, and the pictures that it sends."""

    mood: str
    tokens: int
    reply: Reply
    pictures: tuple[bytes, ...]


@dataclass(slots=True)
class Endpoint:
    """Answers the requests of one run; `seed` and how often it saw a request decide how.

    `bill` is the file of the bill, `write` the kernel's own write, past what the run's crash and faults strike.
    `arrived` is called with each request's number, from 1 on.
    """

    seed: int
    climate: str
    step: int
    bill: Path
    write: Callable[[int, bytes], int]
    in_flight: Callable[[], int]
    arrived: Callable[[int], None]
    _seen: Counter[str] = field(default_factory=Counter)
    _answers: dict[int, Answer] = field(default_factory=dict)

    async def take(self, edit: Edit) -> None:
        """A request arrives: it is on the bill, and takes a while."""
        chance = self._chance_of(edit)
        answer = self._answers[id(edit)] = make(edit.fields, self.climate, chance)
        line = {
            "step": self.step,
            "key": edit.idempotency_key,
            "fields": dict(edit.fields),
            "mood": answer.mood,
            "tokens": answer.tokens,
            "pictures": [[digest(data), "png" if data[:1] == b"\x89" else "jpg"] for data in answer.pictures],
            "in_flight": self.in_flight(),
        }
        self._note(line)
        self.arrived(self._seen.total())
        for _ in range(chance.choice((0, 0, 1, 5, 20))):
            await anyio.lowlevel.checkpoint()

    def answer(self, edit: Edit) -> Reply:
        """The answer to a request that was taken."""
        return self._answers.pop(id(edit)).reply

    def _note(self, line: Mapping[str, Any]) -> None:
        fd = os.open(self.bill, os.O_WRONLY | os.O_APPEND)
        self.write(fd, json.dumps(line).encode() + b"\n")
        os.close(fd)

    def _chance_of(self, edit: Edit) -> Random:
        asked = json.dumps([dict(edit.fields), [upload.sha256 for upload in edit.images]], sort_keys=True)
        self._seen[asked] += 1
        return Random(f"{self.seed} {asked} {self._seen[asked]}")


def make(fields: Mapping[str, Any], climate: str, chance: Random) -> Answer:
    """An answer as the climate has it."""
    weights = CLIMATES[climate]
    mood = chance.choices(list(weights), list(weights.values()))[0]
    tokens = chance.randint(1, 900)
    wanted = int(fields.get("n", 1))
    asked = str(fields.get("size", "16x12"))
    good = [png(chance.getrandbits(64), asked, chance.choice((0, 0, 0, 9, 70))) for _ in range(wanted)]
    match mood:
        case "ok" | "no usage":
            images = good
        case "same":
            images = [png(0, asked, 0)] * wanted
        case "more":
            images = [*good, png(chance.getrandbits(64), asked, 0)]
        case "fewer":
            images = good[: max(1, wanted - 1)]
        case "other size":
            images = [png(chance.getrandbits(64), "5x5", 0) for _ in range(wanted)]
        case "other format":
            images = [jpeg(chance.getrandbits(64)) for _ in range(wanted)]
        case "one bad":
            images = [*good[:-1], good[-1][:-30]] if wanted > 1 else good
        case _:
            return Answer(mood, *_without_picture(mood, tokens, chance), ())
    usage = {"input_tokens": 1, "output_tokens": tokens - 1, "total_tokens": tokens}
    reply = answer(*images, usage="none" if mood == "no usage" else usage)
    usable = [image for image in images if not is_torn(image)][:wanted]
    return Answer(mood, tokens, reply, tuple(usable))


def _without_picture(mood: str, tokens: int, chance: Random) -> tuple[int, Reply]:
    """What it costs, and the answer."""
    maybe = chance.choice((0, tokens))
    match mood:
        case "refused":
            return 0, refusal(400, "bad_thing")
        case "moderated":
            return 0, refusal(chance.choice((400, 200)), "moderation_blocked")
        case "throttled":
            return 0, refusal(429)
        case "wait":
            return 0, refusal(429, "rate_limit_exceeded", retry_after="2")
        case "pause":
            return 0, refusal(429, retry_after="300")
        case "long":
            return 0, refusal(429, retry_after="7200")
        case "busy":
            return 0, refusal(503)
        case "error":
            return maybe, refusal(chance.choice((500, 502, 504, 408)))
        case "reset":
            return maybe, broken(chance.choice((Failure.RESET, Failure.DISCONNECTED)))
        case "timeout":
            return maybe, broken(Failure.TIMEOUT, seconds=60.0)
        case "cut":
            reply = answer(png(1, "16x12", 0))
            cut = bytes(reply.body[: len(reply.body) // 3])
            return tokens, Reply(status=200, body=cut, began=True, failure=Failure.INCOMPLETE_BODY, seconds=1.0)
        case "unreachable":
            return 0, broken(Failure.CONNECT_REFUSED, began=False, seconds=0.0)
        case "html":
            return tokens, Reply(status=200, body=b"<html>wait</html>", began=True, seconds=1.0)
        case "empty":
            return tokens, answer(usage={"input_tokens": 1, "output_tokens": tokens - 1, "total_tokens": tokens})
        case "torn":
            return tokens, Reply(status=200, body=bytes(answer(png(1, "16x12", 0)).body[:-40]), began=True, seconds=1.0)
        case "undecodable":
            return tokens, answer(b"\x89PNG\r\n\x1a\nnothing", usage="none")
        case "quota":
            return 0, refusal(429, "insufficient_quota")
        case _:
            return 0, refusal(401, "invalid_api_key")


def png(number: int, size: str, padding: int) -> bytes:
    """A picture that no other number gives; `padding` changes its length."""
    width, height = map(int, size.split("x"))
    rows = zlib.compress(bytes((width + 1) * height), 1)
    text = b"n\0%020d" % number + b"." * padding
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"tEXt", text), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def jpeg(number: int) -> bytes:
    """A JPEG that no other number gives."""
    note = b"%020d" % number
    return JPEG[:2] + b"\xff\xfe" + struct.pack(">H", len(note) + 2) + note + JPEG[2:]


def is_torn(image: bytes) -> bool:
    """Whether a picture made here was cut."""
    return not image.endswith((b"IEND\xaeB`\x82", b"\xff\xd9"))


def digest(data: bytes) -> str:
    """The sha256, in hex."""
    return sha256(data).hexdigest()
