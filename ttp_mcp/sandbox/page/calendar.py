"""The calendar: a week, a month, a day; the drafts beside it; and one post in full."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

from ttp_mcp.sandbox.clock import to_ms
from ttp_mcp.sandbox.page import queries
from ttp_mcp.sandbox.page.html import Child, Markup, element, join_children, user_text
from ttp_mcp.sandbox.page.layout import (
    card,
    count_of,
    day_name,
    empty,
    first_words,
    gallery,
    outward,
    pager,
    platform_mark,
    stamp,
    status_mark,
    time_of,
    utc,
)
from ttp_mcp.sandbox.page.queries import Card, Day, Target, Visit

WEEK_DAY_POSTS, MONTH_DAY_POSTS, PAGE_POSTS = 8, 3, 60
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# Years that the calendar turns to: datetime reaches further, but neighbours of its ends don't exist.
FIRST_YEAR, LAST_YEAR = 1971, 9998


def today(visit: Visit) -> date:
    """The date in the organization's zone."""
    return visit.now.astimezone(visit.organization.zone).date()


def monday(day: date) -> date:
    """The first day of its week."""
    return day - timedelta(days=day.weekday())


def week(visit: Visit, day: date) -> tuple[str, Markup]:
    """Title and content of the week of a day."""
    start = monday(day)
    end = start + timedelta(days=6)
    title = f"{day_name(start)} – {day_name(end)} {end.year}"
    return f"Week of {title}", join_children(
        _head(
            title,
            f"Week {start.isocalendar().week}",
            _turn(visit, "week", start - timedelta(days=7), today(visit), start + timedelta(days=7)),
            _switch(visit, "Week", day),
        ),
        week_grid(visit, start),
    )


def week_grid(visit: Visit, start: date, level: str = "h2") -> Markup:
    """Seven days beside each other, or below each other where there is no room."""
    dates = [start + timedelta(days=number) for number in range(7)]
    found = queries.days(visit, _windows(visit, dates), WEEK_DAY_POSTS)
    columns = [_column(visit, day, held, level) for day, held in zip(dates, found, strict=True)]
    if not any(held.count for held in found):
        columns.append(
            element("li", empty("Nothing is planned this week", _how_to_begin()), class_="wide"),
        )
    return element("ol", columns, class_="week")


def month(visit: Visit, year: int, number: int) -> tuple[str, Markup]:
    """Title and content of a month."""
    first = date(year, number, 1)
    following = (first + timedelta(days=31)).replace(day=1)
    start = monday(first)
    dates = [
        start + timedelta(days=number) for number in range((monday(following - timedelta(days=1)) - start).days + 7)
    ]
    found = queries.days(visit, _windows(visit, dates), MONTH_DAY_POSTS)
    held_in_month = sum(held.count for day, held in zip(dates, found, strict=True) if day.month == number)
    cells = [_cell(visit, day, held, inside=day.month == number) for day, held in zip(dates, found, strict=True)]
    title = f"{first:%B} {year}"
    return title, join_children(
        _head(
            title,
            count_of(held_in_month, "post") if held_in_month else "No posts",
            _turn(visit, "month", (first - timedelta(days=1)).replace(day=1), today(visit), following),
            _switch(visit, "Month", first),
        ),
        element("div", [element("span", name) for name in WEEKDAYS], class_="weekdays", aria_hidden="true"),
        element("ol", cells, class_="month"),
        None if held_in_month else empty("Nothing in this month", _how_to_begin()),
    )


def one_day(visit: Visit, day: date, number: int) -> tuple[str, Markup]:
    """Title and content of a single day, page by page."""
    held = queries.days(visit, _windows(visit, [day]), PAGE_POSTS, PAGE_POSTS * (number - 1))[0]
    title = f"{day:%A}, {day_name(day)} {day.year}"
    return title, join_children(
        _head(
            title,
            count_of(held.count, "post") if held.count else "No posts",
            _turn(visit, "day", day - timedelta(days=1), today(visit), day + timedelta(days=1)),
            _switch(visit, "", day),
        ),
        element("div", [card(visit, post, level="h2") for post in held.cards], class_="cards") if held.cards else None,
        None if held.cards else empty("No posts on this page" if held.count else "No posts on this day"),
        pager(visit.path("day", day.isoformat()), number, PAGE_POSTS, held.count),
    )


