"""What is to be done about a task: nothing, take over a paid result, or buy one.

`decide` is the rule, over facts that `pipeline.run.examine` gathers; it reads nothing and writes nothing.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Literal

from msgspec import Struct

from pipeline.ledger.standing import Standing
from pipeline.manifest.models import Rerun


class Presence(Enum):
    """How the outputs that a ledger line names are found on disk."""

    INTACT = "intact"
    EDITED = "edited"
    MISSING = "missing"


class Verb(StrEnum):
    """What is to be done about a task."""

    SKIP = "skip"
    REUSE = "reuse"
    SEND = "send"
    REPORT = "report"


class Class(StrEnum):
    """Where a task stands, in the words of `plan --json`; a task is in exactly one."""

    NEW = "new"
    CHANGED = "changed"
    MISSING = "missing"
    REUSED = "reused"
    DONE = "done"
    FAILED = "failed"
    HELD = "held"
    INVALID = "invalid"


class Facts(Struct, frozen=True):
    """What is known of a task before it is decided about.

    `last` relates the last result under the task's id to what would be sent now: the same request, the same but for
    the bytes of its inputs, another one, or none. `outputs` is how that result's files are found. `paid` says whether
    this request was ever paid for, `found` whether all pictures of such a result can be taken over, `standing` what
    earlier attempts of this request came to.
    """

    last: Literal["none", "same", "touched", "other"]
    outputs: Presence
    paid: bool
    found: bool
    standing: Standing


class Ruling(Struct, frozen=True):
    """What to do, what to call it, and whether it buys again what was bought before."""

    verb: Verb
    kind: Class
    again: bool = False
    edited: bool = False


def decide(facts: Facts, rerun: Rerun) -> Ruling:
    """The rule, from the strongest reason not to pay to the weakest."""
    wanted = facts.last == "same" or (facts.last == "touched" and rerun.changed == "keep")
    if wanted and facts.outputs is not Presence.MISSING:
        return Ruling(Verb.SKIP, Class.DONE, edited=facts.outputs is Presence.EDITED)
    if facts.found:
        return Ruling(Verb.REUSE, Class.REUSED)
    if wanted and rerun.missing == "keep":
        return Ruling(Verb.SKIP, Class.DONE)
    if facts.standing is Standing.FAILED:
        return Ruling(Verb.REPORT, Class.FAILED)
    if facts.standing is Standing.HELD:
        return Ruling(Verb.REPORT, Class.HELD)
    if facts.paid:
        return Ruling(Verb.SEND, Class.MISSING, again=True)
    kind = Class.NEW if facts.last == "none" else Class.CHANGED
    return Ruling(Verb.SEND, kind, again=facts.last == "touched")
