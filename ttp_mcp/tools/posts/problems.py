"""Problems of a post before its content is checked: all of them at once, its accounts, and the rights of the token."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ttp_mcp.api import Integration, Me
from ttp_mcp.api.auth import CAPABILITIES
from ttp_mcp.errors import Refusal
from ttp_mcp.text import show_word
from ttp_mcp.times import TimeProblem
from ttp_mcp.toolkit.account_directory import AccountCache, platform_key
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.tools.posts.rendering import join_words

T = TypeVar("T")


@dataclass(slots=True)
class Problems:
    """Problems of a post, without the words that begin and end an error."""

    failure: str
    texts: list[str] = field(default_factory=list[str])

    def collect(self, check: Callable[..., T], *args: Any) -> T | None:
        """Run a check and note its refusal."""
        try:
            return check(*args)
        except (Refusal, TimeProblem) as problem:
            text = str(problem).removeprefix(f"{self.failure}: ")
            text = re.sub(r"(; nothing was (sent|changed)| Nothing was (sent|changed))\.$", "", text)
            self.add(text if text.endswith(".") else f"{text}.")
            return None

    def add(self, text: str) -> None:
        """Note a problem once."""
        if text not in self.texts:
            self.texts.append(text)


def render_refusal(failure: str, problems: Sequence[str], most: int = 5) -> str:
    """Render the error that names one problem in its line, or several as a list."""
    if len(problems) == 1:
        return f"{failure}: {problems[0]} Nothing was sent."
    lines = [f"- {text}" for text in problems[:most]]
    if len(problems) > most:
        lines.append(f"- and {len(problems) - most} more.")
    return "\n".join([f"{failure}: {len(problems)} problems.", *lines, "Nothing was sent."])


def refuse_no_target(account_ids: Sequence[str] | None, platforms: Sequence[str] | None, what: str) -> None:
    """Refuse a post without targets."""
    if not account_ids and not platforms:
        raise Refusal(
            f"{what}: pass account_ids or platforms; neither was passed. list_integrations shows the accounts. Nothing was sent."
        )


def targets_of(
    account_ids: Sequence[str] | None, platforms: Sequence[str] | None, book: AccountCache, what: str
) -> list[Integration]:
    """Find the accounts by name, or every account of the platforms. With both, the named accounts on these platforms."""
    if not account_ids:
        found = [account for platform in platforms or () for account in _accounts_on(platform, book, what)]
    elif not platforms:
        found = [book.find(word, what) for word in account_ids]
    else:
        found = [account for word in account_ids for account in book.find_on(word, platforms, what)]
    return list({account.id: account for account in found}.values())


def refuse_unnamed_platforms(platforms: Sequence[str], targets: Sequence[Integration], what: str) -> None:
    """Refuse platforms for which account_ids names no account: the post would silently not go there."""
    reached = {platform_key(account.platform) for account in targets}
    missing = [show_word(platform) for platform in platforms if platform_key(platform) not in reached]
    if missing:
        raise Refusal(
            f"{what}: account_ids names no account on {join_words(missing)}. Add that account, or take the platform out of "
            "platforms. Nothing was sent."
        )


def _accounts_on(platform: str, book: AccountCache, what: str) -> list[Integration]:
    found = book.on(platform_key(platform))
    if not found:
        connected = join_words(sorted({account.platform for account in book.accounts})) if book.accounts else "none"
        raise Refusal(
            f"{what}: no account is connected on that platform. Connected platforms: {connected}. Nothing was sent."
        )
    return found


async def refuse_missing_rights(context: ToolContext, failure: str) -> None:
    """Refuse to schedule posts with a token that can't publish."""
    if problem := describe_missing_right(await context.api.auth.rights(), scheduled=True):
        raise Refusal(f"{failure}: {problem} Nothing was sent.")


def describe_missing_right(me: Me | None, *, scheduled: bool) -> str | None:
    """Return why the token can't send a post, and the next step; None if it can, or if its rights aren't known.

    Args:
        me: What the API says of the token.
        scheduled: True if the post has a time, so that it becomes public; a draft needs less.
    """
    if me is None or (me.can_publish if scheduled else me.can_draft) is not False:
        return None
    step = "Create one that can in the TimeToPost dashboard under Settings → API, and log in with `ttp-mcp login`"
    if not scheduled:
        return f"the API token can't save drafts{_list_rights(me)}. {step}."
    draft = ", or leave scheduled_at out to save a draft" if me.can_draft else ""
    return f"the API token can't publish posts{_list_rights(me)}. {step}{draft}."


def _list_rights(me: Me) -> str:
    known = [word for word in CAPABILITIES if word in me.capabilities]
    return f" (it may {join_words(known)})" if known else ""
