"""What a manifest may not say although each of its values is well formed: rules between values. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.errors import Problem
from pipeline.manifest.models import ImageSet, Manifest, Prompt, Request
from pipeline.manifest.routing import check_endpoints
from pipeline.manifest.validate import nearest_name

_INPUTS = frozenset({"prompt", "image", "image[]", "images", "mask"})
LONGEST_NAME = 255
"""Bytes of a name, on every file system in use."""
LONGEST_FOLDER = 1000
"""Bytes of a path; macOS takes 1,024 for a whole one."""
_NAMED = frozenset(Request.model_fields) - {"extra_body"}


def check_manifest(manifest: Manifest, environ: Mapping[str, str] | None = None) -> Iterator[Problem]:
    """Every problem between a manifest's values, but for its base URL and its matrices.

    The problems carry their place, without file and line. `environ` holds the keys, where they are known.
    """
    yield from check_endpoints(manifest, environ or {})
    yield from _sets(manifest.image_sets)
    yield from _prompts(manifest)
    yield from _requests(manifest)
    yield from _folders(manifest)


def _sets(sets: Sequence[ImageSet]) -> Iterator[Problem]:
    yield from _twice("image_sets", "image set", [each.name for each in sets])
    for index, each in enumerate(sets):
        yield from (_table_set if each.table else _file_set)(each, f"image_sets[{index}]")


def _table_set(each: ImageSet, place: str) -> Iterator[Problem]:
    if each.images is None:
        yield Problem("a table needs images", 'expected a template such as "photos/{{ row.file }}"', f"{place}.images")
    if each.key is None:
        yield Problem("a table needs a key", 'expected a template such as "{{ row.sku }}"', f"{place}.key")
    if each.item not in (None, "row"):
        yield Problem("each row of a table is an item", "expected `item: row`, or no item", f"{place}.item")


def _file_set(each: ImageSet, place: str) -> Iterator[Problem]:
    if each.images is None:
        yield Problem("neither images nor table is set", "expected a glob such as photos/**/*.jpg, or a table", place)
    if each.item == "row":
        yield Problem("rows need a table", "expected image or folder, or a table", f"{place}.item")


def _prompts(manifest: Manifest) -> Iterator[Problem]:
    yield from _twice("prompts", "prompt", [prompt.name for prompt in manifest.prompts])
    sets = [each.name for each in manifest.image_sets]
    for index, prompt in enumerate(manifest.prompts):
        place = f"prompts[{index}]"
        yield from _text(prompt, place)
        for position, name in enumerate(prompt.image_sets or ()):
            where = f"{place}.image_sets[{position}]"
            if name not in sets:
                yield Problem(f"no image set '{name}'", nearest_name(name, sets) + f"known: {', '.join(sets)}", where)
            elif name in (prompt.image_sets or ())[:position]:
                yield Problem(f"the image set '{name}' is named twice", "expected it once", where)


def _text(prompt: Prompt, place: str) -> Iterator[Problem]:
    if prompt.text is None and prompt.text_file is None:
        yield Problem("neither text nor text_file is set", "expected one of them", place)
    elif prompt.text is not None and prompt.text_file is not None:
        yield Problem("both text and text_file are set", "expected one of them", f"{place}.text_file")
    elif prompt.text is not None and not prompt.text.strip():
        yield Problem("the prompt is blank", "expected text", f"{place}.text")


def _twice(place: str, word: str, names: Sequence[str]) -> Iterator[Problem]:
    """Names that would share an output folder; on some file systems names that differ in case alone do."""
    first: dict[str, str] = {}
    for index, name in enumerate(names):
        earlier = first.setdefault(name.lower(), f"{place}[{index}].name")
        if earlier != f"{place}[{index}].name":
            what = f"a second {word} named '{name}', case aside; {earlier} has the name"
            yield Problem(what, "expected another name", f"{place}[{index}].name")


def _requests(manifest: Manifest) -> Iterator[Problem]:
    base = manifest.request
    yield from _extra_body(base, "request")
    found: dict[str, Problem] = {}
    for index, prompt in enumerate(manifest.prompts):
        own, place = prompt.request, f"prompts[{index}].request"
        yield from _extra_body(own, place)
        for problem in _fields(base, own, place, prompt.name):
            found.setdefault(problem.where, problem)
    yield from found.values()


def _fields(base: Request, own: Request, place: str, prompt: str) -> Iterator[Problem]:
    """Rules between the fields that a prompt's requests send, at the place of the one to change."""
    sent = base.sent_fields() | own.sent_fields()
    form = sent.get("output_format", "png")
    if "model" not in sent:
        expected = "expected model, such as gpt-image-2, here or in the prompt's own request"
        yield Problem(f"no model is set for the prompt '{prompt}'", expected, "request")
    if "output_compression" in sent and form == "png":
        where = f"{'request' if own.output_compression is None else place}.output_compression"
        yield Problem("a png cannot be compressed by degrees", "expected output_format: jpeg or webp with it", where)
    if sent.get("background") == "transparent" and form == "jpeg":
        where = f"{'request' if own.background is None else place}.background"
        yield Problem("a jpeg cannot be transparent", "expected output_format: png or webp with it", where)


def _extra_body(request: Request, place: str) -> Iterator[Problem]:
    for field in request.extra_body:
        where = f"{place}.extra_body.{field}"
        if field in _INPUTS:
            yield Problem(f"'{field}' comes from the item and the prompt", "expected other fields only", where)
        elif field in _NAMED:
            yield Problem(f"'{field}' is a field of request", f"set it in `{place}`", where)
        elif field == "stream":
            yield Problem("streamed responses are not supported", "expected other fields only", where)


def _folders(manifest: Manifest) -> Iterator[Problem]:
    """Folders that no file system could make, told before anything looks for them."""
    for where, folder in (("output.folder", manifest.output.folder), ("output.spill", manifest.output.spill or "")):
        if max(map(_bytes, folder.split("/"))) > LONGEST_NAME or _bytes(folder) > LONGEST_FOLDER:
            what = f"a name of over {LONGEST_NAME} bytes, or over {LONGEST_FOLDER:,} in all"
            yield Problem(what, "expected a shorter one", where)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
