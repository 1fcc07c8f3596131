"""What a user may type or read is documented: each verb, option, manifest key, exit code, ledger field and JSON key."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, cast, get_args

import click
import msgspec
import pytest
import yaml
from click.testing import CliRunner
from msgspec.structs import fields, replace
from PIL import Image
from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

import pipeline
from pipeline.cli import VERBS, cli
from pipeline.cli.usage import GROUPS
from pipeline.endpoint.key import Keys
from pipeline.ledger.inspection import Damage
from pipeline.ledger.reconcile import Account, Billed, Finding, reconcile
from pipeline.ledger.records import End, Input, Line, Output, Reopened, Reused, Run, Sent, Settled
from pipeline.ledger.usage import GROUPS as USAGE_GROUPS
from pipeline.ledger.usage import Cost, usage_of
from pipeline.manifest.load import load_job
from pipeline.manifest.models import Manifest
from pipeline.outcome import Outcome
from pipeline.run.exits import RANK, Exit
from pipeline.run.flags import Flags
from pipeline.run.metrics import Metrics
from pipeline.run.plan import plan
from pipeline.run.reconcile import ALIASES
from pipeline.run.running import Running
from pipeline.run.session import run_line
from pipeline.run.status import status
from pipeline.run.summary import Failure, as_json, empty_summary
from pipeline.run.validate import Validation
from pipeline.run.verify import Fault, Verification, _counts
from pipeline.run.verify_ledger import LedgerReport
from pipeline.run.verify_output import Kind
from pipeline.sandbox.faults import KEYS
from pipeline.tasks.compiled import _FILE, _TASK
from pipeline.tasks.templates import _FILTERS
from tests.pages import SMALL, code, fenced, read, rows, section

README, COMMANDS, MANIFEST, LEDGER = map(read, ("README.md", "docs/commands.md", "docs/manifest.md", "docs/ledger.md"))
MONITORING = read("docs/monitoring.md")
RECORDS: dict[str, type[msgspec.Struct]] = {
    "run": Run,
    "sent": Sent,
    "settled": Settled,
    "reused": Reused,
    "reopened": Reopened,
    "end": End,
    "outputs": Output,
    "inputs": Input,
}


def verb(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


def models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation) or ([] if not isinstance(annotation, UnionType) else annotation.__args__):
        yield from models_of(part)


@dataclass(frozen=True)
class Key:
    """A manifest key: the section that documents it, its row there, and its field."""

    heading: str
    row: str
    field: FieldInfo

    def __str__(self) -> str:
        return f"{self.heading}: {self.row}"


def manifest_keys() -> Iterator[Key]:
    """Each key of the schema once; a model that several keys share is documented where it comes first."""
    seen: set[type[BaseModel]] = set()

    def walk(model: type[BaseModel], heading: str, prefix: str) -> Iterator[Key]:
        seen.add(model)
        for name, field in model.model_fields.items():
            yield Key(heading, prefix + name, field)
            for inner in models_of(field.annotation):
                if inner not in seen:
                    top = model is Manifest
                    yield from walk(inner, f"`{name}`" if top else heading, "" if top else f"{prefix}{name}.")

    yield from walk(Manifest, "The whole file", "")


def json_keys(value: Any) -> set[str]:
    """Every key of a JSON value but those of a request's own fields and of a group's values."""
    if isinstance(value, Mapping):
        inner = [json_keys(entry) for key, entry in value.items() if key != "fields"]
        return set(value).union(*inner)
    if isinstance(value, list | tuple):
        return set().union(*map(json_keys, value))
    return set()


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A manifest with one image and one prompt."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    path = tmp_path / "job.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_a_section_with_its_options(name: str) -> None:
    """Each option has a row there, and no row is of an option that does not exist."""
    options = {option for one in verb(name).params if isinstance(one, click.Option) for option in one.opts}
    table = [cell for cell in rows(section(COMMANDS, f"`retouch {name}`")) if cell.startswith("-")]
    assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(table))) == options


def test_options_of_the_command_itself_are_documented() -> None:
    """--version, --help and -h are on the commands' page."""
    names = {option for one in cli.params for option in one.opts} | set(cli.context_settings["help_option_names"])
    assert names <= {word for one in code(COMMANDS) for word in one.split()}


