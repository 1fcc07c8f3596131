"""Pictures have the size that is said, medians are medians, phases are found, and pages are filled from results."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from io import BytesIO
from pathlib import Path
from statistics import median

import pytest
from PIL import Image

from benchmarks import plots
from benchmarks.contest import Measured, from_sent_to_settled
from benchmarks.delay import content_length
from benchmarks.phases import WAITING, phase_of
from benchmarks.pictures import Pictures, answer, picture_of
from benchmarks.report import Row, as_json, file_system
from benchmarks.throughput import SMALL, _figures, _row

ROW = Row("small: of 3 KB", {"Retouch": "  12.0 edits/s"}, "4 x SDK", False, {"edits/s": {"Retouch": 12.0, "SDK": 3}})


@pytest.mark.parametrize("size", [300, 2_800, 3_000, 50_000, 400_000])
def test_a_picture_is_as_long_as_it_is_said_to_be(size: int) -> None:
    """Exactly so many bytes, decodable, different by number, and random: it does not compress."""
    first, second = (Pictures(size).numbered(number) for number in (1, 2))
    assert len(first) == len(second) == size
    assert first != second
    with Image.open(BytesIO(first)) as image:
        image.load()
        assert image.width > 5


@pytest.mark.parametrize(("size", "images"), [(4_000, 1), (1_400_000, 1), (1_400_000, 10)])
def test_an_answer_is_about_as_long_as_it_is_said_to_be(size: int, images: int) -> None:
    """Within two percent and the bytes around it, with the picture in it as often as asked."""
    document = answer(size, images)
    assert abs(len(document) - size * images) < 0.02 * size * images + 300
    data = json.loads(document)["data"]
    assert len(data) == images
    assert len(picture_of(size)) == len(data[0]["b64_json"]) * 3 // 4 - data[0]["b64_json"].count("=")


def test_medians_leave_start_up_out() -> None:
    """Processor time is what is left after a run of one edit, by the other edits; one slow round changes no median."""
    start = Measured(1, 0.1, 1.0, 0.5, 10)
    taken = [Measured(101, seconds, seconds + 1, 0.5 + seconds / 10, 20) for seconds in (1.0, 2.0, 50.0)]
    figures = _figures(taken, start)
    assert figures.rate == 101 / 2
    assert figures.whole == 101 / 3
    assert figures.cpu == pytest.approx(2.0)
    assert figures.memory == median([20, 20, 20])


def test_a_row_says_which_goal_was_missed() -> None:
    """Four times the SDK is good only together with 1.2 times the loop, and it is told who reached it."""
    one, fast, slow = (_figures([Measured(edits, 1.0, 1.5, 1.0, 1)], None) for edits in (100, 500, 450))
    ours = {"Retouch": slow, "Retouch, two processes": fast}
    row = _row("small", SMALL, {"openai SDK": one, "aiohttp loop": one, "wrk": fast} | ours, "here")
    assert row.good
    assert row.figures["Retouch, two processes / openai SDK"].strip() == "5.00"
    assert row.figures["Retouch / openai SDK"].strip() == "4.50"
    missed = _row("small", SMALL, {"openai SDK": slow, "aiohttp loop": one, "wrk": fast} | ours, "")
    assert not missed.good
    assert missed.wanted == "4 x openai SDK (by none), 1.2 x aiohttp loop (by one process)"
    near = _row("small", SMALL, {"openai SDK": one, "aiohttp loop": slow, "wrk": fast} | ours, "")
    assert near.wanted == "4 x openai SDK (by one process), 1.2 x aiohttp loop (by none)"


def test_time_is_from_the_first_sent_to_the_last_settled(tmp_path: Path) -> None:
    """Neither other lines nor the order of lines matter."""
    lines = [("run", "00"), ("sent", "02"), ("sent", "01"), ("settled", "09"), ("settled", "08"), ("end", "30")]
    text = "".join(json.dumps({"type": kind, "at": f"2026-11-01T00:00:{second}.500Z"}) + "\n" for kind, second in lines)
    (tmp_path / "ledger.jsonl").write_text(text)
    assert from_sent_to_settled(tmp_path) == 8.0


@pytest.mark.parametrize(
    ("places", "phase"),
    [
        (["/x/pipeline/ledger/committer.py:write", "/usr/lib/threading.py:run"], "ledger: write and sync"),
        (["/x/PIL/ImageFile.py:load", "/x/pipeline/outputs/check.py:check"], "pictures: check"),
        (["/x/pipeline/outputs/publish.py:link"], "pictures: publish"),
        (["/usr/lib/threading.py:wait", "/x/pipeline/ledger/committer.py:run"], WAITING),
        (["/usr/lib/asyncio/runners.py:run", "/x/pipeline/run/api.py:run"], None),
        ([], None),
    ],
)
def test_the_innermost_frame_decides_on_the_phase(places: list[str], phase: str | None) -> None:
    """What a library does is its caller's, what waits is nobody's, and what started the loop is not what it does."""
    assert phase_of(places) == phase


def test_every_path_of_a_phase_exists() -> None:
    """A module that is renamed cannot leave its phase empty without anybody noticing."""
    from benchmarks.phases import PHASES

    root = Path(__file__).parents[2]
    named = {part.partition(":")[0] for _, parts in PHASES for part in parts if part.startswith("/pipeline/")}
    assert [part for part in sorted(named) if not list(root.glob(f"{part.strip('/')}*"))] == []


def test_a_body_has_the_length_of_its_header() -> None:
    """In any case of letters; without one there is an error rather than a guess."""
    assert content_length(b"POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 17") == 17
    with pytest.raises(ValueError, match="no Content-Length"):
        content_length(b"POST / HTTP/1.1\r\nHost: x")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mounted in a file")
def test_the_file_system_is_that_of_the_longest_mount() -> None:
    """What lies below `/proc` is not on the root's file system."""
    assert file_system(Path("/proc/self")) == "proc"


