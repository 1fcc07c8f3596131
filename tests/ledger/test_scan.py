import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import StorageError
from pipeline.ledger import scan as scan_module
from pipeline.ledger.records import Record
from pipeline.ledger.scan import repair, scan, sound, split
from tests.ledger.lines import grouped, run, sent, settled

texts = st.text(max_size=20)
records = st.one_of(st.builds(sent, texts), st.builds(lambda t, m: settled(t, "refused", message=m), texts, texts))
ledgers = st.lists(st.lists(records, min_size=1, max_size=4), max_size=5).map(lambda groups: [[run()], *groups])


def starts_of(groups: list[list[Record]]) -> list[int]:
    """Where each group's write began, and the length of the whole."""
    return [len(grouped(groups[:count])) for count in range(len(groups) + 1)]


def torn_at(tmp: Path, data: bytes) -> Path:
    path = tmp / "ledger.jsonl"
    path.write_bytes(data)
    return path


@given(ledgers, st.data())
@settings(max_examples=60, deadline=None)
def test_every_byte_prefix_is_a_ledger_after_repair(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[Record]], data: st.DataObject
) -> None:
    """Cut anywhere, a ledger keeps each complete group, and is whole after repair, which done again changes nothing."""
    tmp = tmp_path_factory.mktemp("prefix")
    whole = grouped(groups)
    cut = data.draw(st.integers(0, len(whole)))
    path = torn_at(tmp, whole[:cut])
    torn = repair(path, tmp / ".retouch" / "torn")
    kept = path.read_bytes()
    assert whole.startswith(kept)
    assert len(kept) >= max(start for start in starts_of(groups) if start <= cut)
    assert kept + (torn.saved.read_bytes() if torn else b"") == whole[:cut]
    assert repair(path, tmp / ".retouch" / "torn") is None
    assert path.read_bytes() == kept


@given(ledgers, st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_power_loss_leaves_of_the_last_write_is_cut(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[Record]], data: st.DataObject
) -> None:
    """Any bytes zeroed or lost in the last group never touch an earlier one."""
    tmp = tmp_path_factory.mktemp("power")
    whole = grouped(groups)
    last = starts_of(groups)[-2]
    begin = data.draw(st.integers(last, len(whole) - 1))
    stop = data.draw(st.integers(begin + 1, len(whole)))
    path = torn_at(tmp, whole[:begin] + bytes(stop - begin) + whole[stop:])
    torn = repair(path, tmp / ".retouch" / "torn")
    assert torn is not None
    assert whole[:last] == path.read_bytes()[:last]
    assert torn.offset >= last


