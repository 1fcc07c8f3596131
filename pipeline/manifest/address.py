"""Where requests go and what they carry: no key in the manifest, and no key over a line that others can read.

1. A literal key is refused wherever it may be mistaken to belong, and never repeated.
2. http:// is for loopback, or for who says `allow_http`.
3. Headers that make a request what it is are not the manifest's to set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from pipeline.errors import Problem
from pipeline.manifest.models import Endpoint, HeaderAuth

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"\b(sk|pk|rk)[-_][\w-]{16,}|\b[Bb]earer\s+\S|\bAIza[\w-]{30}")
_RANDOM = re.compile(r"(?=(.*\d){3})(?=.*[a-z])[A-Za-z0-9]{24,}")
_SECRET = re.compile(
    r"authorization|cookie|(^|[-_])(api[-_]?key|subscription-key|token|secret|password)$", re.IGNORECASE
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OURS = re.compile(
    "accept-encoding|connection|content-.*|expect|host|idempotency-key|keep-alive|te|trailer|transfer-encoding|upgrade",
    re.IGNORECASE,
)
_NEVER = "never put the key in the manifest; name the variable that holds it with api_key_env"


def check_endpoint(endpoint: Endpoint, key: str = "") -> Iterator[Problem]:
    """What is wrong with `endpoint`, but for its base URL; `key` is the real key, where it is known."""
    yield from _credentials(endpoint)
    yield from _fields(endpoint, key)
    if endpoint.proxy is not None:
        yield from _proxy(endpoint.proxy)
    if re.search(r"[?#\s]", endpoint.path):
        yield Problem("holds '?', '#' or a space", "expected a plain path; parameters belong in query", "endpoint.path")


def check_base_url(url: str, allow_http: bool, where: str) -> Iterator[Problem]:
    """What is wrong with a base URL, which is never repeated: it may hold a password."""
    parts = _split(url)
    example = "expected a URL such as https://api.openai.com/v1"
    if parts is None or parts.hostname is None:
        yield Problem("this is not an http:// or https:// URL with a host", example, where)
        return
    if not _has_port(parts):
        yield Problem("the URL's port is not a number from 1 to 65535", example, where)
    if parts.username is not None or parts.password is not None:
        yield Problem("the URL holds a user or a password", _NEVER, where)
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        yield Problem("the URL holds a query or a fragment", "expected it in endpoint.query", where)
    if parts.path.rstrip("/").endswith("/images/edits"):
        yield Problem("the URL holds /images/edits already", f"{example}; the rest is endpoint.path", where)
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        expected = "expected https://, or allow_http: true where the network is to be trusted"
        yield Problem(f"http:// would send the key to {parts.hostname} in the open", expected, where)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: localhost, 127.0.0.0/8 or ::1."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult | None:
    """The parts of an http:// or https:// URL with a host that can be looked up, or None where it is none."""
    if re.search(r"\s", url):
        return None
    try:
        parts = urlsplit(url)
        # Labels that are empty or longer than DNS has would fail only when the first request is sent.
        found = (parts.hostname or "").encode("idna")
    except ValueError:
        return None
    return parts if found and parts.scheme in ("http", "https") else None


def _has_port(parts: SplitResult) -> bool:
    """Whether a URL's port is left out or a number that a server can have."""
    try:
        return parts.port != 0
    except ValueError:
        return False


def _credentials(endpoint: Endpoint) -> Iterator[Problem]:
    name, file = endpoint.api_key_env, endpoint.api_key_file
    if not _VARIABLE.fullmatch(name) or _KEY.search(name) or _RANDOM.fullmatch(name):
        expected = "expected a name such as OPENAI_API_KEY, without ${ }; the key itself stays in the environment"
        yield Problem("this is not the name of an environment variable", expected, "endpoint.api_key_env")
    if file is not None and _KEY.fullmatch(file):
        yield Problem("this looks like a key", "expected the path of a file that holds it", "endpoint.api_key_file")
    if file is not None and "api_key_env" in endpoint.model_fields_set:
        yield Problem("both api_key_env and api_key_file are set", "expected one of them", "endpoint.api_key_file")
    if isinstance(endpoint.auth, HeaderAuth):
        header = endpoint.auth.header
        if not _TOKEN.fullmatch(header) or _OURS.fullmatch(header) or _KEY.search(header) or _RANDOM.fullmatch(header):
            yield Problem("this cannot be a header's name", "expected a name such as api-key", "endpoint.auth.header")


def _fields(endpoint: Endpoint, key: str) -> Iterator[Problem]:
    own = endpoint.auth.header.lower() if isinstance(endpoint.auth, HeaderAuth) else "authorization"
    for name, value in endpoint.headers.items():
        where = f"endpoint.headers.{name}"
        if not _TOKEN.fullmatch(name):
            yield Problem("this cannot be a header's name", "expected letters, digits and '-'", where)
        elif _OURS.fullmatch(name):
            yield Problem("this header is set for every request", "expected it left out", where)
        elif _carries_key(name, value, key):
            yield Problem("a header that carries a key", f"{_NEVER}, and the header with auth: {{header: NAME}}", where)
        elif name.lower() == own:
            yield Problem("this header carries the key", "expected it in endpoint.auth only", where)
        elif _CONTROL.search(value):
            yield Problem("the value holds a line break or a control character", "expected one line of text", where)
    for name, value in endpoint.query.items():
        if _carries_key(name, value, key):
            yield Problem("a parameter that carries a key", _NEVER, f"endpoint.query.{name}")


def _carries_key(name: str, value: str, key: str) -> bool:
    return bool(_SECRET.search(name) or _KEY.search(value) or (len(key) >= 8 and key in value))


def _proxy(proxy: str) -> Iterator[Problem]:
    parts = _split(proxy)
    expected = "expected a URL such as http://proxy.example:3128"
    if parts is None:
        yield Problem("this is not an http:// or https:// URL with a host", expected, "endpoint.proxy")
    elif not _has_port(parts):
        yield Problem("the URL's port is not a number from 1 to 65535", expected, "endpoint.proxy")
    elif parts.username is not None or parts.password is not None:
        expected = "expected a URL without them; the proxy must know this host otherwise"
        yield Problem("the URL holds a user or a password", expected, "endpoint.proxy")
