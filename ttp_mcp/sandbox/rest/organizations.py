"""Organizations, their plans, and the organization of a request."""

import sqlite3
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from ttp_mcp.sandbox.clock import Clock, to_ms
from ttp_mcp.sandbox.rest.responses import Problem
from ttp_mcp.sandbox.rest.tokens import Caller
from ttp_mcp.sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Plan:
    """Limits of a plan. The reference gives no figures; these are the sandbox's own."""

    name: str
    posts_per_month: int | None
    scheduled_at_once: int | None
    accounts: int | None
    best_times: bool


PLANS = {
    "complete": Plan("complete", posts_per_month=None, scheduled_at_once=None, accounts=None, best_times=True),
    "small": Plan("small", posts_per_month=30, scheduled_at_once=10, accounts=3, best_times=False),
}


@dataclass(frozen=True, slots=True)
class Organization:
    """The organization of a request."""

    id: str
    name: str
    plan: Plan
    zone: ZoneInfo


def _to_organization(row: sqlite3.Row) -> Organization:
    return Organization(id=row["id"], name=row["name"], plan=PLANS[row["plan"]], zone=ZoneInfo(row["time_zone"]))


def find_organization(store: Store, caller: Caller, wanted: str | None) -> Organization:
    """Return the caller's active organization, or the one in `x-ttp-org` if it is their own.

    Raises:
        Problem: 403 for an organization that is unknown or of others.
    """
    with store.reading() as db:
        rows = db.execute(
            "SELECT o.* FROM organizations o JOIN members m ON m.organization_id = o.id WHERE m.user_id = ? ORDER BY m.position",
            (caller.user_id,),
        ).fetchall()
    for row in rows:
        if wanted in (None, row["id"]):
            return _to_organization(row)
    raise Problem(403, "You are not a member of the organization named by x-ttp-org.")


def list_organizations(store: Store) -> list[Organization]:
    """Return all organizations in the order of creation."""
    with store.reading() as db:
        return [_to_organization(row) for row in db.execute("SELECT * FROM organizations ORDER BY rowid")]


def set_plan(store: Store, organization_id: str, plan: str) -> None:
    """Put an organization on a plan."""
    with store.writing() as db:
        db.execute("UPDATE organizations SET plan = ? WHERE id = ?", (PLANS[plan].name, organization_id))


def check_post_allowed(db: sqlite3.Connection, clock: Clock, organization: Organization, *, scheduled: bool) -> None:
    """Refuse a new post beyond the plan's limits.

    Raises:
        Problem: 403 that says which limit.
    """
    if (most := organization.plan.posts_per_month) is not None:
        since = to_ms(clock.now() - timedelta(days=30))
        # Counted only up to the limit, so that a large workspace is as fast as a small one.
        made = db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM posts WHERE organization_id = ? AND created_at > ? LIMIT ?)",
            (organization.id, since, most + 1),
        ).fetchone()[0]
        if made >= most:
            raise Problem(
                403,
                f"Your plan allows {most} posts in 30 days; {_format_count(made, most)} are made. Upgrade to post more.",
            )
    if scheduled:
        check_schedule_allowed(db, organization)


def check_schedule_allowed(db: sqlite3.Connection, organization: Organization) -> None:
    """Refuse another scheduled post beyond the plan's limit.

    Raises:
        Problem: 403 that says the limit.
    """
    if (most := organization.plan.scheduled_at_once) is not None:
        waiting = db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM posts WHERE organization_id = ? AND status = 'scheduled' LIMIT ?)",
            (organization.id, most + 1),
        ).fetchone()[0]
        if waiting >= most:
            raise Problem(
                403, f"Your plan allows {most} scheduled posts at once; {_format_count(waiting, most)} are waiting."
            )


def _format_count(counted: int, most: int) -> str:
    return str(counted) if counted <= most else f"more than {most}"


def check_best_times(organization: Organization) -> None:
    """Refuse analytics of best times on a plan without them.

    Raises:
        Problem: 403.
    """
    if not organization.plan.best_times:
        raise Problem(403, "Your plan does not include best time to post. Upgrade to see optimal times.")
