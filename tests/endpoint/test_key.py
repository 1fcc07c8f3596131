from __future__ import annotations

import base64
import html
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.endpoint.key import Key, mask, read_key
from pipeline.errors import JobError
from pipeline.manifest.models import Endpoint, HeaderAuth
from tests.endpoint.conftest import SECRET


def test_bearer_header() -> None:
    """The key is sent as a bearer token by default."""
    key = read_key(Endpoint(), {"OPENAI_API_KEY": SECRET}, Path("/"))
    assert key is not None
    assert key.header() == {"Authorization": f"Bearer {SECRET}"}


def test_named_header() -> None:
    """A manifest may name the header, which then carries the key alone."""
    key = read_key(Endpoint(auth=HeaderAuth(header="api-key")), {"OPENAI_API_KEY": SECRET}, Path("/"))
    assert key is not None
    assert key.header() == {"api-key": SECRET}


def test_no_key_is_read_for_auth_none() -> None:
    """`auth: none` needs no variable."""
    assert read_key(Endpoint(auth="none"), {}, Path("/")) is None


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "MYROUTER_API_KEY is not set; export MYROUTER_API_KEY"),
        ({"MYROUTER_API_KEY": ""}, "MYROUTER_API_KEY is empty"),
        ({"MYROUTER_API_KEY": "sk-secret\n"}, "line break"),
        ({"MYROUTER_API_KEY": "sk-secret\x00"}, "control character"),
        ({"MYROUTER_API_KEY": "sk-sécret"}, "non-ASCII"),
        ({"MYROUTER_API_KEY": "sk secret"}, "space"),
    ],
)
def test_an_unusable_variable_is_named_and_never_shown(environ: dict[str, str], says: str) -> None:
    """What is wrong with the variable is said without a part of its value."""
    with pytest.raises(JobError) as caught:
        read_key(Endpoint(api_key_env="MYROUTER_API_KEY"), environ, Path("/"))
    assert says in str(caught.value)
    assert "MYROUTER_API_KEY" in str(caught.value)
    assert "cret" not in str(caught.value)


def test_key_file_is_relative_to_the_manifest_and_its_line_end_is_dropped(tmp_path: Path) -> None:
    """A key file holds the key and usually a line end."""
    (tmp_path / "key").write_text(SECRET + "\r\n")
    (tmp_path / "key").chmod(0o600)
    key = read_key(Endpoint(api_key_file="key"), {"OPENAI_API_KEY": "other"}, tmp_path)
    assert key is not None
    assert key.header() == {"Authorization": f"Bearer {SECRET}"}


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (None, 0, "No such file"),
        ("", 0o600, "holds no key"),
        (" \n", 0o600, "holds no key"),
        (f"{SECRET}\n{SECRET}", 0o600, "line break"),
        (SECRET, 0o644, "chmod 600"),
        (SECRET, 0o640, "chmod 600"),
    ],
)
def test_an_unusable_key_file_is_refused(tmp_path: Path, content: str | None, mode: int, says: str) -> None:
    """Missing, empty, with two lines, or readable by others: one line that names the file."""
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(JobError, match=says) as caught:
        read_key(Endpoint(api_key_file="key"), {}, tmp_path)
    assert "key" in str(caught.value)
    assert SECRET[:20] not in str(caught.value)


def test_a_fifo_as_key_file_does_not_block(tmp_path: Path) -> None:
    """A FIFO without a writer is a file without a key, at once."""
    os.mkfifo(tmp_path / "key", 0o600)
    with pytest.raises(JobError, match="holds no key"):
        read_key(Endpoint(api_key_file="key"), {}, tmp_path)


def test_key_shows_itself_nowhere() -> None:
    """Neither repr, str, format nor pickle gives the key away."""
    key = Key(SECRET)
    assert f"{key!r} {key!s} {key} {[key]}" == "Key(***) Key(***) Key(***) [Key(***)]"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)


QUOTED = 'sk-"quoted"\\and/slashed&more'


@pytest.mark.parametrize("secret", [SECRET, QUOTED, "short-key"])
@pytest.mark.parametrize(
    "form",
    [
        str,
        lambda secret: quote(secret, safe=""),
        lambda secret: quote(secret, safe="").lower(),
        lambda secret: json.dumps(secret)[1:-1],
        lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
        str.upper,
    ],
)
def test_every_form_of_the_key_is_masked(secret: str, form: object) -> None:
    """Plain, percent-encoded, JSON-escaped: in text and in bytes."""
    assert callable(form)
    echo = f"Incorrect API key provided: {form(secret)} (see docs)"
    for masked in (mask(echo, Key(secret)), mask(echo.encode(), Key(secret)).decode()):
        assert masked == "Incorrect API key provided: *** (see docs)"


@pytest.mark.parametrize("length", [30, 31, 60, 130])
def test_a_key_cut_short_is_masked_with_all_that_is_shown(length: int) -> None:
    """A server that shows the first 60 characters shows none after masking."""
    assert mask(f"key {SECRET[:length]}… is wrong", Key(SECRET)) == "key *** is wrong"


def test_a_placeholder_key_leaves_messages_readable() -> None:
    """A local server's key `x` is no secret, and would turn every message into stars."""
    assert mask("expected x", Key("x")) == "expected x"
    assert mask("expected x", None) == "expected x"


FORMS = [
    str,
    str.upper,
    json.dumps,
    lambda secret: json.dumps(json.dumps(secret)),
    html.escape,
    lambda secret: quote(quote(secret, safe=""), safe=""),
    lambda secret: base64.b64encode(b"user:" + secret.encode()).decode(),
    lambda secret: base64.urlsafe_b64encode(b"u" + secret.encode() + b"!!").decode(),
    lambda secret: secret[:30],
    lambda secret: secret[:29],
    lambda secret: secret.replace("k", "\N{KELVIN SIGN}"),
    lambda _: "no key",
]


@given(st.text(st.sampled_from('skSK01+/=.-_"\\&%{},:'), min_size=1, max_size=60), st.sampled_from(FORMS), st.text())
def test_a_text_is_left_at_once_only_where_the_patterns_find_nothing(
    secret: str, form: Callable[[str], str], around: str
) -> None:
    """What tells quickly that a text holds no form of the key never overlooks one."""
    key = Key(secret)
    text = f"{around}{form(secret)}{around}"
    assert key.mask(text) == key._in_text.sub("***", text)
    data = text.encode("utf-8", "surrogatepass")
    assert key.mask(data) == key._in_bytes.sub(b"***", data)
