# ruff: noqa: E501 - an expected message is one line
from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import JobError
from pipeline.manifest.load import load_job
from tests.manifest.conftest import Faults
from tests.manifest.minimal import minimal

A = "{name: a, base_url: https://a.example/v1}"
BAD = [
    ({"endpoint": "{auth: none}", "endpoints": f"[{A}]"}, "8:1: endpoints: both endpoint and endpoints are set; expected one of them"),
    ({"endpoints": f"[{A}, {A}]"}, "7:57: endpoints[1].name: two endpoints are named 'a'; expected a name of its own"),
    ({"endpoints": "[{name: a}]"}, "7:13: endpoints[0].base_url: is missing; expected a URL such as https://api.openai.com/v1"),
    ({"endpoints": "[{name: a, base_url: http://a.example}]"}, "7:23: endpoints[0].base_url: http:// would send the key to a.example in the open; expected https://, or allow_http: true where the network is to be trusted"),
    ({"endpoints": "[{name: a, base_url: https://a.example, headers: {api-key: x}}]"}, "7:62: endpoints[0].headers.api-key: a header that carries a key; never put the key in the manifest; name the variable that holds it with api_key_env, and the header with auth: {header: NAME}"),
    ({"endpoints": "[{name: a, base_url: https://a.example, models: {x: y}}]"}, "3:11: request.model: no endpoint serves the model 'm'; expected one of x"),
    ({"endpoints": f"[{A}, {{name: b, base_url: https://b.example, models: {{x: y}}}}]"}, "7:95: endpoints[1].models: 'b' serves no model that the job asks for; expected one of m among its models"),
    ({"endpoints": f"[{A}]", "limits": "{requests_per_minute: 5}"}, "8:10: limits.requests_per_minute: of several endpoints each has its own rates; expected it in the limits of each, such as endpoints[0].limits.requests_per_minute"),
    ({"endpoints": "[]"}, "7:1: endpoints: the value is empty; expected a list of mappings"),
    ({"endpoints": "[{name: a, base_url: https://a.example, weight: 0}]"}, "7:52: endpoints[0].weight: the value is too small; expected a number above 0"),
    ({"endpoint": "{prices: {m: cheap}}"}, "7:21: endpoint.prices.m: the value is not known; expected free or a mapping with text_in, image_in, image_out, text_out"),
    ({"endpoint": "{prices: {m: {text_in: 1, image_in: -1, image_out: 1}}}"}, "7:37: endpoint.prices.m.image_in: the value is too small; expected a number from 0 on"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "line"), BAD, ids=[line.split(": ", 2)[1] for _, line in BAD])
def test_what_is_wrong_with_endpoints_gives_one_clear_line(faults: Faults, changes: dict[str, str], line: str) -> None:
    """Each rule for several endpoints, and for prices, has its line."""
    assert faults(minimal(**changes)) == [line]


def test_several_endpoints_have_their_own_urls_and_keys(tmp_path: Path) -> None:
    """Variables stand in for values, slashes at the end go, and no endpoint takes another's URL."""
    text = minimal(
        endpoints="[{name: a, base_url: '${A}/', api_key_env: KEY_A}, {name: b, base_url: https://b.example/v1, weight: 2.5, models: {m: vendor/m}}]"
    )
    (tmp_path / "job.yaml").write_text(text)
    job = load_job(tmp_path / "job.yaml", {"A": "https://a.example/v1", "OPENAI_BASE_URL": "https://c.example"})
    assert [job.url_of(each) for each in job.endpoints] == ["https://a.example/v1", "https://b.example/v1"]
    assert [each.api_key_env for each in job.endpoints] == ["KEY_A", "OPENAI_API_KEY"]
    assert job.manifest.endpoints
    assert job.manifest.endpoints[1].models == {"m": "vendor/m"}


def test_a_real_key_among_several_endpoints_is_never_repeated(tmp_path: Path) -> None:
    """A message on a manifest that holds the key of its second endpoint does not show it."""
    key = "0123456789abcdef-second"
    text = minimal(
        endpoints=f"[{A}, {{name: b, base_url: https://b.example/v1, api_key_env: KEY_B, query: {{x: {key}}}, name2: {key}}}]"
    )
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(JobError) as caught:
        load_job(tmp_path / "job.yaml", {"KEY_B": key})
    assert key not in str(caught.value)
    assert "endpoints[1]" in str(caught.value)
