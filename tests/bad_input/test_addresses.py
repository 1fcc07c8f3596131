# ruff: noqa: E501 - an expected message is one line
"""Addresses, keys and what else a request carries, from the manifest and from the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bad_input.conftest import KEY, Refused
from tests.bad_input.row import Row, job, of_job

RUN = ("run",)
SENDS = ("validate", "run")


def of_url(name: str, *lines: str, url: str) -> Row:
    """A base URL of the environment, which stands for the manifest's too: one rule judges both."""
    return Row(name, lines, env={"OPENAI_BASE_URL": url})


def of_key(name: str, *lines: str, key: str) -> Row:
    return Row(name, lines, env={"OPENAI_API_KEY": key}, verbs=RUN)


def of_file(name: str, *lines: str, content: bytes | None = b"sk-abc\n", mode: int = 0o600) -> Row:
    """A key file of one's own with these bytes, or none."""

    def make(path: Path) -> None:
        if content is not None:
            path.write_bytes(content)
            path.chmod(mode)

    return Row(name, lines, {"job.yaml": job(endpoint="{api_key_file: key.txt}"), "key.txt": make}, verbs=RUN)


URLS = [
    of_url(
        "no scheme",
        "environment: OPENAI_BASE_URL: this is not an http:// or https:// URL with a host; expected a URL such as https://api.openai.com/v1",
        url="api.example.com/v1",
    ),
    of_url(
        "no scheme but a port",
        "environment: OPENAI_BASE_URL: this is not an http:// or https:// URL with a host; expected a URL such as https://api.openai.com/v1",
        url="localhost:8080/v1",
    ),
    of_url(
        "no host",
        "environment: OPENAI_BASE_URL: this is not an http:// or https:// URL with a host; expected a URL such as https://api.openai.com/v1",
        url="https:///v1",
    ),
    of_url(
        "ftp",
        "environment: OPENAI_BASE_URL: this is not an http:// or https:// URL with a host; expected a URL such as https://api.openai.com/v1",
        url="ftp://api.example.com/v1",
    ),
    of_url(
        "a file",
        "environment: OPENAI_BASE_URL: this is not an http:// or https:// URL with a host; expected a URL such as https://api.openai.com/v1",
        url="file:///etc/passwd",
    ),
    of_url(
        "a space",
        "environment: OPENAI_BASE_URL: this is not an http:// or https:// URL with a host; expected a URL such as https://api.openai.com/v1",
        url="https://api example.com/v1",
    ),
    of_url(
        "a line break",
        "environment: OPENAI_BASE_URL: this is not an http:// or https:// URL with a host; expected a URL such as https://api.openai.com/v1",
        url="https://api.example.com/v1\nX-Evil: 1",
    ),
    of_url(
        "a user",
        "environment: OPENAI_BASE_URL: the URL holds a user or a password; never put the key in the manifest; name the variable that holds it with api_key_env",
        url="https://ann@api.example.com/v1",
    ),
    of_url(
        "a user and a password",
        "environment: OPENAI_BASE_URL: the URL holds a user or a password; never put the key in the manifest; name the variable that holds it with api_key_env",
        url="https://ann:hunter2@api.example.com/v1",
    ),
    of_url(
        "a query",
        "environment: OPENAI_BASE_URL: the URL holds a query or a fragment; expected it in endpoint.query",
        url="https://api.example.com/v1?key=hunter2",
    ),
    of_url(
        "a fragment",
        "environment: OPENAI_BASE_URL: the URL holds a query or a fragment; expected it in endpoint.query",
        url="https://api.example.com/v1#top",
    ),
    of_url(
        "the whole path",
        "environment: OPENAI_BASE_URL: the URL holds /images/edits already; expected a URL such as https://api.openai.com/v1; the rest is endpoint.path",
        url="https://api.example.com/v1/images/edits",
    ),
    of_url(
        "http to another host",
        "environment: OPENAI_BASE_URL: http:// would send the key to api.example.com in the open; expected https://, or allow_http: true where the network is to be trusted",
        url="http://api.example.com/v1",
    ),
    of_url(
        "http to what looks like loopback",
        "environment: OPENAI_BASE_URL: http:// would send the key to 127.0.0.1.example.com in the open; expected https://, or allow_http: true where the network is to be trusted",
        url="http://127.0.0.1.example.com/v1",
    ),
    of_url(
        "http to all addresses",
        "environment: OPENAI_BASE_URL: http:// would send the key to 0.0.0.0 in the open; expected https://, or allow_http: true where the network is to be trusted",
        url="http://0.0.0.0:8080/v1",
    ),
    of_url(
        "port 0",
        "environment: OPENAI_BASE_URL: the URL's port is not a number from 1 to 65535; expected a URL such as https://api.openai.com/v1",
        url="https://api.example.com:0/v1",
    ),
    of_url(
        "port 65536",
        "environment: OPENAI_BASE_URL: the URL's port is not a number from 1 to 65535; expected a URL such as https://api.openai.com/v1",
        url="https://api.example.com:65536/v1",
    ),
    of_url(
        "a port in words",
        "environment: OPENAI_BASE_URL: the URL's port is not a number from 1 to 65535; expected a URL such as https://api.openai.com/v1",
        url="https://api.example.com:port/v1",
    ),
    of_url(
        "a bracket left open",
        "environment: OPENAI_BASE_URL: this is not an http:// or https:// URL with a host; expected a URL such as https://api.openai.com/v1",
        url="https://[::1/v1",
    ),
    of_url(
        "a host beyond DNS",
        "environment: OPENAI_BASE_URL: this is not an http:// or https:// URL with a host; expected a URL such as https://api.openai.com/v1",
        url=f"https://{'a' * 64}.example.com/v1",
    ),
    of_url(
        "an empty label",
        "environment: OPENAI_BASE_URL: this is not an http:// or https:// URL with a host; expected a URL such as https://api.openai.com/v1",
        url="https://api..example.com/v1",
    ),
    of_job(
        "no scheme in the manifest",
        "job.yaml:7:12: endpoint.base_url: this is not an http:// or https:// URL with a host; expected a URL such as https://api.openai.com/v1",
        endpoint="{base_url: api.example.com/v1}",
    ),
    of_job(
        "an empty URL",
        "job.yaml:7:12: endpoint.base_url: the value is empty; expected a URL such as https://api.openai.com/v1",
        endpoint="{base_url: ''}",
    ),
    of_job(
        "http to another host in the manifest",
        "job.yaml:7:12: endpoint.base_url: http:// would send the key to 10.0.0.5 in the open; expected https://, or allow_http: true where the network is to be trusted",
        endpoint="{base_url: 'http://10.0.0.5:8000/v1'}",
    ),
    of_job(
        "a path without a slash",
        "job.yaml:7:12: endpoint.path: the value does not fit; expected a path that begins with /",
        endpoint="{path: images/edits}",
    ),
    of_job(
        "a path with a query",
        "job.yaml:7:12: endpoint.path: holds '?', '#' or a space; expected a plain path; parameters belong in query",
        endpoint="{path: '/edits?v=1'}",
    ),
    of_job(
        "a proxy without a scheme",
        "job.yaml:7:12: endpoint.proxy: this is not an http:// or https:// URL with a host; expected a URL such as http://proxy.example:3128",
        endpoint="{proxy: 'proxy.example:3128'}",
    ),
    of_job(
        "a proxy by SOCKS",
        "job.yaml:7:12: endpoint.proxy: this is not an http:// or https:// URL with a host; expected a URL such as http://proxy.example:3128",
        endpoint="{proxy: 'socks5://proxy.example:1080'}",
    ),
    of_job(
        "a proxy with a password",
        "job.yaml:7:12: endpoint.proxy: the URL holds a user or a password; expected a URL without them; the proxy must know this host otherwise",
        endpoint="{proxy: 'http://ann:hunter2@proxy.example:3128'}",
    ),
]
CARRIED = [
    of_job("a header that carries a key", "job.yaml:7:22: endpoint.headers.X-Team: a header that carries a key; never put the key in the manifest; name the variable that holds it with api_key_env, and the header with auth: {header: NAME}", endpoint=f"{{headers: {{X-Team: {KEY}}}}}"),
    of_job("a header named like one", "job.yaml:7:22: endpoint.headers.Authorization: a header that carries a key; never put the key in the manifest; name the variable that holds it with api_key_env, and the header with auth: {header: NAME}", endpoint="{headers: {Authorization: Basic}}"),
    of_job("a header of ours", "job.yaml:7:22: endpoint.headers.Content-Type: this header is set for every request; expected it left out", endpoint="{headers: {Content-Type: text/plain}}"),
    of_job("a header's name with a space", "job.yaml:7:22: endpoint.headers.X Team: this cannot be a header's name; expected letters, digits and '-'", endpoint="{headers: {X Team: shop}}"),
    of_job("a header's value with a line break", "job.yaml:7:22: endpoint.headers.X-Team: the value holds a line break or a control character; expected one line of text", endpoint='{headers: {X-Team: "a\\nX-Evil: 1"}}'),
    of_job("the header of auth again", "job.yaml:7:49: endpoint.headers.x-gateway: this header carries the key; expected it in endpoint.auth only", endpoint="{auth: {header: X-Gateway}, headers: {x-gateway: a}}"),
    of_job("a parameter that carries a key", "job.yaml:7:20: endpoint.query.team: a parameter that carries a key; never put the key in the manifest; name the variable that holds it with api_key_env", endpoint=f"{{query: {{team: {KEY}}}}}"),
    of_job("a parameter named like one", "job.yaml:7:20: endpoint.query.api-key: a parameter that carries a key; never put the key in the manifest; name the variable that holds it with api_key_env", endpoint="{query: {api-key: abc}}"),
    of_job("a key for the name of its variable", "job.yaml:7:12: endpoint.api_key_env: this is not the name of an environment variable; expected a name such as OPENAI_API_KEY, without ${ }; the key itself stays in the environment", endpoint=f"{{api_key_env: {KEY}}}"),
    of_job("a reference for the name of a variable", "job.yaml:7:12: endpoint.api_key_env: this is not the name of an environment variable; expected a name such as OPENAI_API_KEY, without ${ }; the key itself stays in the environment", endpoint="{api_key_env: '${OPENAI_API_KEY}'}"),
    of_job("a key for the path of its file", "job.yaml:7:12: endpoint.api_key_file: this looks like a key; expected the path of a file that holds it", endpoint=f"{{api_key_file: {KEY}}}"),
    of_job("a variable and a file", "job.yaml:7:32: endpoint.api_key_file: both api_key_env and api_key_file are set; expected one of them", endpoint="{api_key_env: A_KEY, api_key_file: key.txt}"),
    of_job("a key for auth", "job.yaml:7:12: endpoint.auth: the value is not known; expected bearer or none or a mapping with header", endpoint=f"{{auth: {KEY}}}"),
    of_job("an unknown auth", "job.yaml:7:12: endpoint.auth: the value is not known; expected bearer or none or a mapping with header", endpoint="{auth: basic}"),
    of_job("auth by a header of ours", "job.yaml:7:19: endpoint.auth.header: this cannot be a header's name; expected a name such as api-key", endpoint="{auth: {header: Host}}"),
    of_job("auth by no header", "job.yaml:7:19: endpoint.auth.header: the value is empty; expected text", endpoint="{auth: {header: ''}}"),
    Row("certificates that are not there", ("job.yaml:7:12: endpoint.ca_bundle: cannot use {folder}/ca.pem: No such file or directory; expected a PEM file with certificates",), {"job.yaml": job(endpoint="{ca_bundle: ca.pem}")}, verbs=SENDS),
    Row("certificates that are none", ("job.yaml:7:12: endpoint.ca_bundle: cannot use {folder}/ca.pem: it holds no usable certificate; expected a PEM file with certificates",), {"job.yaml": job(endpoint="{ca_bundle: ca.pem}"), "ca.pem": "no"}, verbs=SENDS),
    Row("certificates that are empty", ("job.yaml:7:12: endpoint.ca_bundle: cannot use {folder}/ca.pem: it holds no usable certificate; expected a PEM file with certificates",), {"job.yaml": job(endpoint="{ca_bundle: ca.pem}"), "ca.pem": ""}, verbs=SENDS),
    Row("certificates that are a folder", ("job.yaml:7:12: endpoint.ca_bundle: cannot use {folder}/in: it is not a regular file; expected a PEM file with certificates",), {"job.yaml": job(endpoint="{ca_bundle: in}")}, verbs=SENDS),
    Row("certificates from a pipe", ("job.yaml:7:12: endpoint.ca_bundle: cannot use {folder}/ca.pem: it is not a regular file; expected a PEM file with certificates",), {"job.yaml": job(endpoint="{ca_bundle: ca.pem}"), "ca.pem": os.mkfifo}, verbs=SENDS),
]  # fmt: skip
KEYS = [
    of_key("an empty key", "endpoint.api_key_env: OPENAI_API_KEY is empty; export OPENAI_API_KEY, or name another variable in api_key_env, or a file in api_key_file", key=""),
    of_key("a key with a line break", "endpoint: the key in variable OPENAI_API_KEY holds a space, a line break, a control character or a non-ASCII character; expected the key alone; check how it was copied", key="sk-first\nsk-second"),
    of_key("a key that ends in a line break", "endpoint: the key in variable OPENAI_API_KEY holds a space, a line break, a control character or a non-ASCII character; expected the key alone; check how it was copied", key="sk-first\n"),
    of_key("a key with a space", "endpoint: the key in variable OPENAI_API_KEY holds a space, a line break, a control character or a non-ASCII character; expected the key alone; check how it was copied", key="Bearer sk-first"),
    of_key("a key beyond ASCII", "endpoint: the key in variable OPENAI_API_KEY holds a space, a line break, a control character or a non-ASCII character; expected the key alone; check how it was copied", key="sk-fürst"),
    of_key("a key with a control character", "endpoint: the key in variable OPENAI_API_KEY holds a space, a line break, a control character or a non-ASCII character; expected the key alone; check how it was copied", key="sk-\x1b[31m"),
    Row("no key", ("endpoint.api_key_env: NOBODYS_KEY is not set; export NOBODYS_KEY, or name another variable in api_key_env, or a file in api_key_file",), {"job.yaml": job(endpoint="{api_key_env: NOBODYS_KEY}")}, verbs=RUN),
    of_file("no key file", "endpoint.api_key_file: cannot read {folder}/key.txt: No such file or directory; expected a file that holds the key", content=None),
    of_file("an empty key file", "endpoint.api_key_file: {folder}/key.txt holds no key; expected a file that holds the key alone", content=b""),
    of_file("a blank key file", "endpoint.api_key_file: {folder}/key.txt holds no key; expected a file that holds the key alone", content=b" \n\n"),
    of_file("a key file of two keys", "endpoint: the key in key.txt holds a space, a line break, a control character or a non-ASCII character; expected the key alone; check how it was copied", content=b"sk-first\nsk-second\n"),
    of_file("a key file with a name", "endpoint: the key in key.txt holds a space, a line break, a control character or a non-ASCII character; expected the key alone; check how it was copied", content=b"OPENAI_API_KEY=sk-first sk-second\n"),
    of_file("a key file in UTF-16", "endpoint: the key in key.txt holds a space, a line break, a control character or a non-ASCII character; expected the key alone; check how it was copied", content="sk-first\n".encode("utf-16")),
    of_file("a key file that others may read", "endpoint.api_key_file: others may read {folder}/key.txt; run: chmod 600 {folder}/key.txt, or mount it with mode 0400", mode=0o644),
    of_file("a key file that the group may read", "endpoint.api_key_file: others may read {folder}/key.txt; run: chmod 600 {folder}/key.txt, or mount it with mode 0400", mode=0o640),
    Row("a key file that is a folder", ("endpoint.api_key_file: cannot read {folder}/in: Is a directory; expected a file that holds the key",), {"job.yaml": job(endpoint="{api_key_file: in}")}, verbs=RUN),
    Row("a key file that is a pipe", ("endpoint.api_key_file: {folder}/key holds no key; expected a file that holds the key alone",), {"job.yaml": job(endpoint="{api_key_file: key}"), "key": os.mkfifo}, verbs=RUN),
]  # fmt: skip


@pytest.mark.parametrize("row", [*URLS, *CARRIED, *KEYS], ids=str)
def test_a_bad_address_or_key_is_refused(refused: Refused, row: Row) -> None:
    """One line, which repeats neither the key nor what may be a password; exit 2, nothing sent."""
    refused(row)
    for secret in (KEY, "hunter2", "sk-first", "sk-second", "sk-fürst"):
        assert secret not in str(row.lines)