def drafts(visit: Visit, number: int) -> tuple[str, Markup]:
    """Title and content of the posts without a time."""
    held = queries.drafts(visit, PAGE_POSTS, PAGE_POSTS * (number - 1))
    return "Drafts", join_children(
        _head("Drafts", "Posts without a time. They wait here until they are given one."),
        element("div", [card(visit, post, level="h2") for post in held.cards], class_="cards") if held.cards else None,
        None
        if held.cards
        else empty("No drafts", "Ask the agent to write a post without a time, and it appears here."),
        pager(visit.path("drafts"), number, PAGE_POSTS, held.count),
    )


def post(visit: Visit, post_id: str) -> tuple[str, Markup] | None:
    """Title and content of one post; None when the organization has no such post."""
    found = queries.whole(visit, post_id)
    if found is None:
        return None
    held = found.card
    thread = [element("li", user_text(part, "div", class_="text")) for part in (held.text, *found.thread)]
    text = element("ol", thread, class_="thread") if found.thread else user_text(held.text, "div", class_="text")
    back = element("a", "Drafts", href=visit.path("drafts"))
    if held.at is not None:
        local = visit.local(held.at).date()
        back = element("a", "Day of this post", href=_day_path(visit, local))
    return f"Post: {first_words(held.text, 60)}", join_children(
        element("p", back, class_="crumb"),
        element(
            "header",
            element(
                "div",
                element("h1", "Thread" if found.thread else "Post"),
                element("p", status_mark(held.status), " ", _when(visit, held), class_="sub"),
            ),
            class_="title",
        ),
        element("section", element("h2", "Text", class_="hidden"), text, gallery(held.files), class_="panel"),
        element("section", element("h2", "Accounts"), _results(visit, found), class_="block"),
        element("section", element("h2", "Details"), _details(visit, found), class_="block"),
    )


def _when(visit: Visit, held: Card) -> Child:
    if held.at is None:
        return "without a time"
    word = "for" if held.status in ("scheduled", "publishing") else "was due"
    return (word, " ", time_of(visit, held.at))


def _results(visit: Visit, found: queries.Whole) -> Markup:
    rows = [_result(visit, target, found) for target in found.card.targets]
    heads = ("Account", "Result", "Likes", "Comments", "Shares", "Views")
    return element(
        "div",
        element(
            "table",
            element("caption", "What came of it on each account", class_="hidden"),
            element(
                "thead",
                element(
                    "tr",
                    [
                        element("th", head, scope="col", class_="n" if number > 1 else None)
                        for number, head in enumerate(heads)
                    ],
                ),
            ),
            element("tbody", rows),
            class_="stack",
        ),
        class_="scroll",
    )


def _result(visit: Visit, target: Target, found: queries.Whole) -> Markup:
    figures = found.figures.get(target.account_id)
    came = [status_mark(target.status)]
    if target.published_at is not None:
        came.append(join_children(" ", time_of(visit, target.published_at)))
    if target.url:
        came.append(element("div", outward(target.url, target.url), class_="address"))
    if target.error:
        came.append(user_text(target.error, "p", class_="problem"))
    numbers = [
        element(
            "td",
            element("span", f"{name.capitalize()} ", class_="small"),
            f"{figures[name]:,}" if figures else "–",
            class_="n",
        )
        for name in ("likes", "comments", "shares", "views")
    ]
    name = element(
        "a",
        platform_mark(target.platform),
        user_text(target.name, class_="name"),
        href=visit.path("feeds", target.account_id),
        class_="target",
    )
    return element("tr", element("th", name, scope="row"), element("td", came), numbers)


def _details(visit: Visit, found: queries.Whole) -> Markup:
    entries: list[tuple[str, Child]] = [("Id", element("code", found.card.id))]
    if found.card.at is not None:
        entries.append(("Due", utc(found.card.at)))
    entries += [("Created", time_of(visit, found.created_at)), ("Last changed", time_of(visit, found.updated_at))]
    if found.data:
        entries.append(("Platform data", user_text(found.data, "pre")))
    return element(
        "dl", [element("div", element("dt", name), element("dd", value)) for name, value in entries], class_="details"
    )


