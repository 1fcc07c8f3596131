"""What `retouch plan` prints of tokens, prices and models."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from pipeline.cli.plan import described
from pipeline.ledger.codec import encode
from pipeline.ledger.records import Input, Output, Sent, Settled
from pipeline.manifest.load import load_job
from pipeline.outcome import Outcome
from pipeline.run.estimate import Estimate, Group, Paid, Tokens
from pipeline.run.plan import Origin, Plan
from tests.cli.conftest import Retouch

PLAN = Plan(
    job="shop",
    tasks=dict.fromkeys(("total", "new", "changed", "missing", "reused", "done", "failed", "held", "invalid"), 0),
    stale=0,
    images=3,
    requests=3,
    waiting=0,
    seconds=None,
    tokens=Tokens(2_000, None),
    estimate=Estimate(Decimal("0.0123"), None),
    groups=(
        Group("shoes", "white", 2, 2, 2, Tokens(1_000, 1_000), Estimate(Decimal("0.0123"), Decimal("1234.567"))),
        Group("b", "p", 1, 1, 0, Tokens(), Estimate()),
    ),
    paid=Paid(1_200, Estimate(Decimal("9.5"), Decimal("10.25")), Decimal("9.999")),
    origins=(Origin("gpt-image-2", "a list, 2026-11-05"), Origin("mine", None)),
    warnings=(),
    first=(),
)


def test_the_table_has_a_row_for_each_image_set_and_prompt() -> None:
    """Figures to the right; what is known in part has a lower end only; where figures are from stands below."""
    assert described(PLAN).splitlines()[1:] == [
        "to send: 3 requests for 3 images",
        "  image set  prompt  requests  images         tokens              price",
        "  shoes      white          2       2          1,000  $0.0123–$1,234.57",
        "  b          p              1       1      not known          not known",
        "  total                     3       3  2,000 or more    $0.0123 or more",
        "  tokens of 2 requests as in earlier results of this job, the others by the models' rules",
        "  prices of gpt-image-2: a list, 2026-11-05",
        "  prices of mine: not known; name them in endpoint.prices",
        "1,200 results before: estimated $9.50–$10.25, paid $10.00",
    ]


def test_json_has_the_figures_as_numbers(call: Retouch) -> None:
    """Prices are JSON numbers, beside the contract's keys."""
    found = call("plan", "job.yaml", "--json").json
    assert found["estimate"]["currency"] == "USD"
    assert isinstance(found["estimate"]["low"], float)
    assert found["groups"][0]["tokens"] == found["tokens"]
    assert (found["groups"][0]["set"], found["groups"][0]["prompt"]) == ("shoes", "white")
    assert found["paid"] is None


def test_a_parameter_that_the_model_does_not_take_is_an_error(call: Retouch, folder: Path) -> None:
    """Exit 2, with place and allowed values, of `plan` and `validate` alike."""
    path = folder / "job.yaml"
    path.write_text(path.read_text().replace("quality: low", "quality: xhigh"))
    for verb in ("plan", "validate"):
        said = call(verb, "job.yaml")
        assert said.code == 2
        wanted = "gpt-image-2 does not take the quality xhigh; expected auto, low, medium or high"
        assert f"job.yaml:4:48: request.quality: {wanted}" in said.err


def test_a_model_past_its_end_is_a_warning(call: Retouch, folder: Path) -> None:
    """On stderr and in --json; the plan stands."""
    path = folder / "job.yaml"
    path.write_text(path.read_text().replace("gpt-image-2", "gpt-image-1"))
    said = call("plan", "job.yaml", "--json")
    assert said.code == 0
    assert said.json["requests"] == 2
    assert said.json["warnings"][0]["where"] == "request.model"
    assert re.match(
        r"warning: job.yaml:4:11: request.model: gpt-image-1 was shut down by its maker on 2026-10-23; ", said.err
    )
    assert "its successor is gpt-image-2" in said.err
    said = call("validate", "job.yaml")
    assert (said.code, "gpt-image-1 was shut down" in said.err) == (0, True)


@pytest.fixture
def bought(folder: Path) -> Path:
    """A ledger with six results of the job's model, size and quality, of 50 tokens each."""
    job = load_job(folder / "job.yaml", {})
    fields = {"model": "gpt-image-2", "size": "1024x1024", "quality": "low", "prompt": "Other"}
    lines: list[Sent | Settled] = []
    for number in range(6):
        name = {"task": f"old/{number}", "fingerprint": f"{number}", "attempt": 1}
        lines += [
            Sent(
                **name,  # type: ignore[arg-type]  # text and a number, each where it belongs
                generation=0,
                endpoint="e",
                idempotency_key="k",
                estimated_cost=None,
                request=fields,
                paths=[],
            ),
            Settled(
                **name,  # type: ignore[arg-type]  # as above
                outcome=Outcome.SUCCEEDED,
                n=1,
                usage={"input_tokens": 1000, "output_tokens": 50},
                cost=Decimal("0.0121"),
                inputs=[Input("item", "in/0.png", "", 1, 1)],
                outputs=[Output(f"old/{number}.png", None, "", 1, 1, 1, "png")],
                **{key: value for key, value in fields.items() if key != "prompt"},  # type: ignore[arg-type]  # as above
            ),
        ]
    job.output.mkdir()
    data = b""
    for line in lines:
        data += encode(msgspec.structs.replace(line, run="r", at="2026-11-01T00:00:00.000Z", group=len(data)))
    (job.output / "ledger.jsonl").write_bytes(data)
    return folder


def test_a_plan_after_results_knows_from_them_and_tells_what_was_paid(call: Retouch, bought: Path) -> None:
    """The ledger's 50 tokens an image stand for the rule's, and the results' estimate beside their cost."""
    found = call("plan", "job.yaml", "--json").json
    assert found["groups"][0]["history"] == 2
    # Text of 16 characters and a picture of at most 1,536 patches beside the 50 tokens of each of two images.
    assert found["tokens"]["low"] == 2 * (4 + 768 + 50)
    assert (found["paid"]["results"], found["paid"]["paid"]) == (6, 0.0726)
    assert found["paid"]["estimate"]["low"] <= 0.0726 <= found["paid"]["estimate"]["high"]
    said = call("plan", "job.yaml").out
    assert "tokens of 2 requests as in earlier results of this job" in said
    assert "6 results before: estimated $" in said
    assert ", paid $0.0726" in said
