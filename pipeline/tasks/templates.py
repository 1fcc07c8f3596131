"""Templates of keys, paths, prompts and extra fields: Jinja2 in a sandbox, strict, compiled once.

1. What is undefined is an error, and so is null; a name that no place knows is found when the template is compiled.
2. A template reads its own fields and nothing else: no attribute that leads out of them, no import, no macro.
3. The same fields always give the same text: nothing random, no clock.
4. Rendering is bounded: loops do not nest, repetitions, powers, formats and calls are capped, and the text ends at
   LONGEST characters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipeline.tasks.faults import FaultError, did_you_mean

OF_ITEM = frozenset({"key", "row", "file", "seed"})
"""Fields that differ from item to item."""
LONGEST = 200_000
"""Most characters of a rendered text; a prompt may have 32,000."""
_LARGEST = 10_000
"""Largest whole number in a call, and most digits of a power."""
_ELSEWHERE = {
    "row": "a row is known only where every image set is a table",
    "index": "an output's number is known only in output.path",
    "matrix": "this prompt has no matrix",
    "key": "keys are made from `file` or, of a table, from `row`",
}
_FILTERS = frozenset(
    {"abs", "capitalize", "count", "d", "default", "first", "float", "int", "join", "last", "length", "list", "lower"}
    | {"max", "min", "reject", "replace", "reverse", "round", "select", "sort", "string", "title", "trim", "truncate"}
    | {"unique", "upper", "urlencode", "wordcount"}
)
_STATEMENTS = (
    nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends,
    nodes.Block,
)  # fmt: skip
_FAILURES = (
    jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip


class Named:
    """Values that a template reads by name (`row.sku`, `row['Artikel-Nr.']`), and nothing else of them."""

    __slots__ = ("noun", "values")

    def __init__(self, noun: str, values: Mapping[str, Any]) -> None:
        self.noun = noun
        self.values = values


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template of the manifest's place `where`; `uses` are the fields that it reads."""

    source: str
    where: str
    uses: frozenset[str]
    _pieces: Callable[[Mapping[str, Any]], Iterator[str]]

    def render(self, values: Mapping[str, Any]) -> str:
        """Raises FaultError, `general` without a field of items, for what is undefined, unsafe, too long or wrong."""
        kept, size = [], 0
        try:
            for piece in self._pieces(values):
                kept.append(piece)
                size += len(piece)
                if size > LONGEST:
                    raise self.fault(f"the text has over {LONGEST:,} characters", "expected less")
        except _FAILURES as error:
            what, expected = _words(error)
            raise self.fault(what, expected) from error
        return "".join(kept)

    def fault(self, what: str, expected: str) -> FaultError:
        """Something wrong with what this template gives."""
        return FaultError(what, expected, self.where, general=not self.uses & OF_ITEM)


@dataclass(frozen=True, slots=True)
class Value:
    """A value of `extra_body` whose strings, at any depth, are templates."""

    uses: frozenset[str]
    render: Callable[[Mapping[str, Any]], Any]


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**", "%"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Named values and mappings give their values only: a column called `items` is a column."""
        return self._found(obj, attribute, super().getattr)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return self._found(obj, argument, super().getitem)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return isinstance(obj, str | list | tuple | LoopContext) and super().is_safe_attribute(obj, attr, value)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 # Jinja's own form
        if any(isinstance(value, int) and abs(value) > _LARGEST for value in (*args, *kwargs.values())):
            raise SecurityError(f"a number over {_LARGEST:,} in a call")
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if _size(operator, left, right) > _LARGEST:
            raise SecurityError(f"the result of `{operator}` would be too large")
        return super().call_binop(context, operator, left, right)

    def _found(self, obj: Any, name: Any, elsewhere: Callable[[Any, Any], Any]) -> Any:
        if isinstance(obj, str) and name in ("format", "format_map"):
            return self.unsafe_undefined(obj, name)
        if not isinstance(obj, Named | Mapping):
            return elsewhere(obj, name)
        noun, values = (obj.noun, obj.values) if isinstance(obj, Named) else ("value", obj)
        found = values.get(name)
        if found is not None:
            return found
        if name in values:
            return self.undefined(f"the {noun} {name!r} is null here")
        return self.undefined(f"there is no {noun} {name!r}; {did_you_mean(str(name), map(str, values))}")


