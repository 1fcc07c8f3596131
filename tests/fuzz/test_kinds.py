"""A fixed share of every kind's cases, and every case that was once a fault: each ends in a named outcome."""

from __future__ import annotations

import json
import time
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz import tables
from tests.fuzz.harness import Defect, Kind, Report, cases, judge, shrunk
from tests.fuzz.kinds import KINDS
from tests.fuzz.limits import ExcessError, limited

SEED = 1
SHARES = {
    "manifest-bytes": 500,
    "manifest-schema": 300,
    "table": 250,
    "template": 120,
    "answer": 700,
    "answer-run": 60,
    "wire": 250,
    "image": 500,
    "ledger-bytes": 50,
    "ledger-lines": 80,
    "folder": 60,
}
"""How many cases of each kind run here; `python -m tests.fuzz` runs as many as you like."""

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*/*.case"))


def told(found: Defect) -> str:
    return f"{found.label}\n{found.data[:2000]!r}\n{found.trace}"


@pytest.mark.parametrize("name", KINDS)
def test_every_case_ends_in_a_named_outcome(name: str, tmp_path: Path) -> None:
    """No traceback, no hang, no memory blow-up; and the cases are not all alike."""
    kind, report = KINDS[name], Report()
    with kind.open(tmp_path) as check:
        for data in islice(cases(kind, SEED), SHARES[name]):
            report.take(judge(kind, check, data))
    assert not report.defects, "\n\n".join(map(told, report.defects.values()))
    assert len(report.outcomes) > 1


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: f"{path.parent.name}: {path.stem}")
def test_a_fault_that_was_found_stays_mended(path: Path, tmp_path: Path) -> None:
    """Each sample is named after its fault, and ends in a named outcome now."""
    kind = KINDS[path.parent.name]
    with kind.open(tmp_path) as check:
        found = judge(kind, check, path.read_bytes())
    assert isinstance(found, str), told(found)
    assert found != "not a case"


def test_a_header_of_20_000_columns_is_read_at_once(tmp_path: Path) -> None:
    """Looking for columns that stand twice takes time in proportion to their number."""
    (kind,) = (kind for kind in tables.KINDS if kind.name == "table")
    columns = ",".join(["sku", "file", *(f"c{number}" for number in range(20_000))])
    rows = "\n".join(f"k{number},0.png" + ",x" * 20_000 for number in range(5))
    with kind.open(tmp_path) as check:
        assert judge(kind, check, json.dumps({"ext": "csv"}).encode() + f"\n{columns}\n{rows}".encode()) == "exit 0"


def check_of(data: bytes) -> str:
    """A check with a fault, a loop without end, and a hunger for memory."""
    if b"loop" in data:
        while True:
            pass
    if b"eat" in data:
        bytearray(b"x") * 200_000_000
    if b"\n\xff" in data:
        raise ValueError(f"byte {data.index(0xFF)} is bad")
    return "fine"


def planted(seconds: float = 0.5) -> Kind:
    """A kind with that check."""
    return Kind("planted", lambda rng: rng.randbytes(8), lambda _: pytest.fail("not opened"), seconds=seconds)


@pytest.mark.parametrize(
    ("data", "seconds", "label"),
    [
        (b"loop", 0.5, "ExcessError: took more than N.N s of processor time"),
        (b"eat", 20, "ExcessError: took N MiB, more than N"),
    ],
)
def test_a_case_that_takes_too_much_is_a_defect(data: bytes, seconds: float, label: str) -> None:
    """An endless loop is ended, and memory is counted though it was given back."""
    began = time.monotonic()
    found = judge(planted(seconds), check_of, data)
    assert isinstance(found, Defect)
    assert found.label.replace("N.N", "N") == label.replace("N.N", "N")
    assert time.monotonic() - began < 60


def test_limits_are_put_back() -> None:
    """What a case may take does not bind what comes after it."""
    with pytest.raises(ExcessError), limited(0.05, 1000):
        check_of(b"loop")
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    assert judge(planted(), check_of, b"") == "fine"


def test_a_defect_is_shrunk_to_what_makes_it() -> None:
    """Lines and bytes that do not matter are left out, and the same fault at another place is the same defect."""
    found = judge(planted(), check_of, b"one\ntwo\nthree\n\xfffour\nfive" * 20)
    assert isinstance(found, Defect)
    least = shrunk(planted(), check_of, found)
    assert least.data == b"\n\xff"
    assert least.label == found.label == "ValueError: byte N is bad"


def test_a_seed_gives_the_same_cases() -> None:
    """A case depends on the seed, the kind and its number alone."""
    for kind in KINDS.values():
        assert list(islice(cases(kind, 5), 3)) == list(islice(cases(kind, 5), 3))
    assert next(cases(KINDS["image"], 5)) != next(cases(KINDS["image"], 6))


def test_every_kind_has_its_share() -> None:
    """A new kind cannot be left out of the tests."""
    assert SHARES.keys() == KINDS.keys()
