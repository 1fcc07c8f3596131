"""The API key: where it is read, and how it is kept out of everything that is stored or printed.

1. The key's text leaves this module only in the request header that `Key.header` returns.
2. No message, `repr`, `str` or pickle of a `Key` holds the text.
3. `mask` removes it from a text or body, also where a server echoes it quoted, escaped, in base64 or cut short.
4. `mask_known` removes every key that this process has read, for lines whose origin nobody knows: tracebacks, logs.
"""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import AnyStr, Final, NoReturn

from msgspec import Struct

from pipeline.errors import JobError, Problem
from pipeline.manifest.models import Endpoint, HeaderAuth

MASK = "***"
_USABLE = re.compile(r"[\x21-\x7e]+")
_PREFIX = 30
_SHORTEST = 4
_SHORTEST_KNOWN = 8
"""A shorter key is a placeholder; masking it everywhere would spoil paths and names that merely look like it."""
_LONGEST_FILE = 65_536
_ALNUM = re.compile("[0-9A-Za-z]+")
_REST_OF_TEXT = r"[^\s\"'<>(){}\[\],]*"
_REST_OF_BASE64 = r"[\w+/=-]*"
_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}


class Key:
    """An API key and the header that carries it."""

    __slots__ = ("_header", "_in_bytes", "_in_text", "_scheme", "_secret", "_signs", "_signs_in_bytes")

    def __init__(self, secret: str, header: str = "Authorization", scheme: str = "Bearer ") -> None:
        self._secret, self._header, self._scheme = secret, header, scheme
        pattern = "|".join(_patterns(secret))
        self._in_text = re.compile(pattern, re.IGNORECASE)
        self._in_bytes = re.compile(pattern.encode(), re.IGNORECASE)
        self._signs = _signs(secret)
        self._signs_in_bytes = tuple(map(str.encode, self._signs))

    def header(self) -> dict[str, str]:
        """The one header that carries the key; never to be stored or printed."""
        return {self._header: self._scheme + self._secret}

    def mask(self, text: AnyStr) -> AnyStr:
        """The text with every form of the key replaced by `***`."""
        if isinstance(text, str):
            # Of other letters some count as the same as one of the key.
            if text.isascii() and _is_without(text.lower(), self._signs):
                return text
            return self._in_text.sub(MASK, text)
        if _is_without(text.lower(), self._signs_in_bytes):
            return text
        return self._in_bytes.sub(MASK.encode(), text)

    def __repr__(self) -> str:
        return f"Key({MASK})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled, so that it reaches no file and no other process")


def mask(text: AnyStr, key: Key | None) -> AnyStr:
    """The text without the key; a key of fewer than four characters is a placeholder and is left alone."""
    return text if key is None else key.mask(text)


class Keys(Struct, frozen=True):
    """The key of each of a job's endpoints, in their order; None where one wants none."""

    each: tuple[Key | None, ...]

    def mask(self, text: str) -> str:
        """The text without any of them."""
        for key in self.each:
            text = mask(text, key)
        return text


_known: Final[dict[str, Key]] = {}
"""For the life of the process, as stderr and the log are its own too: a crash report comes after the run's end."""


def mask_known(text: str) -> str:
    """The text without any key that this process has read; placeholders of fewer than eight characters are left."""
    for key in tuple(_known.values()):
        text = key.mask(text)
    return text


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
    key = Key(secret, endpoint.auth.header, "") if isinstance(endpoint.auth, HeaderAuth) else Key(secret)
    if len(secret) >= _SHORTEST_KNOWN:
        _known[secret] = key
    return key


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
    """Patterns of the forms in which the key may come back; one that never matches for a placeholder."""
    if len(secret) < _SHORTEST:
        return ["(?!)"]
    patterns = ["".join(map(_escaped, secret))]
    if len(secret) > _PREFIX:
        # A server that cuts the key short still shows its beginning: all that may continue it goes too.
        patterns.append("".join(map(_escaped, secret[:_PREFIX])) + _REST_OF_TEXT)
    return patterns + (_base64(secret) if len(secret) >= _SHORTEST_KNOWN else [])


def _signs(secret: str) -> tuple[str, ...]:
    """Texts of which every form of the key holds one, in lower case: to tell at once that a text holds none.

    Letters and digits stand in a form as they are, so that the longest row of them at its beginning is such a text.
    """
    if len(secret) < _SHORTEST:
        return ()
    forms = [secret[:_PREFIX], *(_own_base64(secret) if len(secret) >= _SHORTEST_KNOWN else [])]
    return tuple(max(_ALNUM.findall(form), key=len, default="").lower() for form in forms)


def _is_without(text: AnyStr, signs: tuple[AnyStr, ...]) -> bool:
    for sign in signs:  # noqa: SIM110 - a loop takes half the time of `all`
        if sign in text:
            return False
    return True


def _escaped(char: str) -> str:
    """A character as JSON, HTML, URLs and printed Python write it, in any mixture, and as each other's content.

    The number of backslashes is bounded, so that a body of nothing else costs no quadratic time.
    """
    if char.isalnum():
        return char
    code = ord(char)
    literal = r"\\{1,16}" if char == "\\" else rf"\\{{0,8}}{re.escape(char)}"
    entity = rf"&(?:amp;){{0,3}}(?:#{code}|#x0{{0,4}}{code:x}|{_ENTITIES.get(char, '#')});"
    return rf"(?:{literal}|%(?:25){{0,3}}{code:02x}|\\{{1,8}}u00{code:02x}|\\{{1,8}}x{code:02x}|{entity})"


def _base64(secret: str) -> list[str]:
    return [own.replace("+", "[+-]").replace("/", "[/_]") + _REST_OF_BASE64 for own in _own_base64(secret)]


def _own_base64(secret: str) -> list[str]:
    """The key within base64 of something longer, such as `user:key`: the beginning of what its bytes alone decide, at
    each alignment."""
    forms = []
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + secret.encode()).decode().rstrip("=")
        own = encoded[(0, 2, 3)[shift] : len(encoded) - ((shift + len(secret)) % 3 != 0)]
        forms.append(own[:_PREFIX])
    return forms
