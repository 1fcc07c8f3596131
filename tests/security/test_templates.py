"""A template and a manifest can neither leave their sandbox nor blow up: a named error, at once, in little memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.tasks.templates import compile_template
from tests.e2e.forked import Forked
from tests.e2e.servers import hostile, stage_of

KNOWN = frozenset({"key", "row", "prompt", "matrix", "seed"})
ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ key['__class__'] }}",
    "{{ key|attr('__class__') }}",
    "{{ row.__init__.__globals__ }}",
    "{{ row.__class__ }}",
    "{{ row.values.__class__ }}",
    "{{ row['__dict__'] }}",
    "{{ self.__init__ }}",
    "{{ range.__self__ }}",
    "{{ ''.join.__self__.__class__ }}",
    "{{ '{0.__class__}'.format(key) }}",
    "{{ '{x.__class__}'.format_map({'x': key}) }}",
    "{{ '%(__class__)s' % key }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ lipsum.__globals__['os'].popen('id') }}",
    "{{ namespace(x=1).__class__ }}",
    "{{ config }}",
    "{{ request }}",
    "{% include '/etc/passwd' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}",
    "{{ ().__class__.__bases__[0] }}",
    "{{ [].append.__self__ }}",
    "{{ loop.__class__ }}",
    "{% set x = key.__class__ %}{{ x }}",
    "{{ key|map(attribute='__class__')|list }}",
    "{{ [key]|join(attribute='__class__') }}",
    "{{ [key]|sort(attribute='__class__.__mro__') }}",
    "{{ [key]|first|attr('__doc__') }}",
]
TEN = "{% set a = 'x' * 10000 %}"
BOMBS = {
    "multiply": "{{ 'a' * 10**10 }}",
    "power": "{{ 2 ** (10 ** 9) }}",
    "power-of-powers": "{{ 9 ** 999 ** 9 }}",
    "range": "{% for i in range(10**9) %}x{% endfor %}",
    "nested-loops": "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}",
    "much-text": "{% for i in range(9999) %}{{ 'x' * 9999 }}{% endfor %}",
    "concatenation": TEN + "{% set a = a ~ a %}" * 40 + "{{ a|length }}",
    "concatenation-wide": "{{ (" + " ~ ".join(["'x' * 10000"] * 300) + ")|length }}",
    "sum": TEN + "{% set a = a + a %}" * 40 + "{{ a|length }}",
    "lists": "{% set a = [1] %}" + "{% set a = a + a %}" * 40 + "{{ a|length }}",
    "replace": "{{ 'x'" + "|replace('x', 'x' * 10000)" * 5 + "|length }}",
    "replace-nothing": "{{ ('x' * 10000)|replace('', 'y' * 10000)|length }}",
    "replace-method": "{{ ('x' * 10000).replace('x', 'y' * 10000)|length }}",
    "join": "{{ (range(10000)|list)|join('x' * 10000)|length }}",
    "join-method": "{{ ('x' * 10000).join(['y'] * 10000)|length }}",
    "format": "{{ '%999999999s'|format('x')|length }}",
    "format-operator": "{{ ('%*s' % (999999999, 'x'))|length }}",
    "pad": "{{ key.ljust(10**9)|length }}",
    "fill": "{{ key.zfill(10**9)|length }}",
    "tabs": "{{ ('\t' * 10000).expandtabs(10000)|length }}",
    "translate": "{{ ('a' * 10000).translate({97: 'b' * 10000})|length }}",
    "sorting": "{% for i in range(9999) %}{% set a = range(9999)|list|sort|reverse|list %}{% endfor %}",
    "escaping": "{% set a = '%' * 10000 %}" + "{% set a = a|urlencode %}" * 40 + "{{ a|length }}",
    "deep": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep-not": "{% if " + "not " * 5000 + "1 %}x{% endif %}",
    "deep-list": "{{ " + "[" * 3000 + "]" * 3000 + " }}",
}
ROOM = 800_000_000
"""Bytes of address space that a process may take for any of them."""
SECONDS = 20.0

PROBE = """
import json, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
from pipeline.tasks.faults import FaultError
from pipeline.tasks.templates import Named, compile_template, compile_value
values = {"key": "a", "row": Named("column", {"sku": "s"}), "prompt": "p", "matrix": Named("axis", {}), "seed": 1}
for name, source in json.load(sys.stdin).items():
    for make in (compile_template, compile_value):
        began = time.process_time()
        try:
            told = "made " + repr(make(source, "prompts[0].text", frozenset(values)).render(values))[:200]
        except FaultError as error:
            told = "refused " + str(error)[:200]
        except BaseException as error:
            told = "raised " + repr(error)[:200]
        print(json.dumps([name, told, time.process_time() - began]), flush=True)
