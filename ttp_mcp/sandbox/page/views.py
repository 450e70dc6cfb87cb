"""Overview, accounts, media and activity."""

import sqlite3
from datetime import timedelta

from ttp_mcp.sandbox.clock import to_ms
from ttp_mcp.sandbox.page import queries
from ttp_mcp.sandbox.page.calendar import monday, today, week_grid
from ttp_mcp.sandbox.page.html import Child, Markup, element, join_children, user_text
from ttp_mcp.sandbox.page.layout import (
    card,
    count_of,
    empty,
    figure,
    first_words,
    pager,
    platform_mark,
    platform_name,
    time_of,
)
from ttp_mcp.sandbox.page.queries import File, Visit

TROUBLE_DAYS, FIGURE_DAYS = 14, 30
PAGE_FILES, ACTIVITY_ROWS = 48, 100


def heading(title: str, *sub: Child) -> Markup:
    """The first heading of a page, with a line below it."""
    return element("header", element("div", element("h1", title), element("p", *sub, class_="sub")), class_="title")


def overview(visit: Visit) -> tuple[str, Markup]:
    """Title and content of the first page: what needs care, this week, and what the agent did."""
    accounts = queries.accounts(visit)
    start = monday(today(visit))
    whole_week = element("a", "Open the week", href=visit.path("week", start.isoformat()))
    return "Overview", join_children(
        element(
            "header",
            element(
                "div",
                element("h1", user_text(visit.organization.name)),
                element(
                    "p", count_of(len(accounts), "account"), f" · {visit.organization.plan.name} plan", class_="sub"
                ),
            ),
            class_="title",
        ),
        _figures(visit),
        _care(visit, accounts),
        element(
            "section",
            element("div", element("h2", "This week"), whole_week, class_="headline"),
            week_grid(visit, start, level="h3"),
            class_="block",
        ),
        element(
            "section",
            element(
                "div",
                element("h2", "What the agent did last"),
                element("a", "All activity", href=visit.path("activity")),
                class_="headline",
            ),
            _activity_table(visit, 6),
            class_="block",
        ),
    )


def accounts(visit: Visit) -> tuple[str, Markup]:
    """Title and content of the connected accounts and their health."""
    rows = queries.accounts(visit)
    expired = sum(queries.is_expired(visit, row) for row in rows)
    health = "All connections are in order." if not expired else f"{count_of(expired, 'connection')} expired."
    if not rows:
        health = "None is connected."
    return "Accounts", join_children(
        heading("Accounts", f"{count_of(len(rows), 'account')}. {health}" if rows else health),
        element("ul", [_account(visit, row) for row in rows], class_="accounts") if rows else None,
        None
        if rows
        else empty(
            "No accounts yet",
            "A post needs an account to go to. Run ",
            element("code", "ttp-mcp sandbox reset"),
            " for the demo workspace, which has some.",
        ),
    )


def media(visit: Visit, number: int) -> tuple[str, Markup]:
    """Title and content of the uploaded files."""
    count, rows = queries.media(visit, PAGE_FILES, PAGE_FILES * (number - 1))
    return "Media", join_children(
        heading("Media", count_of(count, "file") if count else "Pictures and videos for posts."),
        element("ul", [element("li", _file(visit, row)) for row in rows], class_="gallery") if rows else None,
        None
        if rows
        else empty("No files here", "The agent uploads pictures and videos before it posts them; they appear here."),
        pager(visit.path("media"), number, PAGE_FILES, count),
    )


def activity(visit: Visit) -> tuple[str, Markup]:
    """Title and content of what was asked of the API last."""
    return "Activity", join_children(
        heading("Activity", f"The last {ACTIVITY_ROWS} requests to the API, the latest first."),
        _activity_table(visit, ACTIVITY_ROWS),
    )


def _figures(visit: Visit) -> Markup:
    by_status = queries.statuses(visit)
    found = queries.gathered(visit, FIGURE_DAYS)
    posts = (("Scheduled", by_status.get("scheduled", 0)), ("Drafts", by_status.get("draft", 0)))
    last = (("Published", found["posts"]), ("Views", found["views"]), ("Likes", found["likes"]))
    rest = (("Comments", found["comments"]), ("Shares", found["shares"]))
    return element(
        "dl",
        [_number(name, value, "waiting now") for name, value in posts],
        [_number(name, value, f"last {FIGURE_DAYS} days") for name, value in (*last, *rest)],
        class_="figures",
        aria_label="Summary",
    )


def _number(name: str, value: int, scope: str) -> Markup:
    return element(
        "div",
        element("dt", name),
        element("dd", element("span", f"{value:,}", class_="big"), element("span", scope, class_="small")),
    )


