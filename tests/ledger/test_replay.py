import json
import zlib
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.ledger.places import Where
from pipeline.ledger.records import Record
from pipeline.ledger.replay import Ledgers, ledger_path, replay
from tests.ledger.lines import grouped, run, sent, settled, write_ledger


def stamped(record: Record, at: str) -> Record:
    record.at = f"2026-11-01T00:00:{at}.000Z"
    return record


def test_a_folder_without_ledgers_has_an_empty_state(tmp_path: Path) -> None:
    """The first run starts from nothing."""
    state, ledgers = replay(tmp_path)
    assert (state.job, state.done, ledgers.paths) == (None, 0, [])


def test_ledgers_are_merged_by_time(tmp_path: Path) -> None:
    """Lines of several ledgers come in the order of `at`, each with its ledger's number."""
    write_ledger(tmp_path / "ledger-1-of-2.jsonl", stamped(run("first"), "01"), stamped(sent("c"), "05"))
    write_ledger(tmp_path / "ledger-2-of-2.jsonl", stamped(run("second"), "02"), stamped(sent("d"), "03"))
    entries = list(Ledgers(tmp_path).entries())
    assert [entry.record.at[-7:-5] for entry in entries] == ["01", "02", "03", "05"]
    assert [entry.where.file for entry in entries] == [0, 1, 1, 0]
    assert replay(tmp_path).state.job == "first"


def test_a_clock_that_was_set_back_does_not_reorder_a_ledger(tmp_path: Path) -> None:
    """Within a ledger the order on disk rules."""
    write_ledger(
        tmp_path / "ledger.jsonl",
        stamped(sent("a"), "30"),
        stamped(settled("a", "in_doubt"), "10"),
        stamped(sent("a", 2), "11"),
        stamped(settled("a", "succeeded", 2), "12"),
    )
    write_ledger(tmp_path / "ledger-1-of-2.jsonl", stamped(sent("z"), "20"))
    tasks = [getattr(entry.record, "task", "") for entry in Ledgers(tmp_path).entries()]
    assert tasks == ["z", "a", "a", "a", "a"]


def test_a_place_reads_back_its_record(tmp_path: Path) -> None:
    """Every entry's place names exactly its line."""
    write_ledger(tmp_path / "ledger.jsonl", run(), sent("ä"), settled("ä", "refused"))
    ledgers = Ledgers(tmp_path)
    assert [ledgers.read(entry.where) for entry in ledgers.entries()] == [entry.record for entry in ledgers.entries()]
    ledgers.close()


def test_a_line_that_changed_in_use_is_not_believed(tmp_path: Path) -> None:
    """A place where something else stands now is a storage error that names it."""
    path = write_ledger(tmp_path / "ledger.jsonl", run(), sent("a"))
    ledgers = Ledgers(tmp_path)
    where = list(ledgers.entries())[1].where
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"b"'))
    with pytest.raises(StorageError, match=f"byte {where.offset} changed"):
        ledgers.read(where)
    ledgers.close()


def test_a_ledger_made_during_the_run_gets_a_number(tmp_path: Path) -> None:
    """The run's own ledger, which may not exist at the start, can be read by place as soon as it does."""
    write_ledger(tmp_path / "ledger-1-of-2.jsonl", run())
    ledgers = Ledgers(tmp_path)
    assert ledgers.number(tmp_path / "ledger-1-of-2.jsonl") == 0
    own = ledgers.number(tmp_path / "ledger.jsonl")
    data = write_ledger(tmp_path / "ledger.jsonl", run("mine")).read_bytes()
    record = ledgers.read(Where(own, 0, len(data)))
    assert getattr(record, "job", "") == "mine"
    ledgers.close()


def test_views_ignore_a_torn_tail_and_leave_it(tmp_path: Path) -> None:
    """Reading without the lock stops before an unfinished line and cuts nothing."""
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(grouped([[run()], [sent("a")]]) + b'{"type":"sent"')
    before = path.read_bytes()
    assert len(list(Ledgers(tmp_path).entries())) == 2
    assert path.read_bytes() == before


