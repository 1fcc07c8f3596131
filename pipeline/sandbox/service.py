"""The life of an edit request, from its first byte to its answer.

1. A body is read whole before anything is answered, so that a client's upload never breaks.
2. Everything that can be refused is refused before the bill; the bill stands before the answer's first byte.
3. Decoding, hashing and drawing run in threads, under a limiter of the service's own.
4. A request whose client leaves is cancelled, and is no longer in flight; what is billed stays billed.
5. Work that a gateway gave up takes up capacity until it would have been answered, without being in flight.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from secrets import compare_digest

import anyio
import anyio.to_thread
from aiohttp import web
from anyio import CapacityLimiter
from msgspec import Struct
from msgspec.structs import replace

from pipeline.sandbox import spoilage, wire
from pipeline.sandbox.allowance import Allowance, retry_headers
from pipeline.sandbox.answers import Answer, Refusal, Success
from pipeline.sandbox.bill import Bill, Entry, edit_id, write_item
from pipeline.sandbox.capacity import capacity_at, steps_of
from pipeline.sandbox.checks import Edit, check_form
from pipeline.sandbox.draw import Order, draw_images
from pipeline.sandbox.faults import UNBILLED, Fault, Faults
from pipeline.sandbox.request import Form, read_form
from pipeline.sandbox.settings import Sandbox
from pipeline.sandbox.tokens import Size, Usage

HEADERS: web.RequestKey[dict[str, str]] = web.RequestKey("headers", dict[str, str])
"""Headers of a request's answer beside the answer's own."""


class Job(Struct, frozen=True):
    """A billed edit in the making, with its share of the random numbers."""

    edit: Edit
    fault: Fault | None
    count: int
    usage: Usage
    serial: int
    jitter: float
    coin: float


class Service:
    """The state of one endpoint. Its methods belong to one event loop."""

    def __init__(
        self,
        config: Sandbox,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.clock = clock
        self.monotonic = monotonic
        self.bill = Bill(keep_log=config.keep_log)
        self.limiter = CapacityLimiter(config.threads)
        self.serial = 0
        self.began: float | None = None
        self.given_up: list[float] = []
        self.allowance: Allowance | None = None
        self.steps = steps_of(config.capacity)
        if config.requests_per_minute is not None:
            burst = config.burst or config.requests_per_minute
            self.allowance = Allowance(config.requests_per_minute, burst, monotonic())
        self.set_faults(config.faults)

    def set_faults(self, faults: Faults) -> None:
        """Show these faults from now on, with the random numbers from their start."""
        self.faults = faults
        self.random = Random(self.config.seed if faults.seed is None else faults.seed)  # noqa: S311 - a replayable dice

    def reset(self) -> None:
        """Forget the bill; the next request is the first one."""
        self.bill.reset()
        self.began = None

    def authorize(self, request: web.Request) -> None:
        """Demand `Authorization: Bearer KEY`, or Azure's `api-key: KEY`. Raises Refusal."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else request.headers.get("api-key", "")
        wanted = given if self.config.key is None else self.config.key
        if not given or not compare_digest(given.encode(), wanted.encode()):
            raise spoilage.key_refusal()

    async def edit(self, request: web.Request) -> web.StreamResponse:
        """Handle `POST …/images/edits`."""
        form = await read_form(request, self.limiter)
        entry = Entry(
            at=self.clock(),
            idempotency_key=request.headers.get("Idempotency-Key"),
            model=form.fields.get("model"),
            prompt=form.fields.get("prompt"),
        )
        self.bill.enter(entry)
        if self.began is None:
            self.began = self.monotonic()
        try:
            return await self._answer(request, form, entry)
        except Refusal as exc:
            return _respond(entry, exc.answer())
        finally:
            self.bill.leave(entry)

    async def _answer(self, request: web.Request, form: Form, entry: Entry) -> web.StreamResponse:
        self.authorize(request)
        self._admit(request)
        edit = check_form(form)
        job = self._plan(edit)
        entry.fault = job.fault
        self._judge(throttled=job.fault in (Fault.RATE, Fault.ERROR_503))
        if job.fault in UNBILLED:
            headers = spoilage.retry_after_headers(self.faults.retry_after, entry.at)
            return _respond(entry, spoilage.unbilled_answer(job.fault, headers, self.config.redirect_to))
        await self._charge(form, job, entry)
        return await self._deliver(request, job, entry)

    def _admit(self, request: web.Request) -> None:
        """Take the request from the rate limit and hold it against the capacity. Raises Refusal."""
        now = self.monotonic()
        if self.allowance is not None:
            wait = self.allowance.take(now)
            if self.config.rate_headers:
                request[HEADERS].update(self.allowance.headers())
            if wait > 0:
                self._judge(throttled=True)
                raise spoilage.rate_refusal(retry_headers(wait) if self.config.retry_after else {})
        self.given_up = [due for due in self.given_up if due > now]
        capacity = capacity_at(self.steps, self._since_first())
        if capacity is not None and self.bill.in_flight + len(self.given_up) > capacity:
            self._judge(throttled=True)
            raise spoilage.overload_refusal(self.config.overload_status)

    def _judge(self, *, throttled: bool) -> None:
        self.bill.judge(self._since_first(), throttled=throttled)

    def _since_first(self) -> float:
        now = self.monotonic()
        return now - (now if self.began is None else self.began)

    def _plan(self, edit: Edit) -> Job:
        self.serial += 1
        fault = self.faults.pick(self.random.random())
        count = edit.n - 1 if fault is Fault.SHORT_COUNT and edit.n > 1 else edit.n
        return Job(
            edit=edit,
            fault=fault,
            count=count,
            usage=edit.usage(count),
            serial=self.serial,
            jitter=self.random.random(),
            coin=self.random.random(),
        )

    async def _charge(self, form: Form, job: Job, entry: Entry) -> None:
        mask = form.mask.sha256 if form.mask else None
        edit = edit_id(form.fields, [image.sha256 for image in form.images], mask)
        item = self.bill.charge(entry, edit, job.count, job.usage)
        if self.config.bill_file is not None:
            await anyio.to_thread.run_sync(write_item, self.config.bill_file, item, limiter=self.limiter)

    async def _deliver(self, request: web.Request, job: Job, entry: Entry) -> web.StreamResponse:
        latency = self.faults.latency or self.config.latency
        due = self.monotonic() + latency.of(job.edit.quality, job.jitter) + self.faults.slow
        with anyio.move_on_after(self.config.gateway_cut):
            if job.fault is Fault.HANG:
                await anyio.sleep_forever()
            answer = await anyio.to_thread.run_sync(self._make, job, entry.at, limiter=self.limiter)
            await anyio.sleep(max(0.0, due - self.monotonic()))
            return await _send(request, job, answer, entry)
        self.given_up.append(due)
        wire.disconnect(request)
        return web.Response()

    def _make(self, job: Job, at: float) -> Answer:
        """Draw the images and encode the answer; runs in a thread."""
        if job.fault in (Fault.RESET, Fault.DISCONNECT):
            return Answer(200, b"")
        images = draw_images(order_of(job, self.config))
        edit = job.edit
        success = Success(int(at), images, job.usage, edit.size, edit.quality, edit.output_format, edit.background)
        return spoilage.billed_answer(job.fault, success, job.coin)


