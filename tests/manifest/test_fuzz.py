from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import JobError, Problem
from pipeline.manifest.load import load_job
from pipeline.manifest.models import Manifest, Model

SAMPLE = (Path(__file__).parent / "sample.yaml").read_bytes()
FEW = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def keys(model: type[Model]) -> set[str]:
    """Every key of the format, of all sections."""
    found = set(model.model_fields)
    for inner in Model.__subclasses__():
        found |= set(inner.model_fields)
    return found


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["20%", "5s", "${X}", "{{ a }}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted(keys(Manifest))) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)


def attempt(path: Path, data: bytes) -> None:
    """Loads, where only a JobError with one line a problem may come out."""
    path.write_bytes(data)
    problems: tuple[Problem, ...] = ()
    try:
        load_job(path, {})
    except JobError as error:
        problems = error.problems
    assert all(str(problem).startswith((str(path), "environment: ")) for problem in problems)
    assert "\n" not in "".join(map(str, problems))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.yaml"


@FEW
@given(data=st.binary(max_size=200))
def test_random_bytes_give_only_job_errors(path: Path, data: bytes) -> None:
    """No bytes crash the loader."""
    attempt(path, data)


@FEW
@given(at=st.integers(0, len(SAMPLE)), length=st.integers(0, 40), new=st.text(max_size=8))
def test_damaged_samples_give_only_job_errors(path: Path, at: int, length: int, new: str) -> None:
    """Nor does a real manifest with a piece replaced."""
    attempt(path, SAMPLE[:at] + new.encode("utf-8", "replace") + SAMPLE[at + length :])


@FEW
@given(value=st.dictionaries(st.sampled_from(sorted(Manifest.model_fields)), VALUES))
def test_random_structures_give_only_job_errors(path: Path, value: dict[str, Any]) -> None:
    """Nor do known keys with values of any shape."""
    attempt(path, yaml.safe_dump(value).encode("utf-8", "replace"))
