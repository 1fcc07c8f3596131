"""The steps in which a person changes files: the items' images, the results, and what is not ours."""

from __future__ import annotations

import shutil
import time
from random import Random

from tests.model.mortal import foreign
from tests.model.oracle import wants
from tests.model.server import digest, png
from tests.model.world import GARBAGE, View, World

IMAGE_DEEDS = ("bytes", "bytes", "touch", "spoil", "rename", "remove", "add", "add", "swap", "restore", "brand")
RESULT_DEEDS = ("delete", "delete", "delete", "edit", "edit same size", "rename", "all")


def edit_input(world: World, chance: Random) -> str:
    """An input is changed, touched, spoiled, renamed, removed, added, swapped or put back."""
    time.sleep(0.006)  # so that the kernel gives the file another time than the last reading's
    paths = world.inputs()
    path = chance.choice(paths) if paths else "in/a/i0.png"
    what = chance.choice(IMAGE_DEEDS)
    new = f"in/{chance.choice('ab')}/i{chance.randrange(5)}.png"
    other = chance.choice(paths) if paths else path
    number = int(path[-5]) + (50 if path[3] == "b" else 0)
    if what in ("bytes", "restore", "add", "spoil") or not paths:
        data = {"bytes": png(chance.randrange(100, 104), "8x8", chance.choice((0, 0, 5))), "spoil": GARBAGE}.get(what)
        path = new if what == "add" else path
        world.write_input(path, data or png(number, "8x8", 0))
    elif what == "touch":
        world.touch(path)
    elif what == "rename":
        (world.job / path).rename(world.job / new)
    elif what == "remove" and len(paths) > 1:
        (world.job / path).unlink()
    elif what == "swap" and other != path:
        one, two = (world.job / path).read_bytes(), (world.job / other).read_bytes()
        world.write_input(path, two)
        world.write_input(other, one)
    elif what == "brand":
        world.write_input("brand.png", png(chance.choice((999, 998)), "8x8", 0))
    return f"input: {what} {path}"


def edit_output(world: World, chance: Random) -> str:
    """A result is deleted, edited by hand, renamed, or all of them are gone."""
    view = world.view()
    results = sorted(view.results())
    if not results:
        return "no output to edit"
    path = chance.choice(results)
    what = chance.choice(RESULT_DEEDS)
    gone = [path]
    if what in ("edit", "edit same size"):
        _take_away(world, view, gone, unlink=False)
        _put(world, path, f"by hand {world.step}".encode().ljust(view.files[path].size, b"."))
        if what == "edit":
            _put(world, path, f"by hand {world.step}".encode())
    elif what == "rename":
        target = chance.choice(results)
        if target != path:
            _take_away(world, view, [target], unlink=True)
            (world.out / path).rename(world.out / target)
            world.put.setdefault(target, set()).add(view.files[path].sha256)
            _forget(world, path)
    else:
        gone = results if what == "all" else gone
        _take_away(world, view, gone, unlink=True)
    return f"output: {what} {path}"


def _take_away(world: World, view: View, paths: list[str], *, unlink: bool) -> None:
    for path in paths:
        world.destroyed.add(view.files[path].sha256)
        _forget(world, path)
        if unlink:
            (world.out / path).unlink()


def _forget(world: World, path: str) -> None:
    world.put.pop(path, None)
    world.foreign.pop(path, None)


def _put(world: World, path: str, data: bytes) -> None:
    """The user writes a file, into the one that is there: whatever else names it changes with it."""
    (world.out / path).parent.mkdir(parents=True, exist_ok=True)
    (world.out / path).write_bytes(data)
    world.put[path] = {digest(data)}


def put_foreign(world: World, chance: Random) -> str:
    """Somebody puts a file where a result would go, or takes it away."""
    view = world.view()
    if world.foreign and chance.random() < 0.6:
        path = chance.choice(sorted(world.foreign))
        _take_away(world, view, [path], unlink=True)
        return f"foreign file taken away: {path}"
    stems = [stem for want in wants(world.wish, view, world.job) for stem in want.stems]
    path = f"{chance.choice(stems or ['x'])}.{chance.choice(('png', 'jpg'))}"
    if path in view.files or (world.out / path).is_dir() or not world.out.is_dir():
        return "no place for a foreign file"
    _put(world, path, foreign(world.step))
    if path not in view.named:
        world.foreign[path] = digest(foreign(world.step))
    return f"foreign file: {path}"


def tidy(world: World, chance: Random) -> str:
    """The user deletes what may be deleted."""
    if not world.out.is_dir():
        return "nothing to tidy"
    what = chance.choice(("replaced", "cache", "torn", "unusable"))
    if what == "cache":
        (world.out / ".retouch/inputs.cache").unlink(missing_ok=True)
        return "the cache is deleted"
    view = world.view()
    world.destroyed |= {file.sha256 for path, file in view.files.items() if path.startswith(f".retouch/{what}/")}
    shutil.rmtree(world.out / ".retouch" / what, ignore_errors=True)
    return f".retouch/{what} is deleted"
