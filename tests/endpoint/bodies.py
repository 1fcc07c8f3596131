"""Bodies as endpoints and routers send them."""

from __future__ import annotations

import base64
import json
from typing import Any

from pipeline.endpoint.judge import Verdict, judge
from pipeline.endpoint.key import Key
from pipeline.endpoint.reply import Reply
from tests.endpoint.conftest import PNG, SECRET

B64 = base64.b64encode(PNG + b"pixels").decode()
NOW = 1_795_000_000.0


def verdict_of(status: int, body: Any, **reply: Any) -> Verdict:
    """The verdict on a whole answer; a body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return judge(Reply(status=status, body=raw, began=True, **reply), Key(SECRET), NOW)


def error(code: Any = None, kind: Any = None, message: Any = "It failed.") -> dict[str, Any]:
    """OpenAI's envelope."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def litellm(status: int, upstream: Any, kind: str | None = None, name: str = "BadRequestError") -> dict[str, Any]:
    """LiteLLM's envelope around an upstream's body: a dict is wrapped as JSON, a text as it stands."""
    inner = upstream if isinstance(upstream, str) else json.dumps(upstream)
    tail = ". Received Model Group=gpt-image-1.5\nAvailable Model Group Fallbacks=None LiteLLM Retried: 3 times"
    return error(str(status), kind, f"litellm.{name}: OpenAIException - {inner}{tail}")


BLOCKED = error("moderation_blocked", "image_generation_user_error", "Your request was rejected by the safety system.")
QUOTA = error("credit_balance_exhausted", "insufficient_quota", "You exceeded your current quota.")
BUSY = error("rate_limit_exceeded", "input-images", "Limit 5 images per minute.")
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"
