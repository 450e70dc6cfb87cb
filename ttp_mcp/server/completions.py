"""Complete the arguments of prompts and the names in resource URIs."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ttp_mcp.credentials import redact_tokens
from ttp_mcp.platforms import rules
from ttp_mcp.text import clean_text, shorten_line
from ttp_mcp.toolkit.context import ToolContext

# The protocol's maximum.
MOST = 100
NAME_CHARACTERS = 100


class Choice(NamedTuple):
    """A value, and a word that a user may type for it."""

    word: str
    value: str


async def find_completions(context: ToolContext, of: str, argument: str, typed: str) -> list[str]:
    """Return all values that start with what was typed, in any case.

    Args:
        context: Of this user.
        of: The URI of a resource template, or the name of a prompt.
        argument: The name in the URI, or the argument of the prompt.
        typed: The input so far.

    Raises:
        ApiError: The values could not be read.
    """
    choices = _CHOICES.get((of, argument))
    if choices is None:
        return []
    start = typed.strip().casefold()
    found = (choice.value for choice in await choices(context) if choice.word.casefold().startswith(start))
    return list(dict.fromkeys(redact_tokens(value) for value in found))


async def _list_posts(context: ToolContext) -> list[Choice]:
    ids = [clean_text(post.id) for post in await context.api.posts.list()]
    return [Choice(post_id, post_id) for post_id in ids]


async def _list_platforms(_: ToolContext) -> list[Choice]:
    return [Choice(word, key) for word, key in rules.platform_spellings().items()]


async def _list_accounts(context: ToolContext) -> list[Choice]:
    accounts = (await context.accounts.get_recent()).accounts
    handles = [
        shorten_line(account.handle.removeprefix("@"), NAME_CHARACTERS) for account in accounts if account.handle
    ]
    names = [shorten_line(account.name, NAME_CHARACTERS) for account in accounts if account.name]
    ids = [clean_text(account.id) for account in accounts]
    # Handles first: users know them best. Either form of a handle completes.
    return [
        *(Choice(word, f"@{handle}") for handle in handles for word in (handle, f"@{handle}")),
        *(Choice(word, word) for word in (*names, *ids)),
    ]


_CHOICES: dict[tuple[str, str], Callable[[ToolContext], Awaitable[list[Choice]]]] = {
    ("ttp://posts/{id}", "id"): _list_posts,
    ("ttp://platform-rules/{platform}", "platform"): _list_platforms,
    ("plan_my_week", "account"): _list_accounts,
}
