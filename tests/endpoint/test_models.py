"""Models as data: what is built in, what a user's file adds or changes, and what is wrong in such a file."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.endpoint import models as package
from pipeline.endpoint.model import Bounds, Grid, Measured, Model, Patches, Span, Table, Tiles, output_span
from pipeline.endpoint.models import BUILT_IN, Catalogue, load_catalogue
from pipeline.endpoint.models_file import CHOICES, RANGES
from pipeline.endpoint.pricing import FREE, Price
from pipeline.endpoint.values import ORIGIN
from pipeline.errors import JobError
from pipeline.manifest.endpoints import Endpoint
from pipeline.sandbox.models import MODELS, find_model, size_fault
from pipeline.sandbox.tokens import Size, grid_tokens, output_tokens, patch_tokens, tile_tokens
from tests.pages import code, fenced, read, section

PAGE = read("docs/models.md")
NAMES = [model.name for model in MODELS]
SIZES = [(1024, 1024), (1024, 1536), (1536, 1024), (2048, 2048), (3840, 2160), (1536, 512), (1440, 480), (2880, 2880)]
PICTURES = [(1, 1), (16, 12), (192, 192), (1024, 1024), (1536, 1024), (4000, 3000), (320, 213), (8192, 1024), (77, 999)]


def catalogue(folder: Path, text: str | None = None, **endpoint: Any) -> Catalogue:
    """The catalogue of an endpoint, with a user's file of this text."""
    if text is not None:
        (folder / "models.yaml").write_text(text)
        endpoint["models_file"] = "models.yaml"
    return load_catalogue(Endpoint.model_validate(endpoint), folder)


def entries(folder: Path, *lines: str, **endpoint: Any) -> Catalogue:
    """As `catalogue`, of a file with these lines below `models:`."""
    return catalogue(folder, "version: 1\nmodels:\n" + "".join(f"  {line}\n" for line in lines), **endpoint)


def known(found: Catalogue, name: str) -> Model:
    model = found.model(name)
    assert model is not None
    return model


def faults(folder: Path, *lines: str) -> list[str]:
    """The problems of a file with these lines below `models:`."""
    with pytest.raises(JobError) as caught:
        entries(folder, *lines)
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def built(tmp_path: Path) -> Catalogue:
    """What is known without a user's file."""
    return catalogue(tmp_path)


@pytest.mark.parametrize(
    ("model", "quality", "size", "tokens"),
    [
        ("gpt-image-2", "medium", "1024x1024", 1756),
        ("gpt-image-2", "high", "1536x1024", 5488),
        ("gpt-image-2.5-flare", "low", "2048x2048", 397),
        ("gpt-image-2.5-sunburst", "low", "2048x2048", 397),
        *((model, "low", "1024x1024", 272) for model in NAMES[:4]),
        *((model, "low", "1024x1536", 408) for model in NAMES[:4]),
        *((model, "low", "1536x1024", 400) for model in NAMES[:4]),
        *((model, "medium", "1024x1024", 1056) for model in NAMES[:4]),
        *((model, "medium", "1024x1536", 1584) for model in NAMES[:4]),
        *((model, "medium", "1536x1024", 1568) for model in NAMES[:4]),
        *((model, "high", "1024x1024", 4160) for model in NAMES[:4]),
        *((model, "high", "1024x1536", 6240) for model in NAMES[:4]),
        *((model, "high", "1536x1024", 6208) for model in NAMES[:4]),
    ],
)
def test_output_tokens_are_the_published_ones(
    built: Catalogue, model: str, quality: str, size: str, tokens: int
) -> None:
    """Every row of the table, and the three checks of the formula."""
    assert output_span(known(built, model), quality, size) == Span(tokens, tokens)


@pytest.mark.parametrize(
    ("model", "prices"),
    [
        ("gpt-image-1", "5 10 40 40"),
        ("gpt-image-1-mini", "2 2.5 8 8"),
        ("gpt-image-1.5", "5 8 32 10"),
        ("chatgpt-image-latest", "5 8 32 10"),
        *((model, "5 8 30 30") for model in NAMES[4:]),
    ],
)
def test_prices_are_the_published_ones(built: Catalogue, model: str, prices: str) -> None:
    """US dollars for a million tokens of text and images in, of images and text out."""
    assert built.price(model) == Price(*map(Decimal, prices.split()))


