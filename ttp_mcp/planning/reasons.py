"""Explain why a post got its time, or none."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ttp_mcp.planning.model import Booked, PostRequest, Ranking
from ttp_mcp.planning.slots import NO_RANKING, SlotBoard

_ORDINALS = ("best", "second-best", "third-best", "fourth-best", "fifth-best")


class Reasons:
    """Why a post got its time, in words."""

    def __init__(self, board: SlotBoard, chosen: list[tuple[PostRequest, datetime]], booked: Sequence[Booked]) -> None:
        self._board = board
        taken = [(each.at, each.post_id, each.account_id, -1) for each in booked]
        taken += [(at, f"post {wish.index + 1}", each, wish.index) for wish, at in chosen for each in wish.account_ids]
        self._taken = sorted(taken)

    def of(self, wish: PostRequest, at: datetime) -> str:
        """The rank of the hour among the best hours of the post's accounts, and why it is not the best one."""
        account_ids = sorted(set(wish.account_ids))
        whose = "this account" if len(account_ids) == 1 else f"these {len(account_ids)} accounts"
        rankings = [self._board.rankings.get(each, NO_RANKING) for each in account_ids]
        known = [ranking for ranking in rankings if ranking.is_known]
        if not known:
            points = max(ranking.data_points or 0 if ranking.hours else 0 for ranking in rankings)
            history = f"only {points} data points" if points else "no history"
            return f"{history} of {whose}, so spread evenly over common hours"
        named = {hour for ranking in known for hour in ranking.hours}
        means = {hour: sum(ranking.hours.get(hour, 0.0) for ranking in known) / len(known) for hour in named}
        best_first = sorted(means, key=lambda hour: (-means[hour], hour))
        local = at.astimezone(self._board.slots.zone)
        if local.hour not in means:
            words = f"outside the best hours of {whose}"
        else:
            rank = best_first.index(local.hour)
            ordinal = _ORDINALS[rank] if rank < len(_ORDINALS) else f"{rank + 1}th-best"
            words = f"{ordinal} hour of {whose} ({basis_of(means[local.hour], known)})"
        if local.hour == best_first[0]:
            return words
        best = local.replace(hour=best_first[0], minute=0, fold=0)
        return "; ".join(filter(None, [words, self._why_not(wish, best)]))

    def _why_not(self, wish: PostRequest, best: datetime) -> str | None:
        slots, instant = self._board.slots, best.astimezone(UTC)
        if instant < max(slots.start, wish.earliest or slots.start) or instant > min(
            slots.end, wish.latest or slots.end
        ):
            return f"{best:%H:%M} is out of bounds that day"
        if slots.quiet.holds(best.time()):
            return f"{best:%H:%M} is in quiet hours"
        near = [
            (abs(at - instant), name)
            for at, name, account_id, index in self._taken
            if account_id in wish.account_ids and index != wish.index and abs(at - instant) < self._board.spacing
        ]
        if not near:
            return None
        distance, name = min(near)
        return f"{best:%H:%M} is {'taken by' if distance < timedelta(hours=1) else 'too close to'} {name}"


def basis_of(score: float, known: list[Ranking]) -> str:
    if len(known) > 1:
        return f"mean score {score:.2f}"
    points = known[0].data_points
    return f"score {score:.2f}, {points} data points" if points is not None else f"score {score:.2f}"
