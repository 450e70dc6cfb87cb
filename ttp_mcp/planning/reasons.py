"""Find out why a post got its time. `wording` puts it into words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Literal

from ttp_mcp.planning.model import Booking, PostRequest, Ranking
from ttp_mcp.planning.slots import NO_RANKING, SlotBoard


@dataclass(frozen=True, slots=True)
class MissedBest:
    """The best hour of the day, and why the post didn't get it; `neighbor` is the post in the way."""

    best: time
    cause: Literal["bounds", "quiet_hours", "taken", "too_close"]
    neighbor: str | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Facts behind the time of a post.

    `rankings` counts the accounts with enough history; `data_points` is the sample of the first of them, else the largest one.
    `rank` is the position of the hour among the best hours, from 0; None outside them.
    """

    accounts: int
    rankings: int = 0
    data_points: int = 0
    rank: int | None = None
    score: float = 0.0
    missed: MissedBest | None = None


class Explainer:
    """Explains the times of a plan, once all of them are chosen."""

    def __init__(
        self, board: SlotBoard, chosen: Sequence[tuple[PostRequest, datetime]], booked: Sequence[Booking]
    ) -> None:
        self._board = board
        taken = [(each.at, each.post_id, each.account_id, -1) for each in booked]
        taken += [(at, f"post {post.index + 1}", each, post.index) for post, at in chosen for each in post.account_ids]
        self._taken = sorted(taken)

    def explain(self, post: PostRequest, at: datetime) -> Reason:
        """Compare the hour of a post with the best hours of its accounts."""
        account_ids = sorted(set(post.account_ids))
        rankings = [self._board.rankings.get(each, NO_RANKING) for each in account_ids]
        known = [ranking for ranking in rankings if ranking.is_known]
        if not known:
            points = max(ranking.data_points or 0 if ranking.hours else 0 for ranking in rankings)
            return Reason(len(account_ids), data_points=points)
        means = _mean_scores(known)
        best_first = sorted(means, key=lambda hour: (-means[hour], hour))
        local = at.astimezone(self._board.slots.zone)
        best = local.replace(hour=best_first[0], minute=0, fold=0)
        return Reason(
            accounts=len(account_ids),
            rankings=len(known),
            data_points=known[0].data_points or 0,
            rank=best_first.index(local.hour) if local.hour in means else None,
            score=means.get(local.hour, 0.0),
            missed=None if local.hour == best.hour else self._why_not(post, best),
        )

    def _why_not(self, post: PostRequest, best: datetime) -> MissedBest | None:
        slots, instant = self._board.slots, best.astimezone(UTC)
        earliest, latest = max(slots.start, post.earliest or slots.start), min(slots.end, post.latest or slots.end)
        if not earliest <= instant <= latest:
            return MissedBest(best.time(), "bounds")
        if slots.quiet.contains(best.time()):
            return MissedBest(best.time(), "quiet_hours")
        near = [
            (abs(at - instant), name)
            for at, name, account_id, index in self._taken
            if account_id in post.account_ids and index != post.index and abs(at - instant) < self._board.spacing
        ]
        if not near:
            return None
        distance, name = min(near)
        return MissedBest(best.time(), "taken" if distance < timedelta(hours=1) else "too_close", name)


def _mean_scores(rankings: Sequence[Ranking]) -> dict[int, float]:
    ranked = {hour for ranking in rankings for hour in ranking.hours}
    return {hour: sum(ranking.hours.get(hour, 0.0) for ranking in rankings) / len(rankings) for hour in ranked}
