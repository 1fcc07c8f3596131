"""What users do between two runs, and what it costs them in requests."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import Any

import pytest

import pipeline
from tests.e2e.command import KEY
from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import Stage, photo

TABLE = {"name": "bags", "table": "bags.csv", "key": "{{ row.sku }}", "images": "photos/{{ row.file }}"}
LIGHT = {"dawn": "soft light", "dusk": "warm sun"}


@dataclass(frozen=True, slots=True)
class Desk:
    """A user with a job; runs happen in this process, which is quicker."""

    stage: Stage
    endpoint: Endpoint

    def run(self, **flags: Any) -> int:
        """Write the manifest as it is now, see what `plan` promises, run to exit 0, and count the requests."""
        job = pipeline.load(self.stage.write().manifest)
        promised = None if "redo" in flags else pipeline.plan(job, **flags)
        before = self.endpoint.bill.requests
        summary = pipeline.run(job, **flags)
        sent = self.endpoint.bill.requests - before
        assert summary.exit == 0, summary
        if promised is not None:
            tasks = promised.tasks
            assert (summary.tasks["total"], summary.tasks["skipped"]) == (tasks["total"], tasks["done"])
            assert summary.tasks["reused"] >= tasks["reused"]
            assert sent <= promised.requests
        return sent

    def stale(self) -> int:
        """Outputs that no task names any more."""
        return pipeline.plan(pipeline.load(self.stage.manifest)).stale

    def prompt(self, **fields: Any) -> dict[str, Any]:
        """The first prompt, the only one from now on, with these fields."""
        first: dict[str, Any] = self.stage.job["prompts"][0] | fields
        self.stage.job["prompts"] = [first]
        return first

    def contents(self) -> dict[str, str]:
        """The sha256 of every picture by its path."""
        return {name: picture.sha256 for name, picture in self.stage.pictures().items()}


@pytest.fixture
def desk(stage: Stage, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The job of three photos and two prompts, not run yet."""
    monkeypatch.setenv("E2E_KEY", KEY)
    monkeypatch.setenv("XDG_STATE_HOME", str(stage.home / "state"))
    return Desk(stage, endpoint)


def test_touched_inputs_cost_nothing(desk: Desk) -> None:
    """A backup tool gives every photo a new time: they are read again, and nothing is sent or written."""
    assert desk.run() == 6
    before = desk.stage.pictures()
    for path in (desk.stage.folder / "photos").iterdir():
        os.utime(path)
    assert desk.run() == 0
    assert desk.stage.pictures() == before


def test_swapped_photos_swap_their_pictures(desk: Desk) -> None:
    """Two photos exchange their names: their paid pictures do so too; and back again."""
    assert desk.run() == 6
    before = desk.contents()
    one, two, away = (desk.stage.folder / f"photos/{name}" for name in ("000.png", "001.png", "away"))
    for _ in range(2):
        one.rename(away), two.rename(one), away.rename(two)
        assert desk.run() == 0
        after = desk.contents()
        for prompt in ("white", "night"):
            pair = [f"photos/{prompt}/00{number}-1.png" for number in (0, 1)]
            before[pair[0]], before[pair[1]] = before[pair[1]], before[pair[0]]
        assert after == before
        assert desk.run() == 0


def test_equal_photos_are_bought_once(desk: Desk) -> None:
    """A copy of a photo under another name, also in a second set, gets its pictures for nothing."""
    (desk.stage.folder / "photos/copy.png").write_bytes(photo(1))
    desk.stage.job["image_sets"].append({"name": "more", "images": "photos/002.png"})
    assert desk.run() == 6
    contents = desk.contents()
    assert contents["photos/white/copy-1.png"] == contents["photos/white/001-1.png"]
    assert contents["more/night/002-1.png"] == contents["photos/night/002-1.png"]
    assert desk.run() == 0


def test_a_hand_made_correction_stays(desk: Desk) -> None:
    """An edited output counts as done with a warning; it makes way for a new prompt's picture, and is not lost then."""
    assert desk.run() == 6
    name = "photos/white/000-1.png"
    output = desk.stage.out / name
    output.write_bytes(output.read_bytes() + b"corrected")
    corrected = desk.contents()[name]
    told = desk.stage.run()
    assert told.ended(0)["tasks"]["skipped"] == 6
    assert "photos/000/white: an output was changed by someone; it stays" in told.stderr
    assert desk.contents()[name] == corrected
    desk.stage.job["prompts"][0]["text"] = "On pink."
    assert desk.run() == 3
    assert corrected in desk.stage.replaced()


def test_another_output_path_moves_nothing(desk: Desk) -> None:
    """Finished tasks stay where they are; what comes new has the new path; one that is lost is made there."""
    assert desk.run() == 6
    before = desk.stage.pictures()
    desk.stage.job["output"]["path"] = "{{ prompt }}/{{ key }}_{{ index }}"
    assert desk.run() == 0
    assert desk.stage.pictures() == before
    desk.stage.photos(4)
    (desk.stage.out / "photos/night/002-1.png").unlink()
    assert desk.run() == 3
    assert desk.contents().keys() - before.keys() == {"white/003_1.png", "night/003_1.png", "night/002_1.png"}
    assert desk.run() == 0


