"""Nothing that a server, a file name, a table or a ledger says steers the terminal or forges a line."""

from __future__ import annotations

import io
import json
import re
import sys
import unicodedata
from pathlib import Path

import pytest

from pipeline.cli.progress import Bar
from pipeline.cli.terminal import out, print_json, printable, say
from tests.e2e.command import Finished, finished, installed
from tests.e2e.forked import Forked
from tests.e2e.servers import KEY, USAGE, edit, error, hostile, says, stage_of
from tests.e2e.stage import Stage, photo

EVIL = (
    "\x1b[31mred\x1b]0;title\x07\x1b]8;;http://x\x1b\\link\r\n\x08\x7f\x9b2J\u202eevil\u2066iso\u2028line\ufeffend\x00"
)
FORGED = "error: forged"
STEERING = re.compile(r"[^\n]")


def steering(text: str) -> set[str]:
    """The characters that a terminal would act upon."""
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return {char for char in text if unicodedata.category(char) in kinds and char not in "\n\u200d"}


def quiet(run: Finished) -> None:
    """Nothing printed steers, and no line is forged."""
    assert steering(run.stderr) == set()
    assert steering(run.stdout) == set()
    assert not [line for line in run.stderr.splitlines() if line.startswith(FORGED)]


def test_every_steering_character_is_taken_out() -> None:
    """All of Unicode but tab and line feed: control, direction, line and invisible characters."""
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    left = printable(every)
    assert {char for char in steering(left) if unicodedata.bidirectional(char) in ("BN", "B", "S")} <= ALLOWED
    assert not [char for char in left if unicodedata.category(char) == "Cc" and char not in "\t\n"]
    assert not [char for char in left if unicodedata.bidirectional(char) in BIDI]
    assert "\u200d" in left, "emoji and many scripts join with it"


ALLOWED = {char for char in map(chr, range(0x110000)) if unicodedata.category(char) == "Cf"} - {"\ufeff"} | {"\t"}
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.fixture(scope="module")
def told(retouch: Forked, tmp_path_factory: pytest.TempPathFactory) -> tuple[Stage, Finished]:
    """A run whose server says evil things in every place that is kept."""
    text = json.dumps(EVIL + "\n" + FORGED)[1:-1]
    plays = {
        "message": [says(error(EVIL + "\n" + FORGED, "c"), "400 No")],
        "code": [says(error("x", EVIL), "400 No")],
        "html": [says(f"<title>{EVIL}\n{FORGED}</title>".encode(), "413 No")],
        "detail": [says(json.dumps({"detail": EVIL}).encode(), "422 No")],
        "unusable": [says(json.dumps({"error": {"message": EVIL, "code": EVIL, "type": EVIL}}).encode())],
        "usage": [says(edit(usage=USAGE | {f"{EVIL}tokens": 5, "input_tokens_details": {EVIL: 3}}))],
        "headers": [says(error(text), "400 No", X_Request_Id="a\x1b[2Jb\x9b1m", Server="\x1b]0;x\x07")],
        "doubt": [says(EVIL.encode(), "502 No", X_Request_Id="\x1b[2J")],
    }
    with hostile(plays=plays) as server:
        stage = stage_of(tmp_path_factory.mktemp("evil"), server.url, list(plays), retries={"max_attempts": 1})
        return stage, retouch.run(stage, "--verbose")


def test_a_servers_words_steer_nothing(told: tuple[Stage, Finished]) -> None:
    """While it runs, in log records, in the ledger, in the summary and as JSON."""
    stage, run = told
    assert run.code == 3, run.stderr
    quiet(run)
    assert steering((stage.out / "ledger.jsonl").read_text()) == set()
    [line] = [line for line in stage.ledger() if line.get("task") == "p/a/usage" and line["type"] == "settled"]
    assert line["usage"] == USAGE | {"input_tokens_details": {}}


@pytest.mark.parametrize("words", ["status --failed", "status --failed --json", "usage --by model,run", "plan"])
def test_a_servers_words_steer_no_view(words: str, told: tuple[Stage, Finished]) -> None:
    """status, usage and plan print what the ledger keeps."""
    stage, _ = told
    verb, *options = words.split()
    shown = finished([str(installed()), verb, str(stage.manifest), *options], stage.folder, stage.home)
    assert shown.code == 0, shown.stderr
    quiet(shown)
    if "--json" in options:
        assert len(shown.json["failures"]) == 7


def test_names_of_files_and_cells_of_tables_steer_nothing(retouch: Forked, tmp_path: Path) -> None:
    """Escapes and line breaks in a file's name, a column and a cell: in validate, plan, run and status."""
    name = "x\x1b[31m\n" + FORGED + "\u202e.png"
    with hostile() as server:
        stage = stage_of(tmp_path, server.url, ["x"])
        (stage.folder / "photos" / name).write_bytes(photo(2))
        (stage.folder / "photos/broken\x1b[2J\u202e\x9b.png").write_bytes(b"no picture")
        (stage.folder / "table.csv").write_text(f'sku,"col\x1b[31m\n{FORGED}"\na,"v\x1b[31m\n{FORGED}"\n')
        table = {"name": "t", "table": "table.csv", "key": "{{ row.sku }}", "images": "photos/a.png"}
        for sets in (
            [{"name": "p", "images": "photos/*.png"}],
            [table | {"images": f"photos/{name}"}],
            [table | {"key": "{{ row['col\\x1b[31m\\n" + FORGED + "'] }}"}],
            [table | {"images": "photos/{{ row.nothing }}"}],
            [{"name": "p", "images": ["photos/a.png", "photos/broken*.png"]}],
            [{"name": "p", "images": "photos/{a,x*}.png", "item": "folder"}],
        ):
            stage.job["image_sets"] = sets
            stage.write()
            quiet(named(retouch.call(stage, "validate")))
            quiet(named(retouch.call(stage, "plan")))
            quiet(named(retouch.call(stage, "run")))
        quiet(named(retouch.call(stage, "status", "--failed", "--json")))


def named(run: Finished) -> Finished:
    """It ended with a documented code."""
    assert run.code in (0, 2, 3), run.stderr
    return run


def test_json_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path with control characters was changed on its way through --json; now it is escaped and read back whole."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    print_json({"path": EVIL, EVIL: ["\U000e0041", "é", 1.5]})
    text = raw.getvalue().decode()
    assert steering(text) == set()
    assert json.loads(text) == {"path": EVIL, EVIL: ["\U000e0041", "é", 1.5]}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_note_above_the_bar_has_neither_escapes_nor_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """tqdm writes past every other way to print."""
    import pipeline.endpoint.key as keys

    monkeypatch.setattr(keys, "_known", {KEY: keys.Key(KEY)})
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    Bar().note(f"{EVIL} {KEY}")
    say(f"{EVIL} {KEY}")
    shown = stream.getvalue()
    assert shown.count("***") == 2
    assert not steering(re.sub(r"\x1b\[A|\r", "", shown))


def test_a_placeholder_spoils_no_path(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A local server's key `local` is no secret: a line that names /usr/local stays readable, and data is never cut."""
    import pipeline.endpoint.key as keys
    from pipeline.manifest.models import Endpoint

    monkeypatch.setattr(keys, "_known", {})
    keys.read_key(Endpoint(), {"OPENAI_API_KEY": "local"}, Path("/"))
    say("results: /usr/local/out")
    keys.read_key(Endpoint(), {"OPENAI_API_KEY": KEY}, Path("/"))
    out(f"data {KEY}")
    said = capsys.readouterr()
    assert said.err == "results: /usr/local/out\n"
    assert said.out == f"data {KEY}\n"
