"""Templates of keys, paths, prompts and extra fields: Jinja2 in a sandbox, strict, compiled once.

1. What is undefined is an error, and so is null; a name that no place knows is found when the template is compiled.
2. A template reads its own fields and nothing else: no attribute that leads out of them, no import, no macro.
3. The same fields always give the same text: nothing random, no clock.
4. Rendering is bounded: loops do not nest, what is made is capped, and the text ends at LONGEST characters.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from msgspec import Struct

from pipeline.tasks import bounds
from pipeline.tasks.bounds import LONGEST
from pipeline.tasks.faults import FaultError, did_you_mean

OF_ITEM = frozenset({"key", "row", "file", "seed"})
"""Fields that differ from item to item."""
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


class Template(Struct, frozen=True):
    """A compiled template of the manifest's place `where`; `uses` are the fields that it reads."""

    source: str
    where: str
    uses: frozenset[str]
    _pieces: Callable[[Mapping[str, Any]], Iterator[str]]

    def render(self, values: Mapping[str, Any]) -> str:
        """Raises FaultError, `general` without a field of items, for what is undefined, unsafe, too long or wrong."""
        kept, size = [], 0
        bounds.begin()
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


class Value(Struct, frozen=True):
    """A value of `extra_body` whose strings, at any depth, are templates."""

    uses: frozenset[str]
    render: Callable[[Mapping[str, Any]], Any]


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Named values and mappings give their values only: a column called `items` is a column."""
        return self._found(obj, attribute, super().getattr)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return self._found(obj, argument, super().getitem)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return isinstance(obj, str | list | tuple | LoopContext) and super().is_safe_attribute(obj, attr, value)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 # Jinja's own form
        if not __self.is_safe_callable(__obj):
            raise SecurityError(f"{__obj!r} is not safely callable")
        called = bounds.check_call(__obj, (*args, *kwargs.values()))
        return super().call(__context, called, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        bounds.check_operator(operator, left, right)
        return bounds.spent(super().call_binop(context, operator, left, right))

    def _generate(self, source: nodes.Template, *words: Any, **named: Any) -> str:
        return super()._generate(bounds.Bounding().visit(source), *words, **named)

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
            return self.undefined(f"the {noun} {name!r} is null here; expected a value")
        return self.undefined(f"there is no {noun} {name!r}; {did_you_mean(str(name), map(str, values))}")


def _environment() -> _Environment:
    # Not optimized: expressions without fields would be worked out when they are compiled, where nothing is counted.
    environment = _Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, optimized=False, finalize=bounds.plain
    )
    environment.filters = bounds.bounded({name: environment.filters[name] for name in _FILTERS})
    environment.globals = {"range": environment.globals["range"]}
    return environment


_JINJA = _environment()


def compile_template(source: str, where: str, known: frozenset[str]) -> Template:
    """Raises FaultError for wrong syntax, a field that is not `known` at this place, and a statement not allowed."""
    with _compiling(source, where):
        tree = _JINJA.parse(source)
        uses = _checked(tree, where, known)
        return Template(source, where, uses, _JINJA.from_string(tree).generate)


@contextmanager
def _compiling(source: str, where: str) -> Iterator[None]:
    """Turns what Jinja2 and Python say of a template into a FaultError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of `(1)[::2]`, which fails when it is rendered
            yield
    except jinja2.TemplateSyntaxError as error:
        line = f" in line {error.lineno}" if "\n" in source.strip() else ""
        what = f"the template is wrong{line}: {(error.message or '').rstrip('.')}"
        raise FaultError(what, "expected Jinja2, such as {{ key }}", where) from error
    except RecursionError as error:
        raise FaultError("the template is nested too deeply", "expected a simpler one", where) from error
    except (SyntaxError, *_FAILURES) as error:
        what, expected = _words(error)
        raise FaultError(f"the template is wrong: {what}", expected, where) from error


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
    with _compiling(source, where):
        evaluate = _JINJA.compile_expression(expression[1], undefined_to_none=False)

    def render(values: Mapping[str, Any]) -> Any:
        bounds.begin()
        try:
            found = evaluate(**values)
            bounds.plain(found)
        except _FAILURES as error:
            what, expected = _words(error)
            raise template.fault(what, expected) from error
        _check_plain(found, where)
        return found

    return Value(template.uses, render)


def _checked(tree: nodes.Template, where: str, known: frozenset[str]) -> frozenset[str]:
    """The fields that a template reads."""
    for statement in tree.find_all(_STATEMENTS):
        word = type(statement).__name__.lower()
        raise FaultError(f"the template has the statement {word}", "expected only if, for and set", where)
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