def order_of(job: Job, config: Sandbox) -> Order:
    """Return what to draw for a job, its fault included."""
    edit = job.edit
    order = Order(
        prompt=edit.prompt,
        size=edit.size,
        count=job.count,
        output_format=edit.output_format,
        compression=edit.compression,
        transparent=edit.background == "transparent",
        plain=config.plain,
        previews=[image.preview for image in edit.images],
        mask=edit.mask.preview if edit.mask else None,
        seed=f"{config.seed}/{job.serial}",
    )
    if job.fault is Fault.WRONG_SIZE:
        return replace(order, size=Size(edit.size.width // 2, edit.size.height // 2))
    if job.fault is Fault.WRONG_FORMAT:
        return replace(order, output_format="jpeg" if edit.output_format == "png" else "png")
    return order


def _respond(entry: Entry, answer: Answer) -> web.StreamResponse:
    entry.status = answer.status
    headers = {**answer.headers, "Content-Type": answer.content_type}
    return web.Response(status=answer.status, body=answer.body, headers=headers)


async def _send(request: web.Request, job: Job, answer: Answer, entry: Entry) -> web.StreamResponse:
    if job.fault is Fault.RESET:
        wire.reset(request)
        return web.Response()
    if job.fault is Fault.DISCONNECT:
        wire.disconnect(request)
        return web.Response()
    response = _respond(entry, answer)
    if job.fault is Fault.RESET_BODY:
        await wire.reset_in_body(request, answer)
    elif job.fault is Fault.DRIP:
        return await wire.drip(request, answer)
    elif job.fault is Fault.TRUNCATE and job.coin < 0.5:
        wire.send_until_close(request, answer, request[HEADERS])
    return response
