"""Ids, seeds, shards and fingerprints: values that no release may change by accident."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tasks.identity import (
    FieldsParts,
    Labels,
    fields_part,
    files_part,
    fingerprint,
    joined,
    seed,
    shard_of,
    task_id,
)
from pipeline.tasks.matrix import longest_variant_text, texts, variant_count, variant_text, variants

A, B, C = (hashlib.sha256(data).hexdigest() for data in (b"aaa", b"bbb", b"c"))
VECTORS = re.findall(
    r"```json\n(.+)\n```\n\n`([0-9a-f]{64})`",
    (Path(__file__).parents[2] / "docs" / "fingerprint.md").read_text(encoding="utf-8"),
)


@pytest.mark.parametrize(
    ("expected", "fields", "images", "mask", "repeat", "generation"),
    [
        (
            "c7771763ceb25237ed94f3dd696e94e7f4c4ebd6cb5382206d58706df392ee83",
            {"model": "gpt-image-1.5", "prompt": "White background"},
            [A],
            None,
            1,
            0,
        ),
        (
            "ce842873c1a427995e3ccde3436c44477af9a0347c122bfd606d71bca08db1d5",
            {"size": "1024x1024", "n": 2, "prompt": "Grün, „so“ 😀\n", "model": "gpt-image-1.5", "quality": "high"},
            [A, B],
            C,
            1,
            0,
        ),
        (
            "ba7580f9f39df1e02088966f53a2b659c399f05c073f0268c74d7f881073262e",
            {"model": "gpt-image-1.5", "prompt": "White background"},
            [A],
            None,
            2,
            1,
        ),
        (
            "9a8b22fea798110a1da61eba04c9424f176618bff91286228baa38afd815b573",
            {"model": "m", "prompt": "x", "guidance": 7.5, "seed": 20, "hd": True, "tags": ["a", {"b": None}]},
            [A],
            None,
            1,
            0,
        ),
    ],
)
def test_the_four_vectors(
    expected: str, fields: dict[str, object], images: list[str], mask: str | None, repeat: int, generation: int
) -> None:
    """A fingerprint is what it was in every release, and the documentation has the same."""
    assert fingerprint(fields, images, mask, repeat, generation) == expected
    assert expected in {digest for _, digest in VECTORS}


def test_the_documented_bytes_hash_to_the_documented_fingerprints() -> None:
    """The page's format can be followed without this code."""
    assert len(VECTORS) == 4
    for text, digest in VECTORS:
        assert hashlib.sha256(text.encode()).hexdigest() == digest
        sent = json.loads(text)
        assert text == json.dumps(sent, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def test_a_fingerprint_refuses_a_number_that_json_does_not_have() -> None:
    """NaN would hash to bytes that no reader accepts."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        fingerprint({"x": float("nan")}, [A], None, 1, 0)


@pytest.mark.parametrize(
    ("key", "variant", "repeat", "expected"),
    [
        ("a", (), 1, "set/a/white"),
        ("a/b c", (), 1, "set/a/b c/white"),
        ("a", (), 3, "set/a/white#3"),
        ("a", (("light", "dawn"), ("floor", "oak")), 2, "set/a/white/light=dawn/floor=oak#2"),
        ("50%", (), 1, "set/50%25/white"),
        ("a#2", (), 1, "set/a%232/white"),
        ("a=b", (), 1, "set/a%3Db/white"),
        ("a\tb\x85", (), 1, "set/a%09b%C2%85/white"),
        ("ä", (), 1, "set/ä/white"),
    ],
)
def test_a_task_id_is_readable_and_unambiguous(key: str, variant: Labels, repeat: int, expected: str) -> None:
    """Ids join set, key, prompt, axes and repeat; what has a meaning in an id is encoded in a key."""
    assert task_id("set", key, "white", variant, repeat) == expected


def test_seeds_and_shards_stay_what_they_were() -> None:
    """Seeds and shards are functions of names alone."""
    assert [seed("shoes/a/white"), seed("shoes/a/white/light=dawn#2")] == [639495862, 1792581662]
    assert [shard_of("shoes", "b/c", shards) for shards in (1, 2, 3, 10)] == [1, 1, 1, 7]
    digest = int(hashlib.sha256(b"shoes/b/c").hexdigest(), 16)
    assert shard_of("shoes", "b/c", 10) == digest % 10 + 1


AXES = {"light": {"dawn": "soft light", "dusk": "low sun"}, "floor": {"oak": "oak boards", "x": "x"}}


def test_variants_are_the_product_in_the_manifests_order() -> None:
    """The last axis changes fastest, and no axes make one variant."""
    assert list(variants(AXES)) == [
        (("light", "dawn"), ("floor", "oak")),
        (("light", "dawn"), ("floor", "x")),
        (("light", "dusk"), ("floor", "oak")),
        (("light", "dusk"), ("floor", "x")),
    ]
    assert variant_count(AXES) == 4
    assert (list(variants({})), variant_count({})) == ([()], 1)


@pytest.mark.parametrize(
    ("variant", "repeat", "expected"),
    [((), 1, ""), ((), 2, "--r2"), ((("a", "x"), ("b", "y")), 1, "--x--y"), ((("a", "x"),), 3, "--x--r3")],
)
def test_variant_text_joins_labels_and_later_repeats(variant: Labels, repeat: int, expected: str) -> None:
    """The first repeat has no suffix."""
    assert variant_text(variant, repeat) == expected


def test_the_longest_variant_text_is_one_of_them() -> None:
    """It has as many bytes as any variant's text."""
    found = [variant_text(variant, 12) for variant in variants(AXES)]
    assert longest_variant_text(AXES, 12) in found
    assert len(longest_variant_text(AXES, 12)) == max(map(len, found))


def test_matrix_texts_are_those_of_the_labels() -> None:
    """`matrix.light` is the text, not the label."""
    assert texts(AXES, (("light", "dusk"), ("floor", "oak"))) == {"light": "low sun", "floor": "oak boards"}


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(
    st.dictionaries(TEXTS, VALUES, max_size=5),
    st.lists(DIGESTS, max_size=16),
    st.none() | DIGESTS,
    st.integers(1, 1000),
    st.integers(0, 1000),
)
def test_a_fingerprint_of_parts_is_that_of_the_whole(
    fields: dict[str, object], images: list[str], mask: str | None, repeat: int, generation: int
) -> None:
    """The parts that requests share add up to the very bytes that are documented."""
    sent = {"v": 1, "fields": fields, "images": images, "mask": mask, "repeat": repeat, "generation": generation}
    whole = json.dumps(sent, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    expected = hashlib.sha256(whole.encode()).hexdigest()
    assert fingerprint(fields, images, mask, repeat, generation) == expected
    parts = FieldsParts()
    for _ in range(2):
        assert joined(parts.of(fields), generation, files_part(images, mask), repeat) == expected


def test_fields_of_the_same_place_in_memory_are_not_mixed_up() -> None:
    """A mapping is kept as long as its part: another one never gets its identity."""
    parts = FieldsParts()
    for number in range(10_000):
        assert parts.of({"prompt": f"{number}"}) == fields_part({"prompt": f"{number}"})
