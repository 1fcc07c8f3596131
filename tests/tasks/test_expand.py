"""Job → tasks: what a manifest means, and that it always means the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
import unicodedata
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import JobError
from pipeline.tasks.expand import Prepared
from pipeline.tasks.identity import seed
from pipeline.tasks.select import Selection
from pipeline.tasks.task import Input, Task

Prepare = Callable[..., Prepared]
Make = Callable[..., None]

TABLE: dict[str, Any] = {"name": "bags", "table": "bags.csv", "key": "{{ row.sku }}", "images": "in/{{ row.file }}"}


def only(prepared: Prepared) -> Task:
    (task,) = prepared.tasks()
    return task


def ids(prepared: Prepared, **selection: Any) -> list[str]:
    found = [task.id for task in prepared.tasks(Selection(**selection))]
    assert prepared.count(Selection(**selection)) == len(found)
    return found


def test_a_task_says_all_that_a_request_needs(tmp_path: Path, files: Make, prepared: Prepare) -> None:
    """Id, fields, inputs in order and names of outputs come from the manifest alone."""
    files("in/red/a.b.jpg", "logo.png", "brand.png", "masks/red/a.b.png")
    task = only(
        prepared(
            request={"model": "m", "size": "auto", "n": 2, "extra_body": {"steps": 7, "tag": "{{ key }}"}},
            image_sets=[
                {"name": "set", "images": "in/**/*.jpg", "references": ["logo.png"], "mask": "masks/{{ key }}.png"}
            ],
            prompts=[
                {
                    "name": "white",
                    "text": "{{ file.stem }} of {{ file.folder }}, {{ matrix.light }}{{ variant }}",
                    "matrix": {"light": {"dawn": "soft light"}},
                    "references": ["brand.png"],
                    "request": {"size": "1024x1024", "extra_body": {"seed": "{{ seed }}"}},
                }
            ],
        )
    )
    assert task.id == "set/red/a.b/white/light=dawn"
    assert (task.item.key, task.prompt, task.variant, task.repeat) == ("red/a.b", "white", (("light", "dawn"),), 1)
    assert task.fields == {
        "model": "m",
        "size": "1024x1024",
        "n": 2,
        "steps": 7,
        "tag": "red/a.b",
        "seed": seed(task.id),
        "prompt": "a.b of in/red, soft light--dawn",
    }
    assert task.inputs == (
        Input("item", f"{tmp_path}/in/red/a.b.jpg"),
        Input("reference", f"{tmp_path}/logo.png"),
        Input("reference", f"{tmp_path}/brand.png"),
        Input("mask", f"{tmp_path}/masks/red/a.b.png"),
    )
    assert task.paths == ("set/white--dawn/red/a.b-1", "set/white--dawn/red/a.b-2")


def test_defaults_are_not_sent(files: Make, prepared: Prepare) -> None:
    """Only what the manifest sets is a field, and without `n` one image is asked for."""
    files("in/a.jpg")
    task = only(prepared())
    assert task.fields == {"model": "gpt-image-1.5", "prompt": "White background"}
    assert task.images == 1


def test_a_prompts_mask_replaces_the_sets(tmp_path: Path, files: Make, prepared: Prepare) -> None:
    """A mask that renders to nothing is none."""
    files("in/a.jpg", "m1.png", "m2.png")
    sets = [{"name": "set", "images": "in/*", "mask": "m1.png"}]
    prompts = [
        {"name": "one", "text": "x"},
        {"name": "two", "text": "x", "mask": "m2.png"},
        {"name": "three", "text": "x", "mask": "{{ '' }}"},
    ]
    masks = [task.inputs[1:] for task in prepared(image_sets=sets, prompts=prompts).tasks()]
    assert masks == [(Input("mask", f"{tmp_path}/m1.png"),), (Input("mask", f"{tmp_path}/m2.png"),), ()]


def test_the_order_is_items_or_prompts_first(files: Make, prepared: Prepare) -> None:
    """`order` decides what is finished first; repeats and variants stay together."""
    files("in/a.jpg", "in/b.jpg")
    prompts = [{"name": "p", "text": "x", "repeat": 2}, {"name": "q", "text": "x"}]
    assert ids(prepared(prompts=prompts)) == [
        "set/a/p", "set/a/p#2", "set/a/q", "set/b/p", "set/b/p#2", "set/b/q",
    ]  # fmt: skip
    assert ids(prepared(prompts=prompts, order="prompts")) == [
        "set/a/p", "set/a/p#2", "set/b/p", "set/b/p#2", "set/a/q", "set/b/q",
    ]  # fmt: skip


def test_a_prompt_is_for_the_sets_that_it_names(files: Make, prepared: Prepare) -> None:
    """`image_sets` limits a prompt; counts follow."""
    files("x/a.jpg", "y/a.jpg", "y/b.jpg")
    found = prepared(
        image_sets=[{"name": "x", "images": "x/*"}, {"name": "y", "images": "y/*"}],
        prompts=[{"name": "p", "text": "x"}, {"name": "q", "text": "y", "image_sets": ["y"]}],
    )
    assert ids(found) == ["x/a/p", "y/a/p", "y/a/q", "y/b/p", "y/b/q"]
    assert (found.items, found.total, found.count()) == (3, 5, 5)


def test_a_folder_is_one_item(files: Make, prepared: Prepare) -> None:
    """`item: folder` sends a folder's images together, sorted, under the folder's path."""
    files("looks/b/2.png", "looks/b/10.png", "looks/a/deep/1.png", "looks/0.png")
    found = prepared(image_sets=[{"name": "looks", "images": "looks/**/*.png", "item": "folder"}])
    items = [(task.item.key, [os.path.basename(path) for path in task.item.images]) for task in found.tasks()]
    assert items == [("looks", ["0.png"]), ("a/deep", ["1.png"]), ("b", ["10.png", "2.png"])]


def test_a_folder_of_17_images_is_an_item_that_cannot_be_used(files: Make, prepared: Prepare) -> None:
    """Too many images are a problem of the item, not of the job."""
    files(*(f"in/x/{number:02}.png" for number in range(17)), "in/y/a.png")
    found = prepared(image_sets=[{"name": "set", "images": "in/*/*", "item": "folder"}])
    problems = [task.item.problem for task in found.tasks()]
    assert problems == ["the item has 17 images; expected at most 16", None]


def test_references_count_towards_sixteen_images(files: Make, prepared: Prepare) -> None:
    """An item's images and its references together are at most 16."""
    files(*(f"in/x/{number:02}.png" for number in range(15)), "logo.png")
    sets = [{"name": "set", "images": "in/*/*", "item": "folder"}]
    prompts = [
        {"name": "p", "text": "x", "references": ["logo.png"]},
        {"name": "q", "text": "x", "references": ["logo.png"] * 2},
    ]
    first, second = prepared(image_sets=sets, prompts=prompts).tasks()
    assert first.item.problem is None
    assert second.item.problem is not None
    assert "17 images with its references" in second.item.problem


