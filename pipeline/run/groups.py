"""What the requests of a plan add up to, by image set and prompt: each kind is estimated once, and then counted.

1. Only what differs is estimated: the variants of an item share their files, and the items of a variant its fields.
2. Memory is bounded, whatever differs from task to task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct, field

from pipeline.endpoint.pricing import RequestEstimate
from pipeline.run.estimate import Account, Sum
from pipeline.run.examine import Examined
from pipeline.run.inputs import SentFile, Sizes

_KEPT: Final = 4096


class _Priced(NamedTuple):
    """An estimate, and whether it is from `history`; `fields` are held so that nothing else gets their identity."""

    fields: Mapping[str, Any]
    estimate: RequestEstimate
    history: bool


class _Alike(Struct):
    """So many requests of one kind."""

    set: str
    prompt: str
    images: int
    priced: _Priced
    times: int = 0


class Groups(Struct):
    """Requests added up: in all, by image set and prompt, and the models that they ask for. `close` ends the adding."""

    account: Account
    total: Sum = field(default_factory=Sum)
    sums: dict[tuple[str, str], Sum] = field(default_factory=dict)
    models: dict[str, None] = field(default_factory=dict)
    _priced: dict[tuple[int, Sizes], _Priced] = field(default_factory=dict)
    _alike: dict[tuple[str, str, int, int], _Alike] = field(default_factory=dict)
    _inputs: Sequence[SentFile] = ()
    _sizes: Sizes = ()

    def take(self, work: Examined) -> None:
        """Take in a request."""
        task = work.task
        priced = self._priced_of(task.fields, work.inputs)
        key = (task.item.set, task.prompt, len(task.paths), id(priced))
        alike = self._alike.get(key)
        if alike is None:
            if len(self._alike) >= _KEPT:
                self.close()
            alike = self._alike[key] = _Alike(task.item.set, task.prompt, len(task.paths), priced)
        alike.times += 1

    def close(self) -> None:
        """Add up what was counted."""
        for each in self._alike.values():
            estimate, history = each.priced.estimate, each.priced.history
            for total in (self.total, self.sums.setdefault((each.set, each.prompt), Sum())):
                total.add(each.images, estimate, history=history, times=each.times)
        self._alike.clear()

    def _priced_of(self, fields: Mapping[str, Any], inputs: Sequence[SentFile]) -> _Priced:
        if inputs is not self._inputs or not inputs:
            self._inputs = inputs
            self._sizes = self.account.estimator.sizes(file.path for file in inputs if file.role != "mask")
        key = (id(fields), self._sizes)
        found = self._priced.get(key)
        if found is None:
            if len(self._priced) >= _KEPT:
                self._priced.clear()
            found = self._priced[key] = self._estimated(fields)
        return found

    def _estimated(self, fields: Mapping[str, Any]) -> _Priced:
        self.models[str(fields.get("model", ""))] = None
        seen = self.account.history.of(fields)
        return _Priced(fields, self.account.estimator.of_sizes(fields, self._sizes, seen), seen is not None)
