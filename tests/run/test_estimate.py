"""The estimate of a plan: by image set and prompt, from rules and from what was paid before."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from PIL import Image

import pipeline.tasks.dimensions
from pipeline.endpoint.model import Span
from pipeline.endpoint.pricing import Seen, cost_of
from pipeline.ledger.records import Input, Output, Sent, Settled
from pipeline.manifest.job import Job
from pipeline.manifest.load import load_job
from pipeline.outcome import Outcome
from pipeline.run import estimate as module
from pipeline.run.api import arun
from pipeline.run.estimate import Account, Estimate, Estimator, History, Sum, Tokens
from pipeline.run.model_checks import offers_of
from pipeline.run.plan import Origin, expected_seconds, plan
from pipeline.sandbox.answers import usage_json
from pipeline.sandbox.latency import Latency
from pipeline.sandbox.server import serve
from pipeline.sandbox.settings import Sandbox

ROOT = Path(__file__).parents[2]
FIELDS = {"model": "gpt-image-1.5", "size": "1024x1024", "quality": "low", "prompt": "White"}


def job_in(folder: Path, *lines: str, request: str = "{model: gpt-image-1.5, size: 1024x1024, quality: low}") -> Job:
    """A job of two sets of two pictures, one with a reference, and two prompts."""
    for name in ("a/1", "a/2", "b/1", "b/2"):
        path = folder / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 16 + int(name[-1])), (name[0] == "a" and 9) or 0).save(path)
    (folder / "job.yaml").write_text(
        "\n".join(
            [
                "version: 1",
                "name: job",
                f"request: {request}",
                "image_sets: [{name: a, images: 'a/*.png'}, {name: b, images: 'b/*.png', references: [a/1.png]}]",
                "output: {folder: out}",
                *(lines or ["prompts: [{name: p, text: White}, {name: q, text: Red, request: {n: 2}}]"]),
            ]
        )
    )
    return load_job(folder / "job.yaml", {})


def sent(number: int, **fields: Any) -> Sent:
    return Sent(
        task="t",
        fingerprint=f"f{number}",
        attempt=1,
        generation=0,
        endpoint="e",
        idempotency_key="k",
        estimated_cost=None,
        request=FIELDS | fields,
        paths=[],
    )


def settled(number: int, output_tokens: Any = 272, images: int = 1, **more: Any) -> Settled:
    usage = {"input_tokens": 200 + number, "output_tokens": output_tokens}
    fields: dict[str, Any] = {
        "outcome": Outcome.SUCCEEDED,
        "model": "gpt-image-1.5",
        "size": "1024x1024",
        "quality": "low",
        "n": images,
        "usage": usage,
        "cost": Decimal("0.01"),
        "inputs": [Input("item", "a/1.png", "", 1, 1), Input("mask", "gone.png", "", 1, 1)],
        "outputs": [Output(f"o{number}-{at}", None, "", 1, 1, 1, "png") for at in range(images)],
    }
    return Settled(task="t", fingerprint=f"f{number}", attempt=1, **(fields | more))


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path, Estimator(offers_of(job_in(tmp_path))))


def test_a_plan_tells_tokens_and_price_by_image_set_and_prompt(tmp_path: Path) -> None:
    """Two prompts for two sets; references are inputs too; n multiplies the output; the groups add up to the total."""
    found = plan(job_in(tmp_path))
    rows = {(each.set, each.prompt): each for each in found.groups}
    assert {key: (each.requests, each.images) for key, each in rows.items()} == {
        ("a", "p"): (2, 2),
        ("a", "q"): (2, 4),
        ("b", "p"): (2, 2),
        ("b", "q"): (2, 4),
    }
    # A prompt of five characters, two tiles of each picture that is not square.
    assert rows["a", "p"].tokens == Tokens(2 * (1 + 323 + 272), 2 * (21 + 323 + 272))
    assert rows["b", "p"].tokens == Tokens(2 * (1 + 646 + 272), 2 * (21 + 646 + 272))
    assert rows["a", "q"].tokens == Tokens(2 * (0 + 323 + 544), 2 * (19 + 323 + 544))
    assert found.estimate.low == sum(each.estimate.low or 0 for each in found.groups)
    assert found.estimate.high == sum(each.estimate.high or 0 for each in found.groups)
    assert found.tokens.high == sum(each.tokens.high or 0 for each in found.groups)
    assert found.origins == (Origin("gpt-image-1.5", "https://platform.openai.com/docs/pricing, 2026-11-05"),)
    assert found.paid is None


def test_a_plan_of_a_model_that_is_not_known_has_no_price(tmp_path: Path) -> None:
    """Nor tokens; counts stay."""
    found = plan(job_in(tmp_path, request="{model: mine}"))
    assert (found.estimate, found.tokens, found.requests) == (Estimate(), Tokens(), 8)
    assert found.origins == (Origin("mine", None),)


def test_a_sum_with_something_unknown_has_a_lower_bound_and_no_upper_one(tmp_path: Path) -> None:
    """What is known is bought too."""
    prompts = "prompts: [{name: p, text: White}, {name: q, text: R, request: {model: mine}}]"
    found = plan(job_in(tmp_path, prompts))
    assert found.estimate.low == found.groups[0].estimate.low + found.groups[2].estimate.low  # type: ignore[operator]  # known
    assert found.estimate.high is None
    assert found.tokens.low is not None
    assert found.tokens.high is None


def test_each_file_s_header_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many prompts, variants and references there are of it."""
    read: list[str] = []
    plain = pipeline.tasks.dimensions.dimensions

    def counting(path: str) -> tuple[int, int] | None:
        read.append(path)
        return plain(path)

    monkeypatch.setattr(pipeline.tasks.dimensions, "dimensions", counting)
    plan(job_in(tmp_path))
    assert sorted(Path(path).relative_to(tmp_path).as_posix() for path in read) == [
        "a/1.png",
        "a/2.png",
        "b/1.png",
        "b/2.png",
    ]


