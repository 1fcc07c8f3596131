"""What stands around bad input: hints that can be pasted, what is not bad, and what the Python API says of flags."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.errors import JobError
from pipeline.run.flags import Flags, flags_of
from tests.bad_input.conftest import BenchOf
from tests.cli.conftest import Retouch


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


def test_init_takes_an_empty_name_for_this_folder(call: Retouch) -> None:
    """`retouch init ''` is a mistake of the user's, not a bug of ours."""
    said = call("init", "")
    assert (said.code, said.err) == (2, "error: . exists already; name another file, or move it away\n")


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


def test_two_formats_of_one_photo_can_be_told_apart_as_the_line_says(call: Retouch, folder: Path) -> None:
    """0.png beside 0.jpg: with the `key` that the error names, both are sent."""
    data = BytesIO()
    Image.new("RGB", (16, 12)).save(data, "JPEG")
    (folder / "in/0.jpg").write_bytes(data.getvalue())
    job = (folder / "job.yaml").read_text().replace("in/*.png", "in/*.{png,jpg}")
    (folder / "job.yaml").write_text(job.replace("name: shoes", 'name: shoes, key: "{{ file.path }}"'))
    assert call("validate", "job.yaml").code == 0


def test_a_foreign_file_under_a_final_name_is_seen_by_every_verb(bench: BenchOf, folder: Path) -> None:
    """All of them agree, and the file is left as it is."""
    foreign = folder / "out/shoes/white/0-1.jpg"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    job = bench()
    words = f"{foreign} is not of this job; move it away or change output.path"
    job.refused(f"shoes/0/white: {words}")
    assert job.call("plan", "job.yaml", "--json").json["tasks"]["invalid"] == 1
    code, lines, connections = job.lines("run", "job.yaml")
    assert (code, lines[0], connections) == (3, f"shoes/0/white: name_taken: {words}", 1)
    assert f"  shoes/0/white: name_taken: {words}" in job.call("status", "job.yaml", "--failed").out.splitlines()
    assert foreign.read_text() == "mine"


def test_the_folder_of_another_job_is_seen_by_validate_too(bench: BenchOf, folder: Path) -> None:
    """A folder belongs to the first job that ran there; nothing of it is touched."""
    assert bench().lines("run", "job.yaml")[0] == 0
    ledger = (folder / "out/ledger.jsonl").read_bytes()
    job = bench(name="other")
    words = "belongs to the job 'shop', and this one is 'other'; name another folder, or give the job its old name"
    for verb in ("validate", "plan", "run"):
        assert job.lines(verb, "job.yaml") == (2, [f"job.yaml:6:10: output.folder: {folder}/out {words}"], 0)
    assert (folder / "out/ledger.jsonl").read_bytes() == ledger


def test_a_prompt_of_several_lines_is_shown_on_one(call: Retouch, folder: Path) -> None:
    """`plan` keeps its shape."""
    (folder / "prompt.txt").write_text("White\nbackground\n")
    text = (folder / "job.yaml").read_text()
    (folder / "job.yaml").write_text(text.replace("text: White background", "text_file: prompt.txt"))
    assert "model=gpt-image-2, prompt=White background\n" in call("plan", "job.yaml").out


@pytest.mark.parametrize(
    ("name", "made", "warning"),
    [
        ("0.png", "JPEG", "is a jpeg by its first bytes, and is sent as one"),
        ("0.png", "WEBP", "is a webp by its first bytes, and is sent as one"),
        ("0.PNG", "PNG", None),
    ],
)
def test_an_extension_unlike_the_content_is_a_warning(
    bench: BenchOf, folder: Path, name: str, made: str, warning: str | None
) -> None:
    """The bytes decide how a file is sent, so that it can be; `validate` says it all the same, and exits 0."""
    (folder / "in/0.png").unlink()
    Image.new("RGB", (16, 12), "red").save(folder / "in" / name, made)
    job = bench(image_sets='[{name: shoes, images: "in/*"}]')
    said = job.call("validate", "job.yaml", "--json")
    told = [f"warning: in/{name}: shoes/0/white: {warning}"] if warning else []
    assert (said.code, said.err.splitlines()) == (0, told)
    assert [one["what"] for one in said.json["warnings"]] == ([warning] if warning else [])
    assert job.lines("run", "job.yaml", "-q")[0::2] == (0, 2)


def test_a_large_mask_is_a_warning(bench: BenchOf, folder: Path) -> None:
    """Some endpoints take it, so it is no reason not to send."""
    Image.new("RGBA", (16, 12)).save(folder / "mask.png")
    with (folder / "mask.png").open("ab") as mask:
        mask.write(bytes(4_000_000))
    size = (folder / "mask.png").stat().st_size
    job = bench(image_sets='[{name: shoes, images: "in/0.png", mask: mask.png}]')
    line = f"warning: mask.png: shoes/0/white: is a mask of {size:,} bytes; some endpoints take 4,000,000"
    assert job.lines("validate", "job.yaml") == (0, [line], 0)


def test_a_row_that_may_be_two_is_a_warning(bench: BenchOf, folder: Path) -> None:
    """A quote left open and closed later merges rows into one that is well formed: it may be meant."""
    (folder / "bags.csv").write_text('sku,file,note\nA1,0,"12 inch\nA2,1,30"\nA3,0,x\n')
    job = bench(image_sets="[{name: bags, table: bags.csv, key: '{{ row.sku }}', images: 'in/{{ row.file }}.png'}]")
    line = "warning: bags.csv:2: a cell spans the lines 2 to 3, and line 3 looks like a row; is a quote left open?"
    assert job.lines("validate", "job.yaml") == (0, [line], 0)


@pytest.mark.parametrize(
    "write",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.rstrip("\n").encode(),
        lambda text: f"---\n{text}...\n".encode(),
        lambda text: b"# caf\xc3\xa9\n" + text.encode(),
    ],
    ids=["a byte order mark", "CRLF", "CR", "no last line break", "document marks", "a comment"],
)
def test_a_manifest_that_only_looks_odd_is_taken(call: Retouch, folder: Path, write: Callable[[str], bytes]) -> None:
    """What other editors write is no bad input."""
    (folder / "job.yaml").write_bytes(write((folder / "job.yaml").read_text()))
    assert call("validate", "job.yaml").code == 0


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfsku,file\nA1,0\n",
        b"sku;file\r\nA1;0\r\n",
        b"sku\tfile\nA1\t0\n",
        b"sep=;\nsku;file\nA1;0\n",
        b'"sku","file"\n"A1","0"\n',
        b"\n\nsku,file\n\nA1,0\n,\n",
        b" sku , file ,\nA1,0,\n",
        b'sku,file,note\nA1,0,"12"" screen,\nwhite"\n',
        b"sku,file,note\nA1,0," + b"x" * 131_072 + b"\n",
    ],
)
def test_a_table_that_only_looks_odd_is_taken(call: Retouch, folder: Path, data: bytes) -> None:
    """What spreadsheets write is no bad input."""
    (folder / "bags.csv").write_bytes(data)
    sets = "[{name: bags, table: bags.csv, key: '{{ row.sku }}', images: 'in/{{ row.file }}.png'}]"
    text = (folder / "job.yaml").read_text()
    lines = [f"image_sets: {sets}" if line.startswith("image_sets") else line for line in text.splitlines()]
    (folder / "job.yaml").write_text("\n".join(lines))
    said = call("validate", "job.yaml")
    assert (said.code, said.err) == (0, "")
