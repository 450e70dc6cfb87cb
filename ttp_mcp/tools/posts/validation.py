"""Find every problem of a post before it is sent: its accounts, the rights of the token, texts, media, rules, clashes, duplicates."""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from operator import attrgetter
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ttp_mcp.api import Integration, Me, Post, PostCreate
from ttp_mcp.api.auth import CAPABILITIES
from ttp_mcp.errors import Refusal
from ttp_mcp.ledger.claims import normalize_text
from ttp_mcp.media.facts import MediaFacts
from ttp_mcp.platforms import rules
from ttp_mcp.platforms.media_checks import check_media_facts, check_media_size, check_media_url
from ttp_mcp.platforms.split import MOST_POSTS, split_for_x
from ttp_mcp.platforms.x import LIMIT
from ttp_mcp.text import fence_text, find_text_errors, find_text_warnings, is_blank, join_words, show_id, show_word
from ttp_mcp.times import TimeProblem
from ttp_mcp.toolkit.account_directory import (
    AccountIndex,
    account_label,
    may_be_for_account,
    platform_key,
    render_unhealthy,
)
from ttp_mcp.toolkit.context import ToolContext

T = TypeVar("T")

# Closer together than this, two posts of one account compete for attention. Our own threshold.
CLASH = timedelta(hours=1)
# Of a post, in one error.
MOST_PROBLEMS = 5
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
# Where the sandbox inside this process keeps media.
SANDBOX_HOSTS = frozenset({"media.sandbox.localhost"})


@dataclass(slots=True)
class Findings:
    """Problems of a post: errors stop it, warnings don't. `split` is the text as a thread, if X needs one.

    `failure` begins the error about them; their own texts are without it.
    """

    failure: str = ""
    errors: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    split: tuple[str, ...] = ()

    def add(self, severity: rules.Severity, text: str) -> None:
        """Note a problem once."""
        noted = self.errors if severity == "error" else self.warnings
        if text not in noted:
            noted.append(text)

    def collect(self, check: Callable[..., T], *args: Any) -> T | None:
        """Run a check and note its refusal as an error."""
        try:
            return check(*args)
        except (Refusal, TimeProblem) as problem:
            text = str(problem).removeprefix(f"{self.failure}: ")
            text = re.sub(r"(; nothing was (sent|changed)| Nothing was (sent|changed))\.$", "", text)
            self.add("error", text if text.endswith(".") else f"{text}.")
            return None

    def render_split(self) -> str:
        """Render the proposed thread as arguments."""
        arguments = {"content": self.split[0], "thread": list(self.split[1:])}
        text = json.dumps(arguments, ensure_ascii=False)
        return (
            f"Proposed thread for X, {len(self.split)} posts, ready to pass as content and thread:\n{fence_text(text)}"
        )


def refuse_errors(found: Findings, failure: str) -> None:
    """Refuse a post with errors."""
    if found.errors:
        proposal = f"\n{found.render_split()}" if found.split else ""
        raise Refusal(render_refusal(failure, found.errors) + proposal)


def render_refusal(failure: str, problems: Sequence[str]) -> str:
    """Render the error that names one problem in its line, or several as a list."""
    if len(problems) == 1:
        return f"{failure}: {problems[0]} Nothing was sent."
    lines = [f"- {text}" for text in problems[:MOST_PROBLEMS]]
    if len(problems) > MOST_PROBLEMS:
        lines.append(f"- and {len(problems) - MOST_PROBLEMS} more.")
    return "\n".join([f"{failure}: {len(problems)} problems.", *lines, "Nothing was sent."])


def check_arguments(
    account_ids: Sequence[str],
    platforms: Sequence[str],
    media_urls: Sequence[str],
    texts: Sequence[str],
    found: Findings,
) -> None:
    """Find what is wrong with the arguments of a post by themselves; `texts` are its content and its thread."""
    if not account_ids and not platforms:
        found.add("error", "pass account_ids or platforms; neither was passed. list_integrations shows the accounts.")
    for text in texts:
        if problems := find_text_errors(text):
            found.add("error", f"the text can't be published, because {problems[0]}. Remove it and call again.")
    for number, text in enumerate(texts):
        if is_blank(text):
            words = "shows nothing: it is empty or has only spaces and invisible characters. Write the text."
            found.add("error", f"part {number} of thread {words}" if number else f"content {words}")
    if media_urls and (number := next(find_unhosted(media_urls), None)):
        words = "is not an https URL. Upload the file with upload_media and pass its public_url."
        found.add("error", f"media_urls entry {number} {words}")


