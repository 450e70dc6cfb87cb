"""Score every weekday and hour for an account, from its history or from common habits."""

from collections.abc import Mapping

from ttp_mcp.planning.model import Ranking, usable_scores

WEEKDAY_WEIGHT = 0.3
WEEKLY_WEIGHT = 0.3
# For accounts without history: the hours from 8 to 21, when people commonly look. An assumption, not data.
COMMON_HOURS = dict(enumerate((0.6, 0.8, 0.7, 0.7, 1.0, 0.9, 0.6, 0.6, 0.7, 0.9, 1.0, 0.95, 0.8, 0.5), start=8))
UNCOMMON_HOUR = 0.1
# Score of an hour that the history leaves out, relative to the lowest score that it has.
UNRANKED_HOUR = 0.2
UNKNOWN_ACCOUNT = 0.5

ScoreTable = list[list[float]]


def mean_score_table(rankings: list[Ranking], weekly: Mapping[int, Mapping[int, float]]) -> ScoreTable:
    """Return the mean score of several accounts by weekday and hour."""
    tables = [score_table(ranking, weekly) for ranking in rankings]
    return [[sum(table[day][hour] for table in tables) / len(tables) for hour in range(24)] for day in range(7)]


def score_table(ranking: Ranking, weekly: Mapping[int, Mapping[int, float]]) -> ScoreTable:
    """Return the score of each weekday and hour for one account, mostly from 0 to 1.6."""
    hours, weekdays = _score_hours(ranking), _scale_scores(ranking.weekdays if ranking.is_known else {})
    slots = {day: usable_scores(scores, 24) for day, scores in weekly.items()}
    highest = max(1.0, *(score for day in slots.values() for score in day.values()), 1.0)
    return [
        [
            hours[hour]
            + WEEKDAY_WEIGHT * weekdays.get(day, 0.0)
            + WEEKLY_WEIGHT * slots.get(day, {}).get(hour, 0.0) / highest
            for hour in range(24)
        ]
        for day in range(7)
    ]


def _score_hours(ranking: Ranking) -> list[float]:
    common = [COMMON_HOURS.get(hour, UNCOMMON_HOUR) for hour in range(24)]
    if not ranking.is_known:
        return [UNKNOWN_ACCOUNT * score for score in common]
    ranked = _scale_scores(ranking.hours)
    lowest = min(ranked.values())
    return [ranked.get(hour, UNRANKED_HOUR * lowest * common[hour]) for hour in range(24)]


def _scale_scores(scores: Mapping[int, float]) -> dict[int, float]:
    """Scale scores to 0–1: the API doesn't state its scale."""
    highest = max([1.0, *scores.values()])
    return {key: max(score, 0.0) / highest for key, score in scores.items()}
