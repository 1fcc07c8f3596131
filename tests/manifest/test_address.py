# ruff: noqa: E501 - an expected message is one line
from __future__ import annotations

import pytest

from pipeline.manifest.address import is_loopback
from pipeline.manifest.job import OPENAI_BASE_URL
from tests.manifest.conftest import Faults, Load
from tests.manifest.minimal import minimal

KEY = "sk-proj-abcdefghijklmnop1234"
NEVER = "never put the key in the manifest; name the variable that holds it with api_key_env"
HEADER = f"a header that carries a key; {NEVER}, and the header with auth: {{header: NAME}}"
URL = "this is not an http:// or https:// URL with a host; expected a URL such as"
BAD = [
    (f"{{api_key: {KEY}}}", f"api_key: unknown key 'api_key'; {NEVER}"),
    (f"{{api_key_env: {KEY}}}", "api_key_env: this is not the name of an environment variable; expected a name such as OPENAI_API_KEY, without ${ }; the key itself stays in the environment"),
    ("{api_key_env: 4f9aBc81d7e2}", "api_key_env: this is not the name of an environment variable; expected a name such as OPENAI_API_KEY, without ${ }; the key itself stays in the environment"),
    ("{api_key_env: a8f3k2m9x7q1w5e4r6t8y0u2}", "api_key_env: this is not the name of an environment variable; expected a name such as OPENAI_API_KEY, without ${ }; the key itself stays in the environment"),
    (f"{{api_key_file: {KEY}}}", "api_key_file: this looks like a key; expected the path of a file that holds it"),
    ("{api_key_env: A, api_key_file: b}", "api_key_file: both api_key_env and api_key_file are set; expected one of them"),
    ("{auth: {header: a b}}", "auth.header: this cannot be a header's name; expected a name such as api-key"),
    ("{auth: {header: Content-Type}}", "auth.header: this cannot be a header's name; expected a name such as api-key"),
    (f"{{auth: {KEY}}}", "auth: the value is not known; expected bearer or none or a mapping with header"),
    ("{headers: {authorization: x}}", f"headers.authorization: {HEADER}"),
    ("{headers: {Api-Key: x}}", f"headers.Api-Key: {HEADER}"),
    ("{headers: {Ocp-Apim-Subscription-Key: x}}", f"headers.Ocp-Apim-Subscription-Key: {HEADER}"),
    ("{headers: {X-Auth-Token: x}}", f"headers.X-Auth-Token: {HEADER}"),
    ("{headers: {Cookie: x}}", f"headers.Cookie: {HEADER}"),
    (f"{{headers: {{X-Other: {KEY}}}}}", f"headers.X-Other: {HEADER}"),
    ("{headers: {X-Other: Bearer abc}}", f"headers.X-Other: {HEADER}"),
    ("{headers: {X-Other: '${OPENAI_API_KEY}'}}", f"headers.X-Other: {HEADER}"),
    ("{headers: {X-Other: 5}}", "headers.X-Other: the value is a whole number; expected text; write it in quotes"),
    ("{headers: {Host: x}}", "headers.Host: this header is set for every request; expected it left out"),
    ("{headers: {Idempotency-Key: x}}", "headers.Idempotency-Key: this header is set for every request; expected it left out"),
    ("{headers: {a b: x}}", "headers.a b: this cannot be a header's name; expected letters, digits and '-'"),
    ('{headers: {a: "x\\ny"}}', "headers.a: the value holds a line break or a control character; expected one line of text"),
    ("{query: {api-key: x}}", f"query.api-key: a parameter that carries a key; {NEVER}"),
    ("{path: images}", "path: the value does not fit; expected a path that begins with /"),
    ("{path: '/a?b=c'}", "path: holds '?', '#' or a space; expected a plain path; parameters belong in query"),
    ("{proxy: 'proxy:3128'}", f"proxy: {URL} http://proxy.example:3128"),
    ("{proxy: 'socks5://proxy:3128'}", f"proxy: {URL} http://proxy.example:3128"),
    ("{proxy: 'http://me:secret@proxy'}", "proxy: the URL holds a user or a password; expected a URL without them; the proxy must know this host otherwise"),
    ("{base_url: api.example.com/v1}", f"base_url: {URL} https://api.openai.com/v1"),
    ("{base_url: 'ftp://x.example'}", f"base_url: {URL} https://api.openai.com/v1"),
    ("{base_url: 'https://'}", f"base_url: {URL} https://api.openai.com/v1"),
    ("{base_url: 'https://x.example:port'}", "base_url: the URL's port is not a number from 1 to 65535; expected a URL such as https://api.openai.com/v1"),
    ("{base_url: 'https://x..example'}", f"base_url: {URL} https://api.openai.com/v1"),
    ("{auth: {header: X-A}, headers: {x-a: b}}", "headers.x-a: this header carries the key; expected it in endpoint.auth only"),
    ("{proxy: 'http://proxy:0'}", "proxy: the URL's port is not a number from 1 to 65535; expected a URL such as http://proxy.example:3128"),
    ("{base_url: 'https://x example'}", f"base_url: {URL} https://api.openai.com/v1"),
    ("{base_url: 'https://[::1'}", f"base_url: {URL} https://api.openai.com/v1"),
    ("{base_url: ''}", "base_url: the value is empty; expected a URL such as https://api.openai.com/v1"),
    ("{base_url: 'https://me:secret@x.example'}", f"base_url: the URL holds a user or a password; {NEVER}"),
    ("{base_url: 'https://x.example/v1?a=b'}", "base_url: the URL holds a query or a fragment; expected it in endpoint.query"),
    ("{base_url: 'https://x.example/v1/images/edits'}", "base_url: the URL holds /images/edits already; expected a URL such as https://api.openai.com/v1; the rest is endpoint.path"),
    ("{base_url: 'http://x.example/v1'}", "base_url: http:// would send the key to x.example in the open; expected https://, or allow_http: true where the network is to be trusted"),
    ("{base_url: 'http://localhost.x.example'}", "base_url: http:// would send the key to localhost.x.example in the open; expected https://, or allow_http: true where the network is to be trusted"),
]  # fmt: skip