def test_bars_are_svg_of_the_right_lengths() -> None:
    """The longest bar belongs to the largest value, another is as long as its share, and Retouch has its own colour."""
    root = ElementTree.fromstring(plots.bars("a < b", {"Retouch": 200.0, "SDK & co": 50.0}))
    bars = root.findall("{http://www.w3.org/2000/svg}rect")
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths[0] == pytest.approx(4 * widths[1], abs=0.1)
    assert [bar.attrib["class"] for bar in bars] == ["bar ours", "bar"]
    assert widths[0] + plots.LEFT < plots.WIDTH
    assert "prefers-color-scheme: dark" in plots.bars("", {})


@pytest.mark.parametrize(("value", "text"), [(1234.5, "1,234"), (12.34, "12.3"), (1.234, "1.23"), (0, "0.00")])
def test_numbers_are_shown_with_the_digits_that_count(value: float, text: str) -> None:
    """Three of them, and thousands apart."""
    assert plots.shown(value) == text


def test_a_page_is_filled_from_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables come between the marks, twice as once; plots and the result lie in the folder; other marks stay."""
    result = tmp_path / "result.json"
    result.write_text(json.dumps(as_json("throughput", [ROW])))
    page = tmp_path / "performance.md"
    page.write_text("# A\n<!-- throughput -->\nold\n<!-- end -->\n<!-- growth -->\nkept\n<!-- end -->\n")
    monkeypatch.setattr(sys, "argv", ["plots", str(result), "--out", str(tmp_path / "performance")])
    plots.main()
    once = page.read_text()
    plots.main()
    assert page.read_text() == once
    assert "old" not in once
    assert "kept" in once
    assert "| Retouch | 12.0 edits/s |" in once
    assert "Wanted: 4 x SDK; **missed**." in once
    assert {path.name for path in (tmp_path / "performance").iterdir()} == {
        "throughput.json",
        "throughput-small.svg",
    }


def test_the_page_shows_what_the_results_say() -> None:
    """docs/performance.md is what `benchmarks.plots` makes of docs/performance/*.json, and each plot on it exists."""
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "performance.md").read_text()
    results = [json.loads(path.read_text()) for path in sorted((docs / "performance").glob("*.json"))]
    assert plots.filled(page, results, "performance") == page
    shown = re.findall(r"\]\((performance/[^)]+\.svg)\)", page)
    assert [name for name in shown if not (docs / name).exists()] == []