def test_history_stands_for_a_rule_from_the_fifth_answer_on() -> None:
    """The least and the most tokens of an image; n images of one answer count as one answer."""
    history = History()
    for number in range(4):
        history.take(settled(number, 300 + number))
    assert history.of(FIELDS) is None
    history.take(settled(4, 801, images=2))
    assert history.of(FIELDS) == Seen(Span(200, 204), Span(300, 401))
    assert history.of(FIELDS | {"n": 2, "prompt": "Another"}) == history.of(FIELDS)


@pytest.mark.parametrize("other", [{"model": "gpt-image-2"}, {"size": "auto"}, {"quality": None}])
def test_history_of_other_models_sizes_and_qualities_tells_nothing(other: dict[str, Any]) -> None:
    """A field that is left out is another than any value."""
    history = History()
    for number in range(9):
        history.take(settled(number, **other))
    assert history.of(FIELDS) is None
    assert history.of({name: value for name, value in (FIELDS | other).items() if value is not None}) is not None


@pytest.mark.parametrize(
    "odd",
    [
        {"usage": None},
        {"output_tokens": 0},
        {"output_tokens": -5},
        {"output_tokens": "272"},
        {"outputs": []},
        {"mismatch": ["count"]},
    ],
)
def test_history_takes_no_odd_answers(odd: dict[str, Any]) -> None:
    """Usage that is missing, zero, negative or text; another number of images than asked for."""
    history = History()
    for number in range(9):
        history.take(settled(number, **odd))
    assert history.of(FIELDS) is None


def test_what_was_paid_is_held_against_its_estimate(account: Account) -> None:
    """Successes with a cost, by the rules, whatever the history says; failures and costs unknown are left out."""
    for number in range(6):
        account.take(sent(number))
        account.take(settled(number))
    account.take(sent(7))
    account.take(settled(7, cost=None))
    account.take(sent(8))
    account.take(settled(8, outcome=Outcome.IN_DOUBT))
    account.take(settled(9))
    found = account.result
    assert found is not None
    assert (found.results, found.paid) == (6, Decimal("0.06"))
    low, high = (1 * 5 + 323 * 8 + 272 * 32, (21 + 323) * 8 + 272 * 32)
    assert found.estimate == Estimate(Decimal(6 * low) / 10**6, Decimal(6 * high) / 10**6)
    assert not account._sent


