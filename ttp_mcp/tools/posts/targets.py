"""Find the accounts of a post."""

from collections.abc import Sequence

from ttp_mcp.api import Integration
from ttp_mcp.errors import Refusal
from ttp_mcp.text import show_word
from ttp_mcp.toolkit.account_directory import AccountCache, platform_key
from ttp_mcp.tools.posts.rendering import join_words


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