def test_a_prompt_comes_goes_and_comes_back(desk: Desk) -> None:
    """A new prompt buys its own tasks; removed, its pictures are stale and stay; back again, it is done already."""
    assert desk.run() == 6
    third = {"name": "third", "text": "In blue."}
    desk.stage.job["prompts"].append(third)
    assert desk.run() == 3
    desk.stage.job["prompts"].remove(third)
    assert desk.run() == 0
    assert desk.stale() == 3
    assert len(desk.contents()) == 9
    desk.stage.job["prompts"].append(third)
    assert desk.run() == 0
    assert desk.stale() == 0


def test_a_renamed_prompt_is_a_copy(desk: Desk) -> None:
    """The name is not sent: nothing is bought again."""
    assert desk.run() == 6
    desk.stage.job["prompts"][0]["name"] = "weiss"
    assert desk.run() == 0
    contents = desk.contents()
    assert contents["photos/weiss/000-1.png"] == contents["photos/white/000-1.png"]


def test_a_matrix_label_and_its_text(desk: Desk) -> None:
    """Another text buys that label's tasks; another label for the same text, or axes in another order, buy nothing."""
    axes: dict[str, Any] = {"light": dict(LIGHT), "bg": ["red", "dark blue"]}
    desk.prompt(text="{{ matrix.light }} on {{ matrix.bg }}", matrix=axes)
    assert desk.run() == 12
    axes["light"]["dawn"] = "harsh light"
    assert desk.run() == 6
    axes["light"] = {"morning": "harsh light", "dusk": LIGHT["dusk"]}
    assert desk.run() == 0
    desk.prompt(matrix=dict(reversed(axes.items())))
    assert desk.run() == 0
    assert desk.run(only="*/bg=red/*") == 0


def test_more_samples_and_fewer(desk: Desk) -> None:
    """`repeat: 3` after 2 buys the third of each photo; fewer buy nothing; `--only '*#2'` is the second."""
    desk.prompt(repeat=2)
    assert desk.run(only="*#2") == 3
    assert desk.run() == 3
    desk.prompt(repeat=3)
    assert desk.run() == 3
    desk.prompt(repeat=1)
    assert desk.run() == 0
    assert desk.stale() == 6


def test_a_field_set_to_its_default_is_another_request(desk: Desk) -> None:
    """`n: 1` is not an absent `n`; taken out again, the first pictures are back, for nothing."""
    assert desk.run() == 6
    first = desk.contents()
    desk.stage.job["request"]["n"] = 1
    assert desk.run() == 6
    assert desk.contents().keys() == first.keys()
    del desk.stage.job["request"]["n"]
    assert desk.run() == 0
    assert desk.contents() == first


def test_a_second_generation_follows_its_photo(desk: Desk) -> None:
    """Redone, renamed, changed and changed back, and deleted where a copy is left: the redone picture, for nothing."""
    desk.prompt()
    assert desk.run() == 3
    old = desk.contents()["photos/white/000-1.png"]
    assert desk.run(redo="photos/000/*") == 1
    redone = desk.contents()["photos/white/000-1.png"]
    assert redone != old
    photos = desk.stage.folder / "photos"
    (photos / "000.png").rename(photos / "new.png")
    assert desk.run() == 0
    assert desk.contents()["photos/white/new-1.png"] == redone
    desk.prompt(text="On pink.")
    assert desk.run() == 3
    desk.prompt(text="On white.")
    assert desk.run() == 0
    (desk.stage.out / "photos/white/new-1.png").unlink()
    assert desk.run() == 0
    assert desk.contents()["photos/white/new-1.png"] == redone
    assert old in desk.stage.replaced()


def test_kept_although_changed_or_missing(desk: Desk) -> None:
    """With `rerun: {changed: keep, missing: keep}` neither is bought; with the defaults both are, later."""
    desk.stage.job["rerun"] = {"changed": "keep", "missing": "keep"}
    assert desk.run() == 6
    (desk.stage.folder / "photos/000.png").write_bytes(photo(99))
    (desk.stage.out / "photos/night/001-1.png").unlink()
    assert desk.run() == 0
    del desk.stage.job["rerun"]
    assert desk.run() == 3


