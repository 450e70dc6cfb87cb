"""The words for reasons and obstacles."""

from ttp_mcp.planning.reasons import MissedBest, Reason
from ttp_mcp.planning.slots import Obstacle, SlotBoard

FIXED = "the time you gave"
TOO_LATE = "scheduled_at has passed or is less than 60 s ahead; pass a later one"
DAY_LEFT_FREE = "free, but the posts fit better on other days"

_ORDINALS = ("best", "second-best", "third-best", "fourth-best", "fifth-best")
_MISSED = {
    "bounds": "{best:%H:%M} is out of bounds that day",
    "quiet_hours": "{best:%H:%M} is in quiet hours",
    "taken": "{best:%H:%M} is taken by {neighbor}",
    "too_close": "{best:%H:%M} is too close to {neighbor}",
}
_OBSTACLES: dict[Obstacle, str] = {
    "no_account": "it has no account; pass account_ids or platforms",
    "window": "the window has no quarter hour that is at least 5 minutes ahead; pass a later end",
    "bounds": "its earliest and latest leave no quarter hour in the window; widen them or the window",
    "quiet_hours": "all of its time is in the quiet hours {quiet}; pass other quiet hours or a later latest",
    "spacing": (
        "every time is closer than {minutes} minutes to another post on one of its accounts; pass a smaller spacing_minutes "
        "or a later end"
    ),
    "day_limit": "each day that is left has at_most_per_day ({most}) posts on one of its accounts; raise it or pass a later end",
}
_DAY_OBSTACLES: dict[Obstacle, str] = {
    "bounds": "outside earliest and latest of the posts",
    "quiet_hours": "only quiet hours ({quiet}) are left",
    "spacing": "less than {minutes} minutes from other posts on the account",
    "day_limit": "at_most_per_day ({most}) is reached",
}


def render_reason(reason: Reason) -> str:
    """Say which of the best hours a post got, and why not the best one."""
    whose = "this account" if reason.accounts == 1 else f"these {reason.accounts} accounts"
    if not reason.rankings:
        history = f"only {reason.data_points} data points" if reason.data_points else "no history"
        return f"{history} of {whose}, so spread evenly over common hours"
    if reason.rank is None:
        words = f"outside the best hours of {whose}"
    else:
        ordinal = _ORDINALS[reason.rank] if reason.rank < len(_ORDINALS) else f"{reason.rank + 1}th-best"
        words = f"{ordinal} hour of {whose} ({_render_score(reason)})"
    return f"{words}; {_render_missed(reason.missed)}" if reason.missed else words


def _render_score(reason: Reason) -> str:
    if reason.rankings > 1:
        return f"mean score {reason.score:.2f}"
    points = reason.data_points
    return f"score {reason.score:.2f}, {points} data points" if points else f"score {reason.score:.2f}"


def _render_missed(missed: MissedBest) -> str:
    return _MISSED[missed.cause].format(best=missed.best, neighbor=missed.neighbor)


def render_obstacle(obstacle: Obstacle, board: SlotBoard) -> str:
    """Say why a post has no time, and what to change."""
    return _OBSTACLES[obstacle].format_map(_wording_facts(board))


def render_day_obstacle(obstacle: Obstacle | None, board: SlotBoard) -> str:
    """Say why a day has no post."""
    return _DAY_OBSTACLES[obstacle].format_map(_wording_facts(board)) if obstacle else DAY_LEFT_FREE


def _wording_facts(board: SlotBoard) -> dict[str, object]:
    minutes = int(board.spacing.total_seconds() // 60)
    return {"quiet": board.slots.quiet, "minutes": minutes, "most": board.at_most_per_day}