"""


def probe(sources: dict[str, str]) -> list[tuple[str, str, float]]:
    """What each came to in a process with little room, and after how many seconds of work."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(ROOM)],
        input=json.dumps(sources),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [(name, told, seconds) for name, told, seconds in map(json.loads, done.stdout.splitlines())]


def test_no_template_leaves_its_sandbox() -> None:
    """Attributes, globals, imports, formats that read attributes, recursion: refused, each in words of its own."""
    told = probe({source: source for source in ESCAPES})
    assert len(told) == 2 * len(ESCAPES)
    assert [one for one in told if not one[1].startswith("refused ")] == []


@pytest.mark.timeout(300)
def test_no_template_blows_up() -> None:
    """Repetition, concatenation, replacing, joining, formats, loops and depth: refused in time and in little memory.

    `~`, `+`, replace and join doubled a text forty times before: terabytes.
    """
    told = probe(BOMBS)
    assert len(told) == 2 * len(BOMBS)
    assert [one for one in told if not one[1].startswith("refused ") or one[2] > SECONDS] == []


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ 'a' ~ 1 ~ none }}", "a1None"),
        ("{{ 'a' + 'b' }}{{ 1 + 2 }}{{ [1] + [2] }}", "ab3[1, 2]"),
        ("{{ 'a-b'|replace('-', ' ') }}{{ 'aab'.replace('a', 'c', 1) }}{{ 'xx'|replace('x', 'y', 1) }}", "a bcabyx"),
        ("{{ ['a', 2]|join(', ') }}{{ '-'.join(['a', 'b']) }}", "a, 2a-b"),
        ("{{ '%03d %s'|format(seed, key) }}{{ '%04d' % 7 }}", "001 a0007"),
        ("{{ key.upper().ljust(3, '.') }}{{ 'x' * 3 }}", "A..xxx"),
        ("{% for i in range(3) %}{{ loop.index ~ loop.cycle('a', 'b') }}{% endfor %}", "1a2b3a"),
    ],
)
def test_what_templates_are_for_works_as_ever(source: str, text: str) -> None:
    """The bounds change no result that they let through."""
    template = compile_template(source, "prompts[0].text", KNOWN)
    assert template.render({"key": "a", "seed": 1}) == text


MANIFESTS = {
    "alias-bomb": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "python-object": "version: !!python/object/apply:os.system ['touch pwned']\n",
    "python-name": "version: !!python/name:os.system\n",
    "deep": "a: " + "[" * 100_000 + "\n",
    "deep-mapping": "".join(" " * depth + "a:\n" for depth in range(2_000)),
    "merge-bomb": "base: &b {x: 1}\nversion: {<<: [" + ", ".join(["*b"] * 50_000) + "]}\n",
    "long-scalar": "version: " + "9" * 1_000_000 + "\n",
    "many-keys": "".join(f"k{number}: 1\n" for number in range(20_000)),
    "anchors": "".join(f"k{number}: &a{number} x\n" for number in range(5_000)),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_no_manifest_runs_code_hangs_or_blows_up(name: str, tmp_path: Path) -> None:
    """Exit 2 with the reason, within a bound of memory and time, nothing run and nothing made."""
    (tmp_path / "job.yaml").write_text(MANIFESTS[name])
    done = subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main()", "validate", "job.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM)),
    )
    assert done.returncode == 2, done.stderr[:2000]
    assert "bug" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"job.yaml"}


def test_a_template_of_a_table_cannot_reach_out_either(retouch: Forked, tmp_path: Path) -> None:
    """What a cell holds is text: Jinja in it is sent as it stands, and `${VAR}` too."""
    with hostile() as server:
        stage = stage_of(tmp_path, server.url, ["x"])
        cell = "{{ ''.__class__ }} ${HOME} {% for i in range(9) %}"
        (stage.folder / "table.csv").write_text(f'sku,text\na,"{cell}"\n')
        table = {"name": "t", "table": "table.csv", "key": "{{ row.sku }}", "images": "photos/a.png"}
        stage.job |= {"image_sets": [table], "prompts": [{"name": "x", "text": "{{ row.text }}"}]}
        retouch.run(stage.write()).ended(0)
    [request] = server.requests
    assert request.prompt == cell
