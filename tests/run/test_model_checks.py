"""What a job asks of its models: refusals with their place, caps that could not hold, ends that are near."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from pipeline.errors import JobError
from pipeline.manifest.job import Job
from pipeline.manifest.load import load_job
from pipeline.run.model_checks import check_models, utc_day
from pipeline.run.plan import plan
from pipeline.run.validate import validate

EARLY = date(2026, 1, 1)


def written(folder: Path, *lines: str, text: str = "White", endpoint: str = "{auth: none}") -> Job:
    """A job over one picture, whose manifest goes on with these lines."""
    head = [
        "version: 1",
        "name: job",
        f"endpoint: {endpoint}",
        "image_sets: [{name: s, images: '*.png'}]",
        "output: {folder: out}",
    ]
    path = folder / "job.yaml"
    path.write_text("\n".join([*head, *lines]) + "\n")
    return load_job(path, {})


def faults(job: Job, *, max_cost: bool = False) -> list[str]:
    """What is wrong between the job and its models, without the folder."""
    found = check_models(job, EARLY, max_cost=max_cost).problems
    return [str(problem).removeprefix(f"{job.path.parent}/") for problem in found]


ONE = "prompts: [{name: p, text: White}]"


@pytest.mark.parametrize(
    ("request_line", "fault"),
    [
        (
            "{model: gpt-image-1.5, quality: xhigh}",
            "job.yaml:6:33: request.quality: gpt-image-1.5 does not take the quality xhigh; expected auto, low, medium "
            "or high",
        ),
        (
            "{model: gpt-image-1.5, size: 512x512}",
            "job.yaml:6:33: request.size: gpt-image-1.5 does not take the size 512x512; expected auto, 1024x1024, "
            "1024x1536, 1536x1024",
        ),
        (
            "{model: gpt-image-2, size: 1000x1000}",
            "job.yaml:6:31: request.size: gpt-image-2 does not take the size 1000x1000; expected multiples of 16",
        ),
        (
            "{model: gpt-image-2, input_fidelity: low}",
            "job.yaml:6:31: request.input_fidelity: gpt-image-2 does not take input_fidelity; leave it out, or name "
            "another model",
        ),
        (
            "{model: openai/gpt-image-1-mini, input_fidelity: high}",
            "job.yaml:6:43: request.input_fidelity: openai/gpt-image-1-mini does not take the input_fidelity high; "
            "expected low",
        ),
    ],
)
def test_a_parameter_that_the_model_does_not_take_is_refused_with_the_allowed_values(
    tmp_path: Path, request_line: str, fault: str
) -> None:
    """At its place in the manifest."""
    assert faults(written(tmp_path, f"request: {request_line}", ONE)) == [fault]


@pytest.mark.parametrize(
    "request_line",
    [
        "{model: gpt-image-1.5, quality: auto, size: auto, n: 10, background: transparent, output_format: webp}",
        "{model: gpt-image-2.6-flare, quality: max, size: 2048x1152, input_fidelity: high, moderation: low}",
        "{model: somebody/else, quality: max, size: 77x77, input_fidelity: high, n: 10}",
    ],
)
def test_what_a_model_takes_and_all_of_an_unknown_one_is_let_through(tmp_path: Path, request_line: str) -> None:
    """Nothing is refused of which nothing is known."""
    assert faults(written(tmp_path, f"request: {request_line}", ONE)) == []


def test_a_prompt_s_own_field_is_refused_there_and_each_place_once(tmp_path: Path) -> None:
    """The field of the whole job is told once, however many prompts send it."""
    job = written(
        tmp_path,
        "request: {model: gpt-image-1, quality: max}",
        "prompts:",
        "- {name: a, text: A}",
        "- {name: b, text: B}",
        "- {name: c, text: C, request: {quality: low, size: 9999x9999}}",
        "- {name: d, text: D, request: {model: gpt-image-2.5-flare}}",
    )
    places = [fault.partition(": ")[2].partition(": ")[0] for fault in faults(job)]
    assert places == ["request.quality", "prompts[2].request.size"]


def test_a_models_file_may_widen_what_a_model_takes(tmp_path: Path) -> None:
    """The user knows what the router does."""
    (tmp_path / "m.yaml").write_text(
        "version: 1\nmodels: {gpt-image-1: {parameters: {quality: [low, max]}, sizes: {fixed: [64x64]}}}\n"
    )
    line = "request: {model: gpt-image-1, quality: max, size: 64x64}"
    assert faults(written(tmp_path, line, ONE, endpoint="{auth: none, models_file: m.yaml}")) == []


def test_of_several_endpoints_each_must_take_what_it_may_be_sent(tmp_path: Path) -> None:
    """By its own name of the model; an endpoint that does not serve the model has no say."""
    path = tmp_path / "job.yaml"
    path.write_text(
        "version: 1\nname: job\nendpoints:\n"
        "- {name: a, base_url: 'https://a.test/v1', models: {x: gpt-image-1}}\n"
        "- {name: b, base_url: 'https://b.test/v1', models: {x: gpt-image-2.5-flare}}\n"
        "- {name: c, base_url: 'https://c.test/v1', models: {y: gpt-image-2}}\n"
        "image_sets: [{name: s, images: '*.png'}]\noutput: {folder: out}\n"
        "request: {model: x, quality: xhigh, input_fidelity: low}\n"
        "prompts:\n- {name: p, text: White}\n"
        "- {name: q, text: W, request: {model: y, quality: low, input_fidelity: low}}\n"
    )
    assert [fault.partition(": ")[2] for fault in faults(load_job(path, {}))] == [
        "request.quality: x does not take the quality xhigh; expected auto, low, medium or high",
        "prompts[1].request.input_fidelity: y does not take input_fidelity; leave it out, or name another model",
    ]


def test_problems_of_models_stand_among_all_others(tmp_path: Path) -> None:
    """`plan` and `validate` tell of the wrong quality, the wrong template and the broken file of models at once."""
    job = written(
        tmp_path, "request: {model: gpt-image-1, quality: max}", "prompts: [{name: p, text: '{{ nothing }}'}]"
    )
    with pytest.raises(JobError) as caught:
        plan(job)
    assert [problem.where for problem in caught.value.problems] == [
        "image_sets[0].images",
        "request.quality",
        "prompts[0].text",
    ]
    assert {"request.quality", "prompts[0].text"} <= {problem.where for problem in validate(job).problems}
    (tmp_path / "m.yaml").write_text("version: 1\nmodels: {a: 3}\n")
    job = written(
        tmp_path, "request: {model: a}", "prompts: [{name: p, text: '{{ nothing }}'}]", endpoint="{models_file: m.yaml}"
    )
    with pytest.raises(JobError) as caught:
        plan(job)
    assert ["m.yaml", 2, 10] in [[p.file, p.line, p.column] for p in caught.value.problems]
    assert "prompts[0].text" in [problem.where for problem in caught.value.problems]


def test_a_missing_file_of_models_is_told_at_its_key(tmp_path: Path) -> None:
    """With the line of the manifest."""
    found = faults(written(tmp_path, "request: {model: a}", ONE, endpoint="{models_file: gone.yaml}"))
    assert found == [
        "job.yaml:3:12: endpoint.models_file: gone.yaml cannot be read: No such file or directory; expected a readable "
        "file"
    ]


@pytest.mark.parametrize("cap", ["max_cost", "max_cost_per_run", "max_cost_per_day", "max_cost_per_month"])
def test_a_cap_on_the_cost_of_a_model_without_a_price_is_refused(tmp_path: Path, cap: str) -> None:
    """At the cap, with the ways out."""
    found = faults(written(tmp_path, "request: {model: mine}", f"budget: {{{cap}: 5}}", ONE))
    assert found == [
        f"job.yaml:7:10: budget.{cap}: no price is known for mine, so that no cap on its cost can hold; expected its "
        "prices under `endpoint.prices` or its rules in a models_file; or `endpoint.prices: {mine: free}`, which no "
        "cap counts"
    ]


def test_a_flag_that_caps_the_cost_is_a_cap_too(tmp_path: Path) -> None:
    """It has no line."""
    job = written(tmp_path, "request: {model: mine}", ONE)
    assert faults(job) == []
    assert faults(job, max_cost=True)[0].startswith("--max-cost: no price is known for mine, ")


def test_a_cap_is_refused_too_where_nobody_knows_how_many_tokens_a_request_uses(tmp_path: Path) -> None:
    """A price alone gives no worst case: neither of an unknown model, nor of a quality without a rule."""
    prices = "{text_in: 1, image_in: 1, image_out: 1}"
    mine = written(
        tmp_path,
        "request: {model: mine}",
        "budget: {max_cost: 5}",
        ONE,
        endpoint=f"{{auth: none, prices: {{mine: {prices}}}}}",
    )
    assert "how many tokens mine uses at most at size auto and quality auto is not known" in faults(mine)[0]
    new = written(tmp_path, "request: {model: gpt-image-2.6-flare, quality: high}", "budget: {max_cost: 5}", ONE)
    assert "how many tokens gpt-image-2.6-flare uses at most at size auto and quality high" in faults(new)[0]


@pytest.mark.parametrize(
    ("model", "endpoint"),
    [
        ("mine", "{auth: none, prices: {mine: free}}"),
        ("gpt-image-1.5", "{auth: none}"),
        ("gpt-image-2, size: auto", "{auth: none}"),
    ],
)
def test_a_cap_on_what_is_free_or_has_a_worst_case_stands(tmp_path: Path, model: str, endpoint: str) -> None:
    """Nothing is wrong with it."""
    job = written(tmp_path, f"request: {{model: {model}}}", "budget: {max_cost: 5}", ONE, endpoint=endpoint)
    assert faults(job, max_cost=True) == []


@pytest.mark.parametrize(
    ("today", "model", "note"),
    [
        ("2026-10-22", "gpt-image-1", "gpt-image-1 is to be shut down by its maker on 2026-10-23"),
        ("2026-10-23", "gpt-image-1", "gpt-image-1 was shut down by its maker on 2026-10-23"),
        ("2027-10-23", "x/gpt-image-1.5", "x/gpt-image-1.5 was shut down by its maker on 2026-12-01"),
        ("2026-11-01", "gpt-image-1.5", "gpt-image-1.5 is to be shut down by its maker on 2026-12-01"),
        ("2026-10-31", "gpt-image-1.5", None),
        ("2029-01-01", "gpt-image-2", None),
        ("2029-01-01", "mine", None),
    ],
)
def test_a_model_s_end_is_told_from_30_days_before_it(tmp_path: Path, today: str, model: str, note: str | None) -> None:
    """With the date and the successor, and never as a refusal."""
    job = written(tmp_path, f"request: {{model: {model}}}", ONE)
    checked = check_models(job, date.fromisoformat(today))
    assert checked.problems == ()
    assert [problem.what.partition(";")[0] for problem in checked.notes] == ([note] if note else [])
    assert all(problem.expected == "its successor is gpt-image-2" for problem in checked.notes)
    assert all(problem.where == "request.model" and problem.line == 6 for problem in checked.notes)


def test_the_day_is_utc_s() -> None:
    """One second before and at midnight."""
    assert [utc_day(86_400 * 20_000 + second).isoformat() for second in (-1, 0)] == ["2024-10-03", "2024-10-04"]