@pytest.mark.parametrize("name", NAMES)
def test_the_built_in_rules_agree_with_the_sandbox_s(built: Catalogue, name: str) -> None:
    """Two independent implementations: the data here and the tables there give the same figures for all models."""
    there, here = find_model(name), known(built, name)
    assert there is not None
    assert tuple(here.qualities) == there.qualities
    assert here.parameters["input_fidelity"] == there.fidelities
    for width, height in SIZES:
        size = f"{width}x{height}"
        assert here.sizes is not None
        assert (here.sizes.fault(size) is None) == (size_fault(there, width, height) is None)
        for quality in there.qualities if size_fault(there, width, height) is None else ():
            found = output_span(here, quality, size)
            if "2.6" not in name:
                exact = output_tokens(there, quality, Size(width, height))
                assert found == Span(exact, exact)
            elif quality in ("low", "medium"):
                assert found is not None
                assert found.low <= output_tokens(there, quality, Size(width, height)) <= found.high
            else:
                assert found is None
    assert here.input is not None
    for pixels in PICTURES:
        tiles = "input_fidelity" in here.parameters and isinstance(here.input, Tiles)
        for fidelity in there.fidelities or ("low",):
            wanted = (
                tile_tokens(Size(*pixels), high_fidelity=fidelity == "high") if tiles else patch_tokens(Size(*pixels))
            )
            assert here.input.span(pixels, fidelity) == Span(wanted, wanted)


def test_the_sandbox_knows_no_model_that_is_not_built_in_and_the_other_way_round(built: Catalogue) -> None:
    """A model that is added in one place must be added in the other."""
    assert set(built.names) == set(NAMES)


def test_2_6_is_known_to_use_three_to_four_times_2_5_at_low_and_medium_only(built: Catalogue) -> None:
    """What one reseller measured is a range; nothing is made up for the other qualities, nor for `auto`."""
    new, old = known(built, "gpt-image-2.6-flare"), known(built, "gpt-image-2.5-flare")
    for quality in ("low", "medium"):
        before, now = (output_span(model, quality, "1024x1024") for model in (old, new))
        assert before is not None
        assert now == Span(3 * before.low, 4 * before.high)
    assert [output_span(new, quality, "1024x1024") for quality in ("high", "xhigh", "max", "auto")] == [None] * 4


def test_auto_is_a_range_over_all_that_the_model_takes(built: Catalogue) -> None:
    """Of the table its rows; of the formula any allowed size, which no size that is taken leaves."""
    one, two = known(built, "gpt-image-1.5"), known(built, "gpt-image-2")
    assert output_span(one, "medium", "auto") == Span(1056, 1584)
    assert output_span(one, "auto", "1024x1024") == Span(272, 4160)
    assert output_span(one, "auto", "auto") == Span(272, 6240)
    around = output_span(two, "high", "auto")
    assert around is not None
    assert two.sizes is not None
    taken = [
        (width, height)
        for width in range(16, 3856, 112)
        for height in range(16, 3856, 16)
        if two.sizes.fault(f"{width}x{height}") is None
    ]
    assert len(taken) > 1000
    assert all(around.low <= grid_tokens(96, Size(*size)) <= around.high for size in taken)
    assert around.high == grid_tokens(96, Size(2880, 2880))


def test_an_image_of_unknown_pixels_uses_no_less_and_no_more_than_any(built: Catalogue) -> None:
    """The worst case of each rule, for both fidelities."""
    for name in ("gpt-image-1.5", "gpt-image-2"):
        rule = known(built, name).input
        assert rule is not None
        for fidelity in ("low", "high"):
            unknown = rule.span(None, fidelity)
            spans = [rule.span(pixels, fidelity) for pixels in PICTURES]
            assert all(unknown.low <= span.low <= span.high <= unknown.high for span in spans)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("gpt-image-1.5", "gpt-image-1.5"),
        ("openai/gpt-image-1.5", "gpt-image-1.5"),
        ("a/b/gpt-image-2-2026-04-21", "gpt-image-2"),
        ("gpt-image-2-2026-04-21", "gpt-image-2"),
        ("gpt-image-9", None),
        ("", None),
    ],
)
def test_a_model_is_found_by_name_vendor_or_snapshot(built: Catalogue, name: str, found: str | None) -> None:
    """Routers put a vendor before the name; a snapshot has its date behind it."""
    model = built.model(name)
    assert (model and model.name) == found
    assert (built.price(name) is None) == (found is None)