def test_a_table_saved_by_a_spreadsheet_costs_nothing(desk: Desk) -> None:
    """A byte order mark, semicolons, `sep=`, tabs, CRLF, another encoding: the same rows, the same requests."""
    rows = [["sku", "file", "colour"], ["1", "000.png", "grün, matt"], ["2", "001.png", "blue"]]
    desk.prompt(text="In {{ row.colour }}.")
    table = desk.stage.folder / "bags.csv"
    sent = []
    for before, cell, end, encoding in [
        ("", ";", "\n", "utf-8"),
        ("", ";", "\r\n", "utf-8-sig"),
        ("sep=;\r\n", ";", "\r\n", "utf-8-sig"),
        ("", "\t", "\n", "utf-8"),
        ("", ";", "\r\n", "cp1252"),
        ("", ";", "\n", "utf-16"),
    ]:
        table.write_bytes((before + "".join(cell.join(row) + end for row in rows)).encode(encoding))
        said = {"path": "bags.csv", "encoding": encoding} if encoding in ("cp1252", "utf-16") else "bags.csv"
        desk.stage.job["image_sets"] = [TABLE | {"table": said}]
        sent.append(desk.run())
    assert sent == [2, 0, 0, 0, 0, 0]


def test_a_job_that_moves_house_costs_nothing(desk: Desk, endpoint: Endpoint) -> None:
    """The whole folder under another name, seen through a symlink, at another router's address: 0 requests."""
    assert desk.run() == 6
    moved = desk.stage.folder.with_name("new hoüse {a}[b]")
    desk.stage.folder.rename(moved)
    desk.stage.folder.symlink_to(moved)
    assert desk.run() == 0
    desk.stage.folder = moved
    desk.stage.job["endpoint"]["base_url"] = endpoint.url.replace("127.0.0.1", "localhost")
    assert desk.run() == 0


def test_a_photo_that_is_still_uploading_waits(desk: Desk) -> None:
    """`min_age`: the young one is not sent and not forgotten; the run after sends it."""
    photos = desk.stage.folder / "photos"
    for path in photos.iterdir():
        os.utime(path, (time.time() - 3600,) * 2)
    (photos / "001.png").touch()
    desk.stage.job["image_sets"][0]["min_age"] = "10m"
    assert desk.run() == 4
    os.utime(photos / "001.png", (time.time() - 3600,) * 2)
    assert desk.run() == 2


def test_a_first_try_reads_no_more_than_it_sends(desk: Desk) -> None:
    """`--limit 1` of many photos does not look into the others, of which one is broken; nor with `--strict`."""
    desk.prompt()
    desk.stage.photos(600)
    (desk.stage.folder / "photos/599.png").write_bytes(b"")
    assert desk.run(limit=1) == 1
    assert desk.run(limit=1, strict=True) == 1
    assert pipeline.plan(pipeline.load(desk.stage.manifest)).tasks["invalid"] == 1


def test_prompt_by_prompt_under_a_cap(desk: Desk) -> None:
    """`order: prompts` with a cap of four images: the first prompt is whole before the second begins."""
    desk.stage.job |= {"order": "prompts", "budget": {"max_images": 4}, "limits": {"concurrency": 1}}
    summary = pipeline.run(pipeline.load(desk.stage.write().manifest))
    assert summary.exit == 5
    assert sorted(desk.contents()) == ["photos/night/000-1.png"] + [f"photos/white/00{at}-1.png" for at in range(3)]


def test_a_folder_belongs_to_its_job(desk: Desk) -> None:
    """A job of another name in the same folder is refused by `run`, `plan` and `status`; nothing is sent or written."""
    assert desk.run() == 6
    lines = desk.stage.ledger()
    desk.stage.job["name"] = "another"
    desk.stage.write()
    for verb in ("run", "plan", "status"):
        refused = desk.stage.retouch(verb)
        refused.ended(2)
        assert "belongs to the job 'e2e', and this one is 'another'; name another folder" in refused.stderr
    assert desk.stage.ledger() == lines


def test_the_same_job_twice_in_one_process(desk: Desk, endpoint: Endpoint) -> None:
    """Two `arun` at once: one is refused with a LockedError, the other does all; it is free again afterwards."""
    endpoint.show("latency=0.3s")
    job = pipeline.load(desk.stage.manifest)

    async def twice() -> list[Any]:
        return list(await asyncio.gather(pipeline.arun(job), pipeline.arun(job), return_exceptions=True))

    first, second = sorted(asyncio.run(twice()), key=lambda end: isinstance(end, Exception))
    assert isinstance(second, pipeline.LockedError)
    assert f"pid {os.getpid()} on" in str(second)
    assert first.tasks["done"] == 6
    assert desk.run() == 0


def test_what_one_run_does_another_shell_can_see(desk: Desk, endpoint: Endpoint) -> None:
    """While a run goes on, a second exits 8 and names it; `status`, `plan` and `usage` answer; none writes a line."""
    endpoint.show("hang=1")
    with desk.stage.running() as running:
        endpoint.seen(6)
        lines = desk.stage.ledger()
        refused = desk.stage.run()
        refused.ended(8)
        assert f"is held by pid {running.process.pid} on" in refused.stderr
        status = desk.stage.retouch("status").ended(0)
        assert (f"pid {running.process.pid} on" in status["running"], status["in_flight"]) == (True, 6)
        assert desk.stage.retouch("plan").ended(0)["tasks"]["total"] == 6
        desk.stage.retouch("usage").ended(0)
        assert desk.stage.ledger() == lines
        running.kill()
    assert endpoint.bill.requests == 6