def test_every_metric_is_documented() -> None:
    """Each metric has a row with its type, and no row is of a metric that does not exist."""
    ending = {"counter": "_total", "info": "_info"}
    types = {one.name + ending.get(one.type, ""): one.type for one in Metrics("j").registry.collect()}
    table = {name: cells for name, cells in rows(section(MONITORING, "Metrics")).items() if name.startswith("retouch_")}
    assert {name: cells[0] for name, cells in table.items()} == types


def test_every_group_of_usage_is_documented() -> None:
    """What --by takes stands in the section of `usage`."""
    assert set(GROUPS) <= code(section(COMMANDS, "`retouch usage`"))


def test_every_fault_of_the_sandbox_is_documented() -> None:
    """Each key of a SPEC stands in the section of `sandbox`."""
    assert set(KEYS) <= code(section(COMMANDS, "`retouch sandbox`"))


@pytest.mark.parametrize("key", list(manifest_keys()), ids=str)
def test_every_manifest_key_is_documented_with_its_default(key: Key) -> None:
    """Each key has a row in its section, and the default there is the one that the code has."""
    found = rows(section(MANIFEST, key.heading))
    assert key.row in found, f"docs/manifest.md has no row for {key.row} in the section {key.heading}"
    _, default, meaning = found[key.row]
    assert len(meaning) > 10
    assert default == "required" or not key.field.is_required()
    if default == "not set":
        assert key.field.default is None
    elif default == "":
        assert list(models_of(key.field.annotation))
    elif default != "required":
        assert read_default(key.field, default.strip("`")) == key.field.get_default(call_default_factory=True)


def read_default(field: FieldInfo, written: str) -> Any:
    """What a manifest with this text at the field's key would have there."""
    alone = create_model("Alone", value=cast("Any", (field.annotation, field)))
    value = written if "{{" in written else yaml.safe_load(written)
    return alone.model_validate({"value": value}).model_dump()["value"]


def test_no_manifest_key_is_documented_that_does_not_exist() -> None:
    """Each row of a section is a key of the schema."""
    known: dict[str, set[str]] = {}
    for key in manifest_keys():
        known.setdefault(key.heading, set()).add(key.row)
    assert {heading: set(rows(section(MANIFEST, heading))) for heading in known} == known


def test_every_field_and_filter_of_templates_is_documented() -> None:
    """What a template may read and call stands in the manifest's page."""
    text = section(MANIFEST, "Templates")
    assert _FILE | _TASK | {"row", "matrix", "index"} <= set(rows(text))
    assert _FILTERS | {"format"} <= code(text)


def test_every_exit_code_is_documented_with_its_rank() -> None:
    """Each code is in both tables; its rank on the commands' page is the one that decides."""
    table = {key: cells for key, cells in rows(section(COMMANDS, "Exit codes")).items() if key.isdecimal()}
    assert {int(one): int(cells[1]) for one, cells in table.items()} == {int(e): RANK.index(e) + 1 for e in Exit}
    told = {int(one) for key in rows(section(README, "Exit codes")) for one in re.findall(r"\d+", key)}
    assert told == set(Exit)


@pytest.mark.parametrize("heading", RECORDS)
def test_every_ledger_field_is_documented(heading: str) -> None:
    """Each field of each line's type, as it is written to disk, has a row in its section, and no other has one."""
    record = RECORDS[heading]
    own = set(record.__struct_encode_fields__)
    if issubclass(record, Line):
        own -= set(Line.__struct_encode_fields__)
    assert set(rows(section(LEDGER, f"`{heading}`"))) == own


def test_what_every_ledger_line_has_is_documented() -> None:
    """The common fields, and the outcomes."""
    assert {*Line.__struct_encode_fields__, "type", "crc"} == set(rows(section(LEDGER, "Every line")))
    assert set(Outcome) == set(rows(section(LEDGER, "Outcomes")))