def test_every_section_of_the_built_in_file_says_where_it_is_from_and_of_when() -> None:
    """A figure without a source and a date cannot be checked."""
    document = yaml.safe_load((Path(package.__file__).parent / BUILT_IN).read_text())
    bare = [
        (name, section)
        for name, entry in document["models"].items()
        for section, value in entry.items()
        if isinstance(value, dict) and not (value.get("source") and isinstance(value.get("date"), date))
    ]
    assert bare == []


def test_a_shutdown_and_its_successor_are_data(built: Catalogue) -> None:
    """Three families end in 2026, the others go on."""
    ends = {name: known(built, name).shutdown for name in built.names}
    assert {name: end for name, end in ends.items() if end} == {
        "gpt-image-1": date(2026, 10, 23),
        "gpt-image-1-mini": date(2026, 12, 1),
        "gpt-image-1.5": date(2026, 12, 1),
        "chatgpt-image-latest": date(2026, 12, 1),
    }
    assert all(known(built, name).successor in built.names for name, end in ends.items() if end)


def test_a_user_s_file_overrides_what_it_says_and_keeps_the_rest(tmp_path: Path) -> None:
    """Another price of a built-in model, a wider parameter; tables and the other parameters stay."""
    found = entries(
        tmp_path,
        "gpt-image-1.5:",
        "  prices: {text_in: 4.10, image_in: 7, image_out: 0.1}",
        "  parameters: {quality: [auto, low, medium, high, xhigh], output_compression: [10, 90]}",
        "  shutdown: never",
    )
    model = known(found, "gpt-image-1.5")
    assert found.price("x/gpt-image-1.5") == Price(Decimal("4.10"), Decimal(7), Decimal("0.1"), Decimal("0.1"))
    assert model.parameters["quality"] == ("auto", "low", "medium", "high", "xhigh")
    assert model.parameters["output_compression"] == Bounds(10, 90)
    assert model.parameters["input_fidelity"] == ("low", "high")
    assert output_span(model, "low", "1024x1024") == Span(272, 272)
    assert model.shutdown is None
    assert found.price("chatgpt-image-latest") == load_catalogue(Endpoint(), tmp_path).price("chatgpt-image-latest")


def test_a_user_s_file_adds_models_that_are_like_others(tmp_path: Path) -> None:
    """Of the built-in ones and of its own, in any order."""
    found = entries(
        tmp_path,
        "second: {like: first, prices: free}",
        "first: {like: gpt-image-2, sizes: {fixed: [512x512]}}",
    )
    assert found.price("second") == FREE
    assert found.price("first") == found.price("gpt-image-2")
    assert isinstance(known(found, "second").input, Patches)
    sizes = known(found, "second").sizes
    assert sizes is not None
    assert sizes.fault("512x512") is None
    assert sizes.fault("1024x1024") == "auto, 512x512"


