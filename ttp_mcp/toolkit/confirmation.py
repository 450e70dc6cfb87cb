"""Confirmation by the user, as `TTP_CONFIRM` requires."""

import hashlib
import json
from datetime import timedelta
from typing import Any, Literal

from ttp_mcp.errors import Refusal
from ttp_mcp.toolkit.context import ToolContext

CONFIRMATION_SECONDS = 300


async def require_confirmation(
    context: ToolContext, question: str, *, binding: dict[str, Any], irreversible: bool, confirmation: str | None
) -> bool:
    """Require confirmation. Returns True if the user was prompted, so callers must check the post again.

    Args:
        context: The settings, the ledger and the user.
        question: Accounts by name, time local and UTC, the exact text.
        binding: Arguments that the confirmation covers, and no others.
        irreversible: `auto` mode prompts only for irreversible actions.
        confirmation: One-time code of an earlier preview, if the agent passes one.

    Raises:
        Refusal: The user declined, or the agent has to ask the user first.
    """
    mode = context.settings.confirm
    if mode == "off" or (mode == "auto" and not irreversible):
        return False
    if mode == "required" and confirmation is not None:
        if await context.ledger.confirmations.redeem(confirmation, digest_of(binding, "code")):
            return False
        raise Refusal(
            "Not done: the confirmation is unknown, used, older than five minutes, or for other arguments. "
            "Call again without confirmation for a new preview; nothing was sent."
        )
    asked_at = context.now()
    answer = await context.user.confirm(question, binding)
    if answer and context.now() - asked_at > timedelta(seconds=CONFIRMATION_SECONDS):
        raise Refusal(
            "Not done: the user agreed after more than five minutes. Call again for a new prompt; nothing was sent."
        )
    if answer is False:
        raise Refusal("Not done: the user declined. Ask what to change; nothing was sent.")
    if answer is None and mode == "required":
        offered = await context.ledger.confirmations.offer(digest_of(binding, "code"), CONFIRMATION_SECONDS)
        raise Refusal(
            f"Not done yet, because the user has to agree first. Show them this:\n{question}\n"
            f"Once they agreed, call again with the same arguments and confirmation {offered.code} (once, within five minutes). "
            "Nothing was sent."
        )
    return answer is not None


def digest_of(binding: dict[str, Any], purpose: Literal["code", "answer"]) -> str:
    """Return the digest of arguments, for one of two purposes.

    `code` is the agent's argument, `answer` the request state that returns with a user's answer. Being asked is not consenting, so
    the two digests must differ.
    """
    return hashlib.sha256(json.dumps([purpose, binding], sort_keys=True).encode()).hexdigest()
