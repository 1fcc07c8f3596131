"""Calls the command on bad input, beside an endpoint that must not hear of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from tests.bad_input.endpoint import Endpoint, counting
from tests.bad_input.row import Row, job
from tests.cli.conftest import Retouch, call, environ, retouch  # noqa: F401 - fixtures are found by their names here

KEY = "sk-of-the-tests-0123456789"

Refused = Callable[[Row], None]


@dataclass(frozen=True, slots=True)
class Bench:
    """Runs the command against the endpoint that counts."""

    call: Retouch
    folder: Path
    endpoint: Endpoint
    text: str = field(default_factory=job)

    def lines(self, *argv: str) -> tuple[int, list[str], int]:
        """The exit code, stderr without the prefix of errors, and how many connected."""
        before = self.endpoint.connections
        said = self.call(*argv)
        return (
            said.code,
            [line.removeprefix("error: ") for line in said.err.splitlines()],
            self.endpoint.connections - before,
        )

    def refused(self, *expected: str) -> None:
        """`validate`, `run --strict` and `on_invalid: stop` say the same, exit 2, and send nothing."""
        assert self.lines("validate", "job.yaml") == (2, list(expected), 0)
        assert self.lines("run", "job.yaml", "--strict") == (2, list(expected), 0)
        (self.folder / "job.yaml").write_text(self.text + "on_invalid: stop\n")
        assert self.lines("run", "job.yaml") == (2, list(expected), 0)
        (self.folder / "job.yaml").write_text(self.text)


BenchOf = Callable[..., Bench]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with counting() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good job of two small photos."""
    (tmp_path / "in").mkdir()
    for number in range(2):
        Image.new("RGB", (16, 12), (number, 2, 3)).save(tmp_path / f"in/{number}.png")
    (tmp_path / "job.yaml").write_text(job())
    return tmp_path


@pytest.fixture
def refused(
    call: Retouch,  # noqa: F811 - the fixture itself
    folder: Path,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> Refused:
    """Holds a row against what the command says, and sees that nothing was sent and nothing made."""

    def check(row: Row) -> None:
        row.write(folder)
        given = {"OPENAI_BASE_URL": endpoint.url, "OPENAI_API_KEY": KEY, **row.env}
        for name, value in given.items():
            monkeypatch.setenv(name, value.replace("{folder}", str(folder)))
        before, had = endpoint.connections, set(folder.rglob("*"))
        for verb in row.verbs:
            said = call(verb, *(word.replace("{folder}", str(folder)) for word in row.argv))
            assert (said.err, said.out, said.code) == (row.expected(folder), "", row.code), verb
        assert endpoint.connections == before
        assert set(folder.rglob("*")) == had

    return check


@pytest.fixture
def bench(
    call: Retouch,  # noqa: F811 - the fixture itself
    folder: Path,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> BenchOf:
    """A bench for a job of these sections."""
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def make(**sections: str) -> Bench:
        found = Bench(call, folder, endpoint, job(**sections))
        (folder / "job.yaml").write_text(found.text)
        return found

    return make