def test_every_kind_of_rule_can_be_written(tmp_path: Path) -> None:
    """A table, a formula with a factor, what was measured; tiles and patches."""
    found = entries(
        tmp_path,
        "a: {output_tokens: {table: {low: {512x512: 10}}}, input_tokens: {rule: tiles, base: 1, tile: 2}}",
        "b: {output_tokens: {base: {low: 16}, factor: {low: [1.5, 2]}},",
        "    input_tokens: {rule: patches, patch: 16, most: 9, long_edge: 64}}",
        "c: {output_tokens: {measured: {low: [100, 200], high: [300, 900]}}}",
    )
    a, b, c = (known(found, name) for name in "abc")
    assert isinstance(a.output, Table)
    assert isinstance(b.output, Grid)
    assert isinstance(c.output, Measured)
    assert output_span(a, "auto", "auto") == Span(10, 10)
    assert output_span(a, "low", "513x513") is None
    plain = grid_tokens(16, Size(1024, 1024))
    assert output_span(b, "low", "1024x1024") == Span(plain * 3 // 2, plain * 2)
    assert output_span(c, "auto", "9x9") == Span(100, 900)
    assert a.input is not None
    assert b.input is not None
    assert a.input.span((300, 100), "low") == Span(7, 7)
    assert b.input.span((64, 64), "low") == Span(9, 9)
    assert known(found, "c").input is None


def test_the_manifest_s_prices_rule_over_the_file_s_and_the_built_in_ones(tmp_path: Path) -> None:
    """Under each spelling of the name; what has no price there keeps its own."""
    found = entries(
        tmp_path,
        "gpt-image-2: {prices: {text_in: 1, image_in: 1, image_out: 1}}",
        prices={"gpt-image-2": "free", "new": {"text_in": 1, "image_in": 2.5, "image_out": 3}},
    )
    assert found.price("openai/gpt-image-2-2026-04-21") == FREE
    assert found.price("new") == Price(Decimal(1), Decimal("2.5"), Decimal(3), Decimal(3))
    assert found.model("new") is None
    assert found.origin("gpt-image-2") == "endpoint.prices"
    assert found.origin("gpt-image-1") == "https://platform.openai.com/docs/pricing, 2026-11-05"
    assert found.origin("other") is None


def test_the_source_of_a_user_s_price_is_what_the_file_says_else_the_file(tmp_path: Path) -> None:
    """So that `plan` can tell where a figure is from."""
    price = "text_in: 1, image_in: 1, image_out: 1"
    found = entries(
        tmp_path, f"a: {{prices: {{{price}, source: my router, date: 2026-11-20}}}}", f"b: {{prices: {{{price}}}}}"
    )
    assert (found.origin("a"), found.origin("b")) == ("my router, 2026-11-20", "models.yaml")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a: 3", "models.yaml:3:3: models.a: this is no mapping; expected a mapping with like, prices, "),
        (
            "a: {price: free}",
            "models.yaml:3:7: models.a.price: unknown key 'price'; did you mean 'prices'? known keys:",
        ),
        ("a: {prices: 3}", "models.yaml:3:7: models.a.prices: this is no mapping; expected free, or a mapping with"),
        ("a: {prices: {text_in: 1, image_in: 2}}", "models.yaml:3:7: models.a.prices.image_out: is missing; expected"),
        (
            "a: {prices: {text_in: '1', image_in: 2, image_out: 3}}",
            "models.yaml:3:16: models.a.prices.text_in: this is no number; expected a number of 0 or more",
        ),
        (
            "a: {prices: {text_in: -1, image_in: 2, image_out: 3}}",
            "models.yaml:3:16: models.a.prices.text_in: this is no number",
        ),
        (
            "a: {prices: {text_in: true, image_in: 2, image_out: 3}}",
            "models.yaml:3:16: models.a.prices.text_in: this is no number",
        ),
        (
            "a: {output_tokens: {}}",
            "models.yaml:3:7: models.a.output_tokens: no rule, or several; expected one of table",
        ),
        (
            "a: {output_tokens: {base: {low: 1}, table: {low: {1x1: 1}}}}",
            "models.yaml:3:7: models.a.output_tokens: no rule, or several; expected one of table, base or measured",
        ),
        (
            "a: {output_tokens: {measured: {low: [1, 2]}, factor: {low: [1, 2]}}}",
            "models.yaml:3:48: models.a.output_tokens.factor: a factor belongs to a base; expected it beside base",
        ),
        (
            "a: {output_tokens: {base: {low: 0}}}",
            "models.yaml:3:30: models.a.output_tokens.base.low: this is no count; expected a whole number above 0",
        ),
        (
            "a: {output_tokens: {base: {}}}",
            "models.yaml:3:23: models.a.output_tokens.base: this is no mapping, or an empty one; expected `QUALITY: …`",
        ),
        (
            "a: {output_tokens: {base: {low: 1}, factor: {low: [4, 3]}}}",
            "models.yaml:3:48: models.a.output_tokens.factor.low: this is no pair of factors; expected two numbers",
        ),
        (
            "a: {output_tokens: {table: {low: {big: 3}}}}",
            "models.yaml:3:37: models.a.output_tokens.table.low.big: 'big' is no size; expected WIDTHxHEIGHT such as",
        ),
        (
            "a: {output_tokens: {measured: {low: 3}}}",
            "models.yaml:3:34: models.a.output_tokens.measured.low: this is no range; expected two",
        ),
        (
            "a: {input_tokens: {rule: magic}}",
            "models.yaml:3:22: models.a.input_tokens.rule: no rule that is known; expected",
        ),
        (
            "a: {input_tokens: tiles}",
            "models.yaml:3:7: models.a.input_tokens.rule: no rule that is known; expected rule:",
        ),
        (
            "a: {input_tokens: {rule: tiles, base: 1}}",
            "models.yaml:3:7: models.a.input_tokens.tile: is missing; expected it in `models.a.input_tokens`",
        ),
        (
            "a: {input_tokens: {rule: tiles, base: 1, tile: 1, high_fidelity: {square: 1}}}",
            "models.yaml:3:53: models.a.input_tokens.high_fidelity.other: is missing; expected it in",
        ),
        (
            "a: {input_tokens: {rule: patches, patch: 1.5, most: 2, long_edge: 3}}",
            "models.yaml:3:37: models.a.input_tokens.patch: this is no count; expected a whole number above 0",
        ),
        (
            "a: {sizes: {fixed: 1x1}}",
            "models.yaml:3:15: models.a.sizes.fixed: this is no list of words; expected one such as",
        ),
        (
            "a: {sizes: {fixed: [1y1]}}",
            "models.yaml:3:23: models.a.sizes.fixed[0]: '1y1' is no size; expected WIDTHxHEIGHT",
        ),
        (
            "a: {sizes: {fixed: [], any: {multiple_of: 1, longest_edge: 1, aspect: 1, pixels: [2, 1]}}}",
            "models.yaml:3:76: models.a.sizes.any.pixels: this is no range; expected two whole numbers such as [1, 10]",
        ),
        ("a: {parameters: {quality: high}}", "models.yaml:3:20: models.a.parameters.quality: this is no list of words"),
        (
            "a: {parameters: {n: 10}}",
            "models.yaml:3:20: models.a.parameters.n: this is no range; expected two whole numbers",
        ),
        (
            "a: {parameters: {qualities: [low]}}",
            "models.yaml:3:20: models.a.parameters.qualities: unknown key 'qualities'; did you mean 'quality'? ",
        ),
        (
            "a: {shutdown: 2026-12-01}",
            "models.yaml:3:7: models.a.shutdown: this is no mapping; expected never, or a mapping with on, successor",
        ),
        (
            "a: {shutdown: {on: soon}}",
            "models.yaml:3:18: models.a.shutdown.on: this is no day; expected YEAR-MONTH-DAY",
        ),
        (
            "a: {shutdown: {on: 2026-12-01, successor: 3}}",
            "models.yaml:3:34: models.a.shutdown.successor: this is no text",
        ),
        ("a: {like: 3}", "models.yaml:3:7: models.a.like: this is no text; expected the name of a model"),
        (
            "a: {like: gpt-image-3}",
            "models.yaml:3:7: models.a.like: no model 'gpt-image-3'; did you mean 'gpt-image-2'? known: gpt-image-1,",
        ),
    ],
)
def test_each_fault_of_a_user_s_file_is_told_with_its_place(tmp_path: Path, line: str, problem: str) -> None:
    """File, line and column, what is wrong, and what was expected."""
    found = faults(tmp_path, line)
    assert any(each.startswith(problem) for each in found), found


