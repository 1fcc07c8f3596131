# ruff: noqa: E501 - an expected message is one line
"""Names: of files that a set takes, of outputs, and of the folder that they go to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import BytesIO

import pytest
from PIL import Image

from tests.bad_input.conftest import Refused
from tests.bad_input.row import Make, Row, job, of_job

OUT = "folder: out, "


def photo(name: str) -> bytes:
    data = BytesIO()
    Image.new("RGB", (16, 12), "red").save(data, "JPEG" if name.endswith(".jpg") else "PNG")
    return data.getvalue()


def of_files(name: str, *lines: str, files: Mapping[str, str | bytes | Make], **changes: str) -> Row:
    return Row(name, lines, {"job.yaml": job(**changes)} | dict(files))


def of_names(name: str, *lines: str, names: tuple[str, ...], **changes: str) -> Row:
    """Photos of these names beside the two good ones."""
    return of_files(name, *lines, files={each: photo(each) for each in names}, **changes)


def of_set(name: str, *lines: str, images: str, more: str = "") -> Row:
    return of_job(name, *lines, image_sets=f"[{{name: shoes, images: {images}{more}}}]")


def of_path(name: str, *lines: str, path: str, **changes: str) -> Row:
    return of_job(name, *lines, output=f"{{{OUT}path: {path}}}", **changes)


FILES = [
    of_names("two files that differ in case", "in/a.png: image_sets[0].key: {folder}/in/a.png has the key 'a', and {folder}/in/A.png has 'A'; expected keys that differ in more than case, as with `key: \"{{ file.path }}\"`", names=("in/A.png", "in/a.png")),
    of_names("two files that differ in composition", "in/café.png: image_sets[0].key: {folder}/in/café.png has the key 'café', and {folder}/in/café.png has 'café'; expected keys that differ in more than case, as with `key: \"{{ file.path }}\"`", names=("in/caf\u00e9.png", "in/cafe\u0301.png")),
    of_names("one photo in two formats", "in/0.png: image_sets[0].key: {folder}/in/0.png has the key '0', and {folder}/in/0.jpg has '0'; expected keys that differ in more than case, as with `key: \"{{ file.path }}\"`", names=("in/0.jpg",), image_sets='[{name: shoes, images: "in/*.{png,jpg}"}]'),
    of_names("a line break", "in/a\\nb.png: image_sets[0].key: the key 'a\\nb' holds a control character; expected a name for the item", names=("in/a\nb.png",)),
    of_names("a control character", "in/a\\x1b[31m.png: image_sets[0].key: the key 'a\\x1b[31m' holds a control character; expected a name for the item", names=("in/a\x1b[31m.png",)),
    of_names("not utf-8", "job.yaml:4:28: image_sets[0].images: the file name '{folder}/in/\\udcff.png' is not UTF-8; rename it, or leave it out with `exclude`", names=("in/\udcff.png",)),
    of_names("a name that begins with -", "in/-rf.png: output.path: the output path 'shoes/white/-rf-1' has a segment that begins with '-'; expected another first character", names=("in/-rf.png",)),
    of_names("a name of 250 bytes", "in/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.png: output.path: the output path 'shoes/white/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'… ends with too long a name; expected at most 241 bytes", names=(f"in/{'a' * 246}.png",)),
    of_names("a name that ends with a space", "in/a .png: image_sets[0].key: the key 'a ' begins or ends with a space; expected {{ … | trim }}", names=("in/a .png",)),
    of_names("a folder that ends with a space", "in/a /b.png: output.path: the output path 'shoes/white/a /b-1' has a segment that begins or ends with a space; expected {{ … | trim }}", names=("in/a /b.png",), image_sets='[{name: shoes, images: "in/**/*.png"}]'),
    of_names("a folder that begins with -", "in/-a/b.png: output.path: the output path 'shoes/white/-a/b-1' has a segment that begins with '-'; expected another first character", names=("in/-a/b.png",), image_sets='[{name: shoes, images: "in/**/*.png"}]'),
    of_names("two folders that differ in case", "in/a: image_sets[0].key: {folder}/in/a/x.png has the key 'a', and {folder}/in/A/y.png has 'A'; expected keys that differ in more than case, as with `key: \"{{ file.path }}\"`", names=("in/a/x.png", "in/A/y.png"), image_sets='[{name: shoes, images: "in/*/*.png", item: folder}]'),
    of_names("two sets' files of one key in one folder", "more/0.png: image_sets[0].key: {folder}/more/0.png has the key '0', and {folder}/in/0.png has '0'; expected keys that differ in more than case, as with `key: \"{{ file.path }}\"`", names=("more/0.png",), image_sets='[{name: shoes, images: ["in/*.png", "more/*.png"]}]'),
]  # fmt: skip
SETS = [
    of_set("no file", "job.yaml:4:28: image_sets[0].images: no file matches; expected items, or `allow_empty: true`", images='"in/*.webp"'),
    of_set("a folder", "job.yaml:4:28: image_sets[0].images: no file matches; expected items, or `allow_empty: true`; in is a folder, its images are in/**/*.{jpg,png}", images="in"),
    of_set("a folder with a slash", "job.yaml:4:28: image_sets[0].images: 'in/' names no files; expected a pattern of files such as photos/**/*.{jpg,png}", images="in/"),
    of_set("a folder that is not there", "job.yaml:4:28: image_sets[0].images: cannot list the folder {folder}/photos: No such file or directory; expected an existing, readable folder", images='"photos/*.png"'),
    of_set("an absolute folder that is not there", "job.yaml:4:28: image_sets[0].images: cannot list the folder /nowhere/at/all: No such file or directory; expected an existing, readable folder", images='"/nowhere/at/all/*.png"'),
    of_set("a file as a folder", "job.yaml:4:28: image_sets[0].images: cannot list the folder {folder}/in/0.png: Not a directory; expected an existing, readable folder", images='"in/0.png/*.png"'),
    of_set("up after a wildcard", "job.yaml:4:28: image_sets[0].images: 'in/*/../*.png' goes up after a wildcard; expected `..` only at the beginning of a pattern", images='"in/*/../*.png"'),
    of_set("1,001 alternatives", "job.yaml:4:28: image_sets[0].images: the braces of '{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29' stand for over 1000 patterns; expected fewer of them", images=f'"in/{{{",".join(map(str, range(1001)))}}}.png"'),
    of_set("nested braces without end", "job.yaml:4:28: image_sets[0].images: the braces of '{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}.png' stand for over 1000 patterns; expected fewer of them", images=f'"in/{"{a,b}" * 12}.png"'),
    of_set("an exclude that goes up", "job.yaml:4:48: image_sets[0].exclude: '*/../x' goes up after a wildcard; expected `..` only at the beginning of a pattern", images='"in/*.png"', more=', exclude: ["*/../x"]'),
    of_set("an exclude of everything", "job.yaml:4:28: image_sets[0].images: no file matches; expected items, or `allow_empty: true`", images='"in/*.png"', more=', exclude: ["**"]'),
    of_set("a key that is the same for all", "in/1.png: image_sets[0].key: {folder}/in/1.png has the key 'photo', and {folder}/in/0.png has 'photo'; expected keys that differ in more than case, as with `key: \"{{ file.path }}\"`", images='"in/*.png"', more=", key: photo"),
    of_set("a key with an unknown field", "in/0.png: image_sets[0].key: there is no field of file 'nam' (and 1 more like it); did you mean 'name'?", images='"in/*.png"', more=', key: "{{ file.nam }}"'),
    of_set("a key of a row", "job.yaml:4:48: image_sets[0].key: {{ row }} is no field that is known here; a row is known only where every image set is a table", images='"in/*.png"', more=', key: "{{ row.sku }}"'),
    of_set("a key that does not compile", "job.yaml:4:48: image_sets[0].key: the template is wrong: unexpected end of template, expected 'end of print statement'; expected Jinja2, such as {{ key }}", images='"in/*.png"', more=', key: "{{ file.stem"'),
    of_set("a key that asks for more than a template may", "in/0.png: image_sets[0].key: there is no field of file '__class__' (and 1 more like it); there are: path, name, stem, folder", images='"in/*.png"', more=", key: \"{{ file.__class__ }}\""),
    of_set("a mask that is not there", "job.yaml:4:48: image_sets[0].mask: there is no file 'mask.png'; expected an image's path", images='"in/*.png"', more=", mask: mask.png"),
    of_set("a reference that is not there", "job.yaml:4:61: image_sets[0].references[0]: there is no file 'logo.png'; expected an image's path", images='"in/*.png"', more=", references: [logo.png]"),
    of_set("two variables of which one is unknown", "job.yaml:4:48: image_sets[0].mask: {{ colour }} is no field that is known here; there are: file, key, set", images='"in/*.png"', more=', mask: "{{ key }}-{{ colour }}.png"'),
]  # fmt: skip
PROMPTS = [
    of_job("an unknown field", "job.yaml:5:25: prompts[0].text: {{ colour }} is no field that is known here; there are: file, key, prompt, seed, set, variant", prompts='[{name: white, text: "A {{ colour }} bag"}]'),
    of_job("a field of outputs", "job.yaml:5:25: prompts[0].text: {{ index }} is no field that is known here; an output's number is known only in output.path", prompts='[{name: white, text: "{{ index }}"}]'),
    of_job("a matrix that is not there", "job.yaml:5:25: prompts[0].text: {{ matrix }} is no field that is known here; this prompt has no matrix", prompts='[{name: white, text: "{{ matrix.light }}"}]'),
    of_job("an axis that is not there", "job.yaml:5:25: prompts[0].text: there is no axis 'light'; did you mean 'ligth'?", prompts='[{name: white, text: "{{ matrix.light }}", matrix: {ligth: [a]}}]'),
    of_job("braces left open", "job.yaml:5:25: prompts[0].text: the template is wrong: unexpected end of template, expected 'end of print statement'; expected Jinja2, such as {{ key }}", prompts='[{name: white, text: "{{ key"}]'),
    of_job("a statement left open", "job.yaml:5:25: prompts[0].text: the template is wrong: Unexpected end of template. Jinja was looking for the following tags: 'elif' or 'else' or 'endif'. The innermost block that needs to be closed is 'if'; expected Jinja2, such as {{ key }}", prompts='[{name: white, text: "{% if key %}x"}]'),
    of_job("an unknown filter", "job.yaml:5:25: prompts[0].text: the template is wrong: No filter named 'shout'; expected Jinja2, such as {{ key }}", prompts='[{name: white, text: "{{ key | shout }}"}]'),
    of_job("an import", "job.yaml:5:25: prompts[0].text: the template has the statement include; expected only if, for and set", prompts="[{name: white, text: \"{% include '/etc/passwd' %}\"}]"),
    of_job("a loop in a loop", "job.yaml:5:25: prompts[0].text: the template has a loop within a loop; expected loops side by side", prompts='[{name: white, text: "{% for a in key %}{% for b in key %}x{% endfor %}{% endfor %}"}]'),
    of_job("a text too long to make", "job.yaml:5:25: prompts[0].text: the result of `*` would be too large", prompts="[{name: white, text: \"{{ 'x' * 1000000000 }}\"}]"),
    of_job("a prompt that comes out empty", "job.yaml:5:25: prompts[0].text: the prompt is empty; expected text", prompts='[{name: white, text: "{% if false %}x{% endif %}"}]'),
    of_job("a prompt over 32,000 characters", "job.yaml:5:25: prompts[0].text: the prompt has 32,001 characters; expected at most 32,000", prompts=f'[{{name: white, text: "{"x" * 32_001}"}}]'),
    of_job("an unknown field of extra_body", "job.yaml:3:42: request.extra_body.style.name: {{ styl }} is no field that is known here; there are: file, key, prompt, seed, set, variant", request='{model: m, extra_body: {style: {name: "{{ styl }}"}}}'),
    of_job("a date in extra_body is text", "job.yaml:3:51: request.extra_body.style: {{ nope }} is no field that is known here; there are: file, key, prompt, seed, set, variant", request='{model: m, extra_body: {day: 2024-01-01, style: "{{ nope }}"}}'),
]  # fmt: skip
PATHS = [
    of_path("up", "job.yaml:6:23: output.path: '../{{ key }}' has a segment '..'; expected a path in the output folder", path='"../{{ key }}"'),
    of_path("up in between", "job.yaml:6:23: output.path: 'a/../../{{ key }}' has a segment '..'; expected a path in the output folder", path='"a/../../{{ key }}"'),
    of_path("absolute", "job.yaml:6:23: output.path: '/tmp/{{ key }}' begins with '/'; expected a path in the output folder", path='"/tmp/{{ key }}"'),
    of_path("home", "job.yaml:6:23: output.path: '~' is not expanded in a path; expected ${HOME} instead of it", path='"~/{{ key }}"'),
    of_path("a dot", "job.yaml:6:23: output.path: './{{ key }}' has a segment '.'; expected a path in the output folder", path='"./{{ key }}"'),
    of_path("an empty segment", "job.yaml:6:23: output.path: 'a//{{ key }}' has an empty segment; expected a path in the output folder", path='"a//{{ key }}"'),
    of_path("a folder only", "job.yaml:6:23: output.path: '{{ key }}/' has an empty segment; expected a path in the output folder", path='"{{ key }}/"'),
    of_path("hidden", "job.yaml:6:23: output.path: '.retouch/parts/{{ key }}' has a segment that begins with '.'; expected another first character", path='".retouch/parts/{{ key }}"'),
    of_path("a leading -", "job.yaml:6:23: output.path: '-{{ key }}' has a segment that begins with '-'; expected another first character", path='"-{{ key }}"'),
    of_path("an extension", "job.yaml:6:23: output.path: '{{ key }}.png' ends with '.png'; expected no extension: it follows the image's format", path='"{{ key }}.png"'),
    of_path("an extension in capitals", "job.yaml:6:23: output.path: '{{ key }}.JPEG' ends with '.JPEG'; expected no extension: it follows the image's format", path='"{{ key }}.JPEG"'),
    of_path("a space at the end", "job.yaml:6:23: output.path: '{{ key }} ' has a segment that begins or ends with a space; expected {{ … | trim }}", path='"{{ key }} "'),
    of_path("a space at a folder's end", "job.yaml:6:23: output.path: 'a /{{ key }}' has a segment that begins or ends with a space; expected {{ … | trim }}", path='"a /{{ key }}"'),
    of_path("over 255 bytes", "job.yaml:6:23: output.path: '{{ key }}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'… ends with too long a name; expected at most 241 bytes", path=f'"{{{{ key }}}}{"x" * 260}"'),
    of_path("a folder over 255 bytes", "job.yaml:6:23: output.path: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'… has a name of over 255 bytes; expected shorter ones", path=f'"{"x" * 260}/{{{{ key }}}}"'),
    of_path("over 1,000 bytes", "job.yaml:6:23: output.path: 'x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/'… is too long; expected at most 1000 bytes", path=f'"{"x/" * 600}{{{{ key }}}}"'),
    of_path("a NUL", "job.yaml:6:29: output.path: holds U+0000, which is no text; expected no escapes such as \\x00, or \\ud83d for half a character", path='"{{ key }}\\0"'),
    of_path("a line break", "job.yaml:6:23: output.path: '{{ key }}\\n' holds a control character; expected a path that can be typed", path='"{{ key }}\\n"'),
    of_path("a line separator", "job.yaml:6:23: output.path: '{{ key }}\\u2028x' holds a control character; expected a path that can be typed", path='"{{ key }}\\u2028x"'),
    of_path("a control character from the matrix", "in/0.png: output.path: the output path '0b\\tc' holds a control character; expected a path that can be typed", "in/1.png: output.path: the output path '1b\\tc' holds a control character; expected a path that can be typed", path='"{{ key }}{{ matrix.light }}"', prompts='[{name: white, text: x, matrix: {light: {a: "b\\tc"}}}]'),
    of_path("nothing", "job.yaml:6:23: output.path: '' is empty; expected text", path="''"),
    of_path("a name for all", "job.yaml:6:23: output.path: the tasks shoes/0/white and shoes/1/white would both make photo; expected a template that tells them apart", path="photo"),
    of_path("a name for both prompts", "job.yaml:6:23: output.path: the tasks shoes/0/a and shoes/0/b would both make 0; expected a template that tells them apart", "job.yaml:6:23: output.path: the tasks shoes/1/a and shoes/1/b would both make 1; expected a template that tells them apart", path='"{{ key }}"', prompts="[{name: a, text: a}, {name: b, text: b}]"),
    of_path("a name for both images", "job.yaml:6:23: output.path: the images of the task shoes/0/white would all be 0; expected a template that tells them apart", "job.yaml:6:23: output.path: the images of the task shoes/1/white would all be 1; expected a template that tells them apart", path='"{{ key }}"', request="{model: m, n: 2}"),
    of_path("a name for all repeats", "job.yaml:6:23: output.path: the tasks shoes/0/a and shoes/0/a#2 would both make 0; expected a template that tells them apart", "job.yaml:6:23: output.path: the tasks shoes/1/a and shoes/1/a#2 would both make 1; expected a template that tells them apart", path='"{{ key }}"', prompts="[{name: a, text: a, repeat: 2}]"),
    of_path("a name for all variants", "job.yaml:6:23: output.path: the tasks shoes/0/a/light=dawn and shoes/0/a/light=dusk would both make 0; expected a template that tells them apart", "job.yaml:6:23: output.path: the tasks shoes/1/a/light=dawn and shoes/1/a/light=dusk would both make 1; expected a template that tells them apart", path='"{{ key }}"', prompts="[{name: a, text: a, matrix: {light: [dawn, dusk]}}]"),
    of_path("names that differ in case", "job.yaml:6:23: output.path: the tasks shoes/0/a/light=a and shoes/0/a/light=b would both make Dawn/0; expected a template that tells them apart", "job.yaml:6:23: output.path: the tasks shoes/1/a/light=a and shoes/1/a/light=b would both make Dawn/1; expected a template that tells them apart", path='"{{ matrix.light }}/{{ key }}"', prompts="[{name: a, text: a, matrix: {light: {a: Dawn, b: dawn}}}]"),
    of_path("names that a join makes equal", "job.yaml:6:23: output.path: the tasks a/b-0/white and a-b/0/white would both make a-b-0; expected a template that tells them apart", "job.yaml:6:23: output.path: the tasks a/b-1/white and a-b/1/white would both make a-b-1; expected a template that tells them apart", path='"{{ set }}-{{ key }}"', image_sets='[{name: a, images: "in/*.png", key: "b-{{ file.stem }}"}, {name: a-b, images: "in/*.png"}]'),
    of_path("an unknown field of a path", "job.yaml:6:23: output.path: {{ sku }} is no field that is known here; there are: file, index, key, matrix, prompt, seed, set, variant", path='"{{ sku }}"'),
    of_path("a row where there is none", "job.yaml:6:23: output.path: {{ row }} is no field that is known here; a row is known only where every image set is a table", path='"{{ row.sku }}"'),
]  # fmt: skip
FOLDERS = [
    of_job("the output folder is a file", "job.yaml:6:10: output.folder: {folder}/job.yaml is not a folder; expected a folder, or a free name", output="{folder: job.yaml}"),
    of_job("the output folder lies in a file", "job.yaml:6:10: output.folder: {folder}/job.yaml is not a folder; expected a folder, or a free name", output="{folder: job.yaml/out}"),
    of_job("the output folder is a device", "job.yaml:6:10: output.folder: /dev/null is not a folder; expected a folder, or a free name", output="{folder: /dev/null}"),
    of_files("the output folder is a pipe", "job.yaml:6:10: output.folder: {folder}/pipe is not a folder; expected a folder, or a free name", files={"pipe": os.mkfifo}, output="{folder: pipe}"),
    of_files("the output folder is a dangling link", "job.yaml:6:10: output.folder: {folder}/link is not a folder; expected a folder, or a free name", files={"link": lambda path: path.symlink_to("nowhere")}, output="{folder: link}"),
    of_files("the output folder is a circle", "job.yaml:6:10: output.folder: {folder}/link is not a folder; expected a folder, or a free name", files={"link": lambda path: path.symlink_to("link")}, output="{folder: link}"),
    of_job("the output folder holds the inputs", "job.yaml:4:28: image_sets[0].images: {folder}/in/0.png lies in the output folder; expected inputs elsewhere, or `exclude`", output="{folder: in}"),
    of_job("the output folder holds the manifest and the inputs", "job.yaml:4:28: image_sets[0].images: {folder}/in/0.png lies in the output folder; expected inputs elsewhere, or `exclude`", output="{folder: .}"),
    of_files("a link leads from the inputs to the outputs", "job.yaml:4:28: image_sets[0].images: {folder}/in/0.png lies in the output folder; expected inputs elsewhere, or `exclude`", files={"out": lambda path: path.symlink_to("in")}),
    of_job("an empty output folder", "job.yaml:6:10: output.folder: '' is empty; expected text", output="{folder: ''}"),
    of_job("a NUL in the output folder", "job.yaml:6:18: output.folder: holds U+0000, which is no text; expected no escapes such as \\x00, or \\ud83d for half a character", output='{folder: "a\\0b"}'),
    of_job("an output folder of 256 bytes", "job.yaml:6:10: output.folder: a name of over 255 bytes, or over 1,000 in all; expected a shorter one", output=f"{{folder: {'x' * 256}}}"),
]  # fmt: skip


@pytest.mark.parametrize("row", [*FILES, *SETS, *PROMPTS, *PATHS, *FOLDERS], ids=str)
def test_a_bad_name_is_refused(refused: Refused, row: Row) -> None:
    """One line says which name, what is wrong and what was expected; exit 2, nothing sent and nothing made."""
    refused(row)
