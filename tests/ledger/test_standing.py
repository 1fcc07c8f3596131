import pytest

from pipeline.ledger.standing import Course, History, Standing, after, standing_of
from pipeline.manifest.models import Retries
from pipeline.outcome import Outcome
from tests.ledger.lines import settled

RETRY = Retries(max_attempts=3)
HOLD = Retries(max_attempts=3, in_doubt="hold")


@pytest.mark.parametrize(
    ("last", "code", "billed", "unusable", "under_retry", "under_hold"),
    [
        (None, None, 0, 0, "PENDING", "PENDING"),
        ("succeeded", None, 0, 0, "DONE", "DONE"),
        ("refused", "moderation_blocked", 0, 0, "FAILED", "FAILED"),
        ("stopped", "invalid_api_key", 0, 0, "PENDING", "PENDING"),
        ("throttled", None, 2, 0, "PENDING", "PENDING"),
        ("unsent", None, 2, 1, "PENDING", "PENDING"),
        ("throttled", None, 3, 0, "HELD", "HELD"),
        ("in_doubt", "timeout", 1, 0, "PENDING", "HELD"),
        ("in_doubt", "timeout", 2, 1, "PENDING", "HELD"),
        ("in_doubt", "timeout", 3, 0, "HELD", "HELD"),
        ("in_doubt", "interrupted", 0, 0, "PENDING", "HELD"),
        ("in_doubt", "cancelled", 2, 0, "PENDING", "HELD"),
        ("unusable", "bad_base64", 1, 1, "PENDING", "PENDING"),
        ("unusable", "bad_base64", 2, 2, "FAILED", "FAILED"),
        ("unusable", "bad_base64", 3, 1, "FAILED", "FAILED"),
        ("unusable", "storage", 1, 1, "HELD", "HELD"),
        ("unusable", "storage", 3, 2, "HELD", "HELD"),
    ],
)
def test_what_a_past_allows(
    last: str | None, code: str | None, billed: int, unusable: int, under_retry: str, under_hold: str
) -> None:
    """The last outcome and the counts decide whether a fingerprint may be sent, with 3 attempts, for both settings."""
    history = History(billed=billed, unusable=unusable, last=Outcome(last) if last else None, code=code)
    assert standing_of(history, RETRY) is Standing[under_retry]
    assert standing_of(history, HOLD) is Standing[under_hold]


@pytest.mark.parametrize(
    ("outcome", "code", "probe", "billed", "unusable", "key"),
    [
        ("in_doubt", "timeout", False, 2, 1, "k"),
        ("in_doubt", "timeout", True, 1, 1, "k"),
        ("in_doubt", "interrupted", False, 1, 1, "k"),
        ("in_doubt", "cancelled", False, 1, 1, "k"),
        ("throttled", None, False, 1, 1, "k"),
        ("unsent", "dns", False, 1, 1, "k"),
        ("unusable", "html", False, 2, 2, None),
        ("refused", "moderation_blocked", False, 1, 1, None),
        ("stopped", "invalid_api_key", False, 1, 1, None),
    ],
)
def test_what_an_attempt_leaves(
    outcome: str, code: str | None, probe: bool, billed: int, unusable: int, key: str | None
) -> None:
    """Possibly billed attempts count, but for our interruptions and probes; only open ends keep the key."""
    course = after(Course(billed=1, unusable=1, open_key="k"), settled("t", outcome, code=code, probe=probe))
    assert (course.billed, course.unusable, course.open_key) == (billed, unusable, key)
    assert (course.last, course.code) == (outcome, code)


def test_an_outage_never_fails_a_task() -> None:
    """Any number of unsent, throttled and probing attempts leaves a fingerprint pending."""
    course = Course()
    for _ in range(50):
        for line in (settled("t", "unsent"), settled("t", "throttled"), settled("t", "in_doubt", probe=True)):
            course = after(course, line)
    assert standing_of(History(course.billed, course.unusable, course.last), RETRY) is Standing.PENDING
