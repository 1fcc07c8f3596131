# ruff: noqa: E501 - an expected message is one line
from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import JobError
from pipeline.manifest.override import override
from tests.manifest.conftest import Load
from tests.manifest.minimal import minimal


def test_changed_values_replace_those_of_the_manifest(load: Load) -> None:
    """A change wins, what was not set stays unset, and the rest of the job is the same."""
    job = load(minimal(limits="{concurrency: 3, timeout: 90s}"))
    changed = override(job, {"limits.concurrency": "7", "output.folder": "2024", "stop_on.duration": "50m"})
    assert (changed.manifest.limits.concurrency, changed.manifest.limits.timeout) == (7, 90.0)
    assert (changed.manifest.output.folder, changed.manifest.stop_on.duration) == ("2024", 3000.0)
    assert changed.manifest.request.sent_fields() == {"model": "m"}
    assert (changed.texts, changed.matrix, changed.base_url) == (job.texts, job.matrix, job.base_url)


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        ("limits.concurrency", 0, "--concurrency: 0 is too small; expected a whole number from 1 to 4096"),
        ("limits.concurrency", "-1", "--concurrency: -1 is too small; expected a whole number from 1 to 4096"),
        ("limits.concurrency", 10**9, "--concurrency: 1000000000 is too large; expected a whole number from 1 to 4096"),
        ("limits.concurrency", "abc", "--concurrency: 'abc' is text; expected a whole number from 1 to 4096"),
        ("limits.timeout", "0", "--timeout: 0 is too small; expected a duration above 0, such as 90s, 50m or 2h"),
        ("limits.timeout", "1 year", "--timeout: '1 year' does not fit; expected a duration above 0, such as 90s, 50m or 2h"),
        ("budget.max_images", "0", "--max-images: 0 is too small; expected a whole number above 0"),
        ("budget.max_cost", "0", "--max-cost: 0 is too small; expected a number above 0"),
        ("retries.in_doubt", "hodl", "--in-doubt: 'hodl' is not known; did you mean 'hold'? expected retry or hold"),
        ("endpoint.base_url", "http://x.example", "--base-url: http:// would send the key to x.example in the open; expected https://, or allow_http: true where the network is to be trusted"),
        ("limits.speed", "1", "--speed: unknown key 'speed'; known keys: concurrency, requests_per_minute, images_per_minute, tokens_per_minute, timeout, drain"),
    ],
)  # fmt: skip
def test_bad_flag_is_named_in_one_line(load: Load, place: str, value: Any, line: str) -> None:
    """A value that the manifest would refuse is refused under its flag's name."""
    with pytest.raises(JobError) as caught:
        override(load(minimal()), {place: value})
    assert str(caught.value) == line


def test_base_url_can_be_changed(load: Load) -> None:
    """The job's base URL follows the change."""
    assert (
        override(load(minimal()), {"endpoint.base_url": "http://127.0.0.1:8/v1/"}).base_url == "http://127.0.0.1:8/v1"
    )
