"""What a ledger still takes on a full disk: lines that end paid work, in the space that is held for them."""

from __future__ import annotations

import msgspec

from pipeline.ledger.codec import decode, encode
from pipeline.ledger.records import End, Record, Settled
from pipeline.ledger.reserve import SLOT
from pipeline.outcome import Outcome

DISPENSABLE = ("row", "inputs", "message", "usage")
"""What a `settled` line is written without, one after the other, where it is longer than the space that is held for it:
the first two stand in the table and the manifest, and a rerun looks at the files anew."""


def is_last_word(record: Record) -> bool:
    """Whether a line ends an attempt or the run."""
    return isinstance(record, End) or (isinstance(record, Settled) and record.outcome is not Outcome.INVALID)


def shortened(record: Record) -> Record:
    """A last word as it fits its space: a copy without what it can do without, as far as that must go."""
    for name in DISPENSABLE if isinstance(record, Settled) else ():
        if len(encode(record)) > SLOT:
            record = msgspec.structs.replace(record, **{name: None})
    return record


def agree(record: Record, line: bytes) -> None:
    """Leave nothing in a last word's record that its line, which is in the ledger now, was written without."""
    words = decode(line)
    for name in DISPENSABLE if isinstance(record, Settled) else ():
        if getattr(words, name) is None:
            setattr(record, name, None)
