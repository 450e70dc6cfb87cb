"""The simulated networks: feeds as a follower sees them, and when their people look, as a heat map."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ttp_mcp.sandbox.page import queries
from ttp_mcp.sandbox.page.html import Child, Markup, element, join_children, user_text
from ttp_mcp.sandbox.page.layout import count_of, empty, gallery, outward, platform_mark, platform_name, time_of
from ttp_mcp.sandbox.page.queries import Publication, Visit
from ttp_mcp.sandbox.page.views import heading
from ttp_mcp.sandbox.rest import analytics
from ttp_mcp.sandbox.rest.analytics import DAYS, PRIOR, Point

PAGE_PUBLICATIONS = 20
LEVELS = 6


def feed(visit: Visit, account_id: str | None, number: int) -> tuple[str, Markup] | None:
    """Title and content of what the networks show of an account, or of all; None when it is not the organization's."""
    accounts = queries.accounts(visit)
    chosen = [row for row in accounts if row["id"] == account_id]
    if account_id is not None and not chosen:
        return None
    # One more than is shown tells whether there is a further page, without counting all.
    found = queries.feed(visit, account_id, PAGE_PUBLICATIONS + 1, PAGE_PUBLICATIONS * (number - 1))
    name = chosen[0]["handle"] or chosen[0]["name"] if chosen else "All accounts"
    sub: Child = "What a follower would see on each network. The networks are simulated, their figures invented."
    if chosen:
        sub = f"{platform_name(chosen[0]['platform'])}, {chosen[0]['followers']:,} followers. The network is simulated."
    tabs = [_tab(visit, "All accounts", None, account_id)] + [
        _tab(visit, row["handle"] or row["name"], row, account_id) for row in accounts
    ]
    path = visit.path("feeds", *([account_id] if account_id else []))
    return f"Feed: {name}", join_children(
        element(
            "header", element("div", element("h1", user_text(name)), element("p", sub, class_="sub")), class_="title"
        ),
        element("nav", element("ul", tabs), aria_label="Accounts", class_="tabs"),
        element("div", [_publication(visit, entry) for entry in found[:PAGE_PUBLICATIONS]], class_="feed"),
        None
        if found
        else empty(
            "Nothing is published here" if number == 1 else "There is nothing older", "Posts appear once they are due."
        ),
        _turn(path, number, older=len(found) > PAGE_PUBLICATIONS),
    )


def best_times(visit: Visit) -> tuple[str, Markup]:
    """Title and content of weekday and hour against engagement, by the method of the analytics."""
    if not visit.organization.plan.best_times:
        return "Best times", join_children(
            heading("Best times", f"The {visit.organization.plan.name} plan does not include them."),
            empty("Not in this plan", "Run ", element("code", "ttp-mcp sandbox plan complete"), " to see them."),
        )
    points = analytics.read_points(visit.db, visit.organization, visit.now)
    advice = analytics.recommendation(points)
    upcoming = analytics.next_slot(visit.now, visit.organization.zone, points)
    if not points:
        return "Best times", join_children(
            heading("Best times", "When followers look."), empty("No history yet", advice["message"])
        )
    return "Best times", join_children(
        heading("Best times", advice["message"], " Hours and weekdays are those of ", visit.organization.zone.key, "."),
        element(
            "div",
            element("div", _heat(points), class_="panel heatpanel"),
            element(
                "div",
                element("section", element("h2", "Next good slot"), element("p", upcoming["message"]), class_="panel"),
                element(
                    "section",
                    element("h2", "Best hours"),
                    _ranking([(f"{entry['hour']:02}:00", entry["score"]) for entry in advice["bestHours"]]),
                    class_="panel",
                ),
                element(
                    "section",
                    element("h2", "Best days"),
                    _ranking([(entry["day"], entry["score"]) for entry in advice["bestDays"]]),
                    class_="panel",
                ),
                class_="asides",
            ),
            class_="besttimes",
        ),
    )


def _ranking(entries: Sequence[tuple[str, float]]) -> Markup:
    return element(
        "ol",
        [
            element(
                "li",
                element("span", name),
                _bar(score),
                element("span", f"{score:.2f}"),
            )
            for name, score in entries
        ],
        class_="ranking",
    )


def _bar(score: float) -> Markup:
    drawing = element("rect", width=round(100 * score), height=8)
    return element("svg", drawing, viewBox="0 0 100 8", preserveAspectRatio="none", aria_hidden="true", class_="bar")


