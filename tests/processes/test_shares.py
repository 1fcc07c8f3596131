"""Sharing out a job: every item is one process's, equal images are the same one's, and no limit is passed together."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.manifest.job import Job
from pipeline.manifest.load import load_job
from pipeline.processes.shares import items_of, most_processes, part_of_job
from pipeline.tasks.expand import Prepared, prepare
from pipeline.tasks.select import EVERYTHING, Selection
from tests.e2e.stage import photo


def job(folder: Path, **changes: Any) -> Job:
    """A job over `photos/`."""
    document = {
        "version": 1,
        "name": "shared",
        "request": {"model": "gpt-image-2"},
        "image_sets": [{"name": "photos", "images": "photos/*.png", "allow_empty": True}],
        "prompts": [{"name": "white", "text": "On white."}, {"name": "night", "text": "At night."}],
        "output": {"folder": "out"},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document | changes))
    return load_job(path, {})


def photos(folder: Path, *numbers: int) -> None:
    """Photos 000.png, 001.png …, each the photo of its number."""
    (folder / "photos").mkdir(exist_ok=True)
    for at, number in enumerate(numbers):
        (folder / f"photos/{at:03}.png").write_bytes(photo(number))


def shared(prepared: Prepared, count: int, selection: Selection = EVERYTHING) -> list[list[str]]:
    """The ids of the tasks that each process has."""
    return [
        [task.id for task in prepared.tasks(Selection(only=selection.only, items=items))]
        for items in items_of(prepared, selection, count)
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("order", ["items", "prompts"])
def test_every_task_is_one_processs_and_comes_in_order(tmp_path: Path, count: int, order: str) -> None:
    """Together they have the job; each has its tasks in the job's own order; the counts agree."""
    photos(tmp_path, *range(40))
    prepared = prepare(job(tmp_path, order=order), 0)
    every = [task.id for task in prepared.tasks()]
    shares = shared(prepared, count)
    assert sorted(chain(*shares)) == sorted(every)
    for own, items in zip(shares, items_of(prepared, Selection(), count), strict=True):
        assert own == [task for task in every if task in set(own)]
        assert prepared.count(Selection(items=items)) == len(own)
        assert len(own) >= 80 // count // 3


def test_the_same_picture_is_the_same_processs_whatever_its_name(tmp_path: Path) -> None:
    """Ten photos, each four times under other names."""
    photos(tmp_path, *(number % 10 for number in range(40)))
    prepared = prepare(job(tmp_path), 0)
    for own in shared(prepared, 3):
        keys = {int(task.split("/")[1]) for task in own}
        assert keys == {at for at in range(40) if at % 10 in {key % 10 for key in keys}}


def test_pictures_that_differ_only_at_their_beginning_are_told_apart(tmp_path: Path) -> None:
    """As those of one camera, of the same length, with another time in their first bytes."""
    (tmp_path / "photos").mkdir()
    for number in range(40):
        (tmp_path / f"photos/{number:03}.png").write_bytes(b"\x89PNG\r\n\x1a\n%06d" % number + bytes(5000))
    shares = shared(prepare(job(tmp_path), 0), 2)
    assert min(map(len, shares)) >= 20


def test_only_and_sample_are_of_the_whole_job(tmp_path: Path) -> None:
    """Of the items that `--sample` takes, and the tasks that `--only` takes, each is one process's."""
    photos(tmp_path, *range(20))
    prepared = prepare(job(tmp_path), 0)
    selection = Selection(only="*/white", sample=7)
    wanted = [task.id for task in prepared.tasks(selection)]
    assert len(wanted) == 7
    assert sorted(chain(*shared(prepared, 3, selection))) == sorted(wanted)


def test_rows_go_by_their_first_image(tmp_path: Path) -> None:
    """Rows of a table that name the same picture are one process's; one without a picture is somebody's too."""
    photos(tmp_path, *range(12))
    rows = "".join(f"r{at},photos/{at % 12:03}.png\n" for at in range(24)) + "gone,photos/none*.png\n"
    (tmp_path / "rows.csv").write_text(f"id,file\n{rows}")
    sets = [{"name": "rows", "table": "rows.csv", "key": "{{ row.id }}", "images": "{{ row.file }}"}]
    shares = shared(prepare(job(tmp_path, image_sets=sets), 0), 2)
    assert sorted(map(len, shares)) != [0, 50]
    assert sum(map(len, shares)) == 50
    for own in shares:
        keys = {task.split("/")[1] for task in own}
        assert all((f"r{at}" in keys) == (f"r{at + 12}" in keys) for at in range(12))


def test_what_is_no_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A pipe is not opened, and a folder, a loop and a file that may not be read are items like others."""
    photos(tmp_path, 1)
    os.mkfifo(tmp_path / "photos/100.png")
    (tmp_path / "photos/101.png").mkdir()
    (tmp_path / "photos/102.png").symlink_to("102.png")
    prepared = prepare(job(tmp_path), 0)
    assert sum(map(len, shared(prepared, 2))) == prepared.total


@given(
    count=st.integers(1, 64),
    concurrency=st.integers(1, 300),
    rate=st.none() | st.integers(1, 10_000),
    own=st.none() | st.integers(1, 300),
)
def test_together_they_have_what_the_job_may_have(
    tmp_path_factory: pytest.TempPathFactory, count: int, concurrency: int, rate: int | None, own: int | None
) -> None:
    """Parts add up to the whole, of the job's limits and of each endpoint's, and none is nothing."""
    folder = tmp_path_factory.mktemp("job")
    limits = {"concurrency": concurrency, "requests_per_minute": rate}
    one = job(folder, limits={name: value for name, value in limits.items() if value})
    far = {"name": "far", "base_url": "https://far.example/v1", "api_key_env": "FAR"}
    limits = {"concurrency": own, "images_per_minute": rate}
    ends = [far | {"limits": {name: value for name, value in limits.items() if value}}]
    several = job(folder, limits={"concurrency": concurrency}, endpoints=ends)
    assert most_processes(one) == concurrency
    assert most_processes(several) == min(concurrency, own or concurrency)
    for whole in (one, several):
        most = min(count, most_processes(whole))
        parts = [part_of_job(whole, number, most).manifest for number in range(1, most + 1)]
        assert sum(part.limits.concurrency for part in parts) == concurrency
        assert min(part.limits.concurrency for part in parts) >= 1
        rates = [part.limits.requests_per_minute or 0 for part in parts]
        assert sum(rates) == pytest.approx((rate or 0) * (whole is one))
        own_limits = [part.endpoints[0].limits for part in parts if part.endpoints]
        assert sum(each.concurrency or 0 for each in own_limits) == (own or 0) * (whole is several)
        assert min((each.concurrency for each in own_limits if each.concurrency), default=1) >= 1
        assert sum(each.images_per_minute or 0 for each in own_limits) == pytest.approx(
            (rate or 0) * (whole is several)
        )