def test_a_row_is_an_item_with_its_line(tmp_path: Path, files: Make, prepared: Prepare) -> None:
    """Cells reach templates under any column name; the item knows its physical line."""
    files("in/a.jpg")
    (tmp_path / "bags.csv").write_text('sku;file;Artikel-Nr.\n1;a.jpg;"x\ny"\n2;b.jpg;z\n')
    found = prepared(image_sets=[TABLE], prompts=[{"name": "p", "text": "{{ row['Artikel-Nr.'] }} {{ key }}"}])
    tasks = list(found.tasks())
    assert [(task.id, task.item.line, task.fields["prompt"]) for task in tasks] == [
        ("bags/1/p", 2, "x\ny 1"),
        ("bags/2/p", 4, "z 2"),
    ]
    assert tasks[1].item.images == (f"{tmp_path}/in/b.jpg",)
    assert tasks[0].item.row == {"sku": "1", "file": "a.jpg", "Artikel-Nr.": "x\ny"}


def test_a_row_names_images_literally_or_by_globs(tmp_path: Path, files: Make, prepared: Prepare) -> None:
    """A literal file wins over its reading as a glob, empty names are skipped, and no match is the item's problem."""
    files("in/a[1].jpg", "in/a1.jpg", "in/b-2.JPG", "in/b-1.jpg")
    (tmp_path / "bags.csv").write_text("sku,file,more\n1,a[1].jpg,\n2,b*.jpg,a1.jpg\n3,nope*.jpg,\n4,,\n")
    table = TABLE | {
        "images": ["{{ 'in/' ~ row.file if row.file else '' }}", "{{ 'in/' ~ row.more if row.more else '' }}"]
    }
    items = [task.item for task in prepared(image_sets=[table]).tasks()]
    assert [[os.path.basename(path) for path in item.images] for item in items] == [
        ["a[1].jpg"],
        ["b-1.jpg", "b-2.JPG", "a1.jpg"],
        [],
        [],
    ]
    assert [item.problem for item in items] == [
        None,
        None,
        "no file matches 'in/nope*.jpg'; expected an image",
        "the row names no image; expected 1 to 16",
    ]


