"""What the documentation shows is true: manifests load, commands parse, links lead somewhere, named tests exist."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from pipeline.cli import cli
from pipeline.manifest.load import load_job
from pipeline.version import __version__
from tests.pages import PAGES, ROOT, SMALL, anchors, fenced, read, rows, section, unfenced

README, MANIFEST = map(read, ("README.md", "docs/manifest.md"))


def test_the_first_two_blocks_of_the_readme_are_one_line_each() -> None:
    """They set all up: the first installs and runs the catalogue in the sandbox, the second runs the tests."""
    first, second = fenced(README, "sh")[:2]
    assert first.count("\n") == second.count("\n") == 1
    assert "venv" in first
    assert "run jobs/catalog.yaml --sandbox" in first
    assert "pytest" in second


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """Files exist, and so do the headings that links name."""
    for link in re.findall(r"\]\(([^)\s]+)\)", unfenced(page.read_text("utf-8"))):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text("utf-8")), link


EXAMPLES = [text for page in (README, MANIFEST) for text in fenced(page, "yaml") if "version: 1" in text]
SNIPPETS = [text for text in fenced(MANIFEST, "yaml") if "version: 1" not in text]


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_manifest_shown_loads(text: str, tmp_path: Path) -> None:
    """Whole manifests are right as they stand."""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "final.txt").write_text("A painting of this.", encoding="utf-8")
    (tmp_path / "job.yaml").write_text(text, encoding="utf-8")
    assert load_job(tmp_path / "job.yaml", {}).manifest.prompts


@pytest.mark.parametrize("text", SNIPPETS)
def test_every_section_of_a_manifest_shown_loads(text: str, tmp_path: Path) -> None:
    """A section fits into the small manifest in place of its own."""
    whole = yaml.safe_load(SMALL) | yaml.safe_load(text)
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    assert load_job(tmp_path / "job.yaml", {}).manifest.name == "small"


def shown_commands() -> list[str]:
    """Every command line of the documentation that calls the tool, in blocks and in running text."""
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    lines = [line for block in fenced(text, "sh") for line in block.splitlines() if line.startswith("retouch ")]
    return sorted({*lines, *re.findall(r"`(retouch (?:validate|plan|run|status|usage|verify) [^`]+)`", text)})


@pytest.mark.parametrize("line", shown_commands())
def test_every_command_shown_can_be_typed(line: str) -> None:
    """The verb knows the options; nothing is run."""
    _, name, *arguments = shlex.split(line.partition(" > ")[0])
    # With the settings of the real one: a command remembers the help option that it was first asked for.
    parent = click.Context(cli, **cli.context_settings)
    command = cli.get_command(parent, name)
    assert command is not None
    command.make_context(name, arguments, parent)


def test_every_test_that_the_crash_table_names_exists() -> None:
    """A row does not lean on a test that is gone."""
    named = set(re.findall(r"`(test_\w+)`", read("docs/crash-table.md")))
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "tests").rglob("test_*.py")]
    found = {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert named - found == set()


def test_every_row_of_the_crash_table_names_a_test() -> None:
    """What is said to happen after a crash or a fault was seen to happen."""
    lines = [line for line in read("docs/crash-table.md").splitlines() if re.match(r"\| (?!crash |fault |rows )", line)]
    assert len(lines) > 30
    assert [line for line in lines if not re.search(r"`test_\w+`[^|]* \|$", line)] == []


def test_every_room_is_in_the_architecture() -> None:
    """Each package below pipeline/ has a row, and each file named there exists."""
    table = rows(section(read("docs/architecture.md"), "Rooms"))
    rooms = {f"pipeline/{path.parent.name}/" for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert rooms <= set(table)
    for room in rooms:
        for name in re.findall(r"`(\w+\.py)`", table[room][-1]):
            assert (ROOT / room / name).exists(), f"{room}{name}"


def test_the_version_is_in_the_changelog() -> None:
    """The newest section is of the version that the code has."""
    newest = re.search(r"^## (\S+)", read("CHANGELOG.md"), re.MULTILINE)
    assert newest
    assert newest[1] == __version__
