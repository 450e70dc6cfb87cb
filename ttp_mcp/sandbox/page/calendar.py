"""The calendar: a week, a month, a day; the drafts; and one post in full."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from ttp_mcp.sandbox import networks
from ttp_mcp.sandbox.clock import to_ms
from ttp_mcp.sandbox.page import queries
from ttp_mcp.sandbox.page.queries import Card, Visit
from ttp_mcp.sandbox.page.rendering import Page, create_pager
from ttp_mcp.sandbox.page.text import count_of, day_name, first_words

WEEK_DAY_POSTS, MONTH_DAY_POSTS, PAGE_POSTS = 8, 3, 60
# Years of the calendar: datetime reaches further, but neighbors of its ends don't exist.
FIRST_YEAR, LAST_YEAR = 1971, 9998

FIGURES = {
    "Views": "views",
    "Likes": "likes",
    "Comments": "comments",
    "Shares": "shares",
    "Saves": "saves",
    "Clicks": "clicks",
    "Impressions": "impressions",
}


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """A day with its first posts; `path` is None beyond the ends of the calendar."""

    date: date
    path: str | None
    count: int
    cards: Sequence[Card]
    is_today: bool
    is_past: bool
    is_inside: bool = True

    @property
    def hidden(self) -> int:
        """Number of posts that are not shown."""
        return self.count - len(self.cards)


@dataclass(frozen=True, slots=True)
class Turn:
    """Links of the calendar: to its neighbors, to the current one, and to the other views."""

    kind: str
    label: str
    before: str | None
    now: str
    after: str | None
    view: str
    views: Sequence[tuple[str, str]]


def get_today(visit: Visit) -> date:
    """Return the date in the organization's zone."""
    return visit.now.astimezone(visit.organization.zone).date()


def get_monday(day: date) -> date:
    """Return the first day of the week of a day."""
    return day - timedelta(days=day.weekday())


def get_week(visit: Visit, start: date) -> list[CalendarDay]:
    """Return seven days from `start`."""
    return _read_days(visit, [start + timedelta(days=number) for number in range(7)], WEEK_DAY_POSTS)


def show_week(visit: Visit, day: date) -> Page:
    """Show the week of a day."""
    start = get_monday(day)
    end = start + timedelta(days=6)
    heading = f"{day_name(start)} – {day_name(end)} {end.year}"
    neighbors = (start - timedelta(days=7), start + timedelta(days=7))
    values = {
        "heading": heading,
        "sub": f"Week {start.isocalendar().week}",
        "turn": _create_turn(visit, "week", "This week", neighbors, day),
        "days": get_week(visit, start),
    }
    return Page("week.html", f"Week of {heading}", values)


def show_month(visit: Visit, year: int, number: int) -> Page:
    """Show a month, in whole weeks."""
    first = date(year, number, 1)
    following = (first + timedelta(days=31)).replace(day=1)
    start = get_monday(first)
    length = (get_monday(following - timedelta(days=1)) - start).days + 7
    days = _read_days(visit, [start + timedelta(days=number) for number in range(length)], MONTH_DAY_POSTS, number)
    count = sum(day.count for day in days if day.is_inside)
    neighbors = ((first - timedelta(days=1)).replace(day=1), following)
    values = {
        "sub": count_of(count, "post") if count else "No posts",
        "turn": _create_turn(visit, "month", "This month", neighbors, first),
        "days": days,
        "count": count,
    }
    return Page("month.html", f"{first:%B} {year}", values)


def show_day(visit: Visit, day: date, number: int) -> Page:
    """Show a day, page by page."""
    found = queries.read_days(visit, _get_windows(visit, [day]), PAGE_POSTS, PAGE_POSTS * (number - 1))[0]
    values = {
        "sub": count_of(found.count, "post") if found.count else "No posts",
        "turn": _create_turn(visit, "day", "Today", (day - timedelta(days=1), day + timedelta(days=1)), day),
        "cards": found.cards,
        "count": found.count,
        "path": visit.path("day", day.isoformat()),
        "pager": create_pager(number, PAGE_POSTS, found.count),
    }
    return Page("day.html", f"{day:%A}, {day_name(day)} {day.year}", values)


def show_drafts(visit: Visit, number: int) -> Page:
    """Show the posts without a time, page by page."""
    found = queries.read_drafts(visit, PAGE_POSTS, PAGE_POSTS * (number - 1))
    pager = create_pager(number, PAGE_POSTS, found.count)
    return Page("drafts.html", "Drafts", {"cards": found.cards, "path": visit.path("drafts"), "pager": pager})


def show_post(visit: Visit, post_id: str) -> Page | None:
    """Show a post with its results; None if the organization has no such post."""
    found = queries.read_post(visit, post_id)
    if found is None:
        return None
    post = found.card
    back_path = visit.path("drafts") if post.at is None else _get_day_path(visit, visit.local(post.at).date())
    synced = {
        name: networks.compute_metrics(dict(row))
        for name, row in found.figures.items()
        if row["measured_at"] > row["published_at"]
    }
    total = networks.add_metrics(list(synced.values())) if len(synced) > 1 else None
    values = {
        "found": found,
        "back": "Drafts" if post.at is None else "Day of this post",
        "back_path": back_path,
        "figure_names": [*FIGURES, "Rate"],
        "figures": {name: _format_figures(figures) for name, figures in synced.items()},
        "total": total and _format_figures(total),
    }
    return Page("post.html", f"Post: {first_words(post.text, 60)}", values)


def _format_figures(figures: dict[str, int | float]) -> dict[str, str]:
    shown = {label: f"{figures[name]:,}" for label, name in FIGURES.items()}
    return {**shown, "Rate": f"{100 * figures['engagementRate']:.1f} %"}


def _read_days(visit: Visit, dates: Sequence[date], most: int, month: int | None = None) -> list[CalendarDay]:
    today = get_today(visit)
    found = queries.read_days(visit, _get_windows(visit, dates), most)
    return [
        CalendarDay(
            date=day,
            path=_get_day_path(visit, day),
            count=held.count,
            cards=held.cards,
            is_today=day == today,
            is_past=day < today,
            is_inside=month in (None, day.month),
        )
        for day, held in zip(dates, found, strict=True)
    ]


def _get_day_path(visit: Visit, day: date) -> str | None:
    return visit.path("day", day.isoformat()) if FIRST_YEAR <= day.year <= LAST_YEAR else None


def _get_windows(visit: Visit, dates: Sequence[date]) -> list[tuple[int, int]]:
    """Return each day from midnight to midnight in the organization's zone: 23 to 25 hours."""
    zone = visit.organization.zone

    def midnight(day: date) -> int:
        return to_ms(datetime.combine(day, time(), zone))

    return [(midnight(day), midnight(day + timedelta(days=1))) for day in dates]


def _create_turn(visit: Visit, kind: str, label: str, neighbors: tuple[date, date], day: date) -> Turn:
    def path(to: date) -> str:
        return visit.path(kind, f"{to:%Y-%m}" if kind == "month" else to.isoformat())

    before, after = neighbors
    return Turn(
        kind=kind,
        label=label,
        before=path(before) if before.year >= FIRST_YEAR else None,
        now=path(get_today(visit)),
        after=path(after) if after.year <= LAST_YEAR else None,
        view=kind.capitalize(),
        views=(
            ("Week", visit.path("week", day.isoformat())),
            ("Month", visit.path("month", f"{day:%Y-%m}")),
        ),
    )