@given(ledgers.filter(lambda groups: len(groups) > 1), st.data())
@settings(max_examples=60, deadline=None)
def test_damage_before_the_last_write_is_refused_and_not_cut(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[Record]], data: st.DataObject
) -> None:
    """A flipped byte in a group that another one follows is an error that names the line's offset."""
    tmp = tmp_path_factory.mktemp("damage")
    whole = bytearray(grouped(groups))
    at = data.draw(st.integers(0, starts_of(groups)[-2] - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    path = torn_at(tmp, bytes(whole))
    line = whole.rfind(b"\n", 0, at) + 1
    with pytest.raises(StorageError, match=rf"ledger\.jsonl: the line at byte {line} is damaged"):
        repair(path, tmp / ".retouch" / "torn")
    assert path.read_bytes() == whole


def test_converted_line_endings_are_damage_not_a_torn_tail(tmp_path: Path) -> None:
    """A ledger none of whose lines is whole is refused: cutting it would buy everything again."""
    path = torn_at(tmp_path, grouped([[run()], [sent("a")], [sent("b")]]).replace(b"\n", b"\r\n"))
    with pytest.raises(StorageError, match="byte 0 is damaged"):
        repair(path, tmp_path / "torn")


def test_a_torn_first_line_leaves_an_empty_ledger(tmp_path: Path) -> None:
    """The first write is one line; torn, nothing of it stays."""
    path = torn_at(tmp_path, grouped([[run()]])[:-1])
    assert repair(path, tmp_path / "x" / "torn") is not None
    assert path.read_bytes() == b""


def test_a_huge_damaged_end_is_not_believed_to_be_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One write is never that long: the end of the file was damaged."""
    monkeypatch.setattr(scan_module, "LONGEST", 5000)
    path = torn_at(tmp_path, grouped([[run()]]) + bytes(5001))
    with pytest.raises(StorageError, match="damaged"):
        repair(path, tmp_path / "torn")


def test_a_ledger_that_does_not_exist_is_sound(tmp_path: Path) -> None:
    """Repairing nothing creates nothing."""
    assert repair(tmp_path / "ledger.jsonl", tmp_path / "torn") is None
    assert list(tmp_path.iterdir()) == []


def test_killed_between_saving_the_tail_and_cutting_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repair that died before the cut is done again into the same file."""
    aside = tmp_path / ".retouch" / "torn"
    whole = grouped([[run()], [sent("a")]])
    path = torn_at(tmp_path, whole[:-5])
    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            repair(path, aside)
    assert path.read_bytes() == whole[:-5]
    torn = repair(path, aside)
    assert torn is not None
    assert list(aside.iterdir()) == [torn.saved]
    assert torn.saved.stat().st_mode & 0o777 == 0o600


def test_lines_that_a_killed_run_never_synced_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole ledger is brought to the medium too, with its name: a kill leaves lines in the page cache only."""
    synced: list[object] = []
    monkeypatch.setattr(scan_module, "sync_file", lambda fd: synced.append(os.fstat(fd).st_ino))
    monkeypatch.setattr(scan_module, "sync_folder", synced.append)
    path = torn_at(tmp_path, grouped([[run()], [sent("a")]]))
    assert repair(path, tmp_path / "torn") is None
    assert synced == [path.stat().st_ino, tmp_path]


def test_nothing_is_cut_when_the_tail_cannot_be_saved(tmp_path: Path) -> None:
    """Where the aside folder cannot be made, the ledger stays as it is."""
    (tmp_path / "file").touch()
    whole = grouped([[run()], [sent("a")]])[:-5]
    path = torn_at(tmp_path, whole)
    with pytest.raises(StorageError, match="cannot be repaired"):
        repair(path, tmp_path / "file" / "torn")
    assert path.read_bytes() == whole


def test_two_different_tails_at_one_offset_are_both_kept(tmp_path: Path) -> None:
    """A second torn write at the same place does not overwrite the first one's bytes."""
    aside = tmp_path / ".retouch" / "torn"
    first = grouped([[run()]])
    for tail in (b"one", b"two"):
        repair(torn_at(tmp_path, first + tail), aside)
    assert sorted(path.read_bytes() for path in aside.iterdir()) == [b"one", b"two"]


def test_a_ledger_that_is_a_symlink_is_refused(tmp_path: Path) -> None:
    """Repair writes only inside the output folder."""
    torn_at(tmp_path, b"torn").rename(tmp_path / "elsewhere")
    (tmp_path / "ledger.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        repair(tmp_path / "ledger.jsonl", tmp_path / "torn")
    assert (tmp_path / "elsewhere").read_bytes() == b"torn"


def test_growth_after_the_reading_began_is_not_read() -> None:
    """A reader without the lock sees the ledger as long as it was."""
    data = grouped([[run()], [sent("a")]])
    first = data.index(b"\n") + 1
    assert [line.offset for line in sound(split(io.BytesIO(data), 0, first), "x")] == [0]


def test_scan_counts_and_places_the_end() -> None:
    """The scan of a torn ledger says how many lines are whole and where they end."""
    data = grouped([[run()], [sent("a"), sent("b")]])
    assert scan(io.BytesIO(data + b"{"), "x") == (3, len(data), len(data) + 1)


def test_a_damaged_newline_before_the_last_line_is_damage_and_not_a_torn_tail(tmp_path: Path) -> None:
    """It joins a durable line to the last one, which alone could look unfinished; nothing is cut."""
    data = grouped([[run()], [sent("a")], [settled("a", "refused")]])
    newline = data.rindex(b"\n", 0, len(data) - 1)
    path = torn_at(tmp_path, data[:newline] + b"\x0b" + data[newline + 1 :])
    line = data.index(b"\n") + 1
    with pytest.raises(StorageError, match=f"the line at byte {line} is damaged"):
        repair(path, tmp_path / "torn")
    assert path.stat().st_size == len(data)


def test_damage_is_seen_though_every_later_line_is_joined_to_another(tmp_path: Path) -> None:
    """Two faults: the whole line that tells how far the ledger was durable is hidden in a damaged one."""
    data = bytearray(grouped([[run()], [sent("a")], [settled("a", "refused")], [sent("b")]]))
    line = data.index(b"\n") + 1
    data[line + 30] ^= 1
    data[data.rindex(b"\n", 0, len(data) - 1)] = 0x20
    path = torn_at(tmp_path, bytes(data))
    with pytest.raises(StorageError, match=f"the line at byte {line} is damaged"):
        repair(path, tmp_path / "torn")


def test_lines_of_one_torn_write_that_are_joined_are_a_torn_tail(tmp_path: Path) -> None:
    """Of a write that was never durable, any byte may be lost, a newline too."""
    data = grouped([[run()], [sent("a"), sent("b")]])
    first = data.index(b"\n") + 1
    newline = data.index(b"\n", first)
    path = torn_at(tmp_path, data[:newline] + b"\0" + data[newline + 1 :])
    torn = repair(path, tmp_path / "torn")
    assert torn is not None
    assert (torn.offset, path.read_bytes()) == (first, data[:first])