def heat(points: Sequence[Point]) -> dict[tuple[int, int], tuple[float, int]]:
    """Score 0–1 and number of publications for each (weekday, hour) that has any, by the method of the analytics."""
    groups: dict[tuple[int, int], list[float]] = defaultdict(list)
    for at, value in points:
        groups[at.weekday(), at.hour].append(value)
    drawn = {key: (sum(values) + PRIOR) / (len(values) + PRIOR) for key, values in groups.items()}
    best = max(drawn.values(), default=1.0)
    return {key: (value / best, len(groups[key])) for key, value in drawn.items()}


def _heat(points: Sequence[Point]) -> Markup:
    scores = heat(points)
    lowest = min(score for score, _ in scores.values())
    hours = range(min(hour for _, hour in scores), max(hour for _, hour in scores) + 1)
    heads = [element("th", element("abbr", day[:3], title=day), scope="col") for day in DAYS]
    rows = [
        element(
            "tr",
            element("th", f"{hour:02}:00", scope="row"),
            [_heat_cell(day, scores.get((day, hour)), lowest) for day in range(7)],
        )
        for hour in hours
    ]
    return join_children(
        element(
            "table",
            element(
                "caption",
                "Engagement by hour and weekday; the best time is 100. A dot means that nothing was published then.",
            ),
            element("thead", element("tr", element("th", "Hour", scope="col"), heads)),
            element("tbody", rows),
            class_="heat",
        ),
        element(
            "p",
            "Less ",
            [element("span", class_=f"swatch h{level}") for level in range(LEVELS)],
            " more",
            class_="legend",
            aria_hidden="true",
        ),
    )


def _heat_cell(day: int, found: tuple[float, int] | None, lowest: float) -> Markup:
    if found is None:
        return element(
            "td", element("span", "·", aria_hidden="true"), element("span", "none", class_="hidden"), class_="hnone"
        )
    score, count = found
    level = round((LEVELS - 1) * (score - lowest) / (1 - lowest)) if lowest < 1 else LEVELS - 1
    return element(
        "td", f"{100 * score:.0f}", class_=f"h{level}", title=f"{DAYS[day]}: {count_of(count, 'publication')}"
    )


def _tab(visit: Visit, name: str, row: Any, account_id: str | None) -> Markup:
    mine = (row["id"] if row else None) == account_id
    path = visit.path("feeds", row["id"]) if row else visit.path("feeds")
    mark = platform_mark(row["platform"]) if row else None
    return element("li", element("a", mark, user_text(name), href=path, aria_current="page" if mine else None))


def _turn(path: str, number: int, *, older: bool) -> Markup | None:
    if number == 1 and not older:
        return None
    return element(
        "nav",
        element("a", "Newer", href=f"{path}?page={number - 1}") if number > 1 else None,
        element("span", f"Page {number}"),
        element("a", "Older", href=f"{path}?page={number + 1}") if older else None,
        aria_label="More",
        class_="pager",
    )


def _publication(visit: Visit, entry: Publication) -> Markup:
    name = entry.account["name"]
    figures = [
        element(
            "div",
            element("dt", one if entry.row[f"{one}s"] == 1 else f"{one}s"),
            element("dd", f"{entry.row[f'{one}s']:,}"),
        )
        for one in ("like", "comment", "share", "view")
    ]
    source: Child = "Deleted in TimeToPost; the network still shows it."
    if entry.post_id is not None:
        source = element("a", "The post behind it", href=visit.path("posts", entry.post_id))
    parts = [element("li", user_text(part, "div", class_="text")) for part in (entry.row["content"], *entry.thread)]
    return element(
        "article",
        element(
            "header",
            element("span", name.strip()[:1].upper(), class_="avatar", aria_hidden="true"),
            element(
                "div",
                element("h2", user_text(name)),
                element(
                    "p",
                    platform_mark(entry.account["platform"]),
                    user_text(entry.account["handle"] or platform_name(entry.account["platform"])),
                    " · ",
                    time_of(visit, entry.row["published_at"]),
                    class_="small",
                ),
            ),
        ),
        element(
            "div",
            element("ol", parts, class_="thread")
            if entry.thread
            else user_text(entry.row["content"], "div", class_="text"),
            gallery(entry.files),
            class_="said",
        ),
        element("dl", figures, class_="reactions"),
        element("p", source, " · ", outward(entry.row["url"], "simulated address"), class_="small"),
        class_="publication",
    )
