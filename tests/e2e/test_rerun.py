"""What a second run of the same job sends: nothing, or just what changed."""

from __future__ import annotations

from tests.e2e.endpoint import Endpoint
from tests.e2e.stage import Stage, photo, task_lines


def sent_by(stage: Stage, endpoint: Endpoint) -> int:
    """How many requests the server sees in a run that ends well."""
    before = endpoint.bill.requests
    stage.run().ended(0)
    return endpoint.bill.requests - before


def test_a_second_run_sends_nothing_and_changes_no_byte(stage: Stage, endpoint: Endpoint) -> None:
    """A rerun of a finished job: 0 requests, every picture and time as it was, `run` and `end` lines only, exit 0."""
    assert sent_by(stage, endpoint) == 6
    pictures, lines = stage.pictures(), stage.ledger()
    assert len(pictures) == 6
    assert sent_by(stage, endpoint) == 0
    assert stage.pictures() == pictures
    assert stage.ledger()[: len(lines)] == lines
    assert [line["type"] for line in stage.ledger()[len(lines) :]] == ["run", "end"]


def test_a_changed_prompt_sends_its_own_tasks_and_changing_it_back_sends_none(done: Stage, endpoint: Endpoint) -> None:
    """A changed prompt buys its tasks only; changed back, the first pictures are in place again and none is lost."""
    first = done.pictures()
    done.job["prompts"][0]["text"] = "On pink."
    assert sent_by(done.write(), endpoint) == 3
    pink = done.pictures()
    changed = {name for name, picture in pink.items() if picture.sha256 != first[name].sha256}
    assert changed == {name for name in first if "/white/" in name}
    assert done.replaced() == {first[name].sha256 for name in changed}
    done.job["prompts"][0]["text"] = "On white."
    assert sent_by(done.write(), endpoint) == 0
    assert {name: picture.sha256 for name, picture in done.pictures().items()} == {
        name: picture.sha256 for name, picture in first.items()
    }
    assert done.replaced() >= {pink[name].sha256 for name in changed}
    assert sent_by(done, endpoint) == 0


def test_one_deleted_output_sends_one_task(done: Stage, endpoint: Endpoint) -> None:
    """Only the task whose picture is gone is bought again."""
    before = done.pictures()
    gone = sorted(before)[2]
    (done.out / gone).unlink()
    assert sent_by(done, endpoint) == 1
    after = done.pictures()
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {gone}


def test_a_renamed_input_sends_nothing_and_has_its_new_names(done: Stage, endpoint: Endpoint) -> None:
    """The pictures of a photo with a new name are copied to their new names."""
    before = done.pictures()
    (done.folder / "photos/001.png").rename(done.folder / "photos/renamed.png")
    assert sent_by(done, endpoint) == 0
    after = done.pictures()
    for name in ("white", "night"):
        old, new = f"photos/{name}/001-1.png", f"photos/{name}/renamed-1.png"
        assert after[new].sha256 == before[old].sha256
    assert sent_by(done, endpoint) == 0


def test_a_row_at_the_top_of_a_table_sends_nothing_for_a_known_photo(stage: Stage, endpoint: Endpoint) -> None:
    """Rows have no position: one inserted before the others takes a paid picture under its own name, or is new."""
    rows = ["sku,file", "b,000.png", "c,001.png"]
    stage.job["image_sets"] = [
        {"name": "bags", "table": "bags.csv", "key": "{{ row.sku }}", "images": "photos/{{ row.file }}"}
    ]
    table = stage.folder / "bags.csv"
    table.write_text("\n".join(rows))
    assert sent_by(stage.write(), endpoint) == 4
    before = stage.pictures()
    table.write_text("\n".join([rows[0], "a,001.png", *rows[1:]]))
    assert sent_by(stage, endpoint) == 0
    after = stage.pictures()
    assert after["bags/white/a-1.png"].sha256 == before["bags/white/c-1.png"].sha256
    assert {name: after[name] for name in before} == before
    table.write_text("\n".join([rows[0], "new,002.png", "a,001.png", *rows[1:]]))
    assert sent_by(stage, endpoint) == 2


def test_a_new_photo_sends_its_own_tasks(done: Stage, endpoint: Endpoint) -> None:
    """A night with one new photo and one changed photo buys those two, under every prompt."""
    (done.folder / "photos/003.png").write_bytes(photo(3))
    (done.folder / "photos/000.png").write_bytes(photo(400))
    lines = len(done.ledger())
    assert sent_by(done, endpoint) == 4
    tasks = {line["task"] for line in task_lines(done.ledger()[lines:])}
    assert tasks == {f"photos/{key}/{prompt}" for key in ("000", "003") for prompt in ("white", "night")}
