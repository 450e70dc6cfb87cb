"""CPU time of planning 50 posts for 6 accounts in 7 days, in milliseconds: median and worst of 30 runs.

uv run python benchmarks/planning.py [--posts 50] [--accounts 6] [--days 7]
"""

import argparse
import statistics
import time
from datetime import UTC, datetime, timedelta
from datetime import time as wall
from zoneinfo import ZoneInfo

from ttp_mcp.planning.calendar import draw_calendar
from ttp_mcp.planning.model import Booking, PostRequest, Ranking
from ttp_mcp.planning.planner import make_plan, make_plan_id

ZONE = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 24, 9, 2, tzinfo=UTC)


def one_plan(posts: int, accounts: int, days: int):
    """A plan of posts for one to all accounts, some with bounds, on accounts that have posts booked."""
    ids = [f"acc_{number}" for number in range(accounts)]
    wishes = [
        PostRequest(
            index=number,
            account_ids=tuple(ids[number % accounts :] if number % 3 else ids[: 1 + number % accounts]),
            earliest=NOW + timedelta(days=number % days) if number % 4 == 0 else None,
            content=f"Post number {number}",
        )
        for number in range(posts)
    ]
    return make_plan(
        wishes,
        now=NOW,
        start=NOW,
        end=NOW + timedelta(days=days),
        zone=ZONE,
        quiet_from=wall(22),
        quiet_until=wall(7),
        spacing_minutes=60,
        at_most_per_day=None,
        hours={
            each: Ranking.from_pairs(
                [((18 + 3 * place) % 24, 0.9 - place / 10) for place in range(5)], [("Tuesday", 0.8)], 64
            )
            for each in ids
        },
        booked=[
            Booking(each, NOW + timedelta(hours=9 + 24 * day), f"booked_{day}") for each in ids for day in range(days)
        ],
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    for name, value in (("posts", 50), ("accounts", 6), ("days", 7)):
        parser.add_argument(f"--{name}", type=int, default=value)
    size = vars(parser.parse_args())
    times: list[float] = []
    for _ in range(30):
        begun = time.process_time()
        made = one_plan(**size)
        make_plan_id(made)
        draw_calendar(made, ZONE)
        times.append((time.process_time() - begun) * 1000)
    print(
        f"{size['posts']} posts, {size['accounts']} accounts, {size['days']} days: {statistics.median(times):.1f} ms CPU "
        f"(worst {max(times):.1f}); {len(made.scheduled)} scheduled, {len(made.unscheduled)} not"
    )


if __name__ == "__main__":
    main()
