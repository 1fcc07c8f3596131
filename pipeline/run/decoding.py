"""Looking into the images of tasks, in threads: for `validate` and `--strict`.

1. A file is read and decoded once, however many tasks it has and whatever it is in them.
2. What is found is told in the order of the tasks, from the thread that adds them; one fault of a file is told once.
3. Memory holds a bounded number of pictures, and a compact note of each file.
4. Leaving by an exception waits for no file: what is being read ends by itself.
5. Where no thread can be started the files are looked into one after the other.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from hashlib import blake2b

from msgspec import Struct

from pipeline.decode import Picture
from pipeline.errors import Problem
from pipeline.manifest.job import Job
from pipeline.run.decide import Verb
from pipeline.run.examine import Examiner
from pipeline.run.inputs import SentFile
from pipeline.run.threads import WORKERS
from pipeline.tasks.inputs import Unusable
from pipeline.tasks.listing import file_problem, item_problem
from pipeline.tasks.pictures import mask_fault, mask_warning, name_warning, picture_of
from pipeline.tasks.task import Input, Task

AT_ONCE = 8 * WORKERS
"""Files that are queued for decoding, or decoded and not told yet; bounds memory."""

TICK = 0.2
"""Seconds after which a wait for a file looks up, so that progress is shown."""

Looked = Picture | Unusable


class _Opened(Struct, frozen=True):
    """A file that is being decoded, for the first task that needs it, and what it is there."""

    task: Task
    file: Input
    key: bytes
    looked: Future[Looked] | None
    """None where it is looked into in its turn, by who waits for it: no thread could be had."""


class _Pair(Struct, frozen=True):
    """A mask and the image that it has to fit, both opened before."""

    task: Task
    mask: str
    image: str


class Sink(Struct, frozen=True):
    """Where findings go: `problem` takes what is wrong, `warning` what works all the same; `tick` is called while a
    file is waited for."""

    problem: Callable[[Problem], None]
    warning: Callable[[Problem], None] = lambda _: None
    tick: Callable[[], None] = lambda: None


class Decoding:
    """Takes tasks and looks into their files; `files` counts those that were looked into."""

    def __init__(self, job: Job, sink: Sink, threads: ThreadPoolExecutor) -> None:
        self.files = 0
        self._job, self._sink, self._threads = job, sink, threads
        self._queue: deque[_Opened | _Pair | Problem] = deque()
        self._pictures: dict[bytes, Picture | None] = {}
        """What each file is, by its name's digest; None while that is unknown, and where it is wrong."""
        self._same: dict[Picture, Picture] = {}
        """Equal pictures are one object: a million photos have few sizes."""
        self._told: set[bytes] = set()

    def pass_over(self, path: str) -> None:
        """Leave a file out: what is wrong with it is told already."""
        self._pictures[_key(path)] = None

    def look_into(self, task: Task, examiner: Examiner | None) -> None:
        """Find all that keeps a task from being sent, but for what the endpoint alone can tell.

        Without an `examiner` not whether its outputs' names are free. Blocks while enough files are under way. Raises
        StorageError where the output folder cannot be read, and as `finish` does.
        """
        if task.item.problem is not None:
            problem = item_problem(self._job, task.item)
            if self._is_new(f"item\0{problem.where}"):
                self._queue.append(problem)
        else:
            self._add(task)
            obstacle = None if examiner is None else examiner.obstacle(task, self._sizes(task), Verb.SEND)
            if obstacle is not None:
                self._queue.append(Problem(obstacle.message or "", where=task.id))
        while len(self._queue) > AT_ONCE:
            self._settle()

    def finish(self) -> None:
        """Wait for what is under way.

        Raises:
            OSError, MemoryError: this process is out of descriptors or memory, also for one file alone.
        """
        while self._queue:
            self._settle()

    def _add(self, task: Task) -> None:
        for file in task.inputs:
            key = _key(file.path)
            if key not in self._pictures:
                self._pictures[key] = None
                self._queue.append(_Opened(task, file, key, self._begun(file.path)))
        for file in task.inputs:
            image = task.inputs[0].path
            if file.role == "mask" and self._is_new(f"{file.path}\0{image}"):
                self._queue.append(_Pair(task, file.path, image))

    def _begun(self, path: str) -> Future[Looked] | None:
        try:
            return self._threads.submit(picture_of, path)
        except (RuntimeError, MemoryError):  # no thread can be started
            return None

    def _sizes(self, task: Task) -> list[SentFile]:
        """The task's files as far as their size matters: to a body that holds them in base64."""
        wanted = self._job.json_bodies
        return [SentFile(file.role, file.path, "", _size(file.path) if wanted else 0, 0, None) for file in task.inputs]

    def _is_new(self, text: str) -> bool:
        key = _key(text)
        new = key not in self._told
        self._told.add(key)
        return new

    def _settle(self) -> None:
        """Tell what was found out about the first in the queue."""
        first = self._queue.popleft()
        if isinstance(first, Problem):
            self._sink.problem(first)
        elif isinstance(first, _Pair):
            self._judge_pair(first)
        else:
            self._note(first, self._waited_for(first))
            self.files += 1
        self._sink.tick()

    def _waited_for(self, opened: _Opened) -> Looked:
        if opened.looked is None:
            return picture_of(opened.file.path)
        while not wait([opened.looked], TICK).done:
            self._sink.tick()
        try:
            return opened.looked.result()
        except (OSError, MemoryError):
            # The pictures that are decoded at once may be too much together; this one is looked into alone.
            wait([each.looked for each in self._queue if isinstance(each, _Opened) and each.looked is not None])
            return picture_of(opened.file.path)

    def _note(self, opened: _Opened, looked: Looked) -> None:
        if isinstance(looked, Unusable):
            self._refuse(opened.task, looked)
            return
        self._pictures[opened.key] = self._same.setdefault(looked, looked)
        path = opened.file.path
        if opened.file.role != "mask" and (words := name_warning(path, looked)):
            self._sink.warning(file_problem(self._job, opened.task, path, words))

    def _judge_pair(self, pair: _Pair) -> None:
        mask, image = self._pictures[_key(pair.mask)], self._pictures[_key(pair.image)]
        if mask is None or image is None:
            return
        if fault := mask_fault(pair.mask, mask, image):
            self._refuse(pair.task, fault)
            return
        if words := mask_warning(_size(pair.mask)):
            self._sink.warning(file_problem(self._job, pair.task, pair.mask, words))

    def _refuse(self, task: Task, fault: Unusable) -> None:
        self._sink.problem(file_problem(self._job, task, fault.path, fault.what, fault.expected))


@contextmanager
def decoding(job: Job, sink: Sink) -> Iterator[Decoding]:
    """A `Decoding` with threads of its own; what was added is finished when the block ends well."""
    threads = ThreadPoolExecutor(WORKERS, "decode")
    try:
        found = Decoding(job, sink, threads)
        yield found
        found.finish()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _key(text: str) -> bytes:
    return blake2b(os.fsencode(text), digest_size=16).digest()


def _size(path: str) -> int:
    """0 for what is not there: decoding tells."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0
