"""Asking the human before what cannot be taken back, as `TTP_CONFIRM` says."""

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
    """Return when the call may go on; whether somebody was asked meanwhile, so that time has passed.

    Args:
        context: The surroundings.
        question: What will happen: accounts by name, time local and UTC, the exact text.
        binding: What the yes is for. A yes to other arguments does not count.
        irreversible: Whether it can't be taken back; in `auto` mode only then is anybody asked.
        confirmation: The one-time code of an earlier preview, where the agent passes one back.

    Raises:
        Refusal: The human said no, or has to be asked by the agent first.
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
            "Not done: the human agreed after more than five minutes. Call again to ask anew; nothing was sent."
        )
    if answer is False:
        raise Refusal("Not done: the human declined. Ask what to change; nothing was sent.")
    if answer is None and mode == "required":
        offered = await context.ledger.confirmations.offer(digest_of(binding, "code"), CONFIRMATION_SECONDS)
        raise Refusal(
            f"Not done yet, because the human has to agree first. Show them this:\n{question}\n"
            f"Once they agreed, call again with the same arguments and confirmation {offered.code} (once, within five minutes). "
            "Nothing was sent."
        )
    return answer is not None


def digest_of(binding: dict[str, Any], purpose: Literal["code", "answer"]) -> str:
    """Names exactly these arguments, and what confirms them.

    `code` is the agent's argument, `answer` the state that comes with a human's answer: that the client was asked a question
    is no yes, so the one must not pass for the other.
    """
    return hashlib.sha256(json.dumps([purpose, binding], sort_keys=True, separators=(",", ":")).encode()).hexdigest()
