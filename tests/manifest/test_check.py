# ruff: noqa: E501 - an expected message is one line
from __future__ import annotations

import pytest

from tests.manifest.conftest import Faults
from tests.manifest.minimal import minimal

FILES = '{name: a, images: "*.png"}'
PROMPT = "{name: p, text: hi"
BAD = [
    ("image_sets", "[{name: a}]", "4:14: image_sets[0]: neither images nor table is set; expected a glob such as photos/**/*.jpg, or a table"),
    ("image_sets", "[{name: a, table: t.csv, key: k}]", '4:14: image_sets[0].images: a table needs images; expected a template such as "photos/{{ row.file }}"'),
    ("image_sets", "[{name: a, table: t.csv, images: x}]", '4:14: image_sets[0].key: a table needs a key; expected a template such as "{{ row.sku }}"'),
    ("image_sets", "[{name: a, table: t.csv, images: x, key: k, item: folder}]", "4:57: image_sets[0].item: each row of a table is an item; expected `item: row`, or no item"),
    ("image_sets", "[{name: a, images: x, item: row}]", "4:35: image_sets[0].item: rows need a table; expected image or folder, or a table"),
    ("image_sets", f"[{FILES}, {FILES}]", "4:43: image_sets[1].name: a second image set named 'a', case aside; image_sets[0].name has the name; expected another name"),
    ("image_sets", f"[{FILES}, {{name: A, images: x}}]", "4:43: image_sets[1].name: a second image set named 'A', case aside; image_sets[0].name has the name; expected another name"),
    ("prompts", "[{name: p}]", "5:11: prompts[0]: neither text nor text_file is set; expected one of them"),
    ("prompts", "[{name: p, text: a, text_file: b}]", "5:30: prompts[0].text_file: both text and text_file are set; expected one of them"),
    ("prompts", "[{name: p, text: ' '}]", "5:21: prompts[0].text: the prompt is blank; expected text"),
    ("prompts", f"[{PROMPT}}}, {{name: P, text: x}}]", "5:33: prompts[1].name: a second prompt named 'P', case aside; prompts[0].name has the name; expected another name"),
    ("prompts", f"[{PROMPT}, image_sets: [aa]}}]", "5:44: prompts[0].image_sets[0]: no image set 'aa'; did you mean 'a'? known: a"),
    ("prompts", f"[{PROMPT}, image_sets: [a, a]}}]", "5:47: prompts[0].image_sets[1]: the image set 'a' is named twice; expected it once"),
    ("request", "{}", "3:1: request: no model is set for the prompt 'p'; expected model, such as gpt-image-2, here or in the prompt's own request"),
    ("request", "{model: m, output_compression: 50}", "3:21: request.output_compression: a png cannot be compressed by degrees; expected output_format: jpeg or webp with it"),
    ("prompts", f"[{PROMPT}, request: {{output_compression: 50}}}}]", "5:41: prompts[0].request.output_compression: a png cannot be compressed by degrees; expected output_format: jpeg or webp with it"),
    ("request", "{model: m, output_format: jpeg, background: transparent}", "3:42: request.background: a jpeg cannot be transparent; expected output_format: png or webp with it"),
    ("request", "{model: m, extra_body: {prompt: x}}", "3:34: request.extra_body.prompt: 'prompt' comes from the item and the prompt; expected other fields only"),
    ("request", "{model: m, extra_body: {'image[]': x}}", "3:34: request.extra_body.image[]: 'image[]' comes from the item and the prompt; expected other fields only"),
    ("prompts", f"[{PROMPT}, request: {{extra_body: {{n: 2}}}}}}]", "5:54: prompts[0].request.extra_body.n: 'n' is a field of request; set it in `prompts[0].request`"),
    ("request", "{model: m, extra_body: {stream: true}}", "3:34: request.extra_body.stream: streamed responses are not supported; expected other fields only"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "text", "line"), BAD, ids=[line.split(":")[2].strip() for *_, line in BAD])
def test_values_that_do_not_go_together_give_one_clear_line(faults: Faults, section: str, text: str, line: str) -> None:
    """Each rule between values has its line, at the place to change."""
    assert faults(minimal(**{section: text})) == [line]


@pytest.mark.parametrize(
    "changes",
    [
        {"request": "{}", "prompts": f"[{PROMPT}, request: {{model: m}}}}]"},
        {"request": "{model: m, output_compression: 50, output_format: webp}"},
        {"request": "{model: m, background: transparent}"},
        {"request": "{model: m, extra_body: {seed: 5, response_format: b64_json}}"},
        {"image_sets": "[{name: a, table: t.csv, images: x, key: k, item: row}]"},
        {"limits": "{requests_per_minute: 60}", "budget": "{max_cost: 5.25, max_cost_per_day: 1, max_images: 5}"},
    ],
    ids=str,
)
def test_values_that_go_together_are_accepted(faults: Faults, changes: dict[str, str]) -> None:
    """The rules refuse nothing that works."""
    assert faults(minimal(**changes)) == []


def test_one_wrong_field_of_many_prompts_is_told_once(faults: Faults) -> None:
    """A fault of the job's own request is not repeated for each prompt."""
    text = minimal(request="{}", prompts=f"[{PROMPT}}}, {{name: q, text: x}}]")
    assert len(faults(text)) == 1
