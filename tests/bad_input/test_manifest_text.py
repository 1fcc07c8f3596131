# ruff: noqa: E501 - an expected message is one line
"""A manifest whose text is wrong: not UTF-8, not YAML, or YAML that would mean something else than it says."""

from __future__ import annotations

import pytest

from tests.bad_input.conftest import Refused
from tests.bad_input.row import Row, job, of_job, of_text


def bomb() -> str:
    """Nine anchors of nine aliases each: 387 million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join(lines) + "\n"


TEXT = [
    of_text("empty", "job.yaml: the manifest is empty; `retouch init` writes one to start from", text=b""),
    of_text(
        "comments only",
        "job.yaml: the manifest is empty; `retouch init` writes one to start from",
        text="# version: 1\n",
    ),
    of_text(
        "a byte order mark and nothing",
        "job.yaml: the manifest is empty; `retouch init` writes one to start from",
        text=b"\xef\xbb\xbf",
    ),
    of_text(
        "null",
        "job.yaml:1:1: the manifest is not a mapping; expected `key: value` lines, `version: 1` first",
        text="null\n",
    ),
    of_text(
        "a list",
        "job.yaml:1:1: the manifest is not a mapping; expected `key: value` lines, `version: 1` first",
        text="- version: 1\n",
    ),
    of_text(
        "plain text",
        "job.yaml:1:1: the manifest is not a mapping; expected `key: value` lines, `version: 1` first",
        text="make my photos white\n",
    ),
    of_text(
        "a number",
        "job.yaml:1:1: the manifest is not a mapping; expected `key: value` lines, `version: 1` first",
        text="1\n",
    ),
    of_text(
        "json that is no mapping",
        "job.yaml:1:1: the manifest is not a mapping; expected `key: value` lines, `version: 1` first",
        text='["version", 1]\n',
    ),
    of_text(
        "latin-1",
        "job.yaml:2:10: byte 20 (0xe9) is not UTF-8; save the file as UTF-8",
        text=b"version: 1\nname: caf\xe9\n",
    ),
    of_text("utf-16", "job.yaml:1:1: the file is UTF-16 or UTF-32; save it as UTF-8", text=job().encode("utf-16")),
    of_text(
        "utf-16 without a mark",
        "job.yaml:1:2: control character U+0000; expected plain text, saved as UTF-8",
        text=job().encode("utf-16-le"),
    ),
    of_text("utf-32", "job.yaml:1:1: the file is UTF-16 or UTF-32; save it as UTF-8", text=job().encode("utf-32")),
    of_text(
        "cut within a character",
        "job.yaml:2:7: byte 17 (0xf0) is not UTF-8; save the file as UTF-8",
        text=b"version: 1\nname: \xf0\x9f\n",
    ),
    of_text(
        "an image",
        "job.yaml:1:1: byte 0 (0x89) is not UTF-8; save the file as UTF-8",
        text=b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    ),
    of_text(
        "gzip", "job.yaml:1:2: byte 1 (0x8b) is not UTF-8; save the file as UTF-8", text=b"\x1f\x8b\x08\x00\x00\x00"
    ),
    of_text(
        "a NUL",
        "job.yaml:2:8: control character U+0000; expected plain text, saved as UTF-8",
        text="version: 1\nname: a\0b\n",
    ),
    of_text(
        "an escape sequence",
        "job.yaml:2:7: control character U+001B; expected plain text",
        text="version: 1\nname: \x1b[31mred\n",
    ),
    of_text("over 10 MB", "job.yaml: is longer than 10,000,000 bytes; expected less", text=b"#" * 10_000_001),
    of_text(
        "tabs",
        "job.yaml:3:1: a tab in the indentation; expected spaces",
        text="version: 1\nlimits:\n\tconcurrency: 3\n",
    ),
    of_text(
        "tabs after spaces",
        "job.yaml:3:3: a tab in the indentation; expected spaces",
        text="version: 1\nlimits:\n  \tconcurrency: 3\n",
    ),
    of_text(
        "the second mapping on a line",
        "job.yaml:2:11: a second ': ' on this line, or an indentation that does not fit; expected quotes around the whole value",
        text="version: 1\nname: shop: two\n",
    ),
    of_text(
        "a prompt with a colon",
        "job.yaml:4:22: a second ': ' on this line, or an indentation that does not fit; expected quotes around the whole value",
        text="version: 1\nprompts:\n  - name: p\n    text: Put it here: on white\n",
    ),
    of_text(
        "an apostrophe in quotes",
        "job.yaml:4:15: this does not belong to the value before it; expected quotes around the whole value, or the keys' indentation",
        text="version: 1\nprompts:\n  - name: p\n    text: 'it's white'\n",
    ),
    of_text(
        "a quote left open",
        "job.yaml:2:7: the quote that opens here is not closed; expected it closed",
        text='version: 1\nname: "shop\nrequest: {}\n',
    ),
    of_text(
        "a bracket left open",
        "job.yaml:2:13: the '[' that opens here is not closed, or a ',' is missing in it; expected ']'",
        text="version: 1\nimage_sets: [{name: a, images: x}\nprompts: []\n",
    ),
    of_text(
        "a brace left open",
        "job.yaml:2:10: the '{' that opens here is not closed, or a ',' is missing in it; expected '}'",
        text="version: 1\nrequest: {model: m\nprompts: []\n",
    ),
    of_text(
        "a glob without quotes",
        "job.yaml:4:13: '*' at a value's beginning means an alias; expected quotes around the whole value",
        text="version: 1\nimage_sets:\n  - name: a\n    images: **/*.png\n",
    ),
    of_text(
        "a template without quotes",
        "job.yaml:8:10: output.path: '{' or '[' begins a key here; expected `key: value`, with quotes around text with {{ }} or [ ]",
        text=job(output="\n  folder: out\n  path: {{ key }}"),
    ),
    of_text(
        "a value that begins with @",
        "job.yaml:2:7: a value cannot begin with '@'; expected quotes around the whole value",
        text="version: 1\nname: @shop\n",
    ),
    of_text(
        "a value that begins with %",
        "job.yaml:2:21: a value cannot begin with '%'; expected quotes around the whole value",
        text="version: 1\nstop_on: {failures: %20}\n",
    ),
    of_text(
        "an ampersand",
        "job.yaml:4:11: '&' at a value's beginning means an anchor; expected quotes around the whole value",
        text="version: 1\nprompts:\n  - name: p\n    text: & white\n",
    ),
    of_text(
        "a value that begins with !",
        "job.yaml:5:27: prompts[0].text: the tag !important is not allowed; expected plain YAML, text in quotes",
        text=job(prompts="[{name: p, text: !important }]"),
    ),
    of_text(
        "an unknown alias",
        "job.yaml:2:7: '*' at a value's beginning means an alias, and none has this name; expected quotes around the whole value",
        text="version: 1\nname: *shop\n",
    ),
    of_text(
        "an anchor twice",
        "job.yaml:3:18: this anchor (&) was defined before; expected another name",
        text="version: 1\nname: &a shop\nrequest: {model: &a m}\n",
    ),
    of_text(
        "an unknown escape",
        "job.yaml:2:35: '\\' in double quotes begins an escape that YAML does not know; write \\\\ for '\\'",
        text='version: 1\nimage_sets: [{name: a, images: "C:\\photos\\*.png"}]\n',
    ),
    of_text(
        "half a character",
        "job.yaml:2:10: an escape that stands for no character; expected the character itself",
        text='version: 1\nname: "\\ud83d"\n',
    ),
    of_text(
        "a character beyond Unicode",
        "job.yaml:2:10: an escape that stands for no character; expected the character itself",
        text='version: 1\nname: "\\U00110000"\n',
    ),
    of_text(
        "a list on its key's line",
        "job.yaml:2:13: a list cannot begin on its key's line; expected `- ` on the next line",
        text="version: 1\nimage_sets: - name: a\n",
    ),
    of_text(
        "a list and then a key",
        "job.yaml:2:1: this does not belong to the list above; expected `- `, indented as the list is",
        text="- version: 1\nname: shop\n",
    ),
    of_text(
        "a line without a colon",
        "job.yaml:2:1: a line without ': '; expected `key: value`",
        text="version: 1\nname\nrequest: {}\n",
    ),
    of_text(
        "wrong indentation",
        "job.yaml:4:3: this does not belong to the value before it; expected quotes around the whole value, or the keys' indentation",
        text="version: 1\nlimits:\n    concurrency: 3\n  timeout: 3s\n",
    ),
    of_text(
        "two documents",
        "job.yaml:2:1: a second document begins here; expected one manifest in a file, without `---`",
        text="version: 1\n---\nversion: 1\n",
    ),
    of_text(
        "another version of YAML",
        "job.yaml:1:1: a YAML version that is not known; leave the %YAML line out",
        text="%YAML 3.0\n---\nversion: 1\n",
    ),
    of_text(
        "a key in braces",
        "job.yaml:7:1: '{' or '[' begins a key here; expected `key: value`, with quotes around text with {{ }} or [ ]",
        text=job() + "{a: b}: c\n",
    ),
    of_text(
        "an empty key",
        "job.yaml:7:1: a key is empty; expected `key: value`, with quotes around text with {{ }} or [ ]",
        text=job() + "'': x\n",
    ),
    of_text(
        "a merge key",
        "job.yaml:7:10: limits: merge keys (<<) are not allowed; expected `key: value`, with quotes around text with {{ }} or [ ]",
        text=job(limits="{<<: {concurrency: 3}}"),
    ),
    of_text(
        "an alias of itself",
        "job.yaml:3:10: request.extra_body.a: an alias refers to what it stands in; expected the text in quotes",
        text=job(request="&r {model: m, extra_body: {a: *r}}"),
    ),
    of_text(
        "an alias bomb",
        "job.yaml:1:13: more than 100,000 values, aliases expanded; long lists belong in a table",
        text=bomb(),
    ),
    of_text(
        "5,000 brackets",
        "job.yaml:1:53: nested deeper than 50 levels; expected plain lists and mappings",
        text="a: " + "[" * 5000,
    ),
    of_text(
        "60 lists in each other",
        "job.yaml:2:99: nested deeper than 50 levels; expected plain lists and mappings",
        text="a:\n" + "- " * 60 + "b\n",
    ),
    of_text(
        "a python tag",
        "job.yaml:2:7: name: the tag !!python/name:os.system is not allowed; expected plain YAML, text in quotes",
        text=job(name="!!python/name:os.system shop"),
    ),
    of_text(
        "a python object",
        "job.yaml:5:10: the tag !!python/object/apply:os.system is not allowed; expected plain YAML, text in quotes",
        "job.yaml:5:43: prompts[0]: 'touch out' is text; expected a mapping",
        text=job(prompts='!!python/object/apply:os.system ["touch out"]'),
    ),
    of_text(
        "a binary tag",
        "job.yaml:2:7: name: the tag !!binary is not allowed; expected plain YAML, text in quotes",
        text=job(name="!!binary c2hvcA"),
    ),
    of_job(
        "a key twice",
        "job.yaml:3:1: name: the key 'name' stands twice, first on line 2; expected it once",
        name="shop\nname: store",
    ),
    of_job(
        "a key twice in a flow",
        "job.yaml:7:39: limits.concurrency: the key 'concurrency' stands twice, first on line 7; expected it once",
        limits="{concurrency: 3, timeout: 5s, concurrency: 4}",
    ),
    of_job(
        "a number and the same as text",
        "job.yaml:3:40: request.extra_body.1: the key '1' stands twice, first on line 3; expected it once",
        request="{model: m, extra_body: {1: a, '1': b}}",
    ),
]


@pytest.mark.parametrize("row", TEXT, ids=str)
def test_a_manifest_with_wrong_text_is_refused(refused: Refused, row: Row) -> None:
    """One line says where in the file, what is wrong and what to write instead; exit 2, nothing sent."""
    refused(row)
