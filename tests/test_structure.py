"""The shape of the code: who may import whom, how long a file may be, where exit codes are known as numbers."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import pipeline

ROOT = Path(pipeline.__file__).parent
MOST_LINES = 300

LEAVES = frozenset({"errors", "outcome", "version", "durable", "mime", "decode", "awake", "threads", "money", "held"})
"""Modules that know nothing of the others; they may use each other."""
MIDDLE = frozenset({"tasks", "control", "endpoint", "outputs", "ledger"})
"""Packages that do not know each other; `run` puts them together."""

ALLOWED: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(LEAVES, LEAVES),
    "manifest": LEAVES,
    **dict.fromkeys(MIDDLE, LEAVES | {"manifest"}),
    "sandbox": LEAVES,
    "run": LEAVES | MIDDLE | {"manifest"},
    "processes": LEAVES | MIDDLE | {"manifest", "run"},
    "cli": LEAVES | MIDDLE | {"manifest", "run", "processes"},
    # The package itself offers the Python API of `run`, and its errors.
    "": LEAVES | {"manifest", "run"},
}
"""What each part of the package may import besides itself."""

EXCEPTIONS = frozenset({("pipeline.run.embedded", "sandbox")})
"""`retouch run --sandbox` serves the endpoint inside the run: one module knows both sides, for nothing else can."""

HEAVY = ("aiohttp", "anyio", "jinja2", "PIL", "pydantic", "tenacity", "tqdm", "uvloop", "yaml", "msgspec", "sqlite3")
"""Imported only by a verb that needs them."""


def module_name(path: Path) -> str:
    """`pipeline.run.engine` for `…/pipeline/run/engine.py`, and a package's name for its `__init__.py`."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path.read_text("utf-8") for path in sorted(ROOT.rglob("*.py"))}


def part_of(module: str) -> str:
    """The first name below `pipeline`, empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def imports_of(source: str) -> Iterator[str]:
    """Every module of the package that the source names in an import, wherever that stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == "pipeline")
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise AssertionError(f"line {node.lineno}: a relative import")
            if (node.module or "").split(".")[0] == "pipeline":
                # `from package import x` may name a module of the package, or something in its __init__.
                yield from (f"{node.module}.{name.name}" for name in node.names)


def wrong_imports(sources: Mapping[str, str]) -> list[str]:
    """The imports that point in a direction that is not allowed."""
    return [
        f"{module} imports {imported}"
        for module, source in sources.items()
        for imported in imports_of(source)
        if (part := part_of(imported)) != part_of(module)
        and part not in ALLOWED[part_of(module)]
        and (module, part) not in EXCEPTIONS
    ]


def ring(sources: Mapping[str, str]) -> list[str]:
    """Modules that import each other in a circle, empty where none do; imports for types alone count too."""
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        found = {_existing(name, sources) for name in imports_of(source)}
        # A package's __init__ offers what its own modules hold, by name and late: no ring can come of that.
        graph[module] = set() if module == "pipeline" else found - {module, ""}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _existing(name: str, sources: Mapping[str, str]) -> str:
    return name if name in sources else name.rpartition(".")[0] if name.rpartition(".")[0] in sources else ""


def numeric_exits(source: str) -> list[int]:
    """Lines that end the process with a number of their own."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("sys.exit", "os._exit", "exit", "SystemExit")
        and any(isinstance(argument, ast.Constant) for argument in node.args)
    ]


def test_every_import_points_down() -> None:
    """cli → run → {tasks, control, endpoint, outputs, ledger} → manifest → leaves; the sandbox knows leaves alone."""
    assert wrong_imports(SOURCES) == []


def test_no_ring_of_imports() -> None:
    """No two modules import each other, not even through others, inside functions or for types."""
    assert ring(SOURCES) == []


def test_every_part_has_its_rule() -> None:
    """A new package cannot slip past the check: it has to be given a place."""
    assert {part_of(module) for module in SOURCES} == ALLOWED.keys()


@pytest.mark.parametrize("module", SOURCES)
def test_no_file_is_too_long(module: str) -> None:
    """A file of more than 300 lines usually holds two ideas."""
    assert SOURCES[module].count("\n") <= MOST_LINES


def test_only_the_command_line_ends_the_process_with_a_number() -> None:
    """Exit codes are numbers in `run.exits` alone; elsewhere they have names."""
    numbered = {module: lines for module, source in SOURCES.items() if (lines := numeric_exits(source))}
    assert numbered == {}
    exits = {module for module in SOURCES if module != "pipeline.run.exits" and "IntEnum" in SOURCES[module]}
    assert exits == set()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pipeline.ledger.x", "from pipeline.outputs.folder import OutputFolder"),
        ("pipeline.tasks.x", "import pipeline.endpoint.key"),
        ("pipeline.manifest.x", "def late() -> None:\n    from pipeline.tasks.task import Task"),
        ("pipeline.run.x", "if TYPE_CHECKING:\n    from pipeline.cli.run import command"),
        ("pipeline.run.x", "from pipeline.sandbox.server import serve"),
        ("pipeline.sandbox.x", "from pipeline.manifest.job import Job"),
        ("pipeline.errors", "from pipeline import manifest"),
    ],
)
def test_a_planted_violation_is_caught(module: str, source: str) -> None:
    """The check sees imports at the top, inside functions and for types, in either form."""
    assert len(wrong_imports({module: source})) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pipeline.run.embedded", "from pipeline.sandbox.server import serve"),
        ("pipeline.run.x", "from pipeline.ledger.state import State\nfrom pipeline.mime import Mime"),
        ("pipeline.sandbox.x", "from pipeline.decode import decode"),
        ("pipeline.cli.x", "from pipeline.run.exits import Exit\nimport pipelines.other"),
    ],
)
def test_an_allowed_import_is_let_through(module: str, source: str) -> None:
    """The check refuses nothing that the design allows."""
    assert wrong_imports({module: source}) == []


def test_a_planted_ring_is_caught() -> None:
    """Three modules in a circle are found, by way of a function's import too."""
    planted = {
        "pipeline.run.a": "from pipeline.run.b import x",
        "pipeline.run.b": "from pipeline.run import c",
        "pipeline.run.c": "def f() -> None:\n    import pipeline.run.a",
    }
    assert set(ring(planted)) == {"pipeline.run.a", "pipeline.run.b", "pipeline.run.c"}
    assert ring({**planted, "pipeline.run.c": ""}) == []


def test_a_planted_number_is_caught() -> None:
    """Ending the process with a number of one's own is seen; with a name it is not."""
    assert numeric_exits("import sys\nsys.exit(3)\nos._exit(int(reason))\nraise SystemExit(2)") == [2, 4]


def test_a_relative_import_is_refused() -> None:
    """A relative import would hide its direction."""
    with pytest.raises(AssertionError, match="relative"):
        list(imports_of("from .state import State"))


@pytest.mark.parametrize("module", ["pipeline", "pipeline.cli", "pipeline.cli.run", "pipeline.cli.schema"])
def test_start_up_imports_nothing_heavy(module: str) -> None:
    """`retouch --help` and shell completion must answer at once: what a verb needs is imported by that verb."""
    code = f"import sys, {module}; print(*(set(sys.modules) & set({HEAVY!r})))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