def test_the_key_of_a_file_may_be_a_template(files: Make, prepared: Prepare) -> None:
    """Keys and paths are composed to NFC, whatever the disk holds."""
    files(unicodedata.normalize("NFD", "in/x/ä.jpg"))
    task = only(prepared(image_sets=[{"name": "set", "images": "in/**/*", "key": "{{ file.stem | upper }}"}]))
    assert task.id == "set/Ä/white"
    assert task.paths == ("set/white/Ä-1",)
    assert unicodedata.is_normalized("NFD", task.item.images[0])


def test_a_text_without_item_fields_is_shared_by_all_tasks(files: Make, prepared: Prepare) -> None:
    """Equal fields are one object, for each variant."""
    files("in/a.jpg", "in/b.jpg")
    prompts = [
        {"name": "p", "text": "{{ set }} {{ matrix.x }}", "matrix": {"x": {"1": "one", "2": "two"}}, "repeat": 2}
    ]
    tasks = list(prepared(prompts=prompts).tasks())
    assert len({id(task.fields) for task in tasks}) == 2
    assert [task.fields["prompt"] for task in tasks] == ["set one", "set one", "set two", "set two"] * 2


def test_the_same_selection_is_made_every_time(files: Make, prepared: Prepare) -> None:
    """Shards part the items, a sample is stable and in order, and `only` is a glob on ids."""
    files(*(f"in/{number}.jpg" for number in range(40)))
    found = prepared(prompts=[{"name": "p", "text": "x"}, {"name": "q", "text": "x"}])
    everything = ids(found)
    shards = [ids(found, shard=(number, 3)) for number in (1, 2, 3)]
    assert sorted(chain(*shards)) == sorted(everything)
    assert all(shards)
    sample = ids(found, sample=5)
    assert (len(sample), sample) == (10, [task for task in everything if task in sample])
    assert set(ids(found, sample=3)) < set(sample)
    assert ids(found, only="set/7/*") == ["set/7/p", "set/7/q"]
    assert ids(found, only="*/q", sample=5) == [task for task in sample if task.endswith("/q")]
    assert len(ids(found, only="set/1*/p", sample=2)) == 2
    assert ids(found, only="nothing") == []
    assert set(ids(found, sample=2, shard=(2, 3))) <= set(shards[1])


def test_tasks_can_be_asked_for_while_others_are_being_made(files: Make, prepared: Prepare) -> None:
    """Two passes at a time do not disturb each other."""
    files("in/a.jpg", "in/b.jpg")
    found = prepared(prompts=[{"name": "p", "text": "{{ key }}"}])
    assert [
        (one.fields["prompt"], two.fields["prompt"]) for one, two in zip(found.tasks(), found.tasks(), strict=True)
    ] == [
        ("a", "a"),
        ("b", "b"),
    ]


def test_young_files_are_counted_and_left_out(tmp_path: Path, files: Make, prepared: Prepare) -> None:
    """A set whose files are all too young is not an empty set."""
    files("in/a.jpg")
    os.utime(tmp_path / "in/a.jpg", (2_000_000_000 - 5, 2_000_000_000 - 5))
    found = prepared(image_sets=[{"name": "set", "images": "in/*", "min_age": "60s"}])
    assert (found.items, found.total, found.waiting, ids(found)) == (0, 0, 1, [])


def test_an_empty_set_is_fine_where_the_manifest_says_so(tmp_path: Path, prepared: Prepare) -> None:
    """`allow_empty` also allows a folder that is not there yet, and a table with nothing but a header."""
    (tmp_path / "bags.csv").write_text("sku,file\n")
    sets = [{"name": "set", "images": "gone/*", "allow_empty": True}, TABLE | {"allow_empty": True}]
    assert prepared(image_sets=sets).total == 0


