"""What one run may have done, checked against the oracle.

1. In flight were at most `limits.concurrency` requests, also at a crash.
2. It did to each task what the oracle said, and sent no other request.
3. What it sent ended as the server meant it to end, and no paid picture that came is lost.
4. Possibly billed attempts of a request stay within `retries.max_attempts` between two reopenings.
5. Its summary, its exit code and its `end` line are what its lines come to.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.invariants import Line, check_summary, settled
from tests.model.chosen import Flags, reopenings, within
from tests.model.mortal import Ran, Script
from tests.model.oracle import Fate, Oracle, judge, wants
from tests.model.recovery import recovered
from tests.model.server import MOODS, PAID
from tests.model.world import View, Wish, World, whole

FEW = 20
WORDS = {"done": "skipped"}
"""What a task that needs no request ends as, where that is another word than the oracle's."""
CAUSES = {
    4: {"throttled", "wait", "pause", "long", "busy", "unreachable", "error", "reset", "timeout", "cut"},
    6: {"quota", "key"},
}
"""Exit codes of runs that stopped, with the moods of the server that explain them."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run with what was before and after it."""

    wish: Wish
    flags: Mapping[str, Any]
    script: Script
    before: View
    after: View
    ran: Ran
    bill: Sequence[Line]

    @property
    def shard(self) -> tuple[int, int] | None:
        shard: tuple[int, int] | None = self.flags.get("shard")
        return shard

    @property
    def own(self) -> list[Line]:
        """The lines that this run wrote."""
        ledger = "ledger.jsonl" if self.shard is None else "ledger-{}-of-{}.jsonl".format(*self.shard)
        old = len(whole(self.before.ledgers.get(ledger, b"")).lines)
        return [line for line in self.after.lines if line["ledger"] == ledger][old:]


def check_run(trial: Trial, world: World) -> None:
    """What holds of one run."""
    start = recovered(trial.wish, trial.before, trial.shard)
    oracle = Oracle(trial.wish, start.view)
    flags = Flags(dict(trial.flags))
    tasks = [want for want in wants(trial.wish, trial.before, world.job) if flags.takes(want)]
    fates = [oracle.fate(want) for want in tasks]
    own = trial.own
    _check_flight(trial, own)
    if trial.ran.killed:
        return
    if trial.ran.refused:
        _check_refused(trial, own, fates)
        return
    faulty = bool(trial.script.faults)
    if not faulty or trial.ran.summary["exit"] != 7:
        _check_recovery(start.appended, own)
    opened = _check_reopened(fates, flags, own)
    if opened:
        start.view.lines += [line for line in own if line["type"] == "reopened"]
        oracle = Oracle(trial.wish, start.view)
        fates = [oracle.fate(want) for want in tasks]
    assert faulty or not rebuys(trial, fates), "the run should have been refused: too much is bought again"
    _check_ends(trial, fates, own, oracle)
    _check_attempt_ends(trial, own, oracle)
    _check_summary(trial, own, fates)
    _check_outputs(trial, world)


def _check_flight(trial: Trial, own: Sequence[Line]) -> None:
    most = trial.flags.get("concurrency") or trial.wish.concurrency
    assert max((line["in_flight"] for line in trial.bill), default=0) <= most, "too many requests were in flight"
    ends = {(line["fingerprint"], line["attempt"]) for line in settled(own)}
    left = [line for line in own if line["type"] == "sent" and (line["fingerprint"], line["attempt"]) not in ends]
    assert len(left) <= most, "more attempts have no end than could be in flight"
    if not trial.ran.killed and not trial.script.faults:
        assert not left, "an attempt has no end, though the run was not killed"


def _check_refused(trial: Trial, own: Sequence[Line], fates: Sequence[Fate]) -> None:
    assert not trial.bill, "something was sent, though the run was refused"
    assert not any(line["type"] == "sent" for line in own)
    if trial.ran.refused == "RebuyError":
        assert rebuys(trial, fates), f"refused though too little is bought again: {trial.ran.text}"
    else:
        assert trial.ran.refused in ("StorageError", "UnpublishedError"), f"{trial.ran.refused}: {trial.ran.text}"
        assert trial.script.faults, f"refused without a fault: {trial.ran.text}"


def rebuys(trial: Trial, fates: Sequence[Fate]) -> bool:
    """Whether more is bought again than may be without a question."""
    again = sum(fate.again and fate.had for fate in fates)
    had = sum(fate.had for fate in fates)
    return not trial.flags.get("yes") and again > FEW and again > trial.wish.rerun.get("limit", 0.2) * had


