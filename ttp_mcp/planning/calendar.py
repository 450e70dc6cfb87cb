"""Draw a plan as a text calendar."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from ttp_mcp.planning.model import EmptyDay, Plan, PostRequest, Scheduled
from ttp_mcp.text import quote_text
from ttp_mcp.times import show_day

EXCERPT_CHARACTERS = 32


def draw_calendar(plan: Plan, zone: ZoneInfo, names: Mapping[str, str] | None = None) -> str:
    """Draw a plan: a line for each post, then the reasons, the posts without a time and the empty days.

    Days and times are in `zone`. Accounts without a name, such as `instagram @harbor.cafe`, are shown by id.
    """
    sections = [_draw_rows(plan.scheduled, zone, names or {})]
    for heading, entries in (("Why these times:", plan.scheduled), ("Without a time:", plan.unscheduled)):
        if entries:
            reasons = group_posts((each.reason, each.post) for each in entries)
            sections.append([heading, *(f"- {posts}: {reason}" for reason, posts in reasons)])
    if plan.empty_days:
        sections.append(["Days without a post:", *_group_days(plan.empty_days)])
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _draw_rows(scheduled: Sequence[Scheduled], zone: ZoneInfo, names: Mapping[str, str]) -> list[str]:
    rows = [
        (
            show_day(each.at.astimezone(zone)),
            f"{each.at.astimezone(zone):%H:%M}",
            f"post {each.post.index + 1}",
            quote_text(each.post.content, EXCERPT_CHARACTERS),
            ", ".join(names.get(account_id, account_id) for account_id in each.post.account_ids),
        )
        for each in scheduled
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def group_posts(reasons: Iterable[tuple[str, PostRequest]]) -> list[tuple[str, str]]:
    """Group posts by reason, so that each reason is printed once: reason, then `post 1` or `posts 1, 3`."""
    groups: dict[str, list[int]] = {}
    for reason, post in reasons:
        groups.setdefault(reason, []).append(post.index + 1)
    return [
        (reason, f"post{'s' if len(numbers) > 1 else ''} {', '.join(map(str, sorted(numbers)))}")
        for reason, numbers in groups.items()
    ]


def _group_days(empty: Sequence[EmptyDay]) -> list[str]:
    """Join neighboring days with the same reason."""
    groups: list[list[EmptyDay]] = []
    for each in empty:
        last = groups[-1][-1] if groups else None
        if last and last.reason == each.reason and each.day - last.day == timedelta(days=1):
            groups[-1].append(each)
        else:
            groups.append([each])
    lines: list[str] = []
    for group in groups:
        first, last = show_day(group[0].day), show_day(group[-1].day)
        lines.append(f"- {first if first == last else f'{first} – {last}'}: {group[0].reason}")
    return lines