def find_unhosted(urls: Sequence[str]) -> Iterator[int]:
    """Yield the entries (from 1) that aren't https URLs. http is allowed for this machine: the sandbox uses it."""
    for number, url in enumerate(urls, 1):
        if not _is_hosted(url):
            yield number


def _is_hosted(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_local_host(host)))


def _is_local_host(host: str | None) -> bool:
    return host is not None and (host in LOOPBACK_HOSTS or host.endswith(".localhost"))


def _find_local_hosts(context: ToolContext) -> frozenset[str]:
    """Return the hosts of this machine that the API can fetch media from: those of a sandbox."""
    if context.sandbox:
        return SANDBOX_HOSTS
    return LOOPBACK_HOSTS if _is_local_host(urlsplit(context.settings.api_url).hostname) else frozenset()


def find_targets(
    account_ids: Sequence[str], platforms: Sequence[str], book: AccountIndex, found: Findings
) -> dict[str, Integration]:
    """Find the accounts of a post by id, word by word, so that every wrong word is reported.

    With a wrong one, one account of each platform in `platforms` is checked, so that the other problems are found too.
    """
    targets: dict[str, Integration] = {}
    is_complete = True
    for word in account_ids or platforms:
        if account_ids:
            accounts = found.collect(book.find_accounts, word, platforms, found.failure)
        else:
            accounts = found.collect(_find_on_platform, word, book, found.failure)
        is_complete = is_complete and accounts is not None
        for account in accounts or ():
            targets[account.id] = account
    if account_ids and platforms:
        if is_complete:
            found.collect(refuse_unnamed_platforms, platforms, targets.values(), found.failure)
        else:
            targets |= {account.id: account for platform in platforms for account in book.list_on(platform)[:1]}
    return targets


def refuse_unnamed_platforms(platforms: Sequence[str], targets: Collection[Integration], what: str) -> None:
    """Refuse platforms for which account_ids names no account: the post would silently not go there."""
    reached = {platform_key(account.platform) for account in targets}
    missing = [show_word(platform) for platform in platforms if platform_key(platform) not in reached]
    if missing:
        raise Refusal(
            f"{what}: account_ids names no account on {join_words(missing)}. Add that account, or take the platform out of "
            "platforms. Nothing was sent."
        )


