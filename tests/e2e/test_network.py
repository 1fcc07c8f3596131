"""Every fault that an endpoint or a network can show, met by the real command in one run of a task each."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Finished
from tests.e2e.network_faults import BAD_USAGE, CASES, TIMEOUT, Case
from tests.e2e.servers import CANARY, KEY, USAGE, Hostile, hostile, stage_of
from tests.e2e.stage import Stage

LASTING = ("never-an-answer", "one-byte-at-a-time", "heartbeats-for-ever", "not-http", "switching-protocols")
"""Faults that hold a slot until the time is over."""


@dataclass(frozen=True, slots=True)
class Met:
    """The run, and the server that it met."""

    stage: Stage
    server: Hostile
    run: Finished

    def lines(self, name: str, kind: str = "settled") -> list[dict[str, Any]]:
        """A task's lines."""
        return [line for line in self.stage.ledger() if line["type"] == kind and line["task"] == f"p/a/{name}"]


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Met]:
    """All cases in one run, 32 at once."""
    folder = tmp_path_factory.mktemp("hostile")
    with hostile(plays={case.name: case.scenes for case in CASES}) as server:
        limits = {"timeout": TIMEOUT, "concurrency": 32}
        stage = stage_of(folder, server.url, [case.name for case in CASES], limits=limits)
        for case, prompt in zip(CASES, stage.job["prompts"], strict=True):
            prompt["request"] = case.request or {}
        yield Met(stage, server, stage.write().run())


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_fault_has_its_outcome(case: Case, met: Met) -> None:
    """Outcomes, attempt numbers and codes are the rule's; the server saw one request for each `sent` line."""
    lines = met.lines(case.name)
    assert " ".join(line["outcome"] for line in lines) == case.outcomes, lines
    assert [line["attempt"] for line in lines] == list(range(1, len(lines) + 1))
    assert [line["attempt"] for line in met.lines(case.name, "sent")] == [line["attempt"] for line in lines]
    assert len(met.server.of(case.name)) == len(lines)
    if case.code is not None:
        assert {line["code"] for line in lines} == {case.code}


def test_the_key_is_nowhere(met: Met) -> None:
    """No file, hidden ones included, and no output holds any part of a key that servers echo everywhere."""
    told = [met.run.stdout + met.run.stderr]
    shown = met.stage.retouch("status", "--failed")
    told.append(shown.stdout + shown.stderr)
    files = [path for path in met.stage.folder.parent.rglob("*") if path.is_file() and path.name != "key"]
    assert len(files) > 60
    for piece in (CANARY, CANARY[-12:], KEY[-12:]):
        assert not [path for path in files if piece.encode() in path.read_bytes()]
        assert not [text for text in told if piece in text]


def test_the_body_of_each_unusable_answer_is_kept_for_its_owner(met: Met) -> None:
    """One file an attempt, 0600, with the bytes that came, the key masked."""
    kept = {path.name.split("-", 2)[2]: path for path in (met.stage.out / ".retouch/unusable").iterdir()}
    lines = [line for line in met.stage.ledger() if line.get("outcome") == "unusable"]
    assert kept.keys() == {f"{line['fingerprint'][:16]}-{line['attempt']}.body" for line in lines}
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept.values()} == {0o600}
    assert all(path.stat().st_size <= 1 << 20 for path in kept.values())
    [first, _] = met.lines("html-under-200")
    body = kept[f"{first['fingerprint'][:16]}-1.body"].read_bytes()
    assert (body[:20], body[-8:]) == (b"<html><title>Login *", b"</title>")


def test_usage_that_cannot_be_true_is_null_and_the_picture_stays(met: Met) -> None:
    """The line is kept and the task done; a count is reported only where it can be one."""
    for name in ("no-usage", "usage-with-the-key", *(f"usage-{name}" for name in BAD_USAGE)):
        [line] = met.lines(name)
        assert (line["usage"], len(line["outputs"])) == (None, 1), name
    assert met.lines("chunked")[0]["usage"] == USAGE
    assert met.run.json["usage"] == {
        name: sum((line.get("usage") or {}).get(name, 0) for line in met.stage.ledger() if line["type"] == "settled")
        for name in USAGE
    }


def test_an_answer_that_differs_from_what_was_asked_for_is_published(met: Met) -> None:
    """Another size, format or number of pictures is recorded as a mismatch; of more than n the first n are kept."""
    wrong = {"other-size": "size", "other-format": "format", "more-than-asked": "count", "fewer-than-asked": "count"}
    for name, mismatch in wrong.items():
        [line] = met.lines(name)
        assert line["mismatch"] == [mismatch], name
        [output] = line["outputs"]
        assert (met.stage.out / output["path"]).stat().st_size == output["bytes"]
    assert met.lines("other-format")[0]["outputs"][0]["path"].endswith(".webp")


def test_a_servers_words_reach_no_terminal_raw(met: Met) -> None:
    """No control character, escape or change of direction is in the ledger or printed; messages are capped."""
    texts = [met.run.stdout, met.run.stderr, (met.stage.out / "ledger.jsonl").read_text()]
    assert not [text for text in texts if any(not c.isprintable() and c != "\n" for c in text)]
    lines = [line for line in met.stage.ledger() if line["type"] == "settled"]
    assert not [line["message"] for line in lines if line["message"] and not line["message"].isprintable()]
    assert max(len(line["message"] or "") for line in lines) == 500
    [line] = met.lines("terminal-escapes")
    assert line["message"] == "[31mred 2J evil\ufffd"


def test_the_idempotency_key_lives_until_a_final_answer(met: Met) -> None:
    """It is the same after throttling and in doubt, new after an unusable answer, and the header is the ledger's."""
    for case in CASES:
        keys = [line["idempotency_key"] for line in met.lines(case.name, "sent")]
        assert keys == [request.headers["idempotency-key"] for request in met.server.of(case.name)]
        assert len(set(keys)) == (2 if case.outcomes.startswith("unusable") else 1), case.name


def test_the_tasks_end_as_their_attempts_did(met: Met) -> None:
    """Exit 3, and the counts are those of the cases."""
    run = met.run.ended(3)
    for end in ("done", "failed", "held", "pending"):
        assert run["tasks"][end] == sum(case.end == end for case in CASES)
    outcomes = " ".join(case.outcomes for case in CASES).split()
    assert run["attempts"] == {name: outcomes.count(name) for name in run["attempts"]}


def test_a_rerun_buys_nothing_again(met: Met) -> None:
    """Failed, held and differing tasks are not sent again, and no task line is appended."""
    before, requests = len(met.stage.ledger()), len(met.server.requests)
    run = met.stage.run().ended(3)
    assert len(met.server.requests) == requests
    assert [line["type"] for line in met.stage.ledger()[before:]] == ["run", "end"]
    assert run["tasks"]["skipped"] == sum(case.end == "done" for case in CASES)


def test_one_after_another_ends_as_many_at_once(tmp_path: Path) -> None:
    """At concurrency 1 each fault has the same outcomes; those that last until the time is over are left out."""
    cases = [case for case in CASES if case.name not in LASTING]
    with hostile(plays={case.name: case.scenes for case in cases}) as server:
        stage = stage_of(tmp_path, server.url, [case.name for case in cases], limits={"timeout": 30, "concurrency": 1})
        for case, prompt in zip(cases, stage.job["prompts"], strict=True):
            prompt["request"] = case.request or {}
        met = Met(stage, server, stage.write().run())
    ended = {case.name: " ".join(line["outcome"] for line in met.lines(case.name)) for case in cases}
    assert ended == {case.name: case.outcomes for case in cases}
