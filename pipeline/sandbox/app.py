"""The application: routes, and what every answer has in common."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

import msgspec
from aiohttp import web

from pipeline.sandbox.answers import Refusal, envelope
from pipeline.sandbox.faults import parse_faults
from pipeline.sandbox.models import MODELS
from pipeline.sandbox.request import MAX_BODY
from pipeline.sandbox.service import HEADERS, Service
from pipeline.sandbox.settings import Sandbox as Sandbox

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SERVICE: web.AppKey[Service] = web.AppKey("service", Service)


def make_app(config: Sandbox) -> web.Application:
    """Return the endpoint as an application; its state is `app[SERVICE]`."""
    service = Service(config)
    app = web.Application(middlewares=[answer_errors], client_max_size=MAX_BODY)
    app[SERVICE] = service
    app.on_response_prepare.append(add_headers)
    app.router.add_post(r"/{prefix:(.*/)?}images/edits", service.edit)
    app.router.add_get(r"/{prefix:(.*/)?}models", list_models)
    app.router.add_get("/sandbox/bill", show_bill)
    app.router.add_post("/sandbox/faults", change_faults)
    app.router.add_post("/sandbox/reset", reset_bill)
    return app


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id, and every error the envelope."""
    request[HEADERS] = {"x-request-id": f"req_{uuid4().hex}", "openai-version": "2020-10-01"}
    started = time.monotonic()
    try:
        response = await handler(request)
    except Refusal as exc:
        answer = exc.answer()
        response = web.Response(status=answer.status, body=answer.body, content_type="application/json")
    except web.HTTPException as exc:
        message = f"Invalid URL ({request.method} {request.path})" if exc.status == 404 else exc.reason
        body = envelope(message, "invalid_request_error", None, None)
        response = web.Response(status=exc.status, body=body, content_type="application/json")
    if not response.prepared:
        response.headers["openai-processing-ms"] = str(round((time.monotonic() - started) * 1000))
    return response


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the request's own headers to whatever is answered."""
    response.headers.update(request.get(HEADERS, {}))


async def list_models(request: web.Request) -> web.Response:
    """Handle `GET …/models`."""
    request.app[SERVICE].authorize(request)
    models = [{"id": model.name, "object": "model", "created": 0, "owned_by": "sandbox"} for model in MODELS]
    return _json(msgspec.json.encode({"object": "list", "data": models}))


async def show_bill(request: web.Request) -> web.Response:
    """Handle `GET /sandbox/bill`."""
    return _json(request.app[SERVICE].bill.as_json())


async def change_faults(request: web.Request) -> web.Response:
    """Handle `POST /sandbox/faults`, whose body is the text of `parse_faults`."""
    try:
        faults = parse_faults(await request.text())
    except ValueError as exc:
        raise Refusal(str(exc), "invalid_value", param="faults") from exc
    request.app[SERVICE].set_faults(faults)
    return _json(msgspec.json.encode({"faults": faults.chances}))


async def reset_bill(request: web.Request) -> web.Response:
    """Handle `POST /sandbox/reset`."""
    request.app[SERVICE].reset()
    return await show_bill(request)


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