def _check_recovery(expected: Sequence[Line], own: Sequence[Line]) -> None:
    mine = {(line["fingerprint"], line["attempt"]) for line in own if line["type"] == "sent"}
    ends = [line for line in settled(own) if (line["fingerprint"], line["attempt"]) not in mine]
    assert Counter(map(_essence, ends)) == Counter(_essence(line) for line in expected if line["type"] == "settled"), (
        "the start settled other attempts than those that had no end, or otherwise"
    )


def _essence(line: Line) -> tuple[Any, ...]:
    outputs = tuple((output["path"], output["sha256"]) for output in line["outputs"])
    return line["fingerprint"], line["attempt"], line["outcome"], line["code"], line["salvaged"], outputs


def _check_reopened(fates: Sequence[Fate], flags: Flags, own: Sequence[Line]) -> bool:
    expected = Counter(list(reopenings(fates, flags)))
    lines = [line for line in own if line["type"] == "reopened"]
    told = Counter(f"{line['base']} {line['generation']}" for line in lines)
    assert told == expected, f"other requests were reopened: {told}, not {expected}"
    return bool(lines)


def _check_ends(trial: Trial, fates: Sequence[Fate], own: Sequence[Line], oracle: Oracle) -> None:
    """Each task ended as the oracle said, or is pending where something stopped the run."""
    words = trial.ran.words
    stopped = trial.ran.summary["exit"] in (1, 4, 5, 6, 7, 10, 11, 130) or bool(trial.script.stop)
    sent = {line["fingerprint"] for line in own if line["type"] == "sent"}
    won = {line["fingerprint"] for line in own if line["type"] == "settled" and line["outcome"] == "succeeded"}
    admitted = {fate.want.id for fate in within(trial.flags.get("limit"), fates)}
    limit = trial.flags.get("limit")
    items = {fate.want.item for fate in fates if fate.sends and fate.want.id in admitted}
    assert words.keys() <= {fate.want.id for fate in fates}, "a task ended that was not selected"
    sendable = {fate.fingerprint for fate in fates if fate.sends}
    assert sent <= sendable, "a request was sent that the oracle did not foresee"
    contested = _contested(trial, fates)
    for fate in fates:
        word = words.get(fate.want.id)
        if fate.want.id in contested:
            continue
        if fate.want.id not in admitted:
            # What has the same request may have bought it meanwhile; then it is there to be taken.
            assert word in (None, "reused"), f"{fate.want.id}: {word}, though --limit leaves it out"
            continue
        allowed: set[str | None] = set()
        allowed |= _words_of_sent(fate, own, oracle, won) if fate.sends else {WORDS.get(fate.kind, fate.kind)}
        if limit is not None and len(items) >= limit and fate.want.item not in items:
            # Not read any more, to save the time: what would be skipped for its bytes is left out then.
            allowed |= {None, "pending"}
        assert word in allowed or (stopped and word == "pending"), (
            f"{fate.want.id}: {word}, not {allowed} ({fate.kind})"
        )
    leaders = Counter(fate.fingerprint for fate in fates if words.get(fate.want.id) == "done")
    assert max(leaders.values(), default=0) <= 1, "a request was made for two tasks"
    if not stopped and limit is None:
        missed = {f.fingerprint for f in fates if f.sends and f.want.id not in contested} - sent
        assert not missed, "a request was not sent that should have been"


def _words_of_sent(fate: Fate, own: Sequence[Line], oracle: Oracle, won: set[str]) -> set[str]:
    if fate.fingerprint in won:
        return {"done", "reused"}
    since = oracle.since(fate.fingerprint) + [x for x in settled(own) if x["fingerprint"] == fate.fingerprint]
    return {judge(since, oracle.wish)} if since else {"pending"}


def _contested(trial: Trial, fates: Sequence[Fate]) -> set[str]:
    """Tasks whose names others take in this run, or have taken: what becomes of them hangs on which comes first."""
    writers: dict[str, set[str]] = defaultdict(set)
    holders: dict[str, set[str]] = defaultdict(set)
    oracle = Oracle(trial.wish, trial.before)
    for fate in fates:
        if fate.sends or fate.kind == "reused":
            for stem in fate.want.stems:
                writers[stem].add(fate.want.id)
        last = oracle.result(fate.want.id)
        for output in last["outputs"] if last else ():
            holders[output["path"].rpartition(".")[0]].add(fate.want.id)
    if trial.script.intruder is not None:
        stem = trial.script.intruder[1].rpartition(".")[0]
        holders[stem] |= writers[stem]
        writers[stem].add("an intruder")
    return {task for stem, ids in holders.items() for task in ids if writers[stem] - {task}}


