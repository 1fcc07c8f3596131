"""What a ledger still takes on a full disk: lines that end paid work, in the space that is held for them."""

from __future__ import annotations

from pipeline.ledger.codec import encode
from pipeline.ledger.records import End, Record, Settled
from pipeline.ledger.reserve import SLOT
from pipeline.outcome import Outcome

DISPENSABLE = ("row", "inputs", "message", "usage")
"""What a `settled` line is written without, one after the other, where it is longer than the space that is held for it:
the first two stand in the table and the manifest, and a rerun looks at the files anew."""


def is_last_word(record: Record) -> bool:
    """Whether a line ends an attempt or the run."""
    return isinstance(record, End) or (isinstance(record, Settled) and record.outcome is not Outcome.INVALID)


def shortened(record: Record) -> bytes:
    """The line of a last word; in its record, too, nothing is left that the line has not."""
    line = encode(record)
    for name in DISPENSABLE if isinstance(record, Settled) else ():
        if len(line) > SLOT:
            setattr(record, name, None)
            line = encode(record)
    return line
