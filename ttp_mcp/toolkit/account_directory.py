"""Connected accounts, found by id, handle, name or platform."""

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeVar, overload

import anyio

from ttp_mcp.api import ApiError, Integration, Post
from ttp_mcp.api.client import ApiClient
from ttp_mcp.errors import Refusal
from ttp_mcp.platforms.rules import platform_keys as known_platforms
from ttp_mcp.platforms.rules import platform_spellings
from ttp_mcp.text import fold_text, quote_text, show_id, show_word

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
Read = Callable[[], Awaitable[A]]
_MARKS = str.maketrans("", "", '«»“”"')


# No slots: cached_property needs a __dict__.
@dataclass(frozen=True)
class AccountIndex:
    """The connected accounts of the organization, found by id, @handle, name or platform."""

    accounts: tuple[Integration, ...]

    def label_of(self, account_id: str) -> str:
        """Return an account's label: platform and handle, or its id if it isn't connected."""
        return self._labels.get(account_id) or show_id(account_id)

    @cached_property
    def _labels(self) -> dict[str, str]:
        return {account.id: account_label(account) for account in reversed(self.accounts)}

    def find_accounts(self, wanted: str, platforms: Sequence[str], what: str) -> list[Integration]:
        """Find the account with this id, @handle, full name or label on each of the platforms that has one.

        Without platforms exactly one account must match. A partial name never matches.

        Raises:
            Refusal: None matches, or several do on one platform; the error lists the candidates.
        """
        meant = self._find_exact(wanted)
        if not platforms:
            if len(meant) == 1:
                return meant
            raise self._build_refusal(wanted, meant, what)
        keys = {platform_key(platform) for platform in platforms}
        found = [account for account in meant if platform_key(account.platform) in keys]
        if meant and not found:
            labels = ", ".join(map(account_label, meant[:10]))
            raise Refusal(
                f"{what}: {quote_text(wanted, 60)} is {labels}, and platforms doesn't include that. Add the platform, or leave "
                "platforms out. Nothing was sent."
            )
        if not found or len({account.platform for account in found}) < len(found):
            raise self._build_refusal(wanted, found, what)
        return found

    def list_on(self, platform: str) -> list[Integration]:
        """List the accounts of a platform."""
        key = platform_key(platform)
        return [account for account in self.accounts if platform_key(account.platform) == key]

    def list_matching(self, wanted: str, what: str) -> list[Integration]:
        """List every account that matches, by partial name too. For filters only.

        Raises:
            Refusal: None matches.
        """
        if found := self._find_exact(wanted) or self._find_similar(wanted):
            return found
        raise self._build_refusal(wanted, [], what)

    def _find_exact(self, wanted: str) -> list[Integration]:
        for account in self.accounts:
            if account.id == wanted.strip():
                return [account]
        word = _normalize_word(wanted)
        # A label such as `instagram @harbor.cafe` is unambiguous even if the handle alone isn't.
        if " " in word and (
            labelled := [each for each in self.accounts if _to_label_key(word) in _list_label_keys(each)]
        ):
            return labelled
        # A platform's name never selects an account named like it: the post would go to another platform.
        if (on_platform := self.list_on(word)) or platform_key(word) in known_platforms():
            return on_platform
        return [each for each in self.accounts if word in _list_names(each)]

    def _find_similar(self, wanted: str) -> list[Integration]:
        word = _normalize_word(wanted)
        if not word or word.startswith("@") or self._is_platform(word):
            return []
        return [account for account in self.accounts if any(word in name for name in _list_names(account))]

    def _is_platform(self, word: str) -> bool:
        return platform_key(word) in known_platforms() or bool(self.list_on(word))

    def _build_refusal(self, wanted: str, found: list[Integration], what: str) -> Refusal:
        shown = quote_text(wanted, 60)
        if candidates := found or self._find_similar(wanted):
            fits = f"matches {len(found)} accounts" if found else "names no account in full; similar are"
            listed = ", ".join(f"{account_label(account)} ({show_id(account.id)})" for account in candidates[:10])
            return Refusal(
                f"{what}: {shown} {fits}: {listed}. Pass one of these labels or ids in account_ids. Nothing was sent."
            )
        missing = (
            f"no {show_word(wanted.strip())} account is connected"
            if self._is_platform(wanted)
            else f"no account {shown}"
        )
        listed = (
            ", ".join(f"{show_id(account.id)} ({account_label(account)})" for account in self.accounts[:6]) or "none"
        )
        return Refusal(f"{what}: {missing}. Connected: {listed}. Nothing was sent.")


# Names change rarely. Tools that depend on an account's health read it again.
KEPT_SECONDS = 60.0