def _check_attempt_ends(trial: Trial, own: Sequence[Line], oracle: Oracle) -> None:
    """What the server did to each request is what the ledger says, and no request was made too often."""
    sent = [line for line in own if line["type"] == "sent"]
    cancelled = trial.script.stop is not None and trial.script.stop[1] == "cancel"
    assert Counter(line["idempotency_key"] for line in sent) == Counter(line["key"] for line in trial.bill)
    by_key: dict[str, list[Line]] = defaultdict(list)
    for line in trial.bill:
        by_key[line["key"]].append(line)
    ends = {(line["fingerprint"], line["attempt"]): line for line in settled(own)}
    spilled = {(line["fingerprint"], line["attempt"]): line for line, _ in trial.after.spilled}
    history: dict[str, list[Line]] = {}
    for line in sent:
        request = by_key[line["idempotency_key"]].pop(0)
        where = line["fingerprint"], line["attempt"]
        before = history.setdefault(line["fingerprint"], oracle.since(line["fingerprint"]))
        assert not before or judge(before, trial.wish) == "pending", "an attempt was made that was one too many"
        end = ends.get(where)
        if end is None:
            _check_unsettled(trial, request, line, spilled.get(where))
            continue
        before.append(end)
        _check_end(request, end, cancelled=cancelled, faulty=bool(trial.script.faults))


def _check_end(request: Line, end: Line, *, cancelled: bool, faulty: bool) -> None:
    expected = MOODS[request["mood"]]
    if cancelled and end["code"] == "cancelled":
        assert end["outcome"] == "in_doubt"
        return
    if faulty and expected == "succeeded" and end["code"] == "storage":
        assert end["outcome"] == "unusable"
        return
    assert end["outcome"] == expected, f"{request['mood']} ended as {end['outcome']} ({end['code']})"
    came = [sha for sha, _ in request["pictures"]]
    assert [output["sha256"] for output in end["outputs"]] == came, "other pictures came than were sent"
    told = end["usage"]["total_tokens"] if end["usage"] else 0
    assert told in (0, request["tokens"]), "the usage is not what the server told"
    if request["mood"] in PAID - {"no usage"}:
        assert told == request["tokens"], "the usage is lost"


def _check_unsettled(trial: Trial, request: Line, sent: Line, spilled: Line | None) -> None:
    """An attempt of a run that ended by itself has no end: only where the disk refused its line."""
    assert trial.script.faults, "an attempt has no end"
    assert trial.ran.summary["exit"] == 7
    if request["mood"] not in PAID:
        return
    came = {sha for sha, _ in request["pictures"]}
    if spilled is not None:
        assert came == {output["sha256"] for output in spilled["outputs"]}
        return
    both = {fault.place for fault in trial.script.faults} >= {"spill"}
    told = any("the next run buys it again" in note for note in trial.ran.notes)
    assert came <= trial.after.everywhere or (both and told), "a paid picture was lost without a word"


def _check_summary(trial: Trial, own: Sequence[Line], fates: Sequence[Fate]) -> None:
    summary, words = trial.ran.summary, Counter(trial.ran.words.values())
    exit_code, tasks = summary["exit"], summary["tasks"]
    assert {word: number for word, number in tasks.items() if number and word != "total"} == words
    if trial.script.faults and exit_code == 7:
        return
    check_summary(own, summary)
    assert own[-1]["type"] == "end"
    bad = tasks["failed"] + tasks["invalid"]
    moods = {line["mood"] for line in trial.bill}
    if exit_code in CAUSES:
        assert moods & CAUSES[exit_code], f"exit {exit_code} without a cause"
    elif exit_code == 5:
        assert trial.wish.max_images is not None
    elif exit_code == 10:
        assert trial.wish.stop_on.get("failures", 0) is not None
    elif exit_code == 130:
        assert trial.script.stop is not None
    else:
        assert tasks["pending"] == 0
        assert exit_code == (3 if bad else 9 if tasks["held"] else 0), f"exit {exit_code} for {tasks}"


def _check_outputs(trial: Trial, world: World) -> None:
    """What is done is there: under the names that the ledger gives, with the bytes that it gives."""
    contested = _contested(trial, [Fate(w, "new") for w in wants(trial.wish, trial.before, world.job)])
    oracle = Oracle(trial.wish, trial.after)
    for task, word in trial.ran.words.items():
        if word not in ("done", "reused") or task in contested:
            continue
        last = oracle.result(task)
        assert last is not None, f"{task} is {word} without a line"
        for output in last["outputs"]:
            there = trial.after.files.get(output["path"])
            assert there is not None, f"{task} is {word} without {output['path']}"
            assert there.sha256 == output["sha256"], f"{task} is {word} with another picture"
