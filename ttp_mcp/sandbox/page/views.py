"""Overview, accounts, media and activity."""

from datetime import timedelta

from ttp_mcp.sandbox.clock import to_ms
from ttp_mcp.sandbox.page import queries
from ttp_mcp.sandbox.page.calendar import get_monday, get_today, get_week
from ttp_mcp.sandbox.page.queries import File, Visit
from ttp_mcp.sandbox.page.rendering import Page, create_pager
from ttp_mcp.sandbox.page.text import count_of

FAILURE_DAYS, FIGURE_DAYS = 14, 30
PAGE_FILES, ACTIVITY_ROWS = 48, 100


def show_overview(visit: Visit) -> Page:
    """Show what needs attention, this week, and the latest requests."""
    accounts = queries.read_accounts(visit)
    start = get_monday(get_today(visit))
    values = {
        "account_count": len(accounts),
        "figures": _read_figures(visit),
        "expired": [account for account in accounts if queries.is_expired(visit, account)],
        "failed": queries.read_failures(visit, visit.now - timedelta(days=FAILURE_DAYS), 3),
        "week_path": visit.path("week", start.isoformat()),
        "days": get_week(visit, start),
        "activity": queries.read_activity(visit, 6),
    }
    return Page("overview.html", "Overview", values)


def show_accounts(visit: Visit) -> Page:
    """Show the connected accounts and the health of their connections."""
    accounts = [(account, queries.is_expired(visit, account)) for account in queries.read_accounts(visit)]
    expired = sum(is_expired for _, is_expired in accounts)
    health = f"{count_of(expired, 'connection')} expired." if expired else "All connections are in order."
    sub = f"{count_of(len(accounts), 'account')}. {health}" if accounts else "No account is connected."
    return Page("accounts.html", "Accounts", {"accounts": accounts, "sub": sub, "now_ms": to_ms(visit.now)})


def show_media(visit: Visit, number: int) -> Page:
    """Show the uploaded files, page by page."""
    count, rows = queries.read_media(visit, PAGE_FILES, PAGE_FILES * (number - 1))
    uploads = [
        (row, File(visit.storage.public_url(row["key"]), row["filename"], row["content_type"].partition("/")[0]))
        if row["uploaded_at"] is not None
        else (row, None)
        for row in rows
    ]
    values = {
        "count": count,
        "uploads": uploads,
        "now_ms": to_ms(visit.now),
        "path": visit.path("media"),
        "pager": create_pager(number, PAGE_FILES, count),
    }
    return Page("media.html", "Media", values)


def show_activity(visit: Visit) -> Page:
    """Show the latest requests to the API."""
    return Page(
        "activity.html", "Activity", {"most": ACTIVITY_ROWS, "activity": queries.read_activity(visit, ACTIVITY_ROWS)}
    )


def _read_figures(visit: Visit) -> list[tuple[str, int, str]]:
    by_status = queries.count_by_status(visit)
    found = queries.sum_engagement(visit, FIGURE_DAYS)
    waiting = [("Scheduled", by_status.get("scheduled", 0)), ("Drafts", by_status.get("draft", 0))]
    names = {"Published": "posts", "Views": "views", "Likes": "likes", "Comments": "comments", "Shares": "shares"}
    return [
        *((label, value, "waiting now") for label, value in waiting),
        *((label, found[name], f"last {FIGURE_DAYS} days") for label, name in names.items()),
    ]
