"""Bad flags, names and images, word for word: what a user reads, the exit code, and what was not touched."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.errors import JobError
from pipeline.run.flags import Flags, flags_of
from tests.cli.conftest import Retouch

FLAGS = {
    ("--concurrency", "0"): "--concurrency: 0 is too small; expected a whole number from 1 to 4096",
    ("--concurrency", "-1"): "--concurrency: -1 is too small; expected a whole number from 1 to 4096",
    ("--concurrency", "1000000000"): "--concurrency: 1000000000 is too large; expected a whole number from 1 to 4096",
    ("--concurrency", "abc"): "Invalid value for '--concurrency': 'abc' is not a valid integer.",
    ("--limit", "-3"): "--limit: -3 is too small; expected a whole number from 1 on",
    ("--sample", "0"): "--sample: 0 is too small; expected a whole number from 1 on",
    ("--shard", "0/3"): "--shard: '0/3' is not a shard; expected I/N, 1 <= I <= N <= 10000, such as 2/3",
    ("--shard", "1/99999"): "--shard: '1/99999' is not a shard; expected I/N, 1 <= I <= N <= 10000, such as 2/3",
    ("--retry", ""): "--retry: '' is no state to retry; expected failed, held or both",
    (
        "--only",
        "shoes",
    ): "--only: 'shoes' matches no task id; expected a glob of whole ids, which are like shoes/0/white",
    (
        "--redo",
        "*/wite",
    ): "--redo: '*/wite' matches no task id; expected a glob of whole ids, which are like shoes/0/white",
}


@pytest.mark.parametrize(("flags", "line"), FLAGS.items(), ids=[" ".join(flags) for flags in FLAGS])
def test_a_bad_flag_is_one_line_and_no_folder(call: Retouch, folder: Path, flags: tuple[str, str], line: str) -> None:
    """Exit 2, the line, and neither an output folder nor a lock."""
    said = call("run", "job.yaml", "--sandbox", *flags)
    assert (said.code, said.out, said.err) == (2, "", f"error: {line}\n")
    assert sorted(path.name for path in folder.iterdir()) == ["in", "job.yaml"]


def test_plan_refuses_the_same_glob(call: Retouch) -> None:
    """`plan` does not promise what `run` refuses."""
    assert call("plan", "job.yaml", "--only", "shoes").err == f"error: {FLAGS['--only', 'shoes']}\n"


def test_a_glob_may_match_nothing_where_a_set_may_be_empty(call: Retouch, folder: Path) -> None:
    """A nightly job of new photos has nights without any: exit 0."""
    text = (folder / "job.yaml").read_text()
    new = '{name: new, images: "in/*.jpg", allow_empty: true}'
    (folder / "job.yaml").write_text(text.replace("image_sets: [", f"image_sets: [{new}, "))
    said = call("run", "job.yaml", "--sandbox", "--only", "new/*", "--json")
    assert (said.code, said.json["tasks"]["total"]) == (0, 0)


def test_a_group_named_twice_is_shown_once(call: Retouch) -> None:
    """`usage --by model,model` is no bug."""
    assert call("run", "job.yaml", "--sandbox", "-q").code == 0
    twice, once = (call("usage", "job.yaml", "--sandbox", "--by", by) for by in ("model,model", "model"))
    assert (twice.code, twice.out) == (0, once.out)


@pytest.mark.parametrize("path", ["", ".", "in"])
def test_init_over_a_folder_is_refused(call: Retouch, folder: Path, path: str) -> None:
    """`retouch init .` is a mistake of the user's, not a bug of ours."""
    said = call("init", path)
    assert (said.code, said.err) == (2, f"error: {path or '.'} exists already; name another file, or move it away\n")


def test_a_command_that_is_suggested_can_be_pasted(call: Retouch, folder: Path) -> None:
    """A manifest whose name holds a space is quoted in hints."""
    (folder / "job.yaml").rename(folder / "my job.yaml")
    (folder / "in/bad.png").write_bytes(b"")
    said = call("run", "my job.yaml", "--sandbox")
    assert "hint: `retouch status 'my job.yaml' --sandbox --failed` lists all" in said.err
    assert "`retouch status 'my job.yaml' --sandbox --failed`" in call("status", "my job.yaml", "--sandbox").out


