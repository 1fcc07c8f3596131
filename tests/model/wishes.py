"""The steps that change the manifest, out of few values, so that it is often changed back."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.model.world import Ask, Wish, World

TEXTS = ("First", "Second", "Third", "{{ matrix.tone }} light")
TONES = {"dawn": ("soft", "pale"), "dusk": ("low", "warm"), "noon": ("hard", "soft")}


def change_wish(world: World, chance: Random) -> str:
    """The manifest is changed."""
    change = chance.choice(CHANGES)
    change(world.wish, chance)
    return f"manifest: {change.__name__.strip('_').replace('_', ' ')}"


def _text(wish: Wish, chance: Random) -> None:
    chance.choice(wish.asks).text = chance.choice(TEXTS[:3])


def _tones(wish: Wish, chance: Random) -> None:
    ask = chance.choice(wish.asks)
    ask.tones = {name: chance.choice(TONES[name]) for name in chance.sample(sorted(TONES), chance.randint(0, 2))}
    ask.text = TEXTS[3] if ask.tones else chance.choice(TEXTS[:3])


def _request(wish: Wish, chance: Random) -> None:
    ask = chance.choice(wish.asks)
    key, values = chance.choice((("n", (1, 2, 3)), ("size", ("16x12", "20x20")), ("quality", ("low", "high"))))
    ask.request = {k: v for k, v in ask.request.items() if k != key}
    if chance.random() < 0.7:
        ask.request[key] = chance.choice(values)


def _repeat(wish: Wish, chance: Random) -> None:
    chance.choice(wish.asks).repeat = chance.choice((1, 1, 2, 3))


def _brand(wish: Wish, chance: Random) -> None:
    ask = chance.choice(wish.asks)
    ask.brand = not ask.brand


def _model(wish: Wish, chance: Random) -> None:
    wish.model = chance.choice(("m", "m", "other"))


def _prompts(wish: Wish, chance: Random) -> None:
    names = {ask.name for ask in wish.asks}
    if len(wish.asks) > 1 and chance.random() < 0.5:
        wish.asks.remove(chance.choice(wish.asks))
    elif free := sorted({"p0", "p1", "p2"} - names):
        twin = chance.choice(wish.asks)
        wish.asks.append(Ask(free[0], twin.text, dict(twin.tones), request=dict(twin.request)))
    wish.asks.sort(key=lambda ask: ask.name)


def _sets(wish: Wish, chance: Random) -> None:
    wish.sets = chance.choice((["a"], ["a", "b"], ["b", "a"]))
    chance.choice(wish.asks).sets = chance.choice(([], ["a"], ["b"]))


def _path(wish: Wish, chance: Random) -> None:
    wish.path = chance.choice(("default", "default", "flat", "crossed"))


def _order(wish: Wish, chance: Random) -> None:
    wish.order = chance.choice(("items", "prompts"))
    wish.concurrency = chance.choice((1, 2, 4, 8))


def _retries(wish: Wish, chance: Random) -> None:
    wish.retries = {"max_attempts": chance.choice((1, 2, 3)), "in_doubt": chance.choice(("retry", "retry", "hold"))}


def _rerun(wish: Wish, chance: Random) -> None:
    wish.rerun = {key: chance.choice(("remake", "remake", "keep")) for key in ("changed", "missing")}
    wish.rerun["limit"] = chance.choice((0.0, 0.2, 1.0))


def _caps(wish: Wish, chance: Random) -> None:
    wish.max_images = chance.choice((None, None, 1000, 12, 40))
    wish.stop_on = {"failures": chance.choice((None, 0.2)), "in_doubt": None}


CHANGES: tuple[Callable[[Wish, Random], None], ...] = (
    _text,
    _text,
    _text,
    _tones,
    _request,
    _request,
    _repeat,
    _brand,
    _model,
    _prompts,
    _prompts,
    _sets,
    _path,
)
CHANGES += (_order, _retries, _rerun, _caps)