def test_damage_in_the_middle_names_the_file_and_the_offset(tmp_path: Path) -> None:
    """A damaged line that others follow is refused, not skipped."""
    data = grouped([[run()], [sent("a")], [sent("b")]])
    first = data.index(b"\n") + 1
    (tmp_path / "ledger.jsonl").write_bytes(data[: first + 9] + b"#" + data[first + 10 :])
    with pytest.raises(StorageError, match=rf"ledger\.jsonl: the line at byte {first} is damaged"):
        replay(tmp_path)


def test_lines_behind_an_offset_are_read_alone(tmp_path: Path) -> None:
    """Recovery reads what follows the last `end` without reading the rest."""
    write_ledger(tmp_path / "ledger.jsonl", run(), sent("a"), sent("b"))
    ledgers = Ledgers(tmp_path)
    places = [entry.where for entry in ledgers.entries()]
    assert [entry.where for entry in ledgers.entries_of(0, places[1].offset)] == places[1:]


def test_a_ledger_of_many_chunks_is_read_whole(tmp_path: Path) -> None:
    """Lines that straddle read buffers keep their places."""
    write_ledger(tmp_path / "ledger.jsonl", *(settled(str(n), "refused", message="x" * 5000) for n in range(600)))
    ledgers = Ledgers(tmp_path)
    entries = list(ledgers.entries())
    assert len(entries) == 600
    assert ledgers.read(entries[599].where) == entries[599].record
    ledgers.close()


def test_a_ledger_that_is_a_symlink_is_refused(tmp_path: Path) -> None:
    """What lies elsewhere is not this folder's ledger."""
    write_ledger(tmp_path / "other", run())
    (tmp_path / "ledger.jsonl").symlink_to(tmp_path / "other")
    with pytest.raises(StorageError, match="cannot be read"):
        replay(tmp_path)


def test_each_shard_writes_a_ledger_of_its_own(tmp_path: Path) -> None:
    """The names are those that replay finds."""
    assert ledger_path(tmp_path) == tmp_path / "ledger.jsonl"
    assert ledger_path(tmp_path, (2, 3)) == tmp_path / "ledger-2-of-3.jsonl"


def with_value(line: bytes, **values: object) -> bytes:
    """An intact line that says something else."""
    changed = {name: value for name, value in json.loads(line).items() if name != "crc"} | values
    body = json.dumps(changed, separators=(",", ":")).encode()[:-1]
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def output_with(**values: object) -> list[dict[str, object]]:
    given = {"path": "a.png", "part": None, "sha256": "0" * 64, "bytes": 1, "width": 1, "height": 1, "format": "png"}
    return [given | values]


@pytest.mark.parametrize(
    "values",
    [
        {"attempt": -1},
        {"attempt": 2**32},
        {"attempt": 2**70},
        {"attempt": None},
        {"n": -3},
        {"group": -1},
        {"outputs": output_with(path="../../beyond.png")},
        {"outputs": output_with(path="a/../b.png")},
        {"outputs": output_with(path="/etc/passwd")},
        {"outputs": output_with(path="a//b.png")},
        {"outputs": output_with(path="")},
        {"outputs": output_with(path="a\0.png")},
        {"outputs": output_with(path="a/.")},
        {"outputs": output_with(part="../../../beyond.png")},
        {"outputs": output_with(part="..")},
        {"outputs": output_with(bytes=-1)},
        {"outcome": "done"},
        {"schema": 2},
    ],
    ids=str,
)
def test_what_no_run_writes_is_refused_by_its_byte(tmp_path: Path, values: dict[str, object]) -> None:
    """A line whose checksum is right and whose values cannot be true is damage, told with the place where it stands."""
    path = write_ledger(tmp_path / "ledger.jsonl", run(), settled("a", "succeeded"))
    first, line, _ = path.read_bytes().split(b"\n")
    path.write_bytes(first + b"\n" + with_value(line, **values))
    with pytest.raises(StorageError, match=rf"ledger\.jsonl: the line at byte {len(first) + 1}: "):
        replay(tmp_path)


def test_unknown_types_and_keys_are_passed_over(tmp_path: Path) -> None:
    """What a later version of the same schema adds stops no reader."""
    path = write_ledger(tmp_path / "ledger.jsonl", run(), settled("a", "succeeded"))
    first, line, _ = path.read_bytes().split(b"\n")
    path.write_bytes(first + b"\n" + with_value(line, type="future") + with_value(line, future=[1]))
    assert replay(tmp_path).state.done == 1
