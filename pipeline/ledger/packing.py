"""A state as a few large buffers and a small rest, and back.

1. What grows with the number of tasks that succeeded lies in the buffers, which are saved and filled as they are.
2. A state that is unpacked gives every answer that the packed one did, and takes in further lines as that would.
3. Of a single ledger, sources and open attempts of one request are packed in the order of their lines, as a replay
   finds them: a run may have taken in lines of several tasks in another order than they stand in.
"""

from __future__ import annotations

from array import array
from decimal import Decimal
from typing import TypeAlias

import msgspec

from pipeline.ledger.covered import Covered
from pipeline.ledger.done import DoneIndex
from pipeline.ledger.money import Account, Held
from pipeline.ledger.places import Places, Where
from pipeline.ledger.standing import Course
from pipeline.ledger.state import Open, State

Buffer: TypeAlias = "bytearray | array[int]"


class PackedAccount(msgspec.Struct, frozen=True, array_like=True):
    """An account, with the ledger and the day that it is of."""

    file: int
    day: str
    confirmed: Decimal
    possible: Decimal
    images: int
    unpriced: int
    known: bool


class PackedOpen(msgspec.Struct, frozen=True, array_like=True):
    """An attempt without an end: of which request, where its line stands, and what it holds of which account."""

    row: int
    attempt: int
    where: Where
    account: int
    worst: Decimal | None
    images: int


class Rest(msgspec.Struct, frozen=True):
    """What a state has beside its buffers."""

    job: str | None
    images: int
    images_possible: int
    ended: dict[int, int]
    last_end: Where | None
    done: int
    extensions: list[str]
    accounts: list[PackedAccount]
    sources: dict[int, list[Where]]
    courses: dict[int, Course]
    open: list[PackedOpen]
    generations: list[tuple[bytes, int]]
    invalid: list[tuple[bytes, bytes]]
    foreign: list[bytes]
    owners: list[tuple[bytes, bytes]]
    covered: dict[int, tuple[int, str]]


def buffers_of(state: State) -> tuple[Buffer, ...]:
    """The state's own buffers, always in the same order."""
    done = state._done
    return (
        *state._tasks.buffers,
        state._tried,
        *_done_buffers(done),
        *state._fingerprints.buffers,
        state._attempts,
        state._succeeded,
        *state._sources.buffers,
        *state._names.given.buffers,
    )


def _done_buffers(done: DoneIndex) -> tuple[Buffer, ...]:
    return (*done.places.buffers, done.requests, done.stems, done.kinds, done.numbers, done.first, done.sizes)


def rest_of(state: State) -> Rest:
    """What the buffers do not hold."""
    order = sorted if len(state.covered) == 1 else list
    accounts = list(state.money.accounts.items())
    numbers = {id(account): number for number, (_, account) in enumerate(accounts)}
    return Rest(
        job=state.job,
        images=state.images,
        images_possible=state.images_possible,
        ended=state.ended,
        last_end=state.last_end,
        done=state._done.count,
        extensions=state._done.extensions,
        accounts=[
            PackedAccount(file, day, one.confirmed, one.possible, one.images, one.unpriced, one.known)
            for (file, day), one in accounts
        ],
        sources={row: order(places) for row, places in state._more_sources.items()},
        courses=state._open,
        open=[
            PackedOpen(row, attempt, one.where, numbers[id(one.held.account)], one.held.worst, one.held.images)
            for (row, attempt), opened in state._sent.items()
            for one in order(opened)
        ],
        generations=list(state._generations.items()),
        invalid=list(state._invalid.items()),
        foreign=list(state._names.foreign),
        owners=list(state._names.owners.items()),
        covered={file: (covered.end, covered.latest) for file, covered in state.covered.items()},
    )


def restore(state: State, rest: Rest) -> None:
    """Put the rest into a new state whose buffers were filled."""
    state.job, state.images, state.images_possible = rest.job, rest.images, rest.images_possible
    state.ended, state.last_end = rest.ended, rest.last_end
    state.covered = {file: Covered(end, end, latest) for file, (end, latest) in rest.covered.items()}
    state._done.count, state._done.extensions = rest.done, rest.extensions
    state._open = rest.courses
    state._generations, state._invalid = dict(rest.generations), dict(rest.invalid)
    state._names.foreign.update(rest.foreign)
    state._names.owners.update(rest.owners)
    for row, wheres in rest.sources.items():
        places = state._more_sources[row] = Places()
        for where in wheres:
            places.append(where)
    accounts = []
    for one in rest.accounts:
        account = Account(one.confirmed, one.possible, one.images, one.unpriced, one.known)
        accounts.append(account)
        state.money.accounts[one.file, one.day] = account
    for sent in rest.open:
        held = Held(accounts[sent.account], sent.worst, sent.images)
        state._sent.setdefault((sent.row, sent.attempt), []).append(Open(sent.where, held))
