from __future__ import annotations

import pytest

from pipeline.endpoint.pause import retry_after

NOW = 1_795_000_000.0  # Wed, 18 Nov 2026 11:06:40 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "20"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "20"}, 20.0),
        ({"llm_provider-retry-after": "7"}, 7.0),
        ({"retry-after": "20", "llm_provider-retry-after": "7"}, 20.0),
        ({"retry-after": "junk", "llm_provider-retry-after": "7"}, 7.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "junk"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "999999999999"}, 999999999999.0),
        ({"retry-after": "Wed, 18 Nov 2026 11:07:10 GMT"}, 30.0),
        ({"retry-after": "Wed, 18 Nov 2026 11:07:10"}, 30.0),
        ({"retry-after": "Wed, 18 Nov 2026 11:06:10 GMT"}, None),
        ({"retry-after": "Wed, 99 Nov 2026 11:06:10 GMT"}, None),
        ({"retry-after": "Wed, 18 Nov 99999 11:06:10 GMT"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds or a date; junk, negative numbers and past dates are no answer."""
    assert retry_after(headers, NOW) == seconds


def test_a_date_counts_from_the_servers_clock() -> None:
    """A local clock that is an hour off does not turn 30 seconds into an hour."""
    headers = {"retry-after": "Wed, 18 Nov 2026 11:07:10 GMT", "date": "Wed, 18 Nov 2026 11:06:40 GMT"}
    assert retry_after(headers, NOW - 3600) == 30.0
