"""Pictures are opened by three decoders and up to a number of pixels, on their way in and on their way out."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import PIL.Image
import pytest

from pipeline.decode import MAX_PIXELS, Picture, Refusal, decode
from tests.e2e.forked import Forked
from tests.e2e.servers import OK, edit, hostile, says, stage_of
from tests.security.bombs import BOMBS, DISGUISED, OTHERS, png, saved

HARMFUL = BOMBS | OTHERS | DISGUISED
ROOM = 260_000_000
"""Bytes of memory that a run may take for any of these; decoding one bomb would take at least 400 MB."""


@pytest.mark.parametrize("name", HARMFUL)
def test_only_three_decoders_see_a_picture(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal in words, no warning, no other plugin asked, and no process started."""

    def refuse(*words: object, **more: object) -> None:
        raise AssertionError(f"{name}: {words}")

    monkeypatch.setattr(PIL.Image, "open", refuse)
    monkeypatch.setattr("subprocess.Popen", refuse)
    monkeypatch.setattr(os, "system", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode(HARMFUL[name])
    assert isinstance(found, Refusal) or name == "png-of-endless-rows"


def test_the_cap_is_ours_and_not_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's own limit only warns below twice its number, and may be switched off: neither matters."""
    for limit in (None, 1, 10**12):
        monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", limit)
        assert isinstance(decode(png(10_001, MAX_PIXELS // 10_000)), Refusal)
        assert isinstance(decode(saved("PNG")), Picture)


def test_harmful_outputs_are_unusable_and_memory_is_flat(retouch: Forked, tmp_path: Path) -> None:
    """As answers of a server: none is published, each is settled `unusable`, and nothing is started for it."""
    plays = {name: [says(edit(data))] for name, data in HARMFUL.items()}
    plays.pop("png-of-endless-rows")
    with hostile(plays=plays) as server:
        stage = stage_of(
            tmp_path, server.url, list(plays), endpoint={"max_response": "16MB"}, retries={"max_attempts": 1}
        )
        run = retouch.run(stage).ended(3)
    assert run["attempts"]["unusable"] == len(plays)
    lines = [line for line in stage.ledger() if line["type"] == "settled"]
    assert {line["code"] for line in lines} == {"undecodable"}
    assert not [path for path in stage.out.rglob("*") if path.suffix in (".png", ".jpg", ".webp")]
    assert retouch.peak < ROOM


def test_harmful_inputs_are_named_before_anything_is_sent(retouch: Forked, tmp_path: Path) -> None:
    """With any extension: `validate` and `run --strict` name each file, exit 2, and memory stays flat."""
    with hostile(plays={"x": [OK]}) as server:
        stage = stage_of(tmp_path, server.url, ["x"])
        stage.job["image_sets"][0]["images"] = "photos/*"
        for number, (name, data) in enumerate(HARMFUL.items()):
            if name != "png-of-endless-rows":
                extension = ("png", "jpg", "webp", name.partition("-")[0])[number % 4]
                (stage.folder / f"photos/{name}.{extension}").write_bytes(data)
        stage.write()
        found = stage.retouch("validate").ended(2)["problems"]
        assert len(found) == len(HARMFUL) - 1
        told = json.dumps(found)
        assert not [name for name in HARMFUL if f"/{name}." not in told and name != "png-of-endless-rows"]
        assert retouch.run(stage, "--strict").code == 2
        assert retouch.peak < ROOM
    assert server.requests == []


def test_an_embedded_sandbox_opens_nothing_else_either(retouch: Forked, tmp_path: Path) -> None:
    """`run --sandbox` decodes what is sent to it with the same three formats and refuses bombs, in the same process."""
    stage = stage_of(tmp_path, "http://127.0.0.1:9/v1", ["x"])
    for name, data in BOMBS.items():
        (stage.folder / f"photos/{name}.png").write_bytes(data)
    run = retouch.run(stage, "--sandbox", "--concurrency", "2").ended(3)
    assert run["tasks"]["failed"] >= len(BOMBS) - 4
    assert retouch.peak < 3 * ROOM