def _size(operator: str, left: Any, right: Any) -> int:
    """How many characters or digits an operator may make, roughly and rather too many."""
    if operator == "%":
        return max(map(int, re.findall(r"\d+", left.replace("*", "99999"))), default=0) if isinstance(left, str) else 0
    if operator == "*":
        for text, times in ((left, right), (right, left)):
            if isinstance(text, str | list | tuple) and isinstance(times, int):
                return len(text) * times
    if not (isinstance(left, int) and isinstance(right, int)):
        return 0
    return left.bit_length() * (abs(right) if operator == "**" else 1)


def _format(text: str, *values: Any) -> str:
    if _size("%", text, values) > _LARGEST:
        raise SecurityError("the result of `format` would be too large")
    return text % values


def _environment() -> _Environment:
    environment = _Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters = {name: environment.filters[name] for name in _FILTERS} | {"format": _format}
    environment.globals = {"range": environment.globals["range"]}
    return environment


_JINJA = _environment()


def compile_template(source: str, where: str, known: frozenset[str]) -> Template:
    """Raises FaultError for wrong syntax, a field that is not `known` at this place, and a statement not allowed."""
    try:
        tree = _JINJA.parse(source)
        uses = _checked(tree, where, known)
        return Template(source, where, uses, _JINJA.from_string(tree).generate)
    except jinja2.TemplateSyntaxError as error:
        line = f" in line {error.lineno}" if "\n" in source.strip() else ""
        raise FaultError(
            f"the template is wrong{line}: {error.message}", "expected Jinja2, such as {{ key }}", where
        ) from error
    except RecursionError as error:
        raise FaultError("the template is nested too deeply", "expected a simpler one", where) from error


def compile_value(value: Any, where: str, known: frozenset[str]) -> Value:
    """A value of `extra_body`; a string that is one expression keeps the type of what it gives.

    Raises FaultError as `compile_template` does, and for a value that JSON does not have.
    """
    if isinstance(value, str):
        return _compile_text(value, where, known)
    if isinstance(value, Mapping):
        parts = {str(name): compile_value(part, f"{where}.{name}", known) for name, part in value.items()}
        return Value(_all(parts.values()), lambda values: {name: part.render(values) for name, part in parts.items()})
    if isinstance(value, list):
        items = [compile_value(part, f"{where}[{at}]", known) for at, part in enumerate(value)]
        return Value(_all(items), lambda values: [part.render(values) for part in items])
    _check_plain(value, where)
    return Value(frozenset(), lambda _: value)


def _compile_text(source: str, where: str, known: frozenset[str]) -> Value:
    if not any(mark in source for mark in ("{{", "{%", "{#")):
        return Value(frozenset(), lambda _: source)
    template = compile_template(source, where, known)
    expression = re.fullmatch(r"\{\{[-+]?(.*?)[-+]?\}\}", source, re.DOTALL)
    body = _JINJA.parse(source).body
    if not (expression and len(body) == 1 and isinstance(body[0], nodes.Output) and len(body[0].nodes) == 1):
        return Value(template.uses, template.render)
    evaluate = _JINJA.compile_expression(expression[1], undefined_to_none=False)

    def render(values: Mapping[str, Any]) -> Any:
        try:
            found = evaluate(**values)
            str(found)  # an undefined value says so only when it is used
        except _FAILURES as error:
            what, expected = _words(error)
            raise template.fault(what, expected) from error
        _check_plain(found, where)
        return found

    return Value(template.uses, render)


def _checked(tree: nodes.Template, where: str, known: frozenset[str]) -> frozenset[str]:
    """The fields that a template reads."""
    for statement in tree.find_all(_STATEMENTS):
        raise FaultError(f"the template has {type(statement).__name__}", "expected only if, for and set", where)
    if any(outer.recursive or list(outer.find_all(nodes.For)) for outer in tree.find_all(nodes.For)):
        raise FaultError("the template has a loop within a loop", "expected loops side by side", where)
    uses = frozenset(meta.find_undeclared_variables(tree)) - _JINJA.globals.keys()
    for name in sorted(uses - known):
        hint = _ELSEWHERE.get(name) or did_you_mean(name, sorted(known))
        raise FaultError(f"{{{{ {name} }}}} is no field that is known here", hint, where)
    return uses


def _all(parts: Any) -> frozenset[str]:
    return frozenset().union(*(part.uses for part in parts))


def _check_plain(value: Any, where: str) -> None:
    finite = not isinstance(value, float) or math.isfinite(value)
    if not (finite and isinstance(value, str | int | float | dict | list | None)):
        raise FaultError(
            f"{value!r} cannot be sent", "expected text, a number, true, false, null, a list or a mapping", where
        )


def _words(error: Exception) -> tuple[str, str]:
    what, _, expected = (getattr(error, "message", None) or str(error) or type(error).__name__).partition("; ")
    return what, expected
