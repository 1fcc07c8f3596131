"""The command as a user meets it: verbs, options, exit codes, and what goes to which stream."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

from pipeline.cli import VERBS, cli
from tests.cli.conftest import Retouch


def test_every_verb_explains_itself() -> None:
    """Each verb, argument apart, and each option has a help text."""
    context = click.Context(cli)
    assert cli.list_commands(context) == list(VERBS)
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        assert (command.help or "").strip().endswith(".")
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{verb} {parameter.opts}"


def test_every_verb_takes_json() -> None:
    """--json is there everywhere."""
    context = click.Context(cli)
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        assert any("--json" in parameter.opts for parameter in command.params)


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), *((verb, "-h") for verb in VERBS)])
def test_help_is_data(call: Retouch, arguments: tuple[str, ...]) -> None:
    """Help that was asked for goes to stdout, with exit 0."""
    said = call(*arguments)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("Usage: retouch")


def test_the_version(call: Retouch) -> None:
    """One line, to stdout."""
    said = call("--version")
    assert re.fullmatch(r"retouch \d+\.\d+\S*\n", said.out)
    assert said.code == 0


def test_without_a_verb_the_help_is_shown(call: Retouch) -> None:
    """It is no error message: not one line begins with `error:`; the exit code says that nothing was done."""
    said = call()
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("Usage: retouch")
    assert "error:" not in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rum", "job.yaml"), "there is no verb 'rum'; did you mean 'run'?"),
        (("xyzzy",), "there is no verb 'xyzzy'; expected one of init, validate"),
        (("run", "job.yaml", "--concurency", "3"), "No such option '--concurency'"),
        (("run", "job.yaml", "--limit", "abc"), "--limit: 'abc' is no whole number; expected one such as 8"),
        (("run",), "no manifest is named; expected `retouch run JOB`"),
        (("run", "job.yaml", "--shard", "4/3"), "--shard: '4/3' is not a shard"),
        (("run", "job.yaml", "--retry", "faild"), "did you mean 'failed'"),
        (("run", "job.yaml", "--limit", "0"), "--limit: 0 is too small"),
        (("run", "job.yaml", "--concurrency", "0"), "--concurrency"),
        (("run", "job.yaml", "--concurrency", "1000000000"), "--concurrency"),
        (("run", "job.yaml", "--faults", "rate=1"), "--faults: only the sandbox makes faults"),
        (("run", "job.yaml", "--sandbox", "--faults", "rat=1"), "--faults"),
        (("usage", "job.yaml", "--by", "modle"), "did you mean 'model'?"),
        (("plan", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
        (("run", "job.yaml"), "OPENAI_API_KEY is not set; export OPENAI_API_KEY"),
        (("init", "job.yaml"), "job.yaml exists already"),
    ],
)
def test_a_wrong_command_is_one_clear_line(call: Retouch, folder: Path, arguments: tuple[str, ...], words: str) -> None:
    """Exit 2, one line on stderr that says what is wrong and what was expected, nothing on stdout, nothing written."""
    said = call(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: ")
    assert words in said.err
    assert said.err.count("\n") == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize("verb", ["plan", "run", "status", "usage", "validate", "verify"])
def test_json_on_errors_too(call: Retouch, verb: str) -> None:
    """A script that reads stdout gets one object, with the exit code and the reason."""
    said = call(verb, "nowhere.yaml", "--json")
    assert (said.json["exit"], said.code) == (2, 2)
    assert "nowhere.yaml" in said.json["error"]
    assert "error: nowhere.yaml" in said.err


def test_a_run_in_the_sandbox(call: Retouch, folder: Path) -> None:
    """Needs no key; data to stdout, the sentence to stderr; a second run has nothing to do."""
    said = call("run", "job.yaml", "--sandbox", "--json", "--quiet")
    assert (said.code, said.json["exit"], said.json["tasks"]["done"]) == (0, 0, 2)
    line = r"shop: 2 done of 2 tasks; 2 requests, 2 images; \d+ tokens; \$0\.\d+; [\d.]+ s \(exit 0\)\n"
    assert re.fullmatch(line, said.err)
    assert not (folder / "out").exists()
    again = call("run", "job.yaml", "--sandbox")
    assert (again.code, again.out) == (0, "")
    assert "0 done, 2 skipped of 2 tasks" in again.err
    ledger = (folder / "out.sandbox/ledger.jsonl").read_text().splitlines()
    assert json.loads(ledger[0])["argv"] == ["run", "job.yaml", "--sandbox", "--json", "--quiet"]
    for verb in ("plan", "status", "usage"):
        told = call(verb, "job.yaml", "--sandbox", "--json")
        assert told.code == 0
        assert told.json
    assert call("status", "job.yaml", "--sandbox").out.startswith("shop: 2 tasks: 2 done\nnot running; 2 runs")


def test_the_sandbox_serves_any_endpoint_settings(call: Retouch, folder: Path) -> None:
    """A path and a query of another router do not keep a job from being tried out."""
    text = (folder / "job.yaml").read_text()
    (folder / "job.yaml").write_text(
        text.replace("base_url:", 'path: /edit, query: {api-version: "1"}, auth: {header: api-key}, base_url:')
    )
    assert call("run", "job.yaml", "--sandbox").code == 0


def test_failures_are_named_with_the_way_on(call: Retouch, folder: Path) -> None:
    """A bad image: exit 3, its task and reason, and the command that lists all."""
    (folder / "in/bad.png").write_bytes(b"no image")
    said = call("run", "job.yaml", "--sandbox", "-q")
    assert said.code == 3
    assert "shoes/bad/white: unsupported_format: " in said.err
    assert "hint: `retouch status job.yaml --sandbox --failed` lists all" in said.err
    assert call("validate", "job.yaml").code == 2


def test_plan_needs_no_key_and_leaves_no_trace(call: Retouch, folder: Path) -> None:
    """Counts, requests and the first few of them; no folder, no lock."""
    said = call("plan", "job.yaml")
    assert said.code == 0
    assert "to send: 2 requests for 2 images" in said.out
    assert call("plan", "job.yaml", "--json").json["tasks"]["new"] == 2
    assert not (folder / "out").exists()


def test_validate_says_that_all_is_well(call: Retouch) -> None:
    """One line, exit 0."""
    assert call("validate", "job.yaml").out == "shop: 2 items, 2 tasks, 2 files: all can be sent\n"
    assert call("validate", "job.yaml", "--json").json["problems"] == []


def test_init_writes_what_validate_accepts(call: Retouch, folder: Path) -> None:
    """The starter loads; only its pictures are missing."""
    assert call("init", "new.yaml").code == 0
    assert (folder / "job.schema.json").exists()
    assert "new.yaml:" in call("validate", "new.yaml").err


def test_the_schema_is_json(call: Retouch) -> None:
    """For an editor, with or without --json."""
    assert json.loads(call("schema").out) == json.loads(call("schema", "--json").out)


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>&1 | true"])
def test_closed_streams_are_survived(retouch: Retouch, folder: Path, redirection: str) -> None:
    """A run whose stdout or stderr is closed does its work, and no ledger or image gets the number of one of them."""
    said = retouch("run", "job.yaml", "--sandbox", "--json", shell=f"{redirection}; exit ${{PIPESTATUS[0]}}")
    assert said.code == 0
    assert "Traceback" not in said.err
    lines = (folder / "out.sandbox/ledger.jsonl").read_text().splitlines()
    assert all(line.startswith('{"type":') for line in lines)
    assert json.loads(lines[-1])["type"] == "end"


@pytest.mark.parametrize("arguments", ["--help", "schema", "--version"])
def test_a_reader_that_goes_away_is_no_error(retouch: Retouch, arguments: str) -> None:
    """`retouch schema | head -1` prints no traceback and no word of a bug."""
    said = retouch(arguments, shell="| true; exit ${PIPESTATUS[0]}")
    assert (said.code, said.err) == (0, "")


def test_a_latin_1_locale_does_not_swallow_output(retouch: Retouch, folder: Path) -> None:
    """A name that the locale cannot show is escaped, and --json is UTF-8 all the same."""
    (folder / "job.yaml").rename(folder / "jöb-写.yaml")
    env = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    assert "写" in retouch("plan", "x-写.yaml", "--json", env=env).json["error"]
    assert retouch("plan", "jöb-写.yaml", env=env).out.startswith("shop: 2 tasks")


def test_control_characters_of_a_file_name_do_not_reach_the_terminal(call: Retouch, folder: Path) -> None:
    """A photo whose name holds an escape sequence is told without it."""
    (folder / "in/\x1b[2Jx.png").write_bytes(b"no image")
    said = call("plan", "job.yaml")
    assert said.code == 2
    assert "holds a control character" in said.err
    assert "\x1b" not in said.err


def test_a_bug_is_told_as_one(retouch: Retouch, folder: Path) -> None:
    """Exit 1, with how to see the traceback; with it, when asked."""
    code = "import pipeline.run.api as a; a.load = lambda path: 1 / 0; from pipeline.cli import main; main()"
    import subprocess
    import sys

    def broken(**env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, "status", "job.yaml"]
        return subprocess.run(command, cwd=folder, env={"PATH": "/usr/bin", **env}, capture_output=True, text=True)  # noqa: PLW1510 - the code is what is looked at

    said = broken()
    assert said.returncode == 1
    assert said.stderr.startswith("error: this is a bug in retouch: ZeroDivisionError")
    assert "Traceback" not in said.stderr
    assert "Traceback" in broken(RETOUCH_DEBUG="1").stderr
