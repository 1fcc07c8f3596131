"""Output folders of real runs with one file changed: the ledger's bytes, lines that are whole and cannot be true, and
what else lies in the folder: the input cache, locks, the spill, parts.

A case is one line of JSON, which names the folder and the file, and then that file's bytes.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.command import Said, retouch
from tests.fuzz.folders import LEDGER, WORK, check_kept, folders, lay_out, pictures, scripted, tree
from tests.fuzz.grounds import working_in
from tests.fuzz.harness import Check, Kind
from tests.fuzz.mutate import NUMBERS, TEXTS, changed
from tests.run.conftest import Bench, answer

CACHE = f"{WORK}/out/.retouch/inputs.cache"
READERS = (("status", "--failed"), ("usage", "--by", "model,prompt,set,day,run"), ("plan",), ("verify",))
FLAGS = ((), ("--retry", "failed,held"), ("--redo", "*", "--yes"), ("--yes",))


def case(which: int, file: str, data: bytes, **more: Any) -> bytes:
    """The bytes of a case."""
    return json.dumps({"folder": which, "file": file, **more}).encode() + b"\n" + data


def ledger_bytes(rng: Random) -> bytes:
    """A ledger with bytes changed, cut, or lines in another order."""
    which = rng.choice((0, 0, 1))
    data = folders()[which][LEDGER]
    if rng.random() < 0.02:
        return case(
            which, LEDGER, rng.choice((b"", b"\n", b"{}\n", b"SQLite format 3\0", rng.randbytes(300), b"\0" * 5000))
        )
    if rng.random() < 0.2:
        return case(which, LEDGER, data[: -rng.randrange(1, 900)])
    crc = b',"crc":"00000000"}\n'
    return case(which, LEDGER, changed(rng, data, (folders()[0][LEDGER],), (crc, b"\n", b'{"type":"sent"', b"\r\n")))


def ledger_lines(rng: Random) -> bytes:
    """A ledger whose checksums are right and whose lines say what no run wrote."""
    which = rng.choice((0, 0, 1))
    lines = [json.loads(line) for line in folders()[which][LEDGER].splitlines()]
    for _ in range(rng.choice((1, 1, 2, 4))):
        _bend_lines(rng, lines)
    data = b""
    for line in lines:
        if rng.random() < 0.9:
            line["group"] = len(data)
        data += sealed(line)
    return case(which, LEDGER, data)


def sealed(line: Mapping[str, Any]) -> bytes:
    """A line with its checksum."""
    body = json.dumps({name: value for name, value in line.items() if name != "crc"}, separators=(",", ":"))[
        :-1
    ].encode()
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def _bend_lines(rng: Random, lines: list[Any]) -> None:
    at = rng.randrange(len(lines))
    match rng.randrange(8):
        case 0:
            lines.insert(at, dict(rng.choice(lines)))
        case 1:
            del lines[at]
        case 2:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        case _:
            bent = _bent(rng, lines[at])
            lines[at] = bent if isinstance(bent, dict) else {"type": bent}
    if not lines:
        lines.append({"type": "end"})


_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**32, 2**63, 2**64, -(2**70), 10**400, 0.5, -0.0, 1e308, [], {}, [None], {"a": [1]},
    "../../beyond.txt", "../in/a.png", "/etc/passwd", "", ".", "a/../b", ".retouch/parts/x", "x" * 5000, "a\0b",
    "é\r\nX: y", "2999-01-01T00:00:00.000Z", "0000", "succeeded", "in_doubt", "invalid", "sent", "run", "what",
    "set/a/q",
)  # fmt: skip


def _bent(rng: Random, value: Any) -> Any:
    """A value with something in it of another kind, or impossible."""
    if isinstance(value, dict) and value and rng.random() < 0.95:
        weighty = [
            name for name in ("outputs", "path", "part", "paths", "attempt", "generation", "seconds") if name in value
        ]
        name = rng.choice(weighty) if weighty and rng.random() < 0.5 else rng.choice(list(value))
        if rng.random() < 0.1:
            return {key: entry for key, entry in value.items() if key != name}
        if rng.random() < 0.1:
            return value | {rng.choice(("future", "outputs", "attempt", "")): rng.choice(_ODD)}
        return value | {name: _bent(rng, value[name])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], _bent(rng, value[at]), *value[at + rng.choice((0, 1)) :]]
    if isinstance(value, str) and rng.random() < 0.3:
        return value[: rng.randrange(len(value) + 1)] + rng.choice(TEXTS[:30])
    if isinstance(value, int) and rng.random() < 0.3:
        return rng.choice((value + 1, -value, value * 10**9, value + 10**30))
    return rng.choice((*_ODD, *TEXTS[:30], *NUMBERS[:20]))


def surroundings(rng: Random) -> bytes:
    """Something else in the folder changed: the cache, a lock, the spill, a part, or what no run leaves there."""
    spilled = rng.random() < 0.4
    which = 2 if spilled else rng.choice((0, 1))
    names = (
        [name for name in folders()[which] if name.startswith("spill/")]
        if spilled
        else [CACHE, CACHE, *_LOCKS, *_NAMES]
    )
    name = rng.choice(names)
    if name in _NAMES and rng.random() < 0.5:
        return case(which, name, b"", make=rng.choice(("folder", "link", "fifo", "loop")))
    data = folders()[which].get(name, b"pid 1 on host since 2026")
    if name in _LOCKS:
        data = rng.choice((_signed(rng), changed(rng, _signed(rng)), b"x" * 3_000_000))
    if name.endswith("/line") and rng.random() < 0.6:
        bent = _bent(rng, json.loads(data))
        data = sealed(bent if isinstance(bent, dict) else {})
    else:
        data = changed(rng, data)
    return case(which, name, data)


_LOCKS = (f"{WORK}/out/.lock", f"{WORK}/out/.lock-1-of-2")
_NAMES = (
    f"{WORK}/out/.retouch/parts/x.part", f"{WORK}/out/ledger-1-of-2.jsonl", f"{WORK}/out/ledger-é.jsonl",
    f"{WORK}/out/.retouch/torn", f"{WORK}/out/set", f"{WORK}/out/.retouch/replaced/{'0' * 64}.png", CACHE, *_LOCKS,
    f"{WORK}/out/.reserve", f"{WORK}/out/.retouch/unusable/x", f"{WORK}/out/set/p/a-1.png",
    f"{WORK}/out/.retouch/parts",
    f"{WORK}/out/.retouch/parts/20260101T000001Z-5feceb-0123456789abcdef-99999999999999999999-1.part",
)  # fmt: skip


def _signed(rng: Random) -> bytes:
    pid = rng.choice((*NUMBERS, "1", str(os.getpid()), "4194305", "9" * 900))
    host = rng.choice((os.uname().nodename, "other", "\x1b[2J"))
    return f"pid {pid} on {host} since 2026-01-01 00:00:00Z".encode("utf-8", "replace")


@contextmanager
def opened(folder: Path) -> Iterator[Check]:
    """Checks the verbs that read, and a run."""
    (folder / WORK).mkdir()
    folders()
    with working_in(folder / WORK), scripted(folder / WORK) as bench:
        yield lambda data: check(folder, bench, data)


def check(folder: Path, bench: Bench, data: bytes) -> str:
    """Every verb ends in a named way; nothing outside the folder is touched, nothing that was paid for is lost."""
    head, _, body = data.partition(b"\n")
    try:
        told = json.loads(head)
        lay_out(folder, folders()[told["folder"]], str(told["file"]), body, told.get("make"))
    except (ValueError, LookupError, TypeError, OSError):
        return "not a case"
    before = dict(tree(folder))
    number = zlib.crc32(data)
    form = ("--json",) if number % 2 else ()
    said = [retouch(verb, "job.yaml", *form, *flags, allowed=frozenset({0, 2, 7})) for verb, *flags in READERS]
    after = dict(tree(folder))
    assert after == before, f"a reader changed {sorted(name for name in after if after[name] != before.get(name))}"
    if number % 3 == 0 or told["file"] != LEDGER:
        bench.say = lambda edit: answer(*pictures(edit))
        said.append(retouch("run", "job.yaml", "--json", "--quiet", *FLAGS[number // 3 % len(FLAGS)]))
        check_kept(before, dict(tree(folder)))
    for one in said:
        check_refusal(one)
    return f"exits {' '.join(str(one.code) for one in said)}"


def check_refusal(said: Said) -> None:
    """Exit 7 says where: a file below the folder, or the ledger's line."""
    if said.code == 7 and said.errors:
        assert any("/" in line or "byte" in line for line in said.errors), said.err


KINDS: Sequence[Kind] = (
    Kind("ledger-bytes", ledger_bytes, opened),
    Kind("ledger-lines", ledger_lines, opened),
    Kind("folder", surroundings, opened),
)