def test_a_table_that_changed_after_the_check_is_not_sent(tmp_path: Path, prepared: Prepare) -> None:
    """What was checked is what is sent: a changed table ends the reading with a clear error."""
    (tmp_path / "bags.csv").write_text("sku,file\n1,a.jpg\n")
    found = prepared(image_sets=[TABLE])
    (tmp_path / "bags.csv").write_text("sku,file\n1,a.jpg\n2,b.jpg\n")
    with pytest.raises(JobError, match=r"bags\.csv: the table changed after the job was checked"):
        list(found.tasks())


def test_a_table_that_changes_while_tasks_are_made_of_it_ends_the_making(tmp_path: Path, prepared: Prepare) -> None:
    """A row of neither version would be bought, and others never, with nobody told."""
    (tmp_path / "a.jpg").touch()
    rows = [f"{number},a.jpg\n" for number in range(20_000)]
    (tmp_path / "bags.csv").write_text("sku,file\n" + "".join(rows))
    tasks = prepared(image_sets=[TABLE]).tasks()
    next(tasks)
    (tmp_path / "bags.csv").write_text("sku,file\nextra,a.jpg\n" + "".join(rows))
    with pytest.raises(JobError, match=r"bags\.csv: the table changed after the job was checked"):
        list(tasks)


def test_tasks_are_the_same_under_any_locale_hash_seed_and_directory_order(tmp_path: Path) -> None:
    """Names, ids, fields and order depend on the manifest and the files' names alone."""
    script = Path(__file__).with_name("print_tasks.py")
    outputs = set()
    for number, locale in enumerate(("C", "C.UTF-8", "tr_TR.UTF-8")):
        folder = tmp_path / str(number)
        names = ["b", "B/x", "ä", "a-b", "a", "I", "i/ı"]
        for name in names[number:] + names[:number]:
            (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "in" / f"{name}.jpg").touch()
        environ = os.environ | {"PYTHONHASHSEED": str(number), "LC_ALL": locale}
        environ |= {"PYTHONPATH": str(Path(__file__).parents[2])}
        result = subprocess.run([sys.executable, script, folder], env=environ, capture_output=True, check=True)
        outputs.add(result.stdout)
    assert len(outputs) == 1
    assert outputs.pop().count(b"\n") == 28


def test_a_locale_that_misreads_file_names_is_refused(tmp_path: Path, files: Make) -> None:
    """Under ASCII or Latin-1 the same photo would have another key, so that it would be bought again."""
    files("in/ä.jpg")
    script = Path(__file__).with_name("print_tasks.py")
    environ = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run([sys.executable, script, tmp_path], env=environ, capture_output=True, check=False)
    assert b"environment: the locale reads file names as ascii" in result.stderr


def test_a_hundred_thousand_tasks_of_a_thousand_images_are_never_held(files: Make, prepared: Prepare) -> None:
    """Going through 100,000 tasks takes memory for the listing and the variants, not for tasks."""
    files(*(f"in/{number:04}.jpg" for number in range(1000)))
    labels = {f"v{number}": f"text {number}" for number in range(100)}
    found = prepared(prompts=[{"name": "p", "text": "{{ matrix.x }}", "matrix": {"x": labels}}])
    assert found.total == 100_000
    tasks = found.tasks()
    assert sum(1 for _ in islice(tasks, 80_000)) == 80_000
    tracemalloc.start()
    try:
        assert sum(1 for _ in tasks) == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def test_rows_of_a_table_are_never_held(tmp_path: Path, prepared: Prepare) -> None:
    """20,000 rows of 500 characters cost no more than 16 bytes and a set's entry each, while they are checked."""
    with (tmp_path / "bags.csv").open("w") as table:
        table.write("sku,file,text\n")
        table.writelines(f"{number},a.jpg,{'x' * 500}\n" for number in range(20_000))
    prepared(image_sets=[TABLE])  # Jinja2's own caches fill once, in whichever test is the first
    tracemalloc.start()
    try:
        found = prepared(image_sets=[TABLE])
        _, peak = tracemalloc.get_traced_memory()
        assert found.total == 20_000
    finally:
        tracemalloc.stop()
    assert peak < 200 * 20_000, peak
