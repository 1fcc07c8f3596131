# ruff: noqa: E501 - an expected message is one line
"""What may not be read or written: also root loses the right to pass by a file's mode here."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bad_input.conftest import BenchOf, Refused
from tests.bad_input.row import Row, job

CAPABILITIES = 0x20080522
"""Version 3 of Linux' capability sets: two words of 32 bits (https://man7.org/linux/man-pages/man2/capset.2.html)."""
PASSES_MODES = 0b110
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


class Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@pytest.fixture
def heeds_modes() -> Iterator[None]:
    """Files' modes bind this thread and those that it starts, whoever runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    assert sys.platform == "linux"
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = Header(CAPABILITIES, 0), (Sets * 2)()
    assert libc.capget(ctypes.byref(header), sets) == 0
    had = sets[0].effective
    sets[0].effective = had & ~PASSES_MODES
    assert libc.capset(ctypes.byref(header), sets) == 0
    try:
        yield
    finally:
        sets[0].effective = had
        assert libc.capset(ctypes.byref(header), sets) == 0


def closed(content: str = "") -> Callable[[Path], None]:
    """A file that nobody may read."""

    def make(path: Path) -> None:
        path.write_text(content)
        path.chmod(0)

    return make


def closed_folder(path: Path) -> None:
    path.mkdir()
    path.chmod(0)


TABLE = "[{name: bags, table: bags.csv, key: '{{ row.sku }}', images: 'in/{{ row.file }}'}]"
ROWS = [
    Row("a manifest", ("job.yaml: cannot be read: Permission denied; expected a readable file",), {"job.yaml": closed(job())}),
    Row("a prompt's file", ("job.yaml:5:25: prompts[0].text_file: p.txt cannot be read: Permission denied; expected a readable file",), {"job.yaml": job(prompts="[{name: white, text_file: p.txt}]"), "p.txt": closed("x")}),
    Row("a table", ("job.yaml:4:27: image_sets[0].table: cannot read the table {folder}/bags.csv: Permission denied; expected a readable file",), {"job.yaml": job(image_sets=TABLE), "bags.csv": closed("sku,file\n1,0.png\n")}),
    Row("a set's folder", ("job.yaml:4:28: image_sets[0].images: cannot list the folder {folder}/photos: Permission denied; expected an existing, readable folder",), {"job.yaml": job(image_sets='[{name: shoes, images: "photos/*.png"}]'), "photos": closed_folder}),
    Row("a folder in a set's folder", ("job.yaml:4:28: image_sets[0].images: cannot list the folder {folder}/in/more: Permission denied; expected an existing, readable folder",), {"job.yaml": job(image_sets='[{name: shoes, images: "in/**/*.png"}]'), "in/more": closed_folder}),
    Row("a manifest's folder", ("jobs/job.yaml: cannot be read: Permission denied; expected a readable file",), {"jobs": closed_folder}, argv=("jobs/job.yaml",)),
    Row("a key file", ("endpoint.api_key_file: cannot read {folder}/key: Permission denied; expected a file that holds the key",), {"job.yaml": job(endpoint="{api_key_file: key}"), "key": closed("sk-abc")}, verbs=("run",)),
    Row("certificates", ("job.yaml:7:12: endpoint.ca_bundle: cannot use {folder}/ca.pem: Permission denied; expected a PEM file with certificates",), {"job.yaml": job(endpoint="{ca_bundle: ca.pem}"), "ca.pem": closed()}, verbs=("validate", "run")),
    Row("init in a folder that is closed", ("jobs/job.yaml cannot be written: Permission denied; name another place",), {"jobs": closed_folder}, argv=("jobs/job.yaml",), verbs=("init",)),
]  # fmt: skip


@pytest.mark.usefixtures("heeds_modes")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_may_not_be_read_is_refused(refused: Refused, row: Row) -> None:
    """One line names the file and says that it may not be read; exit 2, nothing sent."""
    refused(row)


@pytest.mark.usefixtures("heeds_modes")
def test_an_unreadable_image_is_named_and_costs_the_others_nothing(bench: BenchOf, folder: Path) -> None:
    """As any other image that cannot be used."""
    closed("x")(folder / "in/bad.png")
    job = bench()
    line = "cannot be read: Permission denied; expected a readable image file"
    job.refused(f"in/bad.png: shoes/bad/white: {line}")
    code, lines, connections = job.lines("run", "job.yaml")
    assert (code, lines[0], connections) == (3, f"shoes/bad/white: unreadable: {folder}/in/bad.png {line}", 2)


@pytest.mark.usefixtures("heeds_modes")
def test_an_output_folder_that_may_not_be_made_is_a_fault_of_storage(bench: BenchOf, folder: Path) -> None:
    """Exit 7, the path, and nothing is sent."""
    (folder / "locked").mkdir(mode=0o500)
    code, lines, connections = bench(output="{folder: locked/out}").lines("run", "job.yaml")
    line = f"cannot open the output folder {folder}/locked/out: Permission denied; expected a folder that this user may write to"
    assert (code, lines, connections) == (7, [line], 0)
