"""Apply the arguments of a change to a post, and compare the result with the post."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from ttp_mcp.api import Post, PostCreate
from ttp_mcp.errors import Refusal
from ttp_mcp.platforms import rules
from ttp_mcp.text import clean_text, count_noun, join_words, quote_text, shorten_line, show_id
from ttp_mcp.times import show, to_iso
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.platform_data import to_argument_spelling
from ttp_mcp.tools.posts.content_summary import quote_file_names
from ttp_mcp.tools.posts.prepare import UNPROMISED, PostArguments, PreparedPost, is_hidden, list_hidden
from ttp_mcp.tools.posts.rendering import account_labels

CHANGES = ("scheduled_at", "content", "account_ids", "media_urls", "thread", "platform_data", "remove")
# Argument that each value of `remove` clears.
_REMOVED = {"media": "media_urls", "thread": "thread", "platform_data": "platform_data"}


class ChangeFields(Protocol):
    """Arguments of a tool that changes a post, or checks a change. An absent one leaves its part of the post as it is."""

    scheduled_at: str | None
    content: str | None
    account_ids: list[str] | None
    media_urls: list[str] | None
    thread: list[str] | None
    platform_data: dict[str, Any] | None
    remove: Any


def apply_changes(args: ChangeFields, old: Post, context: ToolContext, failure: str) -> PostArguments:
    """Return the post with its changes.

    Raises:
        Refusal: Nothing changes, a part is both set and removed, or the API doesn't show the accounts or the time of the post.
    """
    removed = {_REMOVED[word] for word in args.remove or ()}
    if all(getattr(args, name) is None for name in CHANGES):
        raise Refusal(f"{failure}: nothing to change was passed. Pass at least one of {', '.join(CHANGES)}.")
    if both := [name for name in removed if getattr(args, name) is not None]:
        raise Refusal(
            f"{failure}: {join_words(sorted(both))} is both set and removed. Pass one of the two; nothing was changed."
        )
    return PostArguments(
        content=args.content or old.content,
        account_ids=args.account_ids or _keep_accounts(old, failure),
        media_urls=() if "media_urls" in removed else args.media_urls or old.media_urls,
        thread=() if "thread" in removed else args.thread or old.thread,
        scheduled_at=args.scheduled_at or _keep_time(old, context, failure),
        platform_data={} if "platform_data" in removed else _merge_choices(old.platform_data, args.platform_data or {}),
    )


def _keep_accounts(old: Post, failure: str) -> list[str]:
    found = old.target_ids
    if not found:
        raise Refusal(
            f"{failure}: the API does not show which accounts {show_id(old.id)} is for. Pass account_ids; nothing was changed."
        )
    return found


def _keep_time(old: Post, context: ToolContext, failure: str) -> str | None:
    """Return the time of a scheduled post, which its replacement keeps; None for a draft."""
    if old.status != "scheduled":
        return None
    if old.scheduled_at is None:
        # Without a time the replacement would be a draft.
        raise Refusal(
            f"{failure}: {show_id(old.id)} is scheduled, but the API shows no time that can be read. Pass scheduled_at; "
            "nothing was changed."
        )
    return to_iso(old.scheduled_at, context.zone)


def _merge_choices(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the old choices with the new ones; a choice that isn't passed stays."""
    merged = dict(old)
    for platform, block in new.items():
        before = old.get(platform)
        merged[platform] = {**before, **block} if isinstance(before, dict) and isinstance(block, dict) else block
    return merged


def refuse_hidden_parts(args: ChangeFields, old: Post, prepared: PreparedPost, failure: str) -> None:
    """Refuse a change that would lose a part that the API doesn't show."""
    missing = [name for name in list_hidden(old, prepared.platforms) if not _is_touched(name, args)]
    if missing:
        raise Refusal(
            f"{failure}: the API does not show the {' and '.join(missing)} of {show_id(old.id)}. Pass {' and '.join(missing)}, "
            "or name it in remove if it has none; nothing was changed."
        )


def refuse_no_change(args: ChangeFields, old: Post, prepared: PreparedPost, failure: str) -> None:
    """Refuse to replace a post by an equal one."""
    if any(is_hidden(name, old) and _is_touched(name, args) for name in UNPROMISED):
        return
    post = prepared.post
    due = old.scheduled_at if old.status == "scheduled" else None
    new = (post.content, list(post.thread), list(post.media_urls), post.platform_data, post.scheduled_at)
    same = new == (old.content, old.thread, old.media_urls, old.platform_data, due)
    if same and set(old.target_ids) == set(prepared.targets):
        raise Refusal(f"{failure}: {show_id(old.id)} is like that already. Nothing was changed.")