def test_all_faults_of_a_user_s_file_are_told_at_once(tmp_path: Path) -> None:
    """In the order of the file."""
    found = faults(tmp_path, "a: {prices: 3}", "b:", "  shutdown: {on: x}", "  quality: [low]")
    assert [each.split(": ")[0] for each in found] == ["models.yaml:3:7", "models.yaml:5:16", "models.yaml:6:5"]


def test_a_circle_of_likes_is_refused(tmp_path: Path) -> None:
    """Each model of the circle is named, and nothing hangs."""
    found = faults(tmp_path, "a: {like: b}", "b: {like: a}")
    assert "models.yaml:4:7: models.b.like: 'a' is like 'b' itself; expected another model" in found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "models.yaml: the file of models is empty; expected `version: 1` and `models:`"),
        ("- a\n", "models.yaml:1:1: the file of models is not a mapping; expected `version: 1` and `models:`"),
        ("version: 2\nmodels: {}\n", "models.yaml:1:1: version: this version is not known; expected 1"),
        ("version: true\nmodels: {}\n", "models.yaml:1:1: version: this version is not known; expected 1"),
        ("models: {}\n", "models.yaml:1:1: version: is missing; expected it in `the file`"),
        ("version: 1\n", "models.yaml:1:1: models: is missing; expected it in `the file`"),
        (
            "version: 1\nmodels: [a]\n",
            "models.yaml:2:1: models: this is no mapping; expected `NAME: {prices: …}` lines",
        ),
        (
            "version: 1\nmodels: {a: {prices: free}, a: {}}\n",
            "models.yaml:2:29: models.a: the key 'a' stands twice, first on",
        ),
        (
            "version: 1\nmodels: {a: !!python/x {}}\n",
            "models.yaml:2:13: the tag !!python/x is not allowed; expected plain",
        ),
        ("version: 1\nmodels: {a\n", "models.yaml:2:9: the '{' that opens here is not closed"),
    ],
)
def test_a_file_that_is_none_of_models_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    """As strictly as a manifest is read."""
    with pytest.raises(JobError) as caught:
        catalogue(tmp_path, text)
    assert any(str(each).startswith(problem) for each in caught.value.problems), str(caught.value)