def test_the_comparison_looks_into_a_bounded_number_of_files(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first so many results; the history goes on."""
    monkeypatch.setattr(module, "COMPARED", 3)
    for number in range(7):
        account.take(sent(number))
        account.take(settled(number))
    assert account.result is not None
    assert account.result.results == 3
    assert account.history.of(FIELDS) is not None


def test_a_result_whose_input_is_gone_is_held_against_a_wider_range(account: Account) -> None:
    """Its pixels are not known any more."""
    account.take(sent(1))
    account.take(settled(1, inputs=[Input("item", "gone.png", "", 1, 1)]))
    assert account.result is not None
    low, high = account.result.estimate.low, account.result.estimate.high
    assert low is not None
    assert high is not None
    assert low < Decimal("0.0113") < Decimal("0.05") < high


@pytest.mark.parametrize(
    ("limits", "pace", "seconds"),
    [
        ("{}", None, None),
        ("{}", 2.0, 30.0),
        ("{requests_per_minute: 30}", 2.0, 120.0),
        ("{requests_per_minute: 600}", 2.0, 30.0),
        ("{images_per_minute: 30}", None, 240.0),
        ("{tokens_per_minute: 600, requests_per_minute: 60}", None, 110.0),
    ],
)
def test_the_duration_is_the_longest_of_pace_and_rates(
    tmp_path: Path, limits: str, pace: float | None, seconds: float | None
) -> None:
    """60 requests of 120 images and 1,000 to 1,200 tokens."""
    job = job_in(tmp_path, "prompts: [{name: p, text: White}]", f"limits: {limits}")
    total = Sum(requests=60, images=120, _tokens=Span(1000, 1200))
    assert expected_seconds(job, pace, total) == seconds


def test_of_several_endpoints_the_rates_add_up_unless_one_has_none(tmp_path: Path) -> None:
    """What all allow together."""
    job = job_in(tmp_path)
    ends = [
        {"name": name, "base_url": "https://a.test/v1", "limits": {"requests_per_minute": rate}}
        for name, rate in (("a", 10), ("b", 20))
    ]
    values = job.manifest.model_dump(exclude_unset=True)
    several = replace(job, manifest=type(job.manifest).model_validate(values | {"endpoints": ends}))
    assert expected_seconds(several, None, Sum(requests=60)) == 120
    ends[0]["limits"] = {}
    several = replace(job, manifest=type(job.manifest).model_validate(values | {"endpoints": ends}))
    assert expected_seconds(several, None, Sum(requests=60)) is None


def test_several_endpoints_widen_the_range(tmp_path: Path) -> None:
    """From the cheapest that serves the model to the dearest."""
    text = (
        "endpoints:\n"
        "- {name: a, base_url: 'https://a.test/v1', prices: {gpt-image-1.5: free}}\n"
        "- {name: b, base_url: 'https://b.test/v1', models: {gpt-image-1.5: gpt-image-1}}\n"
        "- {name: c, base_url: 'https://c.test/v1', models: {other: gpt-image-2}}\n"
    )
    prompts = "prompts: [{name: p, text: White}, {name: q, text: W, request: {model: other}}]"
    offers = offers_of(job_in(tmp_path, text, prompts))
    found = Estimator(offers).of(FIELDS, [str(tmp_path / "a/1.png")], None)
    assert found.low == 0
    assert found.high == Decimal((21 + 323) * 10 + 272 * 40) / 10**6


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ready jobs with their examples, in a folder of their own."""
    for folder in ("jobs", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.setenv("MYROUTER_API_KEY", "sandbox-key")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "jobs"


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["catalog", "nightly", "augment"])
async def test_the_estimate_of_a_ready_job_holds_the_sandbox_s_bill(jobs: Path, name: str) -> None:
    """In tokens and in dollars; what the ledger says that was paid is that bill, and within the estimate of it."""
    async with serve(Sandbox(plain=True, latency=Latency(seconds=0))) as server:
        job = replace(load_job(jobs / f"{name}.yaml", {}), base_url=server.url)
        before = plan(job)
        summary = await arun(job, sandbox=False)
        bill = server.bill
    assert (summary.exit, bill.billed) == (0, before.requests)
    price = offers_of(job)[0].price("gpt-image-2")
    cost = cost_of(usage_json(bill.usage), price)
    assert before.estimate.low is not None
    assert before.estimate.high is not None
    assert before.tokens.low is not None
    assert before.tokens.high is not None
    assert cost is not None
    assert before.estimate.low <= cost <= before.estimate.high
    assert before.tokens.low <= bill.usage.total_tokens <= before.tokens.high
    after = plan(job)
    assert after.requests == 0
    assert after.paid is not None
    assert (after.paid.results, after.paid.paid) == (bill.billed, cost)
    assert after.paid.estimate == before.estimate


@pytest.mark.anyio
async def test_a_plan_after_a_run_knows_from_history(jobs: Path) -> None:
    """A job at `size: auto` is a range before, and narrower once the ledger knows ten such results."""
    async with serve(Sandbox(plain=True, latency=Latency(seconds=0))) as server:
        job = replace(load_job(jobs / "nightly.yaml", {}), base_url=server.url)
        before = plan(job)
        await arun(job)
        again = replace(job, texts={"cleanup": "Something else."})
        after = plan(again)
    assert (before.groups[0].history, after.groups[0].history) == (0, 10)
    assert before.tokens.low is not None
    assert before.tokens.high is not None
    assert after.tokens.low is not None
    assert after.tokens.high is not None
    assert after.tokens.high - after.tokens.low < before.tokens.high - before.tokens.low
