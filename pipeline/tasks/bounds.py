"""How much a template may do: each value, and all of them together, so that none blows up or hangs.

1. No text, list or number that a template makes is larger than LONGEST or than its operator's own cap; what it would
   be is worked out before it is made.
2. All that one rendering makes adds up to at most MOST_WORK; a loop over large values ends there.
3. Only plain values are written, compared by their members and passed on: a function or a generator would be written
   with its address in memory, which differs from run to run, and each run would buy everything again.

Jinja's sandbox bounds `range` alone: ten lines of `{% set a = a ~ a %}` are a kilobyte, forty are a terabyte.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from itertools import islice
from typing import Any

from jinja2 import nodes
from jinja2.environment import Environment
from jinja2.exceptions import SecurityError
from jinja2.filters import make_attrgetter
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, Undefined
from jinja2.utils import pass_environment
from jinja2.visitor import NodeTransformer

LONGEST = 200_000
"""Most characters of a text, and most members of a list; a prompt may have 32,000."""
LARGEST = 10_000
"""Largest whole number in a call, most digits of a power, and most repetitions."""
MOST_WORK = 2_000_000
"""Characters and members that one rendering may make on its way."""
CONCAT = "~"
"""The filter that stands in for Jinja's own `~`; no template can name it."""
SEEN = "[]"
"""The filter through which a collection goes that a template makes; no template can name it."""

_work = threading.local()


def begin() -> None:
    """Start to count for a rendering in this thread."""
    _work.left = MOST_WORK


def spent(value: Any) -> Any:
    """The value, once it is counted. Raises SecurityError where it is too large, or all of them are."""
    size = len(value) if isinstance(value, str | list | tuple | dict) else 1
    _allow(size, "a value")
    _work.left = getattr(_work, "left", MOST_WORK) - size
    if _work.left < 0:
        raise SecurityError(f"the template makes over {MOST_WORK:,} characters on its way")
    return value


def check_call(method: Any, arguments: Sequence[Any]) -> Callable[..., Any]:
    """What to call in place of `method`. Raises SecurityError for a large number and a method without a bound."""
    if any(isinstance(value, int) and abs(value) > LARGEST for value in arguments):
        raise SecurityError(f"a number over {LARGEST:,} in a call")
    plain([*arguments])
    text, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
    if not isinstance(text, str):
        return lambda *values, **named: spent(method(*values, **named))
    if name in ("translate", "expandtabs"):
        raise SecurityError(f"`{name}` is not offered")
    own = _OF_TEXTS.get(name)
    return lambda *values, **named: spent(own(text, *values, **named) if own else method(*values, **named))


def check_operator(operator: str, left: Any, right: Any) -> None:
    """Raises SecurityError where the result would be too large."""
    plain([left, right])
    if _size(operator, left, right) > (LONGEST if operator == "+" else LARGEST):
        raise SecurityError(f"the result of `{operator}` would be too large")


def bounded(filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """The filters, each counted, and with bounds of their own where they can make much of little."""
    own: dict[str, Callable[..., Any]] = {"replace": _replace, "join": _join, "format": _format}
    own |= {CONCAT: _concat, SEEN: lambda collection: collection}
    return {name: _counted(filter) for name, filter in {**filters, **own}.items()}


def plain(value: Any) -> Any:
    """The value, which is text, a number, true, false, null or a collection of these.

    Raises SecurityError for anything else, a collection of over LONGEST members at any depth included, and
    UndefinedError for what is undefined.
    """
    waiting, size = [value], 0
    while waiting:
        one = waiting.pop()
        if isinstance(one, list | tuple | dict):
            waiting += [*one, *one.values()] if isinstance(one, dict) else one
        elif not isinstance(one, str | int | float | range | None):
            str(one)  # what is undefined says so
            raise SecurityError("this gives no text or number; expected a value, such as {{ row.sku }}")
        size += len(one) if isinstance(one, str | list | tuple | dict) else 1
        _allow(size, "a value")
    return value


class Bounding(NodeTransformer):
    """Puts the filter CONCAT in the place of `~`, and SEEN around collections: Jinja offers no hook for these."""

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802 - Jinja's own name
        return self._seen(node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802 - Jinja's own name
        return self._seen(node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802 - Jinja's own name
        return self._seen(node) if node.ctx == "load" else node

    def _seen(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return nodes.Filter(node, SEEN, [], [], None, None, lineno=node.lineno, environment=node.environment)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - Jinja's own name
        self.generic_visit(node)
        first, *rest = node.nodes
        return nodes.Filter(first, CONCAT, rest, [], None, None, lineno=node.lineno, environment=node.environment)


def _counted(filter: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(filter)
    def counted(*values: Any, **named: Any) -> Any:
        for value in (*values, *named.values()):
            if not isinstance(value, Undefined | Environment | Context | EvalContext):
                plain(value)
        made = filter(*values, **named)
        return spent(list(islice(made, LONGEST + 1)) if isinstance(made, Iterator) else made)

    return counted


def _allow(size: int, what: str) -> None:
    if size > LONGEST:
        raise SecurityError(f"{what} of over {LONGEST:,} characters or members; expected less")


def _concat(*parts: Any) -> str:
    return _joined(parts, "")


@pass_environment
def _join(environment: Environment, parts: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    return _joined(map(make_attrgetter(environment, attribute), parts) if attribute is not None else parts, str(d))


def _joined(parts: Iterable[Any], between: str) -> str:
    texts, size = [], 0
    for part in parts:
        texts.append(str(part))
        size += len(texts[-1]) + len(between)
        _allow(size - len(between), "a text")
    return between.join(texts)


def _replace(text: Any, old: str, new: str, count: int | None = -1) -> str:
    whole, old, new, most = str(text), str(old), str(new), -1 if count is None else count
    times = whole.count(old) if most < 0 else min(most, whole.count(old))
    _allow(len(whole) + times * max(0, len(new) - len(old)), "a text")
    return whole.replace(old, new, most)


_OF_TEXTS: dict[str, Callable[..., Any]] = {
    "replace": _replace,
    "join": lambda between, parts: _joined(parts, between),
}
"""Methods of texts that can make much of little."""


def _format(text: Any, *values: Any) -> str:
    form = str(text)
    check_operator("%", form, values)
    return str(form % values)


def _size(operator: str, left: Any, right: Any) -> int:
    """How many characters, members or digits an operator may make, roughly and rather too many."""
    if operator == "%":
        return max(map(int, re.findall(r"\d+", left.replace("*", "99999"))), default=0) if isinstance(left, str) else 0
    if operator == "+":
        sized = isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple)
        return len(left) + len(right) if sized else 0
    if operator == "*":
        for text, times in ((left, right), (right, left)):
            if isinstance(text, str | list | tuple) and isinstance(times, int):
                return len(text) * times
    if not (isinstance(left, int) and isinstance(right, int)):
        return 0
    return left.bit_length() * (abs(right) if operator == "**" else 1)