@pytest.mark.parametrize(
    ("name", "what"), [("gone.yaml", "gone.yaml cannot be read"), (".", ". is a folder")], ids=["missing", "folder"]
)
def test_a_file_of_models_that_cannot_be_read_is_a_problem_of_the_manifest(
    tmp_path: Path, name: str, what: str
) -> None:
    """At the key that names it."""
    with pytest.raises(JobError) as caught:
        catalogue(tmp_path, models_file=name)
    assert caught.value.problems[0].where == "endpoint.models_file"
    assert caught.value.problems[0].what.startswith(what)


def test_the_file_that_the_documentation_shows_does_what_it_says(tmp_path: Path) -> None:
    """Each of its three entries, with the prices of the manifest that stands before it."""
    manifest, shown = fenced(PAGE, "yaml")
    found = catalogue(tmp_path, shown)
    one, studio, flux = (known(found, name) for name in ("gpt-image-1.5", "studio-edit", "flux-edit"))
    assert one.shutdown is None
    assert found.price("gpt-image-1.5") == Price(Decimal("4.5"), Decimal("7.2"), Decimal("28.8"), Decimal(9))
    assert found.origin("gpt-image-1.5") == "my router's price list, 2026-11-20"
    assert found.price("studio-edit") == FREE
    assert (studio.parameters["n"], studio.parameters["moderation"]) == (Bounds(1, 4), ())
    assert output_span(studio, "medium", "1024x1024") == Span(1756, 1756)
    assert output_span(flux, "auto", "auto") == Span(900, 4400)
    assert flux.input is not None
    assert flux.input.span((1024, 1024), "low") == Span(4096, 4096)
    assert (flux.shutdown, flux.successor) == (date(2027, 6, 30), "studio-edit")
    alone = catalogue(tmp_path, **yaml.safe_load(manifest)["endpoint"])
    assert alone.price("my-own-model") == FREE
    assert alone.price("gpt-image-1.5") == found.price("gpt-image-1.5")


def test_every_key_of_a_file_of_models_is_documented() -> None:
    """Those of each section, and of each parameter."""
    keys = {"version", "models", "like", "prices", "output_tokens", "input_tokens", "sizes", "parameters", "shutdown"}
    keys |= {"table", "base", "factor", "measured", "rule: tiles", "rule: patches", *ORIGIN, *CHOICES, *RANGES}
    assert keys <= code(section(PAGE, "Keys"))
