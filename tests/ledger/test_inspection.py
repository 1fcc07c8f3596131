"""All damage of a ledger, in agreement with what a run would say of the first."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import StorageError
from pipeline.ledger.inspection import Damage, inspect
from pipeline.ledger.records import Record
from pipeline.ledger.scan import scan
from tests.ledger.lines import end, grouped, run, sent
from tests.ledger.lines import settled as ended
from tests.ledger.test_scan import ledgers


def written(folder: Path, data: bytes) -> Path:
    path = folder / "ledger.jsonl"
    path.write_bytes(data)
    return path


def test_every_damaged_line_is_named(tmp_path: Path) -> None:
    """Not the first alone: each with its number, its offset and its length; the torn tail is no damage."""
    groups: list[list[Record]] = [[run()], [sent("a")], [ended("a", "refused"), sent("b")], [end()]]
    data = bytearray(grouped(groups))
    starts = [0]
    while (newline := data.find(b"\n", starts[-1])) >= 0:
        starts.append(newline + 1)
    for line in (1, 3):
        data[starts[line] + 30] ^= 4
    found = inspect(written(tmp_path, bytes(data) + b'{"type":"sent"'))
    expected = [Damage(line + 1, starts[line], starts[line + 1] - starts[line]) for line in (1, 3)]
    assert found.damaged == tuple(expected)
    assert (found.lines, found.end, found.size) == (3, len(data), len(data) + 14)


@given(ledgers, st.data())
@settings(max_examples=100, deadline=None)
def test_it_agrees_with_the_scan_of_a_run(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[Record]], data: st.DataObject
) -> None:
    """Whatever bits flip and wherever it is cut: damage exactly where a run refuses, and the same tail where not."""
    whole = bytearray(grouped(groups))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    found = inspect(written(tmp_path_factory.mktemp("inspect"), cut))
    if found.damaged:
        with pytest.raises(StorageError, match=f"the line at byte {found.damaged[0].offset} is damaged"):
            scan(io.BytesIO(cut), "ledger")
    else:
        assert (found.lines, found.end, found.size) == scan(io.BytesIO(cut), "ledger")


def test_several_lines_without_a_whole_one_are_damage(tmp_path: Path) -> None:
    """The first write of a ledger is one line, so that no crash leaves this."""
    found = inspect(written(tmp_path, b"one\ntwo\n"))
    assert [damage.offset for damage in found.damaged] == [0, 4]
    assert inspect(written(tmp_path, b"one")).damaged == ()


def test_an_empty_ledger_is_sound(tmp_path: Path) -> None:
    """A killed first start leaves one."""
    found = inspect(written(tmp_path, b""))
    assert (found.lines, found.damaged, found.end, found.size) == (0, (), 0, 0)


def test_a_ledger_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Not taken for an empty one; a symlink is not followed."""
    with pytest.raises(StorageError, match="nowhere"):
        inspect(tmp_path / "nowhere")
    written(tmp_path, b"")
    (tmp_path / "link").symlink_to(tmp_path / "ledger.jsonl")
    with pytest.raises(StorageError, match="link: the ledger cannot be read"):
        inspect(tmp_path / "link")