def test_the_settings_of_a_run_line_are_documented(job: Path) -> None:
    """Each key of `settings` is named."""
    assert set(run_line(load_job(job, {}), Flags(), Keys((None,))).settings) <= code(section(LEDGER, "`run`"))


def test_every_key_of_run_json_is_documented() -> None:
    """The object of a run, and that of a run that could not begin."""
    summary = replace(empty_summary(None, 2, "wrong"), failures=(Failure("t", "c", "m"),))
    assert json_keys(as_json(summary)) <= code(section(COMMANDS, "`run --json`"))


def test_every_key_of_plan_json_is_documented(job: Path) -> None:
    """A plan of something to send has them all."""
    found = json_keys(as_json(plan(load_job(job, {}))))
    assert "paths" in found
    assert found <= code(section(COMMANDS, "`plan --json`"))


def test_every_key_of_status_json_is_documented(job: Path) -> None:
    """A status with a failure, while a run goes on, has them all."""
    running = Running(1, 1, 1.0, 1.0, None, None, Cost(), None)
    found = replace(status(load_job(job, {})), failures=(Failure("t", "c", "m"),), now=running)
    assert json_keys(as_json(found)) <= code(section(COMMANDS, "`status --json`"))


def test_every_key_of_usage_json_is_documented() -> None:
    """A report with every group has them all."""
    line = Settled(task="t", fingerprint="f", attempt=1, outcome=Outcome.SUCCEEDED)
    found = usage_of([line], USAGE_GROUPS)
    assert json_keys(as_json(found)) <= code(section(COMMANDS, "`usage --json`"))


def test_every_key_and_column_of_reconcile_is_documented() -> None:
    """A comparison with one line has all keys; each finding and each name of a column stands in the section."""
    line = Settled(task="t", fingerprint="f", attempt=1, outcome=Outcome.SUCCEEDED, at="2026-11-01T00:00:00.000Z")
    found = json_keys(as_json(reconcile([line], [Billed("2026-11-01", "", Account())])))
    assert "unmetered" in found
    text = section(COMMANDS, "`retouch reconcile`")
    assert found - set(Finding) <= code(section(COMMANDS, "`reconcile --json`"))
    assert set(Finding) <= set(rows(text))
    assert {alias for aliases in ALIASES.values() for alias in aliases} <= code(text)


def test_every_key_of_verify_json_is_documented(tmp_path: Path) -> None:
    """A verification with a damaged line and a fault has them all."""
    report = LedgerReport("ledger.jsonl", 1, 2, (Damage(1, 0, 2),), 0)
    fault = Fault(Kind.CHANGED, "a.png", "t", "m", "b.png")
    found = Verification("job", 7, _counts(Counter(), tuple(Kind)), {}, 0, 0, 0.0, (report,), (fault,))
    assert json_keys(as_json(found)) <= code(section(COMMANDS, "`verify --json`"))
    assert set(Kind) <= set(rows(section(COMMANDS, "`retouch verify`")))


def test_the_small_json_objects_are_documented(tmp_path: Path) -> None:
    """Those of `validate`, `init` and `sandbox`."""
    assert {one.name for one in fields(Validation)} <= code(section(COMMANDS, "`retouch validate`"))
    said = CliRunner().invoke(cli, ["init", str(tmp_path / "job.yaml"), "--json"], standalone_mode=False).stdout
    assert all(f'"{key}"' in section(COMMANDS, "`retouch init`") for key in msgspec.json.decode(said))
    assert '"url"' in section(COMMANDS, "`retouch sandbox`")


def test_every_public_name_of_the_package_is_documented() -> None:
    """All that `import pipeline` offers, and every keyword of a run, is in the README."""
    text = " ".join(fenced(README, "python")) + section(README, "Python")
    names = {*pipeline.__all__, *(one.name for one in fields(Flags))} - {"__version__", "argv"}
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()
