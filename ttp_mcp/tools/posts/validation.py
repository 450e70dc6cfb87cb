"""What speaks against a post before it is sent: platform rules, accounts that can't publish, clashes, repetitions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ttp_mcp.api import Integration, Post, PostCreate
from ttp_mcp.platforms import rules
from ttp_mcp.text import find_text_warnings, show_id
from ttp_mcp.toolkit.account_directory import EXPIRED, account_label
from ttp_mcp.tools.posts.paging import may_be_for_account
from ttp_mcp.tools.posts.rendering import join_words

# Closer together than this, two posts of one account take attention from each other. Our own figure.
CLASH = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found, in words: errors stop a post, warnings may, notes are to be known."""

    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def to_say(self) -> list[str]:
        """Warnings, then notes."""
        return [*self.warnings, *self.notes]


def validate_post(post: PostCreate, targets: Sequence[Integration], others: Sequence[Post] | None) -> Findings:
    """All that speaks against a post.

    Args:
        post: What would be sent.
        targets: The accounts it is for.
        others: The posts there are, where they could be read.
    """
    found = [
        *_by_platform(post, targets),
        *_by_account(post, targets),
        *_by_text(post),
        *_by_others(post, targets, others),
    ]
    return Findings(*(tuple(dict.fromkeys(text for kind, text in found if kind == wanted)) for wanted in _SEVERITIES))


_SEVERITIES: tuple[rules.Severity, ...] = ("error", "warning", "note")
_Found = tuple[rules.Severity, str]


def _by_platform(post: PostCreate, targets: Sequence[Integration]) -> Iterator[_Found]:
    platforms = [account.platform for account in targets]
    for platform in dict.fromkeys(platforms):
        draft = rules.Draft(
            content=post.content,
            platform=platform,
            media_urls=post.media_urls,
            thread=post.thread,
            platform_data=post.platform_data,
            accounts_on_platform=platforms.count(platform),
            scheduled=post.scheduled_at is not None,
        )
        for finding in rules.check(draft):
            # Without any X account the thread is an error of the whole post, told once below.
            if finding.code != "thread_left_out" or "twitter" in platforms:
                yield finding.severity, finding.text
    if post.thread and "twitter" not in platforms:
        yield "error", "thread is for X only: add an X account, or leave thread out."


def _by_account(post: PostCreate, targets: Sequence[Integration]) -> Iterator[_Found]:
    for account in targets:
        if account.healthy is False:
            status = account.status or "not connected"
            yield "warning", f"{account_label(account)} ({show_id(account.id)}) is {status}; {EXPIRED}."
    for platform in post.platforms:
        same = [account_label(account) for account in targets if account.platform == platform]
        if len(same) > 1:
            said = "the API does not say whether it posts to all of them. account_ids says it exactly."
            yield (
                "warning",
                f"platforms has {platform}, where {len(same)} accounts are connected ({join_words(same)}); {said}",
            )


def _by_text(post: PostCreate) -> Iterator[_Found]:
    for text in (post.content, *post.thread):
        for warning in find_text_warnings(text):
            yield "warning", f"Look at the text: {warning}."


def _by_others(post: PostCreate, targets: Sequence[Integration], others: Sequence[Post] | None) -> Iterator[_Found]:
    if others is None:
        yield "note", "The posts that exist could not be read, so clashes were not looked for."
        return
    for other in others:
        if other.status not in ("scheduled", "publishing", "published", "partial"):
            continue
        shared = may_be_for_account(other, targets)
        if not shared:
            continue
        where, doubt = _where(other, shared)
        if other.content.strip() == post.content.strip():
            yield "warning", f"The same text is already {other.status} {where} ({show_id(other.id)}){doubt}."
        elif post.scheduled_at and other.status == "scheduled" and other.scheduled_at:
            apart = other.scheduled_at - post.scheduled_at
            if abs(apart) < CLASH:
                yield "warning", f"Another post {where} is scheduled {_apart(apart)} ({show_id(other.id)}){doubt}."


def _where(other: Post, shared: Sequence[Integration]) -> tuple[str, str]:
    """For whom another post is, and what is not sure of that."""
    if other.target_ids:
        return f"for {join_words([account_label(account) for account in shared])}", ""
    platforms = dict.fromkeys(account.platform for account in shared)
    return f"on {join_words(list(platforms))}", "; it may be the same account: the API does not say which"


def _apart(apart: timedelta) -> str:
    minutes = round(abs(apart).total_seconds() / 60)
    if not minutes:
        return "at the same minute"
    return f"{minutes} min {'later' if apart > timedelta() else 'earlier'}"
