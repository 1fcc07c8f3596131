"""Glob patterns, as tables."""

from __future__ import annotations

import unicodedata

import pytest

from pipeline.tasks.faults import FaultError
from pipeline.tasks.globs import Glob, exclusion, expand_braces, fixed_part, has_magic, parse_glob


def matches(glob: Glob, path: str) -> bool:
    *folders, name = path.split("/")
    states = glob.start()
    for folder in folders:
        states = glob.enter(states, folder)
    return glob.takes(states, name)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.jpg", "a.jpg", True),
        ("*.jpg", "b/a.jpg", False),
        ("*.jpg", "a.JPG", True),
        ("*.jpg", "a.jpgx", False),
        ("**/*.jpg", "a.jpg", True),
        ("**/*.jpg", "b/c/a.jpg", True),
        ("**/front/*.jpg", "front/a.jpg", True),
        ("**/front/*.jpg", "b/FRONT/a.jpg", True),
        ("**/front/*.jpg", "b/front/c/a.jpg", False),
        ("**", "b/c/a", True),
        ("**/**/*.jpg", "a.jpg", True),
        ("?.jpg", "a.jpg", True),
        ("?.jpg", "ab.jpg", False),
        ("[ab].jpg", "a.jpg", True),
        ("[!ab].jpg", "a.jpg", False),
        ("*.{jpg,png}", "a.png", True),
        ("*.{jpg,png}", "a.webp", False),
        ("*.{jp{,e}g,png}", "a.jpeg", True),
        ("*.{jp{,e}g,png}", "a.jpg", True),
        ("{a/b,c}/*.jpg", "a/b/x.jpg", True),
        ("a*b/*.jpg", "a/b/x.jpg", False),
        ("*{.jpg", "x{.jpg", True),
        ("*ä.jpg", unicodedata.normalize("NFD", "ä.jpg"), True),
        (unicodedata.normalize("NFD", "*ä.jpg"), "Ä.jpg", True),
        ("?ä.jpg", unicodedata.normalize("NFD", "xä.jpg"), True),
    ],
)
def test_a_pattern_takes_exactly_these_paths(pattern: str, path: str, expected: bool) -> None:
    """A pattern takes a path below its fixed part, or does not."""
    assert matches(parse_glob(pattern), path) is expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/shoes/**/*.jpg", "photos/shoes"),
        ("photos/a.jpg", "photos"),
        ("a.jpg", ""),
        ("*.jpg", ""),
        ("{a,b}/*.jpg", ""),
        ("./photos//x/*.jpg", "photos/x"),
        ("/data/*.jpg", "/data"),
        ("/*.jpg", "/"),
        ("../in/[ab]/x.jpg", "../in"),
    ],
)
def test_the_fixed_part_ends_before_the_first_wildcard(pattern: str, expected: str) -> None:
    """The fixed part is the folders before the first wildcard, never the last segment."""
    assert fixed_part(pattern) == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.{jpg,png}", ["a.jpg", "a.png"]),
        ("{a,{b,c}}", ["a", "b", "c"]),
        ("{x{1,2},y}", ["x1", "y", "x2"]),
        ("{a}", ["a"]),
        ("{a,b", ["{a,b"]),
        ("a}b", ["a}b"]),
        ("{a,}b", ["ab", "b"]),
    ],
)
def test_braces_stand_for_each_alternative(pattern: str, expected: list[str]) -> None:
    """Braces stand for each of their alternatives; unpaired ones for themselves."""
    assert expand_braces(pattern) == expected


@pytest.mark.parametrize("pattern", ["{a,b}" * 12, "{a,b,c,d}" * 40, "", "photos/", "a/*/../b", "*\0"])
def test_patterns_that_can_match_nothing_or_too_much_are_refused(pattern: str) -> None:
    """An empty pattern, one that goes up, and a brace bomb are faults at once."""
    with pytest.raises(FaultError):
        parse_glob(pattern)


def test_a_hundred_nested_braces_are_read_without_recursion() -> None:
    """Depth of nesting costs no stack."""
    assert expand_braces("{" * 5000 + "a" + "}" * 5000) == ["a"]


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("**/old/**", "in/old/a.jpg", True),
        ("**/old/**", "in/older/a.jpg", False),
        ("in/old", "in/old/deep/a.jpg", True),
        ("*_bak.jpg", "in/deep/a_BAK.jpg", True),
        ("in/*.jpg", "in/deep/a.jpg", False),
        ("/data/in/*.jpg", "in/a.jpg", True),
        ("../data/in/*", "in/a.jpg", True),
    ],
)
def test_an_exclusion_takes_files_and_whole_folders(pattern: str, path: str, expected: bool) -> None:
    """An exclusion starts from the manifest's folder, and takes all below a folder that it matches."""
    glob = exclusion(pattern, "/data")
    states = glob.start()
    *folders, name = f"data/{path}".split("/")
    for folder in folders:
        states = states if glob.ended(states) else glob.enter(states, folder)
    assert (glob.ended(states) or glob.takes(states, name)) is expected


def test_the_prefix_narrows_a_folder_to_names_that_can_match() -> None:
    """The alternatives' common literal beginning is known in lower case, cut before what lower case may change."""
    assert parse_glob("SKU-1*.{jpg,png}").prefix(parse_glob("SKU-1*.{jpg,png}").start()) == "sku-1"
    assert parse_glob("{ab,ac}*").prefix(parse_glob("{ab,ac}*").start()) == "a"
    assert parse_glob("aß*").prefix(parse_glob("aß*").start()) == "a"
    assert parse_glob("**/a*").prefix(parse_glob("**/a*").start()) == ""


@pytest.mark.parametrize(("text", "expected"), [("a.jpg", False), ("a*.jpg", True), ("a[1].jpg", True), ("{a}", True)])
def test_magic_is_what_a_glob_gives_a_meaning(text: str, expected: bool) -> None:
    """Only the characters of a pattern are magic."""
    assert has_magic(text) is expected
