"""Output paths and keys, as tables; and which templates keep outputs apart by themselves."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tasks import naming
from pipeline.tasks.faults import FaultError
from pipeline.tasks.naming import (
    DEFAULT_PATH,
    Naming,
    check_key,
    check_path,
    name_digest,
    naming_for,
    statically_unique,
)
from pipeline.tasks.templates import compile_template

KNOWN = frozenset({"set", "key", "prompt", "variant", "index", "row", "matrix"})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "an empty segment"),
        ("/abs/a", "begins with '/'"),
        ("a//b", "an empty segment"),
        ("a/../b", "a segment '..'"),
        ("./a", "a segment '.'"),
        ("a/b\n", "a control character"),
        ("a\0b", "a control character"),
        ("a\u2028b", "a control character"),
        (" a/b", "begins or ends with a space"),
        ("a/b ", "begins or ends with a space"),
        (".retouch/parts/x", "begins with '.'"),
        ("a/-rf", "begins with '-'"),
        ("a/b.png", "ends with '.png'"),
        ("a/b.JPEG", "ends with '.JPEG'"),
        ("a/" + "x" * 242, "too long a name"),
        ("a/" + "ä" * 121, "too long a name"),
        ("x" * 256 + "/a", "over 255 bytes"),
        ("/".join(["x" * 200] * 6), "is too long"),
    ],
)
def test_a_path_that_cannot_be_an_output_is_refused(path: str, words: str) -> None:
    """Whatever leaves the folder, hides, cannot be made or carries an extension is a fault of output.path."""
    with pytest.raises(FaultError) as caught:
        check_path(path)
    assert words in caught.value.what
    assert caught.value.where == "output.path"


@pytest.mark.parametrize("path", ["a", "a/b.c-1", "x" * 255 + "/a", "a/" + "x" * 241, "a b/c (1)", "a/~b", "a/v1.5"])
def test_an_ordinary_path_is_kept(path: str) -> None:
    """Names up to 255 bytes with suffix and extension are fine, and so are spaces and dots within."""
    assert check_path(path) == path


def test_a_path_is_composed() -> None:
    """Paths are in NFC, whatever the template or table held."""
    assert check_path(unicodedata.normalize("NFD", "größe/ä")) == "größe/ä"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "is empty"),
        ("..", "no relative path"),
        ("../a", "no relative path"),
        ("/a", "no relative path"),
        ("a//b", "no relative path"),
        ("a/", "no relative path"),
        ("a\nb", "a control character"),
        ("a\0", "a control character"),
        (" a", "begins or ends with a space"),
        ("x" * 501, "longer than 500 bytes"),
    ],
)
def test_a_key_that_cannot_be_one_says_why(key: str, words: str) -> None:
    """Keys are relative, visible and of bounded length."""
    with pytest.raises(FaultError, match=words):
        check_key(key, "")


@pytest.mark.parametrize("key", ["a", "a/b", "50%", "a=b#c", "ä", "a.b", "...", "-"])
def test_an_ordinary_key_is_fine(key: str) -> None:
    """A key may hold a slash and every visible character."""
    check_key(key, "")


@pytest.mark.parametrize("key", ["a", "a/b c", "größe/ä", "x" * 230, "50%"])
@pytest.mark.parametrize("variant", ["", "--dawn--r2"])
def test_the_fast_path_names_as_the_template_does(key: str, variant: str) -> None:
    """The default template gives the same paths rendered and put together."""
    template = compile_template(DEFAULT_PATH, "output.path", KNOWN)
    values: dict[str, Any] = {"set": "s", "key": key, "prompt": "p", "variant": variant}
    fast, slow = naming_for(template), Naming(template, fast=False)
    assert fast.fast
    assert fast.paths(values, 3) == slow.paths(values, 3)


ALL = ("set", "prompt", "variant", "key", "index")


@pytest.mark.parametrize(
    ("source", "needed", "expected"),
    [
        (DEFAULT_PATH, ALL, True),
        ("{{set}}/{{ prompt }}{{ variant }}/{{- key -}}-{{ index }}", ALL, True),
        ("{{ key }}", ("key",), True),
        ("{{ key }}", ("key", "index"), False),
        ("{{ prompt }}/{{ key }}-{{ index }}", ALL, False),
        ("{{ set }}-{{ key }}", ("set", "key"), False),
        ("{{ key }}-{{ prompt }}", ("prompt", "key"), False),
        ("{{ key }}/{{ prompt }}{{ variant }}/{{ index }}", ("prompt", "variant", "key", "index"), True),
        ("edited/{{ key }}", ("key",), True),
        ("{{ key | lower }}", ("key",), False),
        ("{{ row.sku }}/{{ key }}", ("key",), False),
        ("{{ key }}{# no #}", ("key",), False),
        ("{{ key }}/{{ key }}", ("key",), False),
    ],
)
def test_only_fields_kept_apart_make_a_template_unique_by_itself(
    source: str, needed: tuple[str, ...], expected: bool
) -> None:
    """A join that cannot be taken apart again (`a-b` + `c`, `a` + `b-c`) is rendered whole instead."""
    assert statically_unique(source, needed, [["s"], ["p", "q"]]) is expected


@pytest.mark.parametrize("names", [["Shoes", "shoes"], ["a--b", "a"], ["-b", "a"]])
def test_names_that_differ_in_case_or_hold_the_separator_are_not_unique_by_themselves(names: list[str]) -> None:
    """The manifest's names must be apart, too."""
    assert not statically_unique(DEFAULT_PATH, ALL, [names])


def test_a_digest_ignores_case_and_composition() -> None:
    """Names that a file system may take for one have one digest."""
    same = {name_digest(name) for name in ("STRASSE ä", "strasse a\u0308", "Straße Ä")}
    assert len(same) == 1
    assert name_digest("a") != name_digest("b")


@given(st.from_regex(naming._ORDINARY, fullmatch=True))
def test_what_is_told_in_one_look_is_nothing_that_the_rules_refuse(path: str) -> None:
    """The short way past the rules lets nothing through that they would not."""
    if len(path) <= naming._LONGEST_PATH:
        assert naming._wrong_path(path) is None
        assert naming.composed(path) == path