def _column(visit: Visit, day: date, held: Day, level: str) -> Markup:
    is_today = day == today(visit)
    heading = element(
        level,
        element(
            "a",
            element("span", f"{day:%a} ", class_="dayname"),
            element("time", day_name(day), datetime=day.isoformat()),
            href=_day_path(visit, day),
        ),
        element("span", "Today", class_="pill") if is_today else None,
    )
    past = " past" if day < today(visit) else ""
    lower = "h3" if level == "h2" else "h4"
    return element(
        "li",
        heading,
        [card(visit, post, level=lower) for post in held.cards],
        _more(visit, day, held) or (None if held.cards else element("p", "No posts", class_="none")),
        class_=f"day{' today' if is_today else ''}{past}{'' if held.cards else ' bare'}",
    )


def _cell(visit: Visit, day: date, held: Day, *, inside: bool) -> Markup:
    is_today = day == today(visit)
    lines = [
        element(
            "li",
            element(
                "a",
                element("time", f"{visit.local(post.at or 0):%H:%M}", datetime=stamp(visit.local(post.at or 0))),
                status_mark(post.status),
                user_text(first_words(post.text, 60), class_="words"),
                href=visit.path("posts", post.id),
                class_=f"line c-{post.status}",
            ),
        )
        for post in held.cards
    ]
    classes = ("cell", "" if inside else "outside", "today" if is_today else "", "" if held.cards else "bare")
    return element(
        "li",
        element(
            "h2",
            element(
                "a",
                element("span", f"{day:%a} ", class_="dayname"),
                element(
                    "time",
                    element("span", str(day.day)),
                    element("span", f" {day:%b}", class_="monthname"),
                    datetime=day.isoformat(),
                ),
                href=_day_path(visit, day),
            ),
            element("span", "Today", class_="pill") if is_today else None,
        ),
        element("ul", lines, class_="lines") if lines else None,
        _more(visit, day, held),
        class_=" ".join(name for name in classes if name),
    )


def _more(visit: Visit, day: date, held: Day) -> Markup | None:
    left = held.count - len(held.cards)
    if left <= 0:
        return None
    link = element("a", f"and {left:,} more", href=_day_path(visit, day))
    return element("p", link, class_="more")


def _day_path(visit: Visit, day: date) -> str | None:
    """Path of a day; None beyond the ends of the calendar."""
    return visit.path("day", day.isoformat()) if FIRST_YEAR <= day.year <= LAST_YEAR else None


def _windows(visit: Visit, dates: Sequence[date]) -> list[tuple[int, int]]:
    """Each day from midnight to midnight in the organization's zone: 23 to 25 hours."""
    zone = visit.organization.zone

    def midnight(day: date) -> int:
        return to_ms(datetime.combine(day, time(), zone))

    return [(midnight(day), midnight(day + timedelta(days=1))) for day in dates]


def _head(title: str, sub: str, *controls: Child) -> Markup:
    return element(
        "header",
        element("div", element("h1", title), element("p", sub, class_="sub")),
        element("div", *controls, class_="controls") if controls else None,
        class_="title",
    )


def _turn(visit: Visit, kind: str, before: date, now: date, after: date) -> Markup:
    def link(day: date, words: str, label: str) -> Markup:
        value = f"{day:%Y-%m}" if kind == "month" else day.isoformat()
        return element("a", words, href=visit.path(kind, value), aria_label=label)

    this = {"week": "This week", "month": "This month", "day": "Today"}[kind]
    return element(
        "nav",
        link(before, "←", f"The {kind} before") if before.year >= FIRST_YEAR else None,
        link(now, this, this),
        link(after, "→", f"The {kind} after") if after.year <= LAST_YEAR else None,
        aria_label="Turn the calendar",
        class_="turn",
    )


def _switch(visit: Visit, here: str, day: date) -> Markup:
    places = (("Week", ("week", day.isoformat())), ("Month", ("month", f"{day:%Y-%m}")))
    return element(
        "nav",
        [
            element("a", name, href=visit.path(*parts), aria_current="page" if name == here else None)
            for name, parts in places
        ],
        aria_label="View",
        class_="turn",
    )


def _how_to_begin() -> str:
    return "Ask the agent to schedule a post, or send POST /api/posts with a scheduledAt; it shows up here at once."
