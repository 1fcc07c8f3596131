"""Templates at every place of a manifest that has them: every expression that they may hold, and may not.

A case is as one of `tables`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from tests.fuzz.harness import Kind
from tests.fuzz.mutate import TEXTS
from tests.fuzz.tables import cell, opened

_FIELDS = (
    "set",
    "key",
    "prompt",
    "variant",
    "seed",
    "index",
    "row.sku",
    "row['file']",
    "matrix.light",
    "file.stem",
    "row",
)
_ATOMS = (
    *_FIELDS,
    "1",
    "'a'",
    "''",
    "0.5",
    "[1, 2]",
    "{'a': 1}",
    "none",
    "true",
    "range(9)",
    "'é'",
    "10**9",
    "nope",
    "loop",
)
_FILTERS = (
    "upper", "trim", "replace('a', key)", "join(',')", "length", "list", "title", "urlencode", "format(1)", "d('x')",
    "int", "float", "abs", "first", "last", "sort", "unique", "truncate(9)", "string", "round", "max", "attr('x')",
    "reverse", "replace('', 'aaaaaaaaaa')", "join('bbbbbbbbbb')", "wordcount", "select", "capitalize",
)  # fmt: skip
_CALLS = (
    "upper()", "replace('a', 'bb')", "join(['x', 'y'])", "expandtabs(9999)", "zfill(9999)", "split()", "encode()",
    "format(1)", "__class__", "translate({97: 'b'})", "center(99999)", "mro()", "items()", "ljust(10, 'x')",
)  # fmt: skip


_OPERATORS = ("~", "~", "+", "*", "**", "%", "/", "//", "-", "in", "==", "<")


def expression(rng: Random, depth: int) -> str:
    """A Jinja2 expression, of what templates may hold and of what they may not."""
    if depth <= 0 or rng.random() < 0.2:
        return rng.choice(_ATOMS)
    inner = expression(rng, depth - 1)
    match rng.randrange(7):
        case 0 | 1:
            return f"{inner} | {rng.choice(_FILTERS)}"
        case 2:
            return f"({inner}).{rng.choice(_CALLS)}"
        case 3:
            return f"({inner} {rng.choice(_OPERATORS)} {expression(rng, depth - 1)})"
        case 4:
            return f"[{inner}, {inner}]"
        case 5:
            return f"({inner})[{rng.choice(('0', '-1', '::-1', ':3', key_text(rng)))}]"
        case _:
            return f"({inner} if {expression(rng, depth - 1)} else {expression(rng, depth - 1)})"


def key_text(rng: Random) -> str:
    """A string literal of any characters."""
    return "'" + cell(rng, "", 0)[:20].replace("\\", "").replace("'", "") + "'"


def template(rng: Random) -> str:
    """A template: text, expressions, statements, and sometimes one that grows what it makes."""
    pieces = []
    for _ in range(rng.choice((1, 1, 2, 4))):
        match rng.randrange(9):
            case 0:
                pieces.append(f"{{% if {expression(rng, 2)} %}}a{{% else %}}b{{% endif %}}")
            case 1:
                pieces.append(f"{{% for x in {expression(rng, 2)} %}}{{{{ x }}}}{{{{ loop.index }}}}{{% endfor %}}")
            case 2:
                pieces.append("{% set a = " + expression(rng, 2) + " %}" + _grown(rng))
            case 3:
                pieces.append(rng.choice(TEXTS))
            case _:
                pieces.append("{{ " + expression(rng, 4) + " }}")
    return "".join(pieces)


def _grown(rng: Random) -> str:
    """A value used for itself again and again, which doubles it each time."""
    again = rng.choice(
        ("a ~ a", "a + a", "[a, a]", "a * 9", "a | replace('', a)", "a | join(a)", "a.join(a)", "(a, a)", "a | list")
    )
    return f"{{% set a = {again} %}}" * rng.choice((1, 3, 40)) + "{{ a }}"


def templated(rng: Random) -> bytes:
    """Templates at every place of a manifest that has them."""
    laid: dict[str, Any] = {"ext": "csv"}
    for place in rng.sample(("key", "images", "text", "path", "mask", "reference", "extra"), rng.choice((1, 1, 2, 3))):
        laid[place] = template(rng)
    if rng.random() < 0.3:
        laid["matrix"] = {"light": {"a": "dawn", "b": rng.choice(TEXTS)}}
    return (
        json.dumps(laid).encode()
        + b"\nsku,file,colour\nk0,0.png,red\nk1,1.png,"
        + rng.choice((b"blue", b"", b"x" * 9000))
    )


KINDS: Sequence[Kind] = (Kind("template", templated, opened),)
