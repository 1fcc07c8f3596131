"""The steps that run the job: undisturbed, killed, on a bad disk, stopped, intruded upon, twice, in shards."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random
from typing import Any

from tests.model.always import check_world
from tests.model.check import Trial, check_run
from tests.model.foretold import check_foretold
from tests.model.mortal import Crash, Fault, Ran, Script, begin, ended
from tests.model.oracle import wants
from tests.model.server import CLIMATES
from tests.model.world import World


def run(world: World, chance: Random) -> str:
    """A run that nothing disturbs."""
    return _one_run(world, chance, Script(chance.getrandbits(32), climate=_climate(chance)))


def crash(world: World, chance: Random) -> str:
    """A run that is killed, if it lives so long."""
    at = chance.randint(1, world.calls + 10)
    blow = Crash(at, chance.choice(("before", "after", "torn")))
    return _one_run(world, chance, Script(chance.getrandbits(32), climate=_climate(chance), crash=blow))


def fault(world: World, chance: Random) -> str:
    """A run on a disk that refuses something."""
    first, times = chance.choice((0, 0, 1, 2, 5)), chance.choice((1, 2, 1_000_000))
    full = chance.choice((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO))
    faults = [
        chance.choice(
            (
                Fault("write", "parts", full, first, times),
                Fault("open", "parts", full, first, times),
                Fault("fdatasync", "parts", errno.EIO, first, times),
                Fault("fsync", "parts", errno.EIO, first, times),
                Fault("write", "ledger", full, first + 1, times),
                Fault("fdatasync", "ledger", errno.EIO, first + 1, times),
                Fault("link", "names", errno.EIO, first, times),
                Fault("link", "replaced", errno.EIO, first, times),
                Fault("mkdir", "names", full, first, times),
                Fault("fsync", "names", errno.EIO, first, times),
                Fault("unlink", "parts", errno.EIO, first, times),
                Fault("open", "unusable", full, first, times),
            )
        )
    ]
    if chance.random() < 0.4:
        faults.append(Fault(chance.choice(("mkdir", "open", "rename", "fsync")), "spill", errno.EROFS))
    blow = Crash(chance.randint(1, world.calls + 10), "after") if chance.random() < 0.1 else None
    script = Script(chance.getrandbits(32), climate=_climate(chance), faults=tuple(faults), crash=blow)
    return _one_run(world, chance, script)


def interrupt(world: World, chance: Random) -> str:
    """A run that the user stops."""
    stop = (chance.choice((1, 1, 2, 3, 5)), chance.choice(("drain", "cancel")))
    return _one_run(world, chance, Script(chance.getrandbits(32), climate=_climate(chance), stop=stop))


def intrude(world: World, chance: Random) -> str:
    """A run during which somebody puts a file where a result may go."""
    stems = [stem for want in wants(world.wish, world.view(), world.job) for stem in want.stems]
    if not stems:
        return "nothing to intrude upon"
    intruder = (chance.choice((1, 2, 3)), f"{chance.choice(stems)}.png")
    return _one_run(world, chance, Script(chance.getrandbits(32), climate="fair", intruder=intruder))


def again(world: World, chance: Random) -> str:
    """A run, and another that has to do nothing where the first one ended with everything done."""
    said = _one_run(world, chance, Script(chance.getrandbits(32)), flags={"yes": True})
    before, written = world.view(), times(world.out)
    world.step += 1
    trial = _performed(world, {}, Script(chance.getrandbits(32), climate="refusing"))
    # A task that was left without its pictures takes them over once a twin's were bought, so not in the same run.
    if said.endswith("exit 0") and world.wish.rerun.get("missing") != "keep":
        assert not trial.bill, "a finished job was sent again"
        assert [line["type"] for line in trial.own] == ["run", "end"], f"a rerun of a finished job wrote {trial.own}"
        assert before.results() == trial.after.results()
        assert written == times(world.out), "a rerun of a finished job wrote to results"
    return f"{said}; again: exit {trial.ran.summary.get('exit')}"


def shards(world: World, chance: Random) -> str:
    """Two shards at the same time, one of which may be killed."""
    before, old = world.view(), len(world.bill())
    blow = Crash(chance.randint(1, world.calls), "before") if chance.random() < 0.4 else None
    scripts = [Script(chance.getrandbits(32), climate=_climate(chance), crash=blow), Script(chance.getrandbits(32))]
    world.step += 1
    parts = world.wish.parts()
    pids = [
        begin(world.root, parts, {"shard": (number, 2)}, script, world.step - 2 + number)
        for number, script in enumerate(scripts, start=1)
    ]
    rans = [ended(pid, world.root, world.step - 1 + number) for number, pid in enumerate(pids)]
    after = world.view()
    check_world(world, after, crashed=rans[0].killed)
    assert not any(ran.refused for ran in rans if ran.refused != "RebuyError"), rans
    for line in world.bill()[old:]:
        assert line["in_flight"] <= world.wish.concurrency
    assert before.ledgers.keys() <= after.ledgers.keys()
    return f"two shards: {', '.join(_outcome(ran) for ran in rans)}"


def _one_run(world: World, chance: Random, script: Script, flags: dict[str, Any] | None = None) -> str:
    flags = _flags(chance) if flags is None else flags
    try:
        trial = _performed(world, flags, script)
    except Exception as error:
        error.add_note(f"in a run with {flags} and {script} of {world.wish}")
        raise
    if trial.ran.calls:
        world.calls = trial.ran.calls
    blow = f", killed {script.crash.how} call {script.crash.at}" if script.crash else ""
    faults = "".join(f", {f.call} of {f.place} refused ({errno.errorcode[f.number]})" for f in script.faults)
    stop = f", {script.stop[1]} at request {script.stop[0]}" if script.stop else ""
    return f"run {flags} in {script.climate} weather{blow}{faults}{stop}: {_outcome(trial.ran)}"


def _outcome(ran: Ran) -> str:
    return "killed" if ran.killed else ran.refused or f"exit {ran.summary['exit']}"


def _performed(world: World, flags: dict[str, Any], script: Script) -> Trial:
    before, old = world.view(), len(world.bill())
    check_foretold(world, before, {k: v for k, v in flags.items() if k in ("only", "limit", "shard")})
    pid = begin(world.root, world.wish.parts(), flags, script, world.step)
    ran = ended(pid, world.root, world.step)
    after, noted = world.view(), world.bill()[old:]
    for line in noted:
        # Noted first, then put there: a crash can come between.
        if "foreign" in line and (line["foreign"] in after.files or not ran.killed):
            if line["foreign"] not in before.named:
                world.foreign[line["foreign"]] = line["sha256"]
            world.put.setdefault(line["foreign"], set()).add(line["sha256"])
    check_world(world, after, crashed=ran.killed)
    trial = Trial(world.wish, flags, script, before, after, ran, [line for line in noted if "key" in line])
    check_run(trial, world)
    if script.seed % 3 == 0:
        check_foretold(world, after, {})
    return trial


def _climate(chance: Random) -> str:
    return chance.choice(("fair", "fair", *CLIMATES))


def _flags(chance: Random) -> dict[str, Any]:
    flags: dict[str, Any] = {}
    if chance.random() < 0.5:
        flags["yes"] = True
    match chance.randrange(10):
        case 0:
            flags["limit"] = chance.randint(1, 3)
        case 1:
            flags["only"] = chance.choice(("a/*", "*/p0*", "*i1*", "*#2"))
        case 2:
            flags["retry"] = frozenset(chance.choice((("failed",), ("held",), ("failed", "held"))))
        case 3:
            flags["redo"] = chance.choice(("*", "a/i0*", "*/p1*"))
        case 4:
            flags["shard"] = (chance.randint(1, 2), 2)
        case 5:
            flags["concurrency"] = chance.choice((1, 2, 16))
        case 6:
            flags |= {"retry": frozenset({"failed", "held"}), "redo": "*", "limit": 2}
    return flags


def look(world: World, chance: Random) -> str:
    """`plan` and `status` look, and change nothing."""
    view, written = world.view(), times(world.out)
    check_foretold(world, view, {})
    assert written == times(world.out)
    assert view == world.view(), "looking changed something"
    return "plan and status"


def times(out: Path) -> dict[str, int]:
    """When each result was written."""
    paths = (path for path in out.rglob("*") if path.is_file() and ".retouch" not in path.parts)
    return {str(path): path.stat().st_mtime_ns for path in paths if not path.name.startswith((".", "ledger"))}