def _care(visit: Visit, accounts: list[sqlite3.Row]) -> Markup | None:
    expired = [row for row in accounts if queries.is_expired(visit, row)]
    failed = queries.troubles(visit, visit.now - timedelta(days=TROUBLE_DAYS), 3)
    if not expired and not failed:
        return None
    lines = [
        element(
            "p",
            platform_mark(row["platform"]),
            element("strong", user_text(row["handle"] or row["name"])),
            f" on {platform_name(row['platform'])} has lost its connection; posts to it fail. ",
            element("a", "What to do", href=visit.path("accounts")),
        )
        for row in expired
    ]
    return element(
        "section",
        element("h2", "Needs your care"),
        lines,
        element("div", [card(visit, post, dated=True) for post in failed], class_="cards") if failed else None,
        class_="care",
    )


def _account(visit: Visit, row: sqlite3.Row) -> Markup:
    expired = queries.is_expired(visit, row)
    facts: list[tuple[str, Child]] = [("Followers", f"{row['followers']:,}")]
    if row["expires_at"] is not None:
        ends = row["expires_at"] <= to_ms(visit.now)
        facts.append(("Connection ended" if ends else "Connected until", time_of(visit, row["expires_at"])))
    facts.append(("Renews itself", "yes" if row["has_refresh_capability"] else "no"))
    facts.append(("Last published", time_of(visit, row["last_at"]) if row["last_at"] is not None else "never"))
    facts.append(("Id", element("code", row["id"])))
    advice = (
        "Posts to this account fail. With the real service, reconnect it in the TimeToPost dashboard; an agent can't. "
        "Until then, leave it out of new posts. In this workspace it stays expired, to rehearse that."
    )
    return element(
        "li",
        element(
            "h2",
            platform_mark(row["platform"]),
            element("a", user_text(row["handle"] or row["name"]), href=visit.path("feeds", row["id"])),
        ),
        element("p", user_text(row["name"]), f" · {platform_name(row['platform'])}", class_="sub"),
        element(
            "p",
            _health_mark("M3.6 3.6l8.8 8.8M12.4 3.6l-8.8 8.8", "Expired", "failed")
            if expired
            else _health_mark("M2.8 8.6l3.6 3.6 6.8-8", "Connected", "published"),
        ),
        element("p", advice, class_="problem") if expired else None,
        element(
            "dl", [element("div", element("dt", name), element("dd", value)) for name, value in facts], class_="details"
        ),
        class_=f"account{' expired' if expired else ''}",
    )


def _health_mark(shape: str, word: str, kind: str) -> Markup:
    drawing = element("svg", element("path", d=shape), viewBox="0 0 16 16", aria_hidden="true", class_="shape")
    return element("span", drawing, word, class_=f"status s-{kind}")


def _file(visit: Visit, row: sqlite3.Row) -> Markup:
    size = _size(row["size"])
    if row["uploaded_at"] is None:
        ended = row["expires_at"] <= to_ms(visit.now)
        words = "Never uploaded: the time for it ran out" if ended else "Waiting for its upload"
        caption = element("figcaption", user_text(row["filename"]), element("span", size, class_="small"))
        return element("figure", element("span", words, class_="tile"), caption)
    url = visit.storage.public_url(row["key"])
    file = File(url, row["filename"], row["content_type"].partition("/")[0])
    return figure(file, element("span", f"{size} · ", time_of(visit, row["uploaded_at"]), class_="small"))


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _activity_table(visit: Visit, most: int) -> Markup:
    rows = queries.activity(visit, most)
    if not rows:
        return empty(
            "Nothing was asked yet",
            "Connect an assistant, or call the API yourself. Each request shows here with what came of it.",
        )
    heads = ("Time", "What", "Answer", "Token")
    return element(
        "div",
        element(
            "table",
            element("caption", "Requests to the API, the latest first", class_="hidden"),
            element("thead", element("tr", [element("th", head, scope="col") for head in heads])),
            element("tbody", [_activity_row(visit, row) for row in rows]),
            class_="stack activity",
        ),
        class_="scroll",
    )


def _activity_row(visit: Visit, row: sqlite3.Row) -> Markup:
    words = "Done" if row["status"] < 400 else "Refused" if row["status"] < 500 else "Failed"
    kind = {"Done": "published", "Refused": "partial", "Failed": "failed"}[words]
    shapes = {
        "published": "M2.8 8.6l3.6 3.6 6.8-8",
        "partial": "M8 2.2 14.2 13.4H1.8zM8 6.4v3M8 11.4v.1",
        "failed": "M3.6 3.6l8.8 8.8M12.4 3.6l-8.8 8.8",
    }
    return element(
        "tr",
        element("td", time_of(visit, row["at"]), class_="time"),
        element(
            "td",
            user_text(first_words(row["summary"], 160), "div"),
            element("code", user_text(f"{row['method']} {row['path']}"), class_="small"),
        ),
        element("td", _health_mark(shapes[kind], f"{words} ({row['status']})", kind)),
        element("td", user_text(row["token_label"]) if row["token_label"] else "none accepted", class_="small"),
    )