def _is_touched(name: str, args: ChangeFields) -> bool:
    return getattr(args, name) is not None or name in (args.remove or ())


@dataclass(frozen=True, slots=True)
class Changes:
    """Differences between a post and its replacement, in words.

    Parts that the replacement doesn't have are `removed`, each with the verb that its number needs: `("its picture", "was")`.
    """

    changed: list[str]
    removed: list[tuple[str, str]]
    kept: list[str]

    def render_answer(self) -> list[str]:
        """Lines for the answer after a change."""
        lines = [f"Changed: {'; '.join(self.changed)}."] if self.changed else []
        lines += [f"{part[0].upper()}{part[1:]} {verb} removed." for part, verb in self.removed]
        return [*lines, f"Unchanged: {', '.join(self.kept)}."] if self.kept else lines

    def render_question(self) -> list[str]:
        """Lines for the question before a change."""
        lines = [f"Changes: {'; '.join(self.changed)}."] if self.changed else []
        future = {"was": "is", "were": "are"}
        return lines + [f"{part[0].upper()}{part[1:]} {future[verb]} removed." for part, verb in self.removed]

    @property
    def removed_parts(self) -> list[str]:
        """The removed parts alone."""
        return [part for part, _ in self.removed]


def _describe_no_time(old: Post) -> str:
    if old.status == "scheduled":
        return "at a time that can't be read"
    return "a draft" if old.status == "draft" else f"a {old.status} post"


async def compare_posts(old: Post, prepared: PreparedPost, args: ChangeFields, context: ToolContext) -> Changes:
    """Compare a post with its replacement."""
    book = await context.accounts.get_for_labels()
    post, files = prepared.post, quote_file_names(old.media_urls) or "none"
    due = old.scheduled_at if old.status == "scheduled" else None
    choices = _describe_choices(old.platform_data, post.platform_data)
    parts = [
        ("time", due, post.scheduled_at, f"was {show(due, context.zone) if due else _describe_no_time(old)}"),
        ("text", old.content, post.content, f"was {quote_text(old.content, 100)}"),
        ("accounts", set(old.target_ids), set(prepared.targets), f"was {join_words(account_labels(old, book))}"),
        ("media", old.media_urls, list(post.media_urls), f"was {files}"),
        ("thread", old.thread, list(post.thread), f"was {count_noun(len(old.thread), 'further post')}"),
        ("platform choices", old.platform_data, post.platform_data, choices),
    ]
    return Changes(
        changed=[f"{name} ({detail})" for name, before, after, detail in parts if before != after and after],
        removed=[*_find_removed(old, post, args)],
        kept=[name for name, before, after, _ in parts if before == after and before],
    )


def _find_removed(old: Post, post: PostCreate, args: ChangeFields) -> Iterator[tuple[str, str]]:
    if old.media_urls and not post.media_urls:
        media = f"its {_name_media(old.media_urls)} ({quote_file_names(old.media_urls)})"
        yield media, "was" if len(old.media_urls) == 1 else "were"
    if old.thread and not post.thread:
        parts = count_noun(len(old.thread), "further post")
        yield f"{parts} of the thread", "was" if len(old.thread) == 1 else "were"
    if old.platform_data and not post.platform_data:
        yield f"its choices for {join_words([shorten_line(name, 30) for name in old.platform_data])}", "were"
    for name in args.remove or ():
        if name in UNPROMISED and is_hidden(name, old):
            yield f"its {name}, if it had one,", "was"


def _name_media(urls: Sequence[str]) -> str:
    kinds = {rules.media_kind(url) for url in urls}
    noun = "picture" if kinds <= {"image", "animation"} else "video" if kinds == {"video"} else "media file"
    return noun if len(urls) == 1 else count_noun(len(urls), noun)


def _describe_choices(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Name the choices that differ, with their old values."""
    before, after = _flatten_choices(old), _flatten_choices(new)
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return ", ".join(f"{name} was {_show_choice(before.get(name))}" for name in names)


def _flatten_choices(data: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for platform, block in to_argument_spelling(data).items():
        choices = cast("dict[str, Any]", block) if isinstance(block, dict) else {"": block}
        found |= {f"{clean_text(platform)}.{clean_text(name)}".rstrip("."): choice for name, choice in choices.items()}
    return found


def _show_choice(choice: object) -> str:
    if choice is None:
        return "not set"
    return quote_text(choice, 60) if isinstance(choice, str) else shorten_line(str(choice), 60)
