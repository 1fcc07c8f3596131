"""Error codes and statuses of images/edits endpoints, as data: what each means for an attempt.

A code is read before the status, because routers send the same code under many statuses: a quota error arrives as
429 from OpenAI, as 400 from a LiteLLM proxy, and under 200 from a gateway that sent its status line before it knew.
Only codes whose meaning does not depend on the status stand here; everything else is judged by its status.

Sources: https://platform.openai.com/docs/guides/error-codes (OpenAI);
https://github.com/BerriAI/litellm/pull/4606 (`budget_exceeded`, under 400 and 429);
LiteLLM 1.106 (`no_db_connection`: a proxy without a database that does not know the key);
https://learn.microsoft.com/azure/ai-services/openai/concepts/content-filter (Azure's names for moderation).
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from pipeline.outcome import Outcome

OUTCOMES = MappingProxyType(
    {
        # Key, quota and billing: every further request would end the same way, and a person must act.
        Outcome.STOPPED: frozenset(
            {
                "account_deactivated",
                "billing_hard_limit_reached",
                "billing_not_active",
                "budget_exceeded",
                "credit_balance_exhausted",
                "insufficient_quota",
                "invalid_api_key",
                "no_db_connection",
                "organization_spend_limit_exceeded",
                "organization_usage_limit_exceeded",
                "project_spend_limit_exceeded",
            }
        ),
        # Moderation, and requests that are wrong in themselves: never sent again unchanged.
        Outcome.REFUSED: frozenset(
            {
                "content_filter",
                "content_policy_violation",
                "image_generation_user_error",
                "invalid_image_file",
                "invalid_value",
                "missing_file_mimetype",
                "moderation_blocked",
                "responsibleaipolicyviolation",
                "unsupported_file_mimetype",
            }
        ),
        Outcome.THROTTLED: frozenset({"rate_limit_exceeded", "server_is_overloaded", "slow_down"}),
    }
)
"""Codes in lower case by outcome, the gravest first: where an error carries several codes, the gravest decides."""

STATUSES = MappingProxyType(
    {
        Outcome.THROTTLED: frozenset({429, 503}),
        # 407 is the proxy's 401.
        Outcome.STOPPED: frozenset({*range(300, 400), 401, 402, 403, 404, 405, 407}),
        Outcome.IN_DOUBT: frozenset({408, 409, 425}),
    }
)
"""Statuses that do not mean what the rest of their hundred means."""


def of_a_proxys_own_request(codes: Iterable[str], message: str) -> bool:
    """Whether an error is about a request that a proxy made up after ours was lost, so that ours may have been billed.

    LiteLLM's proxy (1.106) sends again when its upstream resets the connection, without the files and as a plain form,
    which we never send; the upstream's refusal of that is what comes back.
    """
    return "unsupported_content_type" in codes and "application/x-www-form-urlencoded" in message


def outcome_of_codes(codes: Iterable[str]) -> Outcome | None:
    """What the codes of one error mean together; None where they leave it to the status."""
    known = {code.lower() for code in codes}
    return next((outcome for outcome, named in OUTCOMES.items() if named & known), None)


def outcome_of_status(status: int) -> Outcome:
    """What a status means without a telling code and without an image; a 2xx is `unusable` then."""
    special = next((outcome for outcome, named in STATUSES.items() if status in named), None)
    if special is not None:
        return special
    if 200 <= status < 300:
        return Outcome.UNUSABLE
    return Outcome.REFUSED if 400 <= status < 500 else Outcome.IN_DOUBT
