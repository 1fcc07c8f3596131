import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ledger.digests import DigestIndex, digest, fingerprint_digest, path_digest
from pipeline.ledger.places import NOWHERE, Places, Where


@given(st.lists(st.integers(0, 200), max_size=300))
def test_an_index_numbers_digests_as_a_dict_would(numbers: list[int]) -> None:
    """Each new digest gets the next number, and keeps it however the table grows."""
    index, expected = DigestIndex(), dict[bytes, int]()
    for number in numbers:
        key = digest(str(number))
        assert index.find(key) == expected.get(key, -1)
        assert index.add(key) == expected.setdefault(key, len(expected))
    assert len(index) == len(expected)
    assert all(index.find(key) == row for key, row in expected.items())


def test_digests_that_want_the_same_slot_are_kept_apart() -> None:
    """Keys with equal first bytes collide in the table and still have numbers of their own."""
    keys = [bytes(8) + hashlib.md5(str(n).encode()).digest()[:8] for n in range(50)]
    index = DigestIndex()
    assert [index.add(key) for key in keys] == list(range(50))
    assert [index.find(key) for key in keys] == list(range(50))
    assert index.find(bytes(16)) == -1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("out/Schuh.png", "OUT/schuh.PNG", True),
        ("out/caf\u00e9.png", "out/cafe\u0301.png", True),
        ("out/STRASSE.png", "out/straße.png", True),
        ("out/a.png", "out/b.png", False),
        ("out/a\udc80.png", "out/a\\udc80.png", True),
    ],
)
def test_paths_that_a_file_system_may_confuse_are_one(one: str, other: str, same: bool) -> None:
    """Case, Unicode form and the ledger's spelling of a surrogate make no other path."""
    assert (path_digest(one) == path_digest(other)) is same


@given(st.lists(st.builds(Where, st.integers(0, 2**16 - 1), st.integers(0, 2**48 - 1), st.integers(1, 2**32 - 1))))
def test_places_hold_what_was_put_in(wheres: list[Where]) -> None:
    """Files, offsets and lengths up to their limits come back, by index and by slice."""
    places = Places()
    for where in wheres:
        places.append(NOWHERE)
        places[len(places) - 1] = where
    assert list(places) == wheres
    assert places[1:] == wheres[1:]


def test_a_fingerprint_is_its_own_digest_and_anything_else_has_another() -> None:
    """Foreign ledgers may hold any text there: in capitals, with spaces or too long it is not the same fingerprint."""
    whole = hashlib.sha256(b"a").hexdigest()
    assert fingerprint_digest(whole) == bytes.fromhex(whole)[:16]
    others = [whole.upper(), whole[:-1], f"{whole}00", f"{whole[:62]} {whole[62:]}", "", "x" * 64, "\udc80"]
    assert [fingerprint_digest(other) for other in others] == [digest(other) for other in others]