@pytest.mark.parametrize(("endpoint", "line"), BAD, ids=[line.split(";")[0] for _, line in BAD])
def test_bad_endpoint_gives_one_clear_line_without_the_secret(faults: Faults, endpoint: str, line: str) -> None:
    """Each rule has its line, and what may be a key or a password is in none."""
    (found,) = faults(minimal(endpoint=endpoint), {"OPENAI_API_KEY": "the-real-key-of-me"})
    assert found.split(": ", 1) == [found.split(": ", 1)[0], f"endpoint.{line}"]
    for secret in (KEY, "secret", "4f9aBc81d7e2", "a8f3k2m9x7q1w5e4r6t8y0u2", "the-real-key-of-me"):
        assert secret not in found


@pytest.mark.parametrize(
    "endpoint",
    [
        "{base_url: 'http://127.0.0.1:8080/v1'}",
        "{base_url: 'http://127.9.9.9'}",
        "{base_url: 'http://localhost'}",
        "{base_url: 'http://[::1]:80'}",
        "{base_url: 'http://gateway', allow_http: true}",
        "{headers: {X-Title: shop, OpenAI-Organization: org-abcdefghijklmnopqrst}}",
        "{query: {api-version: 2025-04-01-preview}}",
        "{auth: {header: api-key}, api_key_env: AZURE_OPENAI_API_KEY}",
        "{auth: none, api_key_file: /home/ann/.keys/sk-shop.txt}",
        "{proxy: 'http://proxy:3128'}",
    ],
)
def test_good_endpoint_is_accepted(faults: Faults, endpoint: str) -> None:
    """The rules refuse nothing that a real endpoint needs."""
    assert faults(minimal(endpoint=endpoint)) == []


@pytest.mark.parametrize(
    ("manifest", "variable", "url"),
    [
        ("https://a.example/v1/", "https://b.example", "https://a.example/v1"),
        ("", "https://b.example/v1", "https://b.example/v1"),
        ("", "", OPENAI_BASE_URL),
        ("", None, OPENAI_BASE_URL),
    ],
)
def test_base_url_is_the_manifests_then_the_variables_then_openais(
    load: Load, manifest: str, variable: str | None, url: str
) -> None:
    """An empty variable counts as unset; a trailing slash is dropped."""
    environ = {} if variable is None else {"OPENAI_BASE_URL": variable}
    assert load(minimal(endpoint=f"{{base_url: {manifest or 'null'}}}"), environ).base_url == url


def test_bad_base_url_of_the_environment_is_named(faults: Faults) -> None:
    """The problem names the variable, not a line of the manifest."""
    assert faults(minimal(), {"OPENAI_BASE_URL": "api.example.com"}) == [
        f"environment: OPENAI_BASE_URL: {URL} https://api.openai.com/v1"
    ]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.255.0.9", "::1"])
def test_loopback_hosts(host: str) -> None:
    """The whole of 127.0.0.0/8 is loopback."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.example", "128.0.0.1", "0.0.0.0", "::2", "127.1", "", "10.0.0.1"])
def test_other_hosts_are_not_loopback(host: str) -> None:
    """What only looks like loopback is not."""
    assert not is_loopback(host)