def _find_on_platform(platform: str, book: AccountIndex, what: str) -> list[Integration]:
    found = book.list_on(platform)
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

    A draft needs less than a post with a time, which becomes public.
    """
    if me is None or (me.can_publish if scheduled else me.can_draft) is not False:
        return None
    known = [word for word in CAPABILITIES if word in me.capabilities]
    rights = f" (it may {join_words(known)})" if known else ""
    step = "Create one that can in the TimeToPost dashboard under Settings → API, and log in with `ttp-mcp login`"
    if not scheduled:
        return f"the API token can't save drafts{rights}. {step}."
    draft = ", or save drafts: call create_post without scheduled_at" if me.can_draft else ""
    return f"the API token can't publish posts{rights}. {step}{draft}."


def validate_post(
    found: Findings,
    post: PostCreate,
    targets: Collection[Integration],
    others: Sequence[Post] | None,
    context: ToolContext,
    *,
    media_facts: Mapping[str, MediaFacts],
    scheduled: bool,
) -> None:
    """Find the problems of a post on its accounts.

    `others` are the existing posts, if they could be read, `media_facts` the known properties of its media by URL. `scheduled` is
    True if a time was passed, even if it could not be parsed.
    """
    platforms = Counter(map(attrgetter("platform"), targets))
    _check_platforms(found, post, platforms, media_facts, scheduled=scheduled)
    if post.media_urls:
        _check_media(found, post, platforms, media_facts, _find_local_hosts(context))
    _check_accounts(found, post, targets, context.dashboard)
    for text in (post.content, *post.thread):
        for warning in find_text_warnings(text):
            found.add("warning", f"Look at the text: {warning}.")
    if others is None:
        found.add("warning", "The posts that exist could not be read, so clashes were not looked for.")
    else:
        _check_others(found, post, targets, others)
    if "twitter" in platforms:
        found.split = _propose_split(post)


def _propose_split(post: PostCreate) -> tuple[str, ...]:
    """Return the text as a thread on X, if it is too long for one post and fits a thread."""
    texts = (post.content, *post.thread)
    if all(rules.text_length("twitter", text).count <= LIMIT for text in texts):
        return ()
    parts = tuple(part for text in texts for part in split_for_x(text))
    return parts if len(parts) <= MOST_POSTS else ()


def _check_platforms(
    found: Findings, post: PostCreate, platforms: Counter[str], facts: Mapping[str, MediaFacts], *, scheduled: bool
) -> None:
    kinds: tuple[rules.MediaKind, ...] = tuple(_find_media_kind(url, facts.get(url)) for url in post.media_urls)
    for platform, accounts in platforms.items():
        draft = rules.Draft(
            content=post.content,
            platform=platform,
            media_urls=post.media_urls,
            media_kinds=kinds,
            thread=post.thread,
            platform_data=post.platform_data,
            accounts_on_platform=accounts,
            scheduled=scheduled,
        )
        for finding in rules.check_draft(draft):
            # Without any X account the thread is an error of the whole post, reported once below.
            if finding.code != "thread_left_out" or "twitter" in platforms:
                found.add(finding.severity, finding.text)
    if post.thread and platforms and "twitter" not in platforms:
        found.add("error", "thread is for X only: add an X account, or leave thread out.")


def _find_media_kind(url: str, facts: MediaFacts | None) -> rules.MediaKind:
    if facts is None:
        return rules.media_kind(url)
    if facts.is_video:
        return "video"
    return "animation" if facts.animated else "image"


def _check_media(
    found: Findings,
    post: PostCreate,
    platforms: Collection[str],
    facts: Mapping[str, MediaFacts],
    local_hosts: Collection[str],
) -> None:
    for number, url in enumerate(post.media_urls, 1):
        known = facts.get(url)
        if known is None:
            problems = [*check_media_url(number, url, local_hosts)]
        else:
            problems = [*check_media_size(number, known)]
            problems += [each for platform in platforms for each in check_media_facts(platform, number, known)]
        for severity, text in problems:
            found.add(severity, text)


def _check_accounts(found: Findings, post: PostCreate, targets: Collection[Integration], dashboard: str) -> None:
    for account in targets:
        if account.healthy is False:
            name = f"{account_label(account)} ({show_id(account.id)})"
            found.add("warning", f"{name} is {render_unhealthy(account, dashboard)}.")
    for platform in post.platforms:
        same = [account_label(account) for account in targets if account.platform == platform]
        if len(same) > 1:
            doubt = "the API does not say whether it posts to all of them. account_ids says it exactly."
            words = f"platforms has {platform}, where {len(same)} accounts are connected ({join_words(same)}); {doubt}"
            found.add("warning", words)


def _check_others(found: Findings, post: PostCreate, targets: Collection[Integration], others: Sequence[Post]) -> None:
    """Warn about posts with the same text, or a time close by, on the same account."""
    text = normalize_text(post.content)
    for other in others:
        if other.status not in ("scheduled", "publishing", "published", "partial"):
            continue
        shared = may_be_for_account(other, targets)
        if not shared:
            continue
        if normalize_text(other.content) == text:
            where, doubt = _locate_other(other, shared)
            words = f"The same text is already {other.status} {where} ({show_id(other.id)}){doubt}."
            found.add("warning", words)
        elif post.scheduled_at and other.status == "scheduled" and other.scheduled_at:
            apart = other.scheduled_at - post.scheduled_at
            if abs(apart) < CLASH:
                where, doubt = _locate_other(other, shared)
                words = f"Another post {where} is scheduled {_describe_distance(apart)} ({show_id(other.id)}){doubt}."
                found.add("warning", words)


def _locate_other(other: Post, shared: Sequence[Integration]) -> tuple[str, str]:
    """Return the accounts of another post, and a caveat if the API doesn't name them."""
    if other.target_ids:
        return f"for {join_words([account_label(account) for account in shared])}", ""
    platforms = dict.fromkeys(account.platform for account in shared)
    return f"on {join_words(list(platforms))}", "; it may be the same account: the API does not say which"


def _describe_distance(apart: timedelta) -> str:
    minutes = round(abs(apart).total_seconds() / 60)
    if not minutes:
        return "at the same minute"
    return f"{minutes} min {'later' if apart > timedelta() else 'earlier'}"
