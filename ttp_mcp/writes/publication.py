"""Progress of a post towards publication: pure rules."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from ttp_mcp.api import AccountResult, Post

# States from which the API publishes a post on request.
PUBLISHABLE = ("draft", "scheduled", "failed")
STARTED = ("publishing", "published", "partial")
# The API publishes a post at its next tick. A post that is due sooner is published as soon without a request.
TICK = timedelta(seconds=60)
# A post that is overdue for longer was missed, so it needs a request.
LONGEST_DELAY = timedelta(minutes=10)


def is_due(post: Post, now: datetime) -> bool:
    """Check whether a scheduled post is published at the next tick."""
    due = post.scheduled_at
    return post.status == "scheduled" and due is not None and now - LONGEST_DELAY <= due <= now + TICK


def has_started(before: Post, after: Post, now: datetime) -> bool:
    """Check whether a request to publish a post had its effect.

    A post that failed and is still failed proves nothing: the request may have failed too, or may not have arrived.
    """
    if after.status in STARTED or is_due(after, now):
        return True
    return after.status == "failed" and before.status != "failed"


def list_delivered(post: Post) -> list[AccountResult]:
    """Return the results of the accounts that show the post."""
    return [each for each in post.results if each.status == "published" or each.url or each.external_id]


def list_failed(post: Post) -> list[AccountResult]:
    """Return the results of the accounts that refused the post."""
    shown = list_delivered(post)
    return [each for each in post.results if each.status == "failed" and each not in shown]


def find_accounts_with(post: Post, others: Sequence[Post], account_ids: Sequence[str]) -> dict[str, str]:
    """Find the accounts that have the same post by another one, which shows it or is about to.

    Returns:
        The id of the other post for each account. Posts from before `post`, as a weekly text has them, don't count.
    """
    found: dict[str, str] = {}
    for other in others:
        if other.id == post.id or not _is_repeat(post, other):
            continue
        refused = {each.account_id for each in list_failed(other)}
        for account_id in account_ids:
            if account_id in other.target_ids and account_id not in refused:
                found.setdefault(account_id, other.id)
    return found


def _is_repeat(post: Post, other: Post) -> bool:
    if other.status not in ("scheduled", *STARTED):
        return False
    if post.created_at and other.created_at and other.created_at < post.created_at:
        return False
    return (other.content.strip(), other.media_urls) == (post.content.strip(), post.media_urls)
