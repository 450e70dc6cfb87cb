"""What a client offers while a person types the argument of a prompt or the name in a resource's address."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ttp_mcp.credentials import redact_tokens
from ttp_mcp.platforms import rules
from ttp_mcp.text import clean_text, shorten_line
from ttp_mcp.toolkit.context import ToolContext

# The protocol allows no more in one answer.
MOST = 100
NAME_CHARACTERS = 100


class Choice(NamedTuple):
    """A value, and one of the words by which a person may begin to type it."""

    word: str
    value: str


async def completions(app: ToolContext, of: str, argument: str, begun: str) -> list[str]:
    """All values that begin with what was typed, in any case; none where nothing is known.

    Args:
        app: The surroundings of this user.
        of: The address of a family of resources, or the name of a prompt.
        argument: The name in the address, or the argument of the prompt.
        begun: What was typed so far.

    Raises:
        ApiError: The values could not be read.
    """
    choices = _CHOICES.get((of, argument))
    if choices is None:
        return []
    typed = begun.strip().casefold()
    found = (choice.value for choice in await choices(app) if choice.word.casefold().startswith(typed))
    return list(dict.fromkeys(redact_tokens(value) for value in found))


async def _posts(app: ToolContext) -> list[Choice]:
    ids = [clean_text(post.id) for post in await app.api.posts.list()]
    return [Choice(post_id, post_id) for post_id in ids]


async def _platforms(_: ToolContext) -> list[Choice]:
    return [Choice(word, key) for word, key in rules.spellings().items()]


async def _accounts(app: ToolContext) -> list[Choice]:
    accounts = (await app.accounts.recent()).accounts
    handles = [
        shorten_line(account.handle.removeprefix("@"), NAME_CHARACTERS) for account in accounts if account.handle
    ]
    names = [shorten_line(account.name, NAME_CHARACTERS) for account in accounts if account.name]
    ids = [clean_text(account.id) for account in accounts]
    # What people know an account by comes first; a handle may be typed with or without its @.
    return [
        *(Choice(word, f"@{handle}") for handle in handles for word in (handle, f"@{handle}")),
        *(Choice(word, word) for word in (*names, *ids)),
    ]


_CHOICES: dict[tuple[str, str], Callable[[ToolContext], Awaitable[list[Choice]]]] = {
    ("ttp://posts/{id}", "id"): _posts,
    ("ttp://platform-rules/{platform}", "platform"): _platforms,
    ("plan_my_week", "account"): _accounts,
}
