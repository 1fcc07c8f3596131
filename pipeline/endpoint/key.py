"""The API key: where it is read, and how it is kept out of everything that is stored or printed.

1. The key's text leaves this module only in the request header that `Key.header` returns.
2. No message, `repr`, `str` or pickle of a `Key` holds the text.
3. `mask` removes it from a text or body, also where a server echoes it quoted, escaped or cut short.
"""

from __future__ import annotations

import html
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import AnyStr, NoReturn
from urllib.parse import quote

from pipeline.errors import JobError, Problem
from pipeline.manifest.models import Endpoint, HeaderAuth

MASK = "***"
_USABLE = re.compile(r"[\x21-\x7e]+")
_PREFIX = 30
_SHORTEST = 4
_LONGEST_FILE = 65_536


class Key:
    """An API key and the header that carries it."""

    __slots__ = ("_header", "_in_bytes", "_in_text", "_scheme", "_secret")

    def __init__(self, secret: str, header: str = "Authorization", scheme: str = "Bearer ") -> None:
        self._secret, self._header, self._scheme = secret, header, scheme
        pattern = "|".join(_patterns(secret))
        self._in_text = re.compile(pattern, re.IGNORECASE)
        self._in_bytes = re.compile(pattern.encode(), re.IGNORECASE)

    def header(self) -> dict[str, str]:
        """The one header that carries the key; never to be stored or printed."""
        return {self._header: self._scheme + self._secret}

    def mask(self, text: AnyStr) -> AnyStr:
        """The text with every form of the key replaced by `***`."""
        if isinstance(text, str):
            return self._in_text.sub(MASK, text)
        return self._in_bytes.sub(MASK.encode(), text)

    def __repr__(self) -> str:
        return f"Key({MASK})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled, so that it reaches no file and no other process")


def mask(text: AnyStr, key: Key | None) -> AnyStr:
    """The text without the key; a key of fewer than four characters is a placeholder and is left alone."""
    return text if key is None else key.mask(text)


def read_key(endpoint: Endpoint, environ: Mapping[str, str], folder: Path) -> Key | None:
    """The key that the manifest's `endpoint` names, or None for `auth: none`.

    `folder` is what a relative `api_key_file` starts from. A file of one's own that others may read is refused, as
    ssh does; a file of another owner, such as a mounted secret, is taken as it is.

    Raises JobError where there is no key or it cannot be sent; no message repeats any of it.
    """
    if endpoint.auth == "none":
        return None
    if endpoint.api_key_file is None:
        secret, where = _from_environment(endpoint.api_key_env, environ), f"variable {endpoint.api_key_env}"
    else:
        secret, where = _from_file(folder / Path(endpoint.api_key_file).expanduser()), endpoint.api_key_file
    if not _USABLE.fullmatch(secret):
        raise _refusal(
            "endpoint",
            f"the key in {where} holds a space, a line break, a control character or a non-ASCII character",
            "expected the key alone; check how it was copied",
        )
    return Key(secret, endpoint.auth.header, "") if isinstance(endpoint.auth, HeaderAuth) else Key(secret)


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    secret = environ.get(name, "")
    if not secret:
        state = "is empty" if name in environ else "is not set"
        raise _refusal(
            "endpoint.api_key_env",
            f"{name} {state}",
            f"export {name}, or name another variable in api_key_env, or a file in api_key_file",
        )
    return secret


def _from_file(path: Path) -> str:
    try:
        # O_NONBLOCK: opening a FIFO must not wait for its writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            info = os.fstat(file.fileno())
            raw = file.read(_LONGEST_FILE) if stat.S_ISREG(info.st_mode) else b""
    except OSError as exc:
        reason = f"cannot read {path}: {exc.strerror}"
        raise _refusal("endpoint.api_key_file", reason, "expected a file that holds the key") from exc
    secret = raw.decode("utf-8", "replace").strip()
    if not secret:
        raise _refusal("endpoint.api_key_file", f"{path} holds no key", "expected a file that holds the key alone")
    if info.st_uid == os.geteuid() and info.st_mode & 0o077:
        raise _refusal(
            "endpoint.api_key_file", f"others may read {path}", f"run: chmod 600 {path}, or mount it with mode 0400"
        )
    return secret


def _refusal(where: str, what: str, expected: str) -> JobError:
    return JobError([Problem(what, expected, where)])


def _patterns(secret: str) -> list[str]:
    """Patterns of the forms in which the key may come back, the longest first; one that never matches for none."""
    if len(secret) < _SHORTEST:
        return ["(?!)"]
    escaped = json.dumps(secret)[1:-1]
    forms = {secret, quote(secret, safe=""), quote(secret), escaped, escaped.replace("/", "\\/"), html.escape(secret)}
    # As Python prints the bytes of a head that is no HTTP.
    printed = secret.replace("\\", "\\\\")
    forms |= {printed, printed.replace("'", "\\'")}
    longest_first = sorted(forms, key=len, reverse=True)
    # A server that cuts the key short still shows its beginning: all that may continue it goes too.
    cut = [re.escape(form[:_PREFIX]) + r"[^\s\"'<>(){}\[\],]*" for form in longest_first if len(form) > _PREFIX]
    return [*map(re.escape, longest_first), *cut]
