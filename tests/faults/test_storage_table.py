"""A sample of the table of storage faults, with what its rows need to be believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.endpoint import Endpoint
from tests.faults.refusals import PLACES, Refusal, RefusingForge
from tests.faults.storage_table import ERRORS, SCENARIOS, Case, run_case

SAMPLE = (
    ("plain", "create", "ledger", "EDQUOT", 1, False),
    ("plain", "write", "ledger", "ENOSPC", 3, False),
    ("plain", "write", "ledger", "ENOSPC", 3, True),
    ("plain", "write", "ledger", "EFBIG", 4, True),
    ("plain", "write", "ledger", "short", 1, True),
    ("plain", "sync", "ledger", "EIO", 4, False),
    ("plain", "fallocate", "ledger", "ENOSPC", 1, True),
    ("plain", "fallocate", "ledger", "EOPNOTSUPP", 1, True),
    ("plain", "create", "part", "EMFILE", 1, False),
    ("plain", "write", "part", "EIO", 2, True),
    ("plain", "write", "part", "short", 1, True),
    ("plain", "sync", "part", "EIO", 1, False),
    ("plain", "sync", "part", "EIO", 2, True),
    ("plain", "sync", "parts folder", "EIO", 2, True),
    ("plain", "unlink", "part", "EROFS", 1, True),
    ("plain", "link", "final name", "EDQUOT", 2, True),
    ("plain", "mkdir", "final folder", "ENOSPC", 1, True),
    ("plain", "sync", "final folder", "EIO", 1, True),
    ("plain", "stat", "ledger", "EIO", 2, True),
    ("plain", "write", "lock", "ENOSPC", 1, True),
    ("plain", "create", "lock", "EROFS", 1, True),
    ("remake", "link", "replaced", "EDQUOT", 1, True),
    ("remake", "sync", "replaced folder", "EIO", 1, False),
    ("remake", "unlink", "final name", "EIO", 1, True),
    ("remake", "link", "final name", "EMLINK", 1, True),
    ("unusable", "create", "unusable", "ENOSPC", 1, True),
    ("unusable", "write", "unusable", "short", 1, True),
    ("unusable", "sync", "unusable", "EIO", 2, False),
    ("spilling", "mkdir", "spill", "EROFS", 1, True),
    ("spilling", "write", "spill", "ENOSPC", 2, False),
    ("spilling", "write", "spill", "short", 1, True),
    ("spilling", "sync", "spill", "EIO", 3, True),
    ("spilling", "rename", "spill", "EDQUOT", 1, False),
    ("unpublished", "write", "torn", "ENOSPC", 1, False),
    ("unpublished", "truncate", "ledger", "EIO", 1, False),
    ("taking in", "write", "part", "EDQUOT", 1, False),
    ("taking in", "unlink", "spill", "EIO", 1, True),
)
"""Rows of the whole table (`python -m tests.faults.storage_table`), one for each kind of call and place at least."""


@pytest.mark.parametrize(
    ("scenario", "call", "place", "error", "number", "lasts"), SAMPLE, ids=[" ".join(map(str, row)) for row in SAMPLE]
)
def test_a_call_that_is_refused_loses_no_paid_result(
    tmp_path: Path,
    endpoint: Endpoint,
    refusing_forge: RefusingForge,
    scenario: str,
    call: str,
    place: str,
    error: str,
    number: int,
    lasts: bool,
) -> None:
    """The N-th call of a kind on a place fails, once or from there on: the exit of the table, nothing bought twice."""
    refusal = Refusal(call, place, error, number, 1 << 30 if lasts else number)
    case = Case(next(one for one in SCENARIOS if one.name == scenario), refusal)
    assert run_case(tmp_path / "job", endpoint, refusing_forge, case).code in (0, 2, 3, 7)
    assert error in ERRORS[call]


def test_the_sample_has_every_kind_of_call() -> None:
    """A kind that is added to the table is sampled, too."""
    assert {(row[1]) for row in SAMPLE} == ERRORS.keys() - {"open"}
    assert {row[2] for row in SAMPLE} >= PLACES.keys() - {"output folder", "own folder", "thread"}