class AccountDirectory:
    """Connected accounts, cached for a minute for tools that need only names."""

    def __init__(self, api: ApiClient, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start empty; the first use reads the accounts."""
        self._api = api
        self._monotonic = monotonic
        self._kept: tuple[float, AccountIndex] | None = None
        self.offered_ids: set[str] = set()
        """Ids of the accounts that the user was offered to reconnect."""

    async def read_accounts(self) -> AccountIndex:
        """Read the accounts from the API."""
        book = AccountIndex(tuple(await self._api.integrations.list()))
        self._kept = (self._monotonic() + KEPT_SECONDS, book)
        return book

    @property
    def kept_accounts(self) -> AccountIndex | None:
        """Accounts read within the last minute, if any."""
        return self._kept[1] if self._kept and self._monotonic() < self._kept[0] else None

    async def get_recent(self) -> AccountIndex:
        """Return accounts that are at most a minute old."""
        return self.kept_accounts or await self.read_accounts()

    async def get_for_labels(self) -> AccountIndex:
        """Return accounts for labels only; empty on an API error, so labels fall back to ids."""
        try:
            return await self.get_recent()
        except ApiError:
            return AccountIndex(())

    async def get_for_labels_and(self, read: Read[A]) -> tuple[AccountIndex, A]:
        """Return the accounts and the result of `read`, read concurrently if the cache is empty."""
        if (kept := self.kept_accounts) is not None:
            return kept, await read()
        return await run_together(self.get_for_labels, read)


@overload
async def run_together(first: Read[A], second: Read[B], /) -> tuple[A, B]: ...
@overload
async def run_together(first: Read[A], second: Read[B], third: Read[C], /) -> tuple[A, B, C]: ...
async def run_together(*reads: Read[Any]) -> tuple[Any, ...]:
    """Read concurrently and return the results. If one read fails, cancel the others and raise the original error."""
    results: list[Any] = [None] * len(reads)

    async def keep(place: int, read: Read[Any]) -> None:
        results[place] = await read()

    try:
        # asyncio's own task group cancels its parent when a read fails, which anyio's scopes around it don't undo.
        async with anyio.create_task_group() as tasks:
            for place, read in enumerate(reads):
                tasks.start_soon(keep, place, read)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return tuple(results)


def may_be_for_account(post: Post, accounts: Collection[Integration]) -> list[Integration]:
    """Return the accounts that a post is for. A post that names none may be for every account of its platforms.

    The reference promises the platforms of a post, not its accounts.
    """
    if named := post.target_ids:
        return [account for account in accounts if account.id in named]
    platforms = {platform_key(platform) for platform in post.platforms}
    return [account for account in accounts if platform_key(account.platform) in platforms]


def account_label(account: Integration) -> str:
    """Return `instagram @harbor.cafe`, or `instagram «Harbor Café»` without a handle."""
    if account.handle:
        shown = show_word(f"@{account.handle.removeprefix('@')}")
    else:
        shown = quote_text(account.name, 60) if account.name else show_id(account.id)
    return f"{account.platform} {shown}"


def full_account_label(account: Integration) -> str:
    """Return the label with the name: `instagram @harbor.cafe «Harbor Café»`."""
    name = f" {quote_text(account.name, 60)}" if account.handle and account.name else ""
    return f"{account_label(account)}{name}"


def render_unhealthy(account: Integration, dashboard: str) -> str:
    """Return the status of an account that can't publish, and what follows; without a full stop."""
    return f"{account.status or 'not connected'}; posts to it fail until a person reconnects it in {dashboard}"


@lru_cache(maxsize=256)
def platform_key(platform: str) -> str:
    """Return a platform as the API spells it, for any case and the usual short names: `X`, `fb`."""
    key = platform.strip().casefold()
    return platform_spellings().get(key, key)


def _normalize_word(text: str) -> str:
    """Fold case and drop the quotation marks that results add."""
    return fold_text(text.translate(_MARKS).strip())


def _to_label_key(label: str) -> tuple[str, str]:
    """Return a label for comparison, its platform in the API's spelling: `x @harborcafe` is `twitter @harborcafe`."""
    platform, _, name = _normalize_word(label).partition(" ")
    return platform_key(platform), name.strip()


def _list_label_keys(account: Integration) -> set[tuple[str, str]]:
    names = {(platform_key(account.platform), name) for name in _list_names(account)}
    return {_to_label_key(account_label(account)), _to_label_key(full_account_label(account)), *names}


def _list_names(account: Integration) -> set[str]:
    """Return an account's full names: its name, and its handle with and without @."""
    handle, name = (_normalize_word(text or "") for text in (account.handle, account.name))
    bare = handle.removeprefix("@")
    return {each for each in (bare, bare and f"@{bare}", name, name.removeprefix("@")) if each}