def test_a_working_folder_that_was_removed_is_survived(
    call: Retouch, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that did all its work does not end as a bug because the shell's folder is gone."""
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert call("run", str(folder / "job.yaml"), "--sandbox").code == 0
    monkeypatch.chdir(folder)


@pytest.mark.parametrize(
    ("named", "line"),
    [
        ({"concurency": 3}, "there is no flag 'concurency'; did you mean 'concurrency'?"),
        ({"xyz": 1}, "there is no flag 'xyz'; expected any of concurrency, limit, sample, only, shard"),
        ({"limit": "3"}, "limit: '3' does not fit; expected a whole number"),
        ({"limit": True}, "limit: True does not fit; expected a whole number"),
        ({"yes": "no"}, "yes: 'no' does not fit; expected True or False"),
        ({"only": 5}, "only: 5 does not fit; expected text"),
        ({"shard": "1/2"}, "shard: '1/2' does not fit; expected two whole numbers (I, N), such as (2, 3)"),
        ({"retry": "failed"}, """retry: 'failed' does not fit; expected a set such as {"failed"}"""),
    ],
)
def test_a_bad_flag_of_a_script_is_a_job_error(named: dict[str, Any], line: str) -> None:
    """The Python API says what a flag takes; `yes="no"` is not taken for a yes."""
    with pytest.raises(JobError) as caught:
        flags_of(named)
    assert str(caught.value).startswith(line)


def test_flags_of_a_script_may_be_lists() -> None:
    """What fits is taken as it is meant."""
    flags = flags_of({"shard": [1, 2], "retry": ["failed"], "limit": 3})
    assert flags == Flags(shard=(1, 2), retry=frozenset({"failed"}), limit=3)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def oversized(path: Path) -> None:
    with path.open("wb") as file:
        file.write(png())
        file.truncate(50_000_001)


def png(size: tuple[int, int] = (16, 12), form: str = "PNG") -> bytes:
    data = BytesIO()
    Image.effect_noise(size, 90).save(data, form)
    return data.getvalue()


def bomb() -> bytes:
    """A few bytes that declare 196 megapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 14_000, 14_000, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(90_000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def holds(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def points_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (holds(b""), "is empty; expected an image"),
    "text": (holds(b"hello"), "is no png, jpeg or webp image by its first bytes"),
    "gif": (holds(png(form="GIF")), "is no png, jpeg or webp image by its first bytes"),
    "oversized": (oversized, "has 50000001 bytes; at most 50000000 are taken"),
    "fifo": (fifo, "is not a regular file; expected an image file"),
    "device": (points_to("/dev/zero"), "is not a regular file; expected an image file"),
    "dangling": (points_to("nowhere.png"), "does not exist"),
    "loop": (loop, "leads through symlinks in a circle"),
}
"""What `run` finds by a look at the file."""

BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (holds(png((64, 64))[:-60]), "is cut short: a png without its end"),
    "bomb": (holds(bomb()), "declares 14000x14000 pixels, more than the 100000000 that are decoded"),
}
"""What only decoding finds."""


def lines(folder: Path, faults: dict[str, tuple[Callable[[Path], object], str]]) -> list[str]:
    """The line for each bad image, in the order of the tasks."""
    return [f"shoes/{name}/white: {folder}/in/{name}.png {words}" for name, (_, words) in sorted(faults.items())]


@pytest.fixture
def bad(folder: Path) -> Path:
    """The folder with one bad image of each kind, and two good ones."""
    for name, (make, _) in {**UNUSABLE, **BROKEN}.items():
        make(folder / f"in/{name}.png")
    return folder


def test_validate_names_every_bad_image(call: Retouch, bad: Path) -> None:
    """One line for each, exit 2, nothing written; a pipe does not block it."""
    said = call("validate", "job.yaml")
    assert said.code == 2
    assert said.err.splitlines() == [f"error: {line}" for line in lines(bad, {**UNUSABLE, **BROKEN})]
    assert not list(bad.glob("out*"))


def test_a_run_settles_bad_images_as_invalid_and_goes_on(call: Retouch, bad: Path) -> None:
    """Exit 3: what cannot be an image is never sent, the rest is; what only decoding finds, the endpoint refuses."""
    said = call("run", "job.yaml", "--sandbox", "--json")
    tasks = said.json["tasks"]
    assert (said.code, tasks["invalid"], tasks["failed"], tasks["done"]) == (3, len(UNUSABLE), len(BROKEN), 2)
    assert sum(said.json["attempts"].values()) == len(BROKEN) + 2
    told = {one["task"]: one["message"] for one in said.json["failures"]}
    assert told.items() >= {
        (f"shoes/{name}/white", f"{bad}/in/{name}.png {words}") for name, (_, words) in UNUSABLE.items()
    }
    again = call("run", "job.yaml", "--sandbox", "--json")
    assert (again.code, sum(again.json["attempts"].values())) == (3, 0)


def test_a_strict_run_names_every_bad_image_and_sends_nothing(call: Retouch, bad: Path) -> None:
    """Exit 2 with all of them, before the first request; so does `on_invalid: stop`."""
    wanted = sorted(f"error: {line}" for line in lines(bad, {**UNUSABLE, **BROKEN}))
    said = call("run", "job.yaml", "--sandbox", "--strict", "--json")
    assert (said.code, sorted(said.err.splitlines())) == (2, wanted)
    assert call("usage", "job.yaml", "--sandbox", "--json").json["total"]["attempts"]["succeeded"] == 0
    with (bad / "job.yaml").open("a") as manifest:
        manifest.write("on_invalid: stop\n")
    assert sorted(call("run", "job.yaml", "--sandbox").err.splitlines()) == wanted


def test_a_file_name_with_a_line_break_stays_on_its_line(call: Retouch, folder: Path) -> None:
    """One problem is one line, whatever the file is called."""
    (folder / "in/a\nb.png").write_bytes(png())
    said = call("run", "job.yaml", "--sandbox")
    line = r"in/a\nb.png: image_sets[0].key: the key 'a\nb' holds a control character; expected a name for the item"
    assert (said.code, said.err) == (2, f"error: {line}\n")


def test_a_file_name_that_is_not_utf_8_is_shown_once_escaped(call: Retouch, folder: Path) -> None:
    """Its bytes can be read from the line."""
    Path(os.fsdecode(os.fsencode(folder / "in") + b"/\xff.png")).write_bytes(png())
    assert "/in/\\udcff.png' is not UTF-8; rename it" in call("plan", "job.yaml").err


def test_two_formats_of_one_photo_are_told_what_to_do(call: Retouch, folder: Path) -> None:
    """0.png beside 0.jpg: their keys are equal, and the line says which `key` would not be."""
    (folder / "in/0.jpg").write_bytes(png(form="JPEG"))
    job = (folder / "job.yaml").read_text().replace("in/*.png", "in/*.{png,jpg}")
    (folder / "job.yaml").write_text(job)
    said = call("validate", "job.yaml")
    assert said.code == 2
    assert said.err.endswith("""expected keys that differ in more than case, as with `key: "{{ file.path }}"`\n""")
    (folder / "job.yaml").write_text(job.replace("name: shoes", 'name: shoes, key: "{{ file.path }}"'))
    assert call("validate", "job.yaml").code == 0


def test_a_foreign_file_under_a_final_name_is_seen_by_every_verb(call: Retouch, folder: Path) -> None:
    """`run`, `plan` and `status --failed` agree, and the file is left as it is."""
    foreign = folder / "out.sandbox/shoes/white/0-1.jpg"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    line = f"shoes/0/white: name_taken: {foreign} is not of this job; move it away or change output.path"
    assert call("plan", "job.yaml", "--sandbox", "--json").json["tasks"]["invalid"] == 1
    said = call("run", "job.yaml", "--sandbox")
    assert (said.code, said.err.splitlines()[0]) == (3, line)
    assert f"  {line}" in call("status", "job.yaml", "--sandbox", "--failed").out.splitlines()
    assert foreign.read_text() == "mine"


def test_a_prompt_of_several_lines_is_shown_on_one(call: Retouch, folder: Path) -> None:
    """`plan` keeps its shape."""
    (folder / "prompt.txt").write_text("White\nbackground\n")
    text = (folder / "job.yaml").read_text()
    (folder / "job.yaml").write_text(text.replace("text: White background", "text_file: prompt.txt"))
    assert "quality=low, prompt=White background\n" in call("plan", "job.yaml").out


def test_outputs_among_the_inputs_are_one_line(call: Retouch, folder: Path) -> None:
    """A glob that meets the output folder is told once, not for each picture, with the way out."""
    text = (folder / "job.yaml").read_text().replace("folder: out", "folder: in")
    (folder / "job.yaml").write_text(text)
    said = call("plan", "job.yaml")
    assert said.err.count("\n") == 1
    assert "in/0.png lies in the output folder; expected inputs elsewhere, or `exclude`\n" in said.err


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("folder: job.yaml", "is not a folder; expected a folder, or a free name"),
        ("folder: in", "in/0.png lies in the output folder; expected inputs elsewhere"),
        ('folder: out, path: "../{{ key }}"', "has a segment '..'; expected a path in the output folder"),
        ('folder: out, path: "-{{ key }}"', "begins with '-'; expected a path in the output folder"),
        (
            'folder: out, path: "{{ key }}.png"',
            "ends with '.png'; expected no extension: it follows the image's format",
        ),
    ],
)
def test_a_bad_output_is_a_line_and_nothing_is_made(call: Retouch, folder: Path, output: str, line: str) -> None:
    """Exit 2; the folder stays as it was."""
    text = (folder / "job.yaml").read_text()
    (folder / "job.yaml").write_text(text.replace("folder: out", output))
    said = call("plan", "job.yaml")
    assert (said.code, line in said.err) == (2, True), said.err
    assert sorted(path.name for path in folder.iterdir()) == ["in", "job.yaml"]
