"""Options of `run` and `sandbox` about money, metrics and flow: what they take, and what is said of the rest."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.errors import JobError
from pipeline.run.flags import Flags, check_flags, flags_of, parse_cost
from tests.cli.conftest import Retouch


@pytest.mark.parametrize("text", ["0", "12", "12.50", "0.000000000001", "999999999.99"])
def test_a_cap_is_read_exactly(text: str) -> None:
    """No binary float in between."""
    assert f"{parse_cost(text):f}" == text


@pytest.mark.parametrize(
    "text", ["", "-1", "1e3", "nan", "inf", "1_000", "1,5", ".5", "5.", "$5", "٣", "1" * 10, "5\n"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    """With what was expected."""
    with pytest.raises(JobError, match=r"expected US dollars such as 12\.50"):
        parse_cost(text)


@pytest.mark.parametrize("amount", [Decimal(-1), Decimal("NaN"), Decimal("Infinity"), Decimal("-0.01")])
def test_python_gives_no_such_amount_either(amount: Decimal) -> None:
    """The same rule for the keyword."""
    with pytest.raises(JobError, match="--max-cost"):
        check_flags(Flags(max_cost=amount))


def test_python_callers_may_give_amounts_in_any_form() -> None:
    """A float is taken by how it is written."""
    assert [flags_of({"max_cost": value}).max_cost for value in (5, "1.5", 0.1, Decimal("2.50"))] == [
        Decimal(5), Decimal("1.5"), Decimal("0.1"), Decimal("2.50"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "job.yaml", "--max-cost", "ten"), "--max-cost: 'ten' is no amount; expected US dollars such as 12.50"),
        (("run", "job.yaml", "--metrics-port", "70000"), "--metrics-port: 70000 is too large"),
        (("run", "job.yaml", "--sandbox", "--metrics-file", "no/m.prom"), "--metrics-file: there is no folder no"),
        (("sandbox", "--capacity", "lots"), "--capacity: 'lots' is no capacity"),
        (("sandbox", "--gateway-cut", "soon"), "--gateway-cut: 'soon' is not a number of seconds"),
        (("sandbox", "--burst", "5"), "--burst: there is no rate; expected --requests-per-minute with it"),
        (("sandbox", "--requests-per-minute", "0"), "--requests-per-minute: 0 is too small"),
        (("sandbox", "--overload", "500"), "--overload"),
    ],
)
def test_an_option_that_cannot_be_used_is_an_error(call: Retouch, arguments: tuple[str, ...], words: str) -> None:
    """Exit 2, in words, and no folder is made."""
    said = call(*arguments)
    assert said.code == 2
    assert words in said.err
    assert not Path("out.sandbox").exists()


def test_without_the_extra_a_run_ends_before_it_begins(call: Retouch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2 with the command that installs it."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "pipeline.run.metrics", raising=False)
    said = call("run", "job.yaml", "--sandbox", "--metrics-file", "m.prom")
    assert (said.code, Path("m.prom").exists(), Path("out.sandbox").exists()) == (2, False, False)
    assert (
        "prometheus-client is not installed; expected the extra `metrics`: pip install 'retouch[metrics]'" in said.err
    )


def test_a_run_in_the_sandbox_leaves_its_metrics(call: Retouch) -> None:
    """The summary line tells the cost; the port is told on stderr; the file stays, without a key."""
    said = call("run", "job.yaml", "--sandbox", "--metrics-file", "m.prom", "--metrics-port", "0", "--quiet")
    assert said.code == 0
    assert "metrics: http://127.0.0.1:" in said.err
    assert "tokens; $0.0" in said.err
    text = Path("m.prom").read_text()
    assert 'retouch_run_exit_code{job="shop"} 0.0' in text
    assert "sandbox-key" not in text
