# ruff: noqa: E501 - an expected message is one line
"""A manifest whose YAML is fine and whose values are not: keys, types, ranges, and rules between values."""

from __future__ import annotations

import pytest

from tests.bad_input.conftest import Refused
from tests.bad_input.row import Row, job, of_job, of_text

SET = '[{name: shoes, images: "in/*.png", '
PROMPT = "[{name: white, text: White background, "

KEYS = [
    of_job(
        "an unknown key",
        "job.yaml:7:1: promts: unknown key 'promts'; did you mean 'prompts'? known keys: version, name, endpoint, endpoints, request, image_sets, prompts, order, limits, retries, stop_on, budget, rerun, on_invalid, output",
        promts="[]",
    ),
    of_job(
        "an unknown key like none",
        "job.yaml:7:1: zebra: unknown key 'zebra'; known keys: version, name, endpoint, endpoints, request, image_sets, prompts, order, limits, retries, stop_on, budget, rerun, on_invalid, output",
        zebra="1",
    ),
    of_job(
        "a key in capitals",
        "job.yaml:7:1: Limits: unknown key 'Limits'; did you mean 'limits'? known keys: version, name, endpoint, endpoints, request, image_sets, prompts, order, limits, retries, stop_on, budget, rerun, on_invalid, output",
        Limits="{concurrency: 3}",
    ),
    of_job(
        "an unknown key of request",
        "job.yaml:3:11: request.modell: unknown key 'modell'; did you mean 'model'? known keys: model, size, quality, n, background, output_format, output_compression, input_fidelity, moderation, user, extra_body",
        request="{modell: gpt-image-1.5}",
    ),
    of_job(
        "an unknown key of a set",
        "job.yaml:4:28: image_sets[0].image: unknown key 'image'; did you mean 'images'? known keys: name, images, table, key, exclude, min_age, item, mask, references, allow_empty",
        image_sets='[{name: shoes, image: "in/*.png"}]',
    ),
    of_job(
        "an unknown key of a prompt",
        "job.yaml:5:25: prompts[0].prompt: unknown key 'prompt'; known keys: name, text, text_file, image_sets, references, mask, matrix, request, repeat",
        prompts="[{name: white, prompt: White background}]",
    ),
    of_job(
        "an unknown key of limits",
        "job.yaml:7:10: limits.concurency: unknown key 'concurency'; did you mean 'concurrency'? known keys: concurrency, requests_per_minute, images_per_minute, tokens_per_minute, timeout, drain",
        limits="{concurency: 3}",
    ),
    of_job(
        "an unknown key of output",
        "job.yaml:6:1: output.folder: is missing; expected text",
        "job.yaml:6:10: output.dir: unknown key 'dir'; known keys: folder, path, spill, check",
        output="{dir: out}",
    ),
    of_job(
        "an unknown key of a table",
        "job.yaml:4:43: image_sets[0].table.path: is missing; expected text",
        "job.yaml:4:51: image_sets[0].table.file: unknown key 'file'; known keys: path, delimiter, encoding",
        image_sets="[{name: a, key: k, images: x, table: {file: a.csv}}]",
    ),
    of_job(
        "a literal key",
        "job.yaml:7:1: api_key: unknown key 'api_key'; never put the key in the manifest; name the variable that holds it with api_key_env",
        api_key="sk-abcdefghijklmnop1234",
    ),
    of_job(
        "a key of another's format",
        "job.yaml:7:12: endpoint.token: unknown key 'token'; never put the key in the manifest; name the variable that holds it with api_key_env",
        endpoint="{token: sk-abcdefghijklmnop1234}",
    ),
    of_text("no version", "job.yaml:1:1: version: is missing; expected 1", text=job().replace("version: 1\n", "")),
    of_text(
        "no name",
        "job.yaml:1:1: name: is missing; expected a name of letters, digits, '_', '.' and single '-', a letter or digit first, at most 80 characters",
        text=job().replace("name: shop\n", ""),
    ),
    of_text(
        "no image sets", "job.yaml:4:1: image_sets: is missing; expected a list of mappings", text=job(image_sets="")
    ),
    of_text(
        "no prompts",
        "job.yaml:1:1: prompts: is missing; expected a list of mappings",
        text=job().replace("prompts:", "# prompts:"),
    ),
    of_text(
        "no output",
        "job.yaml:1:1: output: is missing; expected a mapping with folder, path, spill, check",
        text=job().replace("output:", "# output:"),
    ),
    of_job("no output folder", "job.yaml:6:1: output.folder: is missing; expected text", output="{spill: spill}"),
    of_job(
        "no model",
        "job.yaml:3:1: request: no model is set for the prompt 'white'; expected model, such as gpt-image-2, here or in the prompt's own request",
        request="{size: 1024x1024}",
    ),
    of_text(
        "only a version",
        "job.yaml:1:1: name: is missing; expected a name of letters, digits, '_', '.' and single '-', a letter or digit first, at most 80 characters",
        "job.yaml:1:1: image_sets: is missing; expected a list of mappings",
        "job.yaml:1:1: prompts: is missing; expected a list of mappings",
        "job.yaml:1:1: output: is missing; expected a mapping with folder, path, spill, check",
        text="version: 1\n",
    ),
]
TYPES = [
    of_job("version 2", "job.yaml:1:1: version: 2 is not known; expected 1", version="2"),
    of_job(
        "version as text", "job.yaml:1:1: version: '1' is not known; expected 1; write it without quotes", version="'1'"
    ),
    of_job(
        "no as a truth value",
        "job.yaml:4:48: image_sets[0].allow_empty: 'no' is text; expected true or false",
        image_sets=f"{SET}allow_empty: no}}]",
    ),
    of_job(
        "yes as a truth value",
        "job.yaml:7:12: endpoint.allow_http: the value is text; expected true or false",
        endpoint="{allow_http: yes}",
    ),
    of_job(
        "on as a truth value",
        "job.yaml:4:48: image_sets[0].allow_empty: 'on' is text; expected true or false",
        image_sets=f"{SET}allow_empty: on}}]",
    ),
    of_job(
        "True as a truth value",
        "job.yaml:4:48: image_sets[0].allow_empty: 'True' is text; expected true or false",
        image_sets=f"{SET}allow_empty: True}}]",
    ),
    of_job(
        "a clock as a duration",
        "job.yaml:7:10: limits.timeout: '12:30:45' does not fit; expected a duration above 0, such as 90s, 50m or 2h",
        limits="{timeout: 12:30:45}",
    ),
    of_job(
        "minutes and seconds as a size",
        "job.yaml:3:21: request.size: '12:30' does not fit; expected auto, or WIDTHxHEIGHT such as 1024x1024",
        request="{model: m, size: 12:30}",
    ),
    of_job(
        "an underscore in a number",
        "job.yaml:7:10: limits.concurrency: '1_000' is text; expected a whole number from 1 to 4096",
        limits="{concurrency: 1_000}",
    ),
    of_job(
        "a date as a name",
        "job.yaml:2:1: name: '2024-01-01 12:00' does not fit; expected a name of letters, digits, '_', '.' and single '-', a letter or digit first, at most 80 characters",
        name="2024-01-01 12:00",
    ),
    of_job(
        "a number as a name",
        "job.yaml:2:1: name: 2024 is a whole number; expected a name of letters, digits, '_', '.' and single '-', a letter or digit first, at most 80 characters; write it in quotes",
        name="2024",
    ),
    of_job(
        "a date as a folder of numbers",
        "job.yaml:6:10: output.folder: 20240101 is a whole number; expected text; write it in quotes",
        output="{folder: 20240101}",
    ),
    of_job(
        "an octal number",
        "job.yaml:7:10: limits.concurrency: '010' is text; expected a whole number from 1 to 4096",
        limits="{concurrency: 010}",
    ),
    of_job(
        "a hexadecimal number",
        "job.yaml:7:10: limits.concurrency: '0x10' is text; expected a whole number from 1 to 4096",
        limits="{concurrency: 0x10}",
    ),
    of_job(
        "infinity",
        "job.yaml:7:10: limits.timeout: '.inf' does not fit; expected a duration above 0, such as 90s, 50m or 2h",
        limits="{timeout: .inf}",
    ),
    of_job(
        "not a number",
        "job.yaml:7:11: stop_on.failures: '.nan' does not fit; expected a percentage such as 20%, or a number from 0 to 1",
        stop_on="{failures: .nan}",
    ),
    of_job(
        "a number beyond all",
        "job.yaml:7:10: limits.concurrency: '99999999999999999999999999999999' is text; expected a whole number from 1 to 4096",
        limits="{concurrency: 99999999999999999999999999999999}",
    ),
    of_job(
        "1e999",
        "job.yaml:7:10: limits.timeout: '1e999' does not fit; expected a duration above 0, such as 90s, 50m or 2h",
        limits="{timeout: 1e999}",
    ),
    of_job("a list for a mapping", "job.yaml:3:1: request: this is a list; expected a mapping", request="[model]"),
    of_job(
        "text for a mapping",
        "job.yaml:3:1: request: 'gpt-image-1.5' is text; expected a mapping",
        request="gpt-image-1.5",
    ),
    of_job(
        "a mapping for a list",
        "job.yaml:4:1: image_sets: this is a mapping; expected a list of mappings",
        image_sets='{name: shoes, images: "in/*.png"}',
    ),
    of_job(
        "a list for text",
        "job.yaml:5:25: prompts[0].text: this is a list; expected text",
        prompts="[{name: white, text: [White]}]",
    ),
    of_job(
        "a truth value for text",
        "job.yaml:5:25: prompts[0].text: true is a truth value; expected text; write it in quotes",
        prompts="[{name: white, text: true}]",
    ),
    of_job("a null prompt", "job.yaml:5:11: prompts[0]: this is empty; expected a mapping", prompts="[null]"),
    of_job(
        "a number among globs",
        "job.yaml:4:49: image_sets[0].images[1]: 7 is a whole number; expected text; write it in quotes",
        image_sets='[{name: shoes, images: ["in/*.png", 7]}]',
    ),
    of_job(
        "a nested matrix",
        "job.yaml:5:66: prompts[0].matrix.light.dawn: this is a mapping; expected text, a whole number, a number or true or false",
        prompts=f"{PROMPT}matrix: {{light: {{dawn: {{text: soft}}}}}}}}]",
    ),
    of_job(
        "a null in a matrix",
        "job.yaml:5:66: prompts[0].matrix.light[0]: this is empty; expected text, a number, true or false",
        prompts=f"{PROMPT}matrix: {{light: [null]}}}}]",
    ),
    of_job(
        "text as a header",
        "job.yaml:7:12: endpoint.headers: the value is text; expected a mapping",
        endpoint="{headers: X-Team}",
    ),
    of_job(
        "a number as a query's value",
        "job.yaml:7:20: endpoint.query.v: the value is a whole number; expected text; write it in quotes",
        endpoint="{query: {v: 5}}",
    ),
]
RANGES = [
    of_job(
        "concurrency 0",
        "job.yaml:7:10: limits.concurrency: 0 is too small; expected a whole number from 1 to 4096",
        limits="{concurrency: 0}",
    ),
    of_job(
        "concurrency -1",
        "job.yaml:7:10: limits.concurrency: -1 is too small; expected a whole number from 1 to 4096",
        limits="{concurrency: -1}",
    ),
    of_job(
        "concurrency 1e9",
        "job.yaml:7:10: limits.concurrency: 1e9 is a number; expected a whole number from 1 to 4096",
        limits="{concurrency: 1e9}",
    ),
    of_job(
        "concurrency 1000000000",
        "job.yaml:7:10: limits.concurrency: 1000000000 is too large; expected a whole number from 1 to 4096",
        limits="{concurrency: 1000000000}",
    ),
    of_job(
        "concurrency abc",
        "job.yaml:7:10: limits.concurrency: 'abc' is text; expected a whole number from 1 to 4096",
        limits="{concurrency: abc}",
    ),
    of_job(
        "concurrency 2.5",
        "job.yaml:7:10: limits.concurrency: 2.5 is a number; expected a whole number from 1 to 4096",
        limits="{concurrency: 2.5}",
    ),
    of_job(
        "concurrency true",
        "job.yaml:7:10: limits.concurrency: true is a truth value; expected a whole number from 1 to 4096",
        limits="{concurrency: true}",
    ),
    of_job(
        "timeout 0",
        "job.yaml:7:10: limits.timeout: 0 is too small; expected a duration above 0, such as 90s, 50m or 2h",
        limits="{timeout: 0}",
    ),
    of_job(
        "timeout 0s",
        "job.yaml:7:10: limits.timeout: '0s' is too small; expected a duration above 0, such as 90s, 50m or 2h",
        limits="{timeout: 0s}",
    ),
    of_job(
        "timeout -5s",
        "job.yaml:7:10: limits.timeout: '-5s' does not fit; expected a duration above 0, such as 90s, 50m or 2h",
        limits="{timeout: -5s}",
    ),
    of_job(
        "timeout 5 minutes",
        "job.yaml:7:10: limits.timeout: '5 minutes' does not fit; expected a duration above 0, such as 90s, 50m or 2h",
        limits="{timeout: 5 minutes}",
    ),
    of_job(
        "timeout 5M",
        "job.yaml:7:10: limits.timeout: '5M' does not fit; expected a duration above 0, such as 90s, 50m or 2h",
        limits="{timeout: 5M}",
    ),
    of_job(
        "timeout too long to write",
        "job.yaml:7:10: limits.timeout: '9999999999999999999999999999999999999999…' is too large; expected a duration above 0, such as 90s, 50m or 2h",
        limits=f"{{timeout: '{'9' * 400}d'}}",
    ),
    of_job(
        "drain 0",
        "job.yaml:7:10: limits.drain: '0s' is too small; expected a duration above 0, such as 90s, 50m or 2h",
        limits="{drain: 0s}",
    ),
    of_job(
        "a rate of 0",
        "job.yaml:7:10: limits.images_per_minute: 0 is too small; expected a whole number above 0",
        limits="{images_per_minute: 0}",
    ),
    of_job(
        "no attempts",
        "job.yaml:7:11: retries.max_attempts: 0 is too small; expected a whole number from 1 to 100",
        retries="{max_attempts: 0}",
    ),
    of_job(
        "101 attempts",
        "job.yaml:7:11: retries.max_attempts: 101 is too large; expected a whole number from 1 to 100",
        retries="{max_attempts: 101}",
    ),
    of_job(
        "an unknown way to treat doubt",
        "job.yaml:7:11: retries.in_doubt: 'never' is not known; expected retry or hold",
        retries="{in_doubt: never}",
    ),
    of_job(
        "a share over 1",
        "job.yaml:7:11: stop_on.failures: 1.5 is too large; expected a percentage such as 20%, or a number from 0 to 1",
        stop_on="{failures: 1.5}",
    ),
    of_job(
        "a share over 100%",
        "job.yaml:7:11: stop_on.in_doubt: '101%' is too large; expected a percentage such as 20%, or a number from 0 to 1",
        stop_on="{in_doubt: 101%}",
    ),
    of_job(
        "a share below 0",
        "job.yaml:7:9: rerun.limit: '-1%' does not fit; expected a percentage such as 20%, or a number from 0 to 1",
        rerun="{limit: -1%}",
    ),
    of_job(
        "a share in words",
        "job.yaml:7:9: rerun.limit: 'half' does not fit; expected a percentage such as 20%, or a number from 0 to 1",
        rerun="{limit: half}",
    ),
    of_job(
        "a budget in words",
        "job.yaml:7:10: budget.max_cost: 'five' does not fit; expected a number above 0",
        budget="{max_cost: five}",
    ),
    of_job(
        "a budget of 0 dollars",
        "job.yaml:7:10: budget.max_cost: 0 is too small; expected a number above 0",
        budget="{max_cost: 0}",
    ),
    of_job(
        "a budget of 0 images",
        "job.yaml:7:10: budget.max_images: 0 is too small; expected a whole number above 0",
        budget="{max_images: 0}",
    ),
    of_job(
        "n 0",
        "job.yaml:3:21: request.n: 0 is too small; expected a whole number from 1 to 10",
        request="{model: m, n: 0}",
    ),
    of_job(
        "n 11",
        "job.yaml:3:21: request.n: 11 is too large; expected a whole number from 1 to 10",
        request="{model: m, n: 11}",
    ),
    of_job(
        "n as text",
        "job.yaml:3:21: request.n: '3' is text; expected a whole number from 1 to 10; write it without quotes",
        request="{model: m, n: '3'}",
    ),
    of_job(
        "a size without x",
        "job.yaml:3:21: request.size: 1024 is a whole number; expected auto, or WIDTHxHEIGHT such as 1024x1024; write it in quotes",
        request="{model: m, size: 1024}",
    ),
    of_job(
        "a size with *",
        "job.yaml:3:21: request.size: '1024*1024' does not fit; expected auto, or WIDTHxHEIGHT such as 1024x1024",
        request="{model: m, size: 1024*1024}",
    ),
    of_job(
        "a size of 0",
        "job.yaml:3:21: request.size: '0x1024' does not fit; expected auto, or WIDTHxHEIGHT such as 1024x1024",
        request="{model: m, size: 0x1024}",
    ),
    of_job(
        "an unknown quality",
        "job.yaml:3:21: request.quality: 'hi' is not known; did you mean 'high'? expected auto, low, medium, high, xhigh or max",
        request="{model: m, quality: hi}",
    ),
    of_job(
        "an unknown background",
        "job.yaml:3:21: request.background: 'white' is not known; expected auto, transparent or opaque",
        request="{model: m, background: white}",
    ),
    of_job(
        "jpg as a format",
        "job.yaml:3:21: request.output_format: 'jpg' is not known; did you mean 'jpeg'? expected png, jpeg or webp",
        request="{model: m, output_format: jpg}",
    ),
    of_job(
        "compression of a png",
        "job.yaml:3:21: request.output_compression: a png cannot be compressed by degrees; expected output_format: jpeg or webp with it",
        request="{model: m, output_compression: 50}",
    ),
    of_job(
        "compression 101",
        "job.yaml:3:42: request.output_compression: 101 is too large; expected a whole number from 0 to 100",
        request="{model: m, output_format: jpeg, output_compression: 101}",
    ),
    of_job(
        "a transparent jpeg",
        "job.yaml:3:42: request.background: a jpeg cannot be transparent; expected output_format: png or webp with it",
        request="{model: m, output_format: jpeg, background: transparent}",
    ),
    of_job("an empty model", "job.yaml:3:11: request.model: '' is empty; expected text", request="{model: ''}"),
    of_job(
        "an input in extra_body",
        "job.yaml:3:34: request.extra_body.prompt: 'prompt' comes from the item and the prompt; expected other fields only",
        request="{model: m, extra_body: {prompt: x}}",
    ),
    of_job(
        "a field of request in extra_body",
        "job.yaml:3:34: request.extra_body.quality: 'quality' is a field of request; set it in `request`",
        request="{model: m, extra_body: {quality: low}}",
    ),
    of_job(
        "a streamed answer",
        "job.yaml:3:34: request.extra_body.stream: streamed responses are not supported; expected other fields only",
        request="{model: m, extra_body: {stream: true}}",
    ),
    of_job(
        "a repeat of 0",
        "job.yaml:5:49: prompts[0].repeat: 0 is too small; expected a whole number from 1 to 10000",
        prompts=f"{PROMPT}repeat: 0}}]",
    ),
    of_job(
        "a repeat of 10,001",
        "job.yaml:5:49: prompts[0].repeat: 10001 is too large; expected a whole number from 1 to 10000",
        prompts=f"{PROMPT}repeat: 10001}}]",
    ),
    of_job("an unknown order", "job.yaml:7:1: order: 'random' is not known; expected items or prompts", order="random"),
    of_job(
        "an unknown on_invalid",
        "job.yaml:7:1: on_invalid: 'ignore' is not known; expected skip or stop",
        on_invalid="ignore",
    ),
    of_job(
        "an unknown item",
        "job.yaml:4:48: image_sets[0].item: 'file' is not known; did you mean 'folder'? expected image, folder or row",
        image_sets=f"{SET}item: file}}]",
    ),
    of_job(
        "min_age without a unit that is known",
        "job.yaml:4:48: image_sets[0].min_age: '1 week' does not fit; expected a duration above 0, such as 90s, 50m or 2h",
        image_sets=f"{SET}min_age: 1 week}}]",
    ),
    of_job(
        "max_response 0",
        "job.yaml:7:12: endpoint.max_response: the value is too small; expected a size above 0, such as 320MB or 64KiB",
        endpoint="{max_response: 0}",
    ),
    of_job(
        "max_response in words",
        "job.yaml:7:12: endpoint.max_response: the value does not fit; expected a size above 0, such as 320MB or 64KiB",
        endpoint="{max_response: 3 gigs}",
    ),
    of_job(
        "body xml",
        "job.yaml:7:12: endpoint.body: the value is not known; expected multipart or json",
        endpoint="{body: xml}",
    ),
    of_job(
        "fetch_urls always",
        "job.yaml:7:12: endpoint.fetch_urls: the value is not known; expected never or same-host",
        endpoint="{fetch_urls: always}",
    ),
    of_job(
        "a delimiter of two characters",
        "job.yaml:4:64: image_sets[0].table.delimiter: '::' is longer than 1 character; expected one character, such as ;",
        image_sets="[{name: a, key: k, images: x, table: {path: a.csv, delimiter: '::'}}]",
    ),
]
RULES = [
    of_job("two sets of one name", "job.yaml:4:42: image_sets[1].name: a second image set named 'A', case aside; image_sets[0].name has the name; expected another name", image_sets='[{name: a, images: "in/*"}, {name: A, images: "in/*"}]'),
    of_job("two prompts of one name", "job.yaml:5:32: prompts[1].name: a second prompt named 'p', case aside; prompts[0].name has the name; expected another name", prompts="[{name: p, text: a}, {name: p, text: b}]"),
    of_job("a name with --", "job.yaml:5:12: prompts[0].name: 'a--b' does not fit; expected a name of letters, digits, '_', '.' and single '-', a letter or digit first, at most 80 characters", prompts="[{name: a--b, text: x}]"),
    of_job("a name with a slash", "job.yaml:4:15: image_sets[0].name: 'a/b' does not fit; expected a name of letters, digits, '_', '.' and single '-', a letter or digit first, at most 80 characters", image_sets='[{name: a/b, images: "in/*"}]'),
    of_job("a name of dots", "job.yaml:2:1: name: '..' does not fit; expected a name of letters, digits, '_', '.' and single '-', a letter or digit first, at most 80 characters", name=".."),
    of_job("a name that begins with -", "job.yaml:5:12: prompts[0].name: '-x' does not fit; expected a name of letters, digits, '_', '.' and single '-', a letter or digit first, at most 80 characters", prompts="[{name: -x, text: x}]"),
    of_job("a name of 81 characters", "job.yaml:2:1: name: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…' is longer than 80 characters; expected a name of letters, digits, '_', '.' and single '-', a letter or digit first, at most 80 characters", name="x" * 81),
    of_job("a name beyond ASCII", "job.yaml:2:1: name: 'café' does not fit; expected a name of letters, digits, '_', '.' and single '-', a letter or digit first, at most 80 characters", name="café"),
    of_job("an empty name", "job.yaml:2:1: name: '' does not fit; expected a name of letters, digits, '_', '.' and single '-', a letter or digit first, at most 80 characters", name="''"),
    of_job("an unknown image set", "job.yaml:5:62: prompts[0].image_sets[0]: no image set 'shoe'; did you mean 'shoes'? known: shoes", prompts=f"{PROMPT}image_sets: [shoe]}}]"),
    of_job("an image set named twice", "job.yaml:5:69: prompts[0].image_sets[1]: the image set 'shoes' is named twice; expected it once", prompts=f"{PROMPT}image_sets: [shoes, shoes]}}]"),
    of_job("no image set", "job.yaml:5:49: prompts[0].image_sets: this is empty; expected a list of the names of image sets", prompts=f"{PROMPT}image_sets: []}}]"),
    of_job("no prompts at all", "job.yaml:5:1: prompts: this is empty; expected a list of mappings", prompts="[]"),
    of_job("a prompt without text", "job.yaml:5:11: prompts[0]: neither text nor text_file is set; expected one of them", prompts="[{name: white}]"),
    of_job("a prompt with two texts", "job.yaml:5:49: prompts[0].text_file: both text and text_file are set; expected one of them", prompts=f"{PROMPT}text_file: p.txt}}]"),
    of_job("an empty prompt", "job.yaml:5:25: prompts[0].text: '' is empty; expected text", prompts="[{name: white, text: ''}]"),
    of_job("a blank prompt", "job.yaml:5:25: prompts[0].text: the prompt is blank; expected text", prompts="[{name: white, text: '  '}]"),
    of_job("a set without images", "job.yaml:4:14: image_sets[0]: neither images nor table is set; expected a glob such as photos/**/*.jpg, or a table", image_sets="[{name: shoes}]"),
    of_job("a set with an empty list of images", "job.yaml:4:28: image_sets[0].images: this is empty; expected text or a list of text", image_sets="[{name: shoes, images: []}]"),
    of_job("a set with an empty glob", "job.yaml:4:28: image_sets[0].images: '' is empty; expected text or a list of text", image_sets="[{name: shoes, images: ''}]"),
    of_job("a table without a key", 'job.yaml:4:14: image_sets[0].key: a table needs a key; expected a template such as "{{ row.sku }}"', image_sets="[{name: bags, table: bags.csv, images: '{{ row.file }}'}]"),
    of_job("a table without images", 'job.yaml:4:14: image_sets[0].images: a table needs images; expected a template such as "photos/{{ row.file }}"', image_sets="[{name: bags, table: bags.csv, key: '{{ row.sku }}'}]"),
    of_job("a table of folders", "job.yaml:4:57: image_sets[0].item: each row of a table is an item; expected `item: row`, or no item", image_sets="[{name: b, table: b.csv, key: k, images: x, item: folder}]"),
    of_job("rows without a table", "job.yaml:4:48: image_sets[0].item: rows need a table; expected image or folder, or a table", image_sets=f"{SET}item: row}}]"),
    of_job("an empty axis", "job.yaml:5:58: prompts[0].matrix.light: the axis is empty; expected {label: text} or a list of short values", prompts=f"{PROMPT}matrix: {{light: []}}}}]"),
    of_job("a value without letters", "job.yaml:5:66: prompts[0].matrix.light[0]: no label can be made of this value: it has no ASCII letter or digit; expected {label: text}", prompts=f"{PROMPT}matrix: {{light: ['✨']}}}}]"),
    of_job("two values of one label", "job.yaml:5:76: prompts[0].matrix.light[1]: the label 'warm-sun' is that of prompts[0].matrix.light[0] too, case aside; expected {label: text}", prompts=f"{PROMPT}matrix: {{light: [Warm sun, warm-sun]}}}}]"),
    of_job("a value too long for a label", "job.yaml:5:66: prompts[0].matrix.light[0]: the value is too long to be its own label, which is at most 40 characters; expected {label: text}", prompts=f"{PROMPT}matrix: {{light: [{'soft ' * 9}]}}}}]"),
    of_job("a label with a slash", "job.yaml:5:66: prompts[0].matrix.light.a/b: 'a/b' does not fit; expected letters, digits, '_', '.' and single '-', a letter or digit first", prompts=f"{PROMPT}matrix: {{light: {{a/b: x}}}}}}]"),
    of_job("an axis with a space", "job.yaml:5:58: prompts[0].matrix.the light: 'the light' does not fit; expected letters, digits, '_', '.' and single '-', a letter or digit first", prompts=f"{PROMPT}matrix: {{the light: [a]}}}}]"),
    of_job("a text file that is not there", "job.yaml:5:25: prompts[0].text_file: none.txt cannot be read: No such file or directory; expected a readable file", prompts="[{name: white, text_file: none.txt}]"),
    Row("a text file that is a folder", ("job.yaml:5:25: prompts[0].text_file: in is a folder; expected a file",), {"job.yaml": job(prompts="[{name: white, text_file: in}]")}),
    Row("a text file in latin-1", ("job.yaml:5:25: prompts[0].text_file: p.txt is not UTF-8 at byte 3; save it as UTF-8",), {"job.yaml": job(prompts="[{name: white, text_file: p.txt}]"), "p.txt": b"caf\xe9"}),
    Row("an empty text file", ("job.yaml:5:25: prompts[0].text_file: p.txt is empty; expected the prompt's text",), {"job.yaml": job(prompts="[{name: white, text_file: p.txt}]"), "p.txt": b""}),
    Row("a text file with a NUL", ("job.yaml:5:25: prompts[0].text_file: p.txt holds the control character U+0000; expected plain text",), {"job.yaml": job(prompts="[{name: white, text_file: p.txt}]"), "p.txt": b"a\0"}),
    Row("a text file over 1 MB", ("job.yaml:5:25: prompts[0].text_file: p.txt is longer than 1,000,000 bytes; expected less",), {"job.yaml": job(prompts="[{name: white, text_file: p.txt}]"), "p.txt": b"x" * 1_000_001}),
    of_job("an unset variable", "job.yaml:6:10: output.folder: the variable NOWHERE is not set; set it, or give a default: ${NOWHERE:-default}", output="{folder: '${NOWHERE}/out'}"),
    of_job("a variable left open", "job.yaml:6:10: output.folder: '${' without a variable's name and '}'; expected ${NAME} or ${NAME:-default}, or $${ for '${'", output="{folder: '${NOWHERE/out'}"),
    of_job("a variable of a bad name", "job.yaml:6:10: output.folder: '${' without a variable's name and '}'; expected ${NAME} or ${NAME:-default}, or $${ for '${'", output="{folder: '${no-where}/out'}"),
    of_job("a home's tilde", "job.yaml:6:10: output.folder: '~' is not expanded in a path; expected ${HOME} instead of it", output="{folder: ~/out}"),
    of_job("an unset variable of a glob", "job.yaml:4:28: image_sets[0].images: the variable PHOTOS is not set; set it, or give a default: ${PHOTOS:-default}", image_sets="[{name: shoes, images: '${PHOTOS}/*.png'}]"),
]  # fmt: skip


@pytest.mark.parametrize("row", [*KEYS, *TYPES, *RANGES, *RULES], ids=str)
def test_a_manifest_with_a_wrong_value_is_refused(refused: Refused, row: Row) -> None:
    """One line says at which key, what is wrong and what was expected; exit 2, nothing sent."""
    refused(row)
