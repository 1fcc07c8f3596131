"""`retouch verify` as a user meets it: the report, the exit codes, what goes to which stream."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from pipeline.ledger.lock import FolderLock
from tests.cli.conftest import Retouch

OUT = "out.sandbox"
HINT = "hint: `retouch run job.yaml --sandbox` makes what is missing again, or takes it from a copy"


@pytest.fixture
def made(call: Retouch, folder: Path) -> Path:
    """The output folder of the job after its run in the sandbox, one task after the other."""
    assert call("run", "job.yaml", "--sandbox", "-q", "--concurrency", "1").code == 0
    return folder / OUT


def flip(path: Path, at: int) -> str:
    """Damage a byte; the sha256 of what the file holds then."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def test_before_the_first_run_there_is_nothing_to_verify(call: Retouch, folder: Path) -> None:
    """Exit 0 without a key, and nothing is made."""
    said = call("verify", "job.yaml")
    assert (said.code, said.out, said.err) == (0, "shop: there is no ledger; nothing was made yet\n", "")
    assert not (folder / "out").exists()


def test_a_sound_job_is_two_lines(call: Retouch, made: Path) -> None:
    """To stdout; with --json one object."""
    said = call("verify", "job.yaml", "--sandbox")
    size = sum(path.stat().st_size for path in made.rglob("*.png"))
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        f"shop: 2 outputs, 6 ledger lines, {size / 1000:.1f}kB read",
        "         2 sound       as the ledger says",
    ]
    found = call("verify", "job.yaml", "--sandbox", "--json", "--quiet").json
    assert (found["exit"], found["bytes"], found["problems"]) == (0, size, [])
    assert list(found) == [
        "job", "exit", "outputs", "replaced", "spilled", "bytes", "seconds", "ledgers", "problems",
    ]  # fmt: skip


def test_what_is_wrong_is_one_line_each_with_the_way_on(call: Retouch, made: Path) -> None:
    """Exit 7; the report names file and task; --repair says where the file went, and the next run mends the rest."""
    spoilt = flip(made / "shoes/white/0-1.png", 100)
    (made / "shoes/white/1-1.png").unlink()
    said = call("verify", "job.yaml", "--sandbox")
    lines = said.out.splitlines()
    assert (said.code, said.err, lines[1:4]) == (
        7,
        "",
        [
            "         1 missing     not there",
            "         1 changed     not what the ledger says",
            f"changed: shoes/white/0-1.png (shoes/0/white): sha256 is {spoilt[:12]}…, and the ledger says "
            f"{lines[3].split()[-1]}",
        ],
    )
    assert lines[4:] == [
        "missing: shoes/white/1-1.png (shoes/1/white): not there",
        "hint: `retouch verify job.yaml --sandbox --repair` moves changed files aside",
        HINT,
    ]
    said = call("verify", "job.yaml", "--sandbox", "--repair")
    assert said.code == 7
    assert f"; moved to .retouch/replaced/{spoilt}.png\n" in said.out
    assert said.out.endswith(f"missing: shoes/white/1-1.png (shoes/1/white): not there\n{HINT}\n")
    assert "2 missing" in call("verify", "job.yaml", "--sandbox").out
    assert call("run", "job.yaml", "--sandbox", "-q").code == 0
    assert call("verify", "job.yaml", "--sandbox", "--repair").code == 0


def test_a_damaged_ledger_is_named_line_by_line(call: Retouch, made: Path) -> None:
    """`run` refuses and points here; here every damaged line is told, and what may be done."""
    ledger = made / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    sent = [number for number, line in enumerate(lines) if line.startswith(b'{"type":"sent"')]
    offsets = [sum(map(len, lines[:number])) for number in sent]
    for offset in offsets:
        flip(ledger, offset + 50)
    said = call("run", "job.yaml", "--sandbox", "-q")
    assert (said.code, said.err.splitlines()) == (
        7,
        [
            f"error: {ledger}: the line at byte {offsets[0]} is damaged, and not by an unfinished last write; nothing "
            "was sent or changed",
            "hint: keep a copy of the ledger; `retouch verify` names every damaged line. Put its bytes back from a "
            "backup, or move the whole output folder away to begin anew",
        ],
    )
    said = call("verify", "job.yaml", "--sandbox", "--repair")
    assert (said.code, said.out.splitlines()[1:]) == (
        7,
        [
            "         2 sound       as the ledger says",
            *(
                f"damaged: {ledger}: line {at + 1}, byte {offset}, {len(lines[at])} bytes: its checksum is wrong"
                for at, offset in zip(sent, offsets, strict=True)
            ),
            "hint: keep a copy of the ledger and put the damaged bytes back from a backup, nothing was moved",
        ],
    )
    (report,) = call("verify", "job.yaml", "--sandbox", "--json").json["ledgers"]
    assert [one["offset"] for one in report["damaged"]] == offsets


def test_an_unfinished_write_is_told_apart_from_damage(call: Retouch, made: Path) -> None:
    """Exit 0: a crash leaves it, and a run beside us too."""
    with (made / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b'{"type":')
    said = call("verify", "job.yaml", "--sandbox")
    words = "its last 8 bytes are being written, or a crash left them"
    assert (said.code, said.out.splitlines()[-1]) == (0, f"unfinished: {made}/ledger.jsonl: {words}")


def test_repair_is_exit_8_while_a_run_holds_the_folder(call: Retouch, made: Path) -> None:
    """And names who does; without --repair it answers."""
    with FolderLock(made):
        said = call("verify", "job.yaml", "--sandbox", "--repair")
        assert (said.code, said.out) == (8, "")
        assert f"is held by pid {os.getpid()}" in said.err
        assert call("verify", "job.yaml", "--sandbox").code == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--only", "bags/*"), "error: --only: 'bags/*' matches no task with a result; expected a glob of whole ids"),
        (("--repare",), "error: No such option '--repare'. Did you mean '--repair'?"),
    ],
)
def test_a_wrong_option_is_one_line(call: Retouch, made: Path, arguments: tuple[str, ...], line: str) -> None:
    """Exit 2."""
    said = call("verify", "job.yaml", "--sandbox", *arguments)
    assert (said.code, said.out, said.err) == (2, "", f"{line}\n")


def test_repair_is_refused_where_no_run_would_finish_it(call: Retouch, folder: Path) -> None:
    """With the place in the manifest."""
    with (folder / "job.yaml").open("a") as job:
        job.write("rerun: {missing: keep}\n")
    said = call("verify", "job.yaml", "--repair")
    assert (said.code, said.err) == (
        2,
        "error: job.yaml:8:9: rerun.missing: is keep, so that no run would make again what --repair moves aside; "
        "set it to remake, or leave --repair out\n",
    )


def test_a_name_with_control_characters_does_not_steer_the_terminal(call: Retouch, made: Path) -> None:
    """A file that somebody put among the replaced ones is shown on one line, if at all."""
    (made / f".retouch/replaced/{'0' * 64}.png").write_bytes(b"x")
    (made / f".retouch/replaced/{'1' * 64}.p\x1b[2Jg").write_bytes(b"x")
    said = call("verify", "job.yaml", "--sandbox")
    assert said.code == 7
    assert "\x1b" not in said.out
    assert f"changed: .retouch/replaced/{'0' * 64}.png: sha256 is 2d711642b726…, and its name says another" in said.out
