"""Validate a post before it is sent: platform rules, accounts that can't publish, clashes, duplicates."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ttp_mcp.api import Integration, Post, PostCreate
from ttp_mcp.ledger.claims import normalize_text
from ttp_mcp.media.facts import MediaFacts
from ttp_mcp.platforms import rules
from ttp_mcp.platforms.media_checks import check_media_facts, check_media_size, check_media_url
from ttp_mcp.platforms.split import MOST_POSTS, split_for_x
from ttp_mcp.platforms.x import LIMIT
from ttp_mcp.text import fence_text, find_text_warnings, show_id
from ttp_mcp.toolkit.account_directory import account_label, render_unhealthy
from ttp_mcp.tools.posts.paging import may_be_for_account
from ttp_mcp.tools.posts.rendering import join_words

# Closer together than this, two posts of one account compete for attention. Our own threshold.
CLASH = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Findings:
    """Problems of a post: errors stop it, warnings don't. `split` is the text as a thread, if X needs one."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    split: tuple[str, ...] = ()

    def render_split(self) -> str:
        """Render the proposed thread as arguments."""
        arguments = {"content": self.split[0], "thread": list(self.split[1:])}
        text = json.dumps(arguments, ensure_ascii=False)
        return (
            f"Proposed thread for X, {len(self.split)} posts, ready to pass as content and thread:\n{fence_text(text)}"
        )


def validate_post(
    post: PostCreate,
    targets: Sequence[Integration],
    others: Sequence[Post] | None,
    *,
    dashboard: str,
    media_facts: Mapping[str, MediaFacts] | None = None,
    local_hosts: Collection[str] = (),
    scheduled: bool | None = None,
) -> Findings:
    """Find the problems of a post.

    Args:
        post: What would be sent.
        targets: Its accounts.
        others: The existing posts, if they could be read.
        dashboard: Where accounts are reconnected, in words.
        media_facts: Known properties of its media by URL.
        local_hosts: Hosts of this machine that the API can fetch media from.
        scheduled: True if a time was passed, even if it could not be parsed. Default: `post` has one.
    """
    facts = media_facts or {}
    wants_time = post.scheduled_at is not None if scheduled is None else scheduled
    found = [
        *_check_platforms(post, targets, facts, scheduled=wants_time),
        *_check_media(post, targets, facts, local_hosts),
        *_check_accounts(post, targets, dashboard),
        *_check_texts(post),
        *_check_others(post, targets, others),
    ]
    errors, warnings = (tuple(dict.fromkeys(text for kind, text in found if kind == wanted)) for wanted in _SEVERITIES)
    return Findings(errors, warnings, _propose_split(post, targets))


_SEVERITIES: tuple[rules.Severity, ...] = ("error", "warning")
_Found = tuple[rules.Severity, str]


def _propose_split(post: PostCreate, targets: Sequence[Integration]) -> tuple[str, ...]:
    """Return the text as a thread on X, if it is too long for one post and fits a thread."""
    texts = (post.content, *post.thread)
    if all(account.platform != "twitter" for account in targets):
        return ()
    if all(rules.text_length("twitter", text).count <= LIMIT for text in texts):
        return ()
    parts = tuple(part for text in texts for part in split_for_x(text))
    return parts if len(parts) <= MOST_POSTS else ()


def _check_platforms(
    post: PostCreate, targets: Sequence[Integration], facts: Mapping[str, MediaFacts], *, scheduled: bool
) -> Iterator[_Found]:
    platforms = [account.platform for account in targets]
    kinds: tuple[rules.MediaKind, ...] = tuple(_media_kind(url, facts.get(url)) for url in post.media_urls)
    for platform in dict.fromkeys(platforms):
        draft = rules.Draft(
            content=post.content,
            platform=platform,
            media_urls=post.media_urls,
            thread=post.thread,
            platform_data=post.platform_data,
            accounts_on_platform=platforms.count(platform),
            scheduled=scheduled,
            media_kinds=kinds,
        )
        for finding in rules.check_draft(draft):
            # Without any X account the thread is an error of the whole post, reported once below.
            if finding.code != "thread_left_out" or "twitter" in platforms:
                yield finding.severity, finding.text
    if post.thread and platforms and "twitter" not in platforms:
        yield "error", "thread is for X only: add an X account, or leave thread out."


def _media_kind(url: str, facts: MediaFacts | None) -> rules.MediaKind:
    if facts is None:
        return rules.media_kind(url)
    if facts.is_video:
        return "video"
    return "animation" if facts.animated else "image"


def _check_media(
    post: PostCreate, targets: Sequence[Integration], facts: Mapping[str, MediaFacts], local_hosts: Collection[str]
) -> Iterator[_Found]:
    for number, url in enumerate(post.media_urls, 1):
        known = facts.get(url)
        if known is None:
            yield from check_media_url(number, url, local_hosts)
            continue
        yield from check_media_size(number, known)
        for platform in dict.fromkeys(account.platform for account in targets):
            yield from check_media_facts(platform, number, known)


def _check_accounts(post: PostCreate, targets: Sequence[Integration], dashboard: str) -> Iterator[_Found]:
    for account in targets:
        if account.healthy is False:
            yield (
                "warning",
                f"{account_label(account)} ({show_id(account.id)}) is {render_unhealthy(account, dashboard)}.",
            )
    for platform in post.platforms:
        same = [account_label(account) for account in targets if account.platform == platform]
        if len(same) > 1:
            said = "the API does not say whether it posts to all of them. account_ids says it exactly."
            yield (
                "warning",
                f"platforms has {platform}, where {len(same)} accounts are connected ({join_words(same)}); {said}",
            )


def _check_texts(post: PostCreate) -> Iterator[_Found]:
    for text in (post.content, *post.thread):
        for warning in find_text_warnings(text):
            yield "warning", f"Look at the text: {warning}."


def _check_others(post: PostCreate, targets: Sequence[Integration], others: Sequence[Post] | None) -> Iterator[_Found]:
    if others is None:
        yield "warning", "The posts that exist could not be read, so clashes were not looked for."
        return
    text = normalize_text(post.content)
    for other in others:
        if other.status not in ("scheduled", "publishing", "published", "partial"):
            continue
        shared = may_be_for_account(other, targets)
        if not shared:
            continue
        where, doubt = _locate_other(other, shared)
        if normalize_text(other.content) == text:
            yield "warning", f"The same text is already {other.status} {where} ({show_id(other.id)}){doubt}."
        elif post.scheduled_at and other.status == "scheduled" and other.scheduled_at:
            apart = other.scheduled_at - post.scheduled_at
            if abs(apart) < CLASH:
                yield (
                    "warning",
                    f"Another post {where} is scheduled {_describe_distance(apart)} ({show_id(other.id)}){doubt}.",
                )


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
