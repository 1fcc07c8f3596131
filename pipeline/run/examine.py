"""Looking at a task: its inputs, its past in the ledger, and its files; the facts that `decide` rules on.

Blocking, for a worker thread. The cheap look comes first: a finished task costs one stat for each input and output,
and nothing is read again whose stat the ledger knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from pipeline.endpoint.form import too_large
from pipeline.held import Room
from pipeline.ledger.records import Input, Reused, Settled
from pipeline.ledger.replay import Ledgers
from pipeline.ledger.standing import History, Mark, Standing, standing_of
from pipeline.ledger.state import State
from pipeline.manifest.job import Job
from pipeline.outcome import Outcome
from pipeline.outputs.folder import OutputFolder, UnnamedError
from pipeline.outputs.publish import taken
from pipeline.run.decide import Class, Facts, Presence, Ruling, Verb, decide
from pipeline.run.found import Found, Last, found_of, presence_of
from pipeline.run.inputs import Inputs, Look, SentFile, Sizes, edit_of, files_part_of, sizes_of
from pipeline.tasks.cache import InputCache
from pipeline.tasks.identity import FieldsParts, joined
from pipeline.tasks.inputs import Unusable
from pipeline.tasks.task import Task

_EDITED = "{}: an output was changed by someone; it stays and counts as done"


class Examined(msgspec.Struct, frozen=True):
    """A task with all that is known of it and what is to be done.

    `base` is the fingerprint with generation 0, `last` the line that last made the task done. `code` and `message`
    say why it failed, is held or invalid; `warning` is for the user. `sizes` are those of the images of a task that is
    about to be sent, None where nobody looked. `mark` is the request's past as it was then.
    """

    task: Task
    verb: Verb
    kind: Class
    again: bool = False
    fingerprint: str = ""
    base: str = ""
    generation: int = 0
    inputs: tuple[SentFile, ...] = ()
    recorded_inputs: list[Input] | None = None
    sizes: Sizes | None = None
    last: Last | None = None
    found: Found | None = None
    code: str | None = None
    message: str | None = None
    warning: str | None = None
    mark: Mark = History().mark


class Examiner:
    """Looks at tasks of one job against one ledger and one output folder, which may not exist yet (None).

    With `once` an input is looked at once for tasks that follow each other: for readers, which send nothing. `room` is
    for the bytes of those that are to be sent. `unnamed` says of paths why they cannot be had in this run.
    """

    def __init__(
        self,
        job: Job,
        state: State,
        ledgers: Ledgers,
        folder: OutputFolder | None,
        cache: InputCache,
        *,
        once: bool = False,
        room: Room | None = None,
        unnamed: Mapping[str, str] | None = None,
    ) -> None:
        self.job = job
        self._state = state
        self._ledgers = ledgers
        self._folder = folder
        self._inputs = Inputs(str(job.folder), cache, once=once, room=room)
        self._json = job.json_bodies
        self._unnamed = unnamed or {}
        self._fields = FieldsParts()
        self._sized: tuple[tuple[SentFile, ...], Sizes] = ((), ())

    def examine(self, task: Task, look: Look = Look.HASH) -> Examined:
        """What is to be done about a task; one whose inputs were not read is new, without a fingerprint.

        Raises:
            StorageError: the output folder or the ledger cannot be read.
            OSError: this process has no descriptor or memory left.
        """
        if task.item.problem is not None:
            return invalid(task, "item", task.item.problem)
        last = self._last(task)
        inputs = self._inputs.of(task, last, look)
        if isinstance(inputs, Unusable):
            return invalid(task, inputs.code, inputs.message)
        if not all(file.sha256 for file in inputs):
            obstacle = self.obstacle(task, inputs, Verb.SEND) if look is Look.HEAD else None
            return obstacle or Examined(task, Verb.SEND, Class.NEW, inputs=inputs)
        base, wanted, generation = self._wanted(task, inputs)
        if (done := self._done(task, inputs, last, base, wanted, generation)) is not None:
            return done
        history = self._state.history(wanted)
        try:
            found = self._facts_and_ruling(task, inputs, last, wanted, history)
        except UnnamedError as error:
            return invalid(task, "name_refused", str(error))
        examined = replace(
            found,
            fingerprint=wanted,
            base=base,
            generation=generation,
            inputs=inputs,
            recorded_inputs=self._inputs.recorded(inputs),
            last=last,
            mark=history.mark,
        )
        return self._with_reason(examined)

    def as_done(self, task: Task) -> Examined:
        """A task of which is known that there is nothing to do about it: what its last line says, and no look."""
        last = self._last(task)
        return Examined(task, Verb.SKIP, Class.DONE, fingerprint=last.fingerprint if last else "", last=last)

    def examine_to_send(self, task: Task, look: Look = Look.HASH) -> Examined:
        """As `examine`, with the media types that sending needs.

        A file that changes after this is noticed while it is sent.
        """
        work = self.examine(task, look)
        if work.verb is not Verb.SEND or look is Look.STAT:
            return work
        inputs = self._inputs.latest(work.inputs)
        if inputs is None:
            return self.examine(task, Look.AFRESH)
        recorded = work.recorded_inputs if inputs is work.inputs else self._inputs.recorded(inputs)
        return replace(work, inputs=inputs, recorded_inputs=recorded, sizes=self._sizes_of(inputs))

    def _sizes_of(self, inputs: tuple[SentFile, ...]) -> Sizes:
        """The variants of an item, which follow each other, share its images."""
        if self._sized[0] != inputs:
            self._sized = (inputs, sizes_of(inputs))
        return self._sized[1]

    def outdated(self, work: Examined) -> bool:
        """Whether something happened to the task's request since it was examined: then it must be examined again."""
        return self._state.history(work.fingerprint).mark != work.mark

    def standing(self, wanted: str) -> Standing:
        """What earlier attempts of a request allow."""
        return standing_of(self._state.history(wanted), self.job.manifest.retries)

    def invalid_line(self, work: Examined) -> Settled | None:
        """The line that says that a task's item cannot be used; None where the ledger says so already."""
        item = work.task.item
        line = Settled(
            task=work.task.id,
            fingerprint="",
            attempt=0,
            outcome=Outcome.INVALID,
            code=work.code,
            message=work.message,
            inputs=self._inputs.stats(work.task),
            set=item.set,
            key=item.key,
            prompt=work.task.prompt,
            variant=work.task.variant_text,
            row=dict(item.row) if item.row is not None else None,
        )
        return None if self._state.invalid_known(line) else line

    def _last(self, task: Task) -> Last | None:
        where = self._state.task(task.id)
        line = None if where is None else self._ledgers.read(where)
        return line if isinstance(line, Settled | Reused) else None

    def _wanted(self, task: Task, inputs: Sequence[SentFile]) -> tuple[str, str, int]:
        """The base fingerprint, the wanted one, and its generation."""
        fields, files = self._fields.of(task.fields), files_part_of(inputs)
        base = joined(fields, 0, files, task.repeat)
        generation = self._state.generation(base)
        return base, joined(fields, generation, files, task.repeat) if generation else base, generation

    def _done(
        self, task: Task, inputs: tuple[SentFile, ...], last: Last | None, base: str, wanted: str, generation: int
    ) -> Examined | None:
        """The task where its last result is the wanted one and in its place: what else happened changes nothing."""
        if last is None or last.fingerprint != wanted:
            return None
        outputs = presence_of(self._folder, self._state, last)
        if outputs is Presence.MISSING:
            return None
        warning = _EDITED.format(task.id) if outputs is Presence.EDITED else None
        return Examined(
            task,
            Verb.SKIP,
            Class.DONE,
            fingerprint=wanted,
            base=base,
            generation=generation,
            inputs=inputs,
            last=last,
            warning=warning,
        )

    def _facts_and_ruling(
        self, task: Task, inputs: Sequence[SentFile], last: Last | None, wanted: str, history: History
    ) -> Examined:
        relation = self._relation(task, inputs, last, wanted)
        outputs = presence_of(self._folder, self._state, last)
        done = relation == "same" and outputs is not Presence.MISSING
        found = None if done else found_of(self._folder, self._ledgers, history, wanted)
        standing = standing_of(history, self.job.manifest.retries)
        facts = Facts(relation, outputs, bool(history.sources), found is not None, standing)
        ruling = decide(facts, self.job.manifest.rerun)
        return self.obstacle(task, inputs, ruling.verb) or self._as_examined(task, ruling, found, last)

    def obstacle(self, task: Task, inputs: Sequence[SentFile], verb: Verb) -> Examined | None:
        """Why a task cannot be brought to its end though its images are good: the body's form, or a foreign file."""
        if verb is Verb.SEND and self._json and (fault := too_large(edit_of(task, inputs, ""), "json")):
            return invalid(task, "too_large", str(fault))
        if verb not in (Verb.SEND, Verb.REUSE) or self._folder is None:
            return None
        if why := next(filter(None, map(self._unnamed.get, task.paths)), None):
            return invalid(task, "name_refused", why)
        foreign = taken(self._folder, task.paths, self._state.knows_path)
        if foreign is None:
            return None
        place = self._folder.root / foreign
        return invalid(task, "name_taken", f"{place} is not of this job; move it away or change output.path")

    def _as_examined(self, task: Task, ruling: Ruling, found: Found | None, last: Last | None) -> Examined:
        warning = _EDITED.format(task.id) if ruling.edited and last is not None else None
        return Examined(task, ruling.verb, ruling.kind, again=ruling.again, found=found, warning=warning)

    def _relation(
        self, task: Task, inputs: Sequence[SentFile], last: Last | None, wanted: str
    ) -> Literal["none", "same", "touched", "other"]:
        if last is None:
            return "none"
        if last.fingerprint == wanted:
            return "same"
        before = last.inputs
        if before is None or [file.role for file in before] != [file.role for file in inputs]:
            return "other"
        earlier = [replace(file, sha256=old.sha256) for file, old in zip(inputs, before, strict=True)]
        return "touched" if self._wanted(task, earlier)[1] == last.fingerprint else "other"

    def _with_reason(self, work: Examined) -> Examined:
        """Why a task failed or is held, from the last line of its request."""
        if work.kind not in (Class.FAILED, Class.HELD):
            return work
        history = self._state.history(work.fingerprint)
        line = None if history.where is None else self._ledgers.read(history.where)
        message = line.message if isinstance(line, Settled) else None
        return replace(work, code=history.code, message=message)


def invalid(task: Task, code: str, message: str) -> Examined:
    """A task whose item cannot be used as it is now."""
    return Examined(task, Verb.REPORT, Class.INVALID, code=code, message=message)
