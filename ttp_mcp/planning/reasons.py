"""Words for why a post got its time, and why a post or a day has none."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ttp_mcp.planning.model import Booking, PostRequest, Ranking
from ttp_mcp.planning.slots import NO_RANKING, Obstacle, SlotBoard

FIXED = "the time you gave"
TOO_LATE = "scheduled_at has passed or is less than 60 s ahead; pass a later one"
DAY_LEFT_FREE = "free, but the posts fit better on other days"

_ORDINALS = ("best", "second-best", "third-best", "fourth-best", "fifth-best")
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


class Explainer:
    """Explains the times of a plan, once all of them are chosen."""

    def __init__(
        self, board: SlotBoard, chosen: Sequence[tuple[PostRequest, datetime]], booked: Sequence[Booking]
    ) -> None:
        self._board = board
        taken = [(each.at, each.post_id, each.account_id, -1) for each in booked]
        taken += [(at, f"post {post.index + 1}", each, post.index) for post, at in chosen for each in post.account_ids]
        self._taken = sorted(taken)

    def explain(self, post: PostRequest, at: datetime) -> str:
        """Say which of the best hours of its accounts a post got, and why not the best one."""
        account_ids = sorted(set(post.account_ids))
        whose = "this account" if len(account_ids) == 1 else f"these {len(account_ids)} accounts"
        rankings = [self._board.rankings.get(each, NO_RANKING) for each in account_ids]
        known = [ranking for ranking in rankings if ranking.is_known]
        if not known:
            points = max(ranking.data_points or 0 if ranking.hours else 0 for ranking in rankings)
            history = f"only {points} data points" if points else "no history"
            return f"{history} of {whose}, so spread evenly over common hours"
        means = _mean_scores(known)
        best_first = sorted(means, key=lambda hour: (-means[hour], hour))
        local = at.astimezone(self._board.slots.zone)
        words = f"outside the best hours of {whose}"
        if local.hour in means:
            rank = best_first.index(local.hour)
            ordinal = _ORDINALS[rank] if rank < len(_ORDINALS) else f"{rank + 1}th-best"
            words = f"{ordinal} hour of {whose} ({_render_score(known, means[local.hour])})"
        best = local.replace(hour=best_first[0], minute=0, fold=0)
        missed = None if local.hour == best.hour else self._why_not(post, best)
        return f"{words}; {best:%H:%M} is {missed}" if missed else words

    def _why_not(self, post: PostRequest, best: datetime) -> str | None:
        slots, instant = self._board.slots, best.astimezone(UTC)
        earliest, latest = max(slots.start, post.earliest or slots.start), min(slots.end, post.latest or slots.end)
        if not earliest <= instant <= latest:
            return "out of bounds that day"
        if slots.quiet.contains(best.time()):
            return "in quiet hours"
        near = [
            (abs(at - instant), name)
            for at, name, account_id, index in self._taken
            if account_id in post.account_ids and index != post.index and abs(at - instant) < self._board.spacing
        ]
        if not near:
            return None
        distance, name = min(near)
        return f"taken by {name}" if distance < timedelta(hours=1) else f"too close to {name}"


def _mean_scores(rankings: Sequence[Ranking]) -> dict[int, float]:
    ranked = {hour for ranking in rankings for hour in ranking.hours}
    return {hour: sum(ranking.hours.get(hour, 0.0) for ranking in rankings) / len(rankings) for hour in ranked}


def _render_score(known: Sequence[Ranking], score: float) -> str:
    if len(known) > 1:
        return f"mean score {score:.2f}"
    points = known[0].data_points
    return f"score {score:.2f}, {points} data points" if points else f"score {score:.2f}"


def render_obstacle(obstacle: Obstacle, board: SlotBoard) -> str:
    """Say why a post has no time, and what to change."""
    return _OBSTACLES[obstacle].format_map(_wording_facts(board))


def render_day_obstacle(obstacle: Obstacle | None, board: SlotBoard) -> str:
    """Say why a day has no post."""
    return _DAY_OBSTACLES[obstacle].format_map(_wording_facts(board)) if obstacle else DAY_LEFT_FREE


def _wording_facts(board: SlotBoard) -> dict[str, object]:
    minutes = int(board.spacing.total_seconds() // 60)
    return {"quiet": board.slots.quiet, "minutes": minutes, "most": board.at_most_per_day}
