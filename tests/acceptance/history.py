"""Compare the answers that agents got with what happened in the sandbox."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

# Content and time: what tells one wish of an agent from another.
Key = tuple[str, int | None]

# Written by the sandbox's own transactions, so the numbers are the true order of things.
RECORDER = """
CREATE TABLE truth (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT, post_id TEXT, content TEXT, scheduled_at INTEGER, status TEXT, account_id TEXT,
  late_ms INTEGER
);
CREATE TRIGGER truth_created AFTER INSERT ON posts BEGIN
  INSERT INTO truth (what, post_id, content, scheduled_at, status)
  VALUES ('created', new.id, new.content, new.scheduled_at, new.status);
END;
CREATE TRIGGER truth_deleted AFTER DELETE ON posts BEGIN
  INSERT INTO truth (what, post_id) VALUES ('deleted', old.id);
END;
CREATE TRIGGER truth_status AFTER UPDATE OF status ON posts BEGIN
  INSERT INTO truth (what, post_id, status) VALUES ('status', new.id, new.status);
END;
CREATE TRIGGER truth_shown AFTER INSERT ON publications BEGIN
  INSERT INTO truth (what, post_id, account_id, late_ms)
  SELECT 'shown', new.post_id, new.account_id, new.published_at - scheduled_at FROM posts WHERE id = new.post_id;
END;
"""


@dataclass(frozen=True)
class Event:
    """One call: arguments, answer, and the length of the sandbox's history when it started and ended."""

    call: str  # create, delete, get, list
    outcome: str
    began: int
    ended: int
    key: Key = ("", None)
    post_id: str | None = None
    status: str | None = None
    listed: tuple[str, ...] = ()


@dataclass
class Life:
    """One post's history, by record number."""

    key: Key
    born: int
    gone: float = float("inf")
    statuses: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    shown: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    early: int = 0

    def within(self, event: Event) -> set[str]:
        """Return the statuses that it had at any moment of a call."""
        before = [status for seq, status in self.statuses if seq <= event.began]
        return {*before[-1:], *(status for seq, status in self.statuses if event.began < seq <= event.ended)}


def read_lives(db: sqlite3.Connection) -> dict[str, Life]:
    """Read the record into one `Life` per post."""
    found: dict[str, Life] = {}
    for row in db.execute("SELECT * FROM truth ORDER BY seq"):
        if row["what"] == "created":
            found[row["post_id"]] = Life((row["content"], row["scheduled_at"]), row["seq"])
        life = found[row["post_id"]]
        if row["what"] == "deleted":
            life.gone = row["seq"]
        elif row["what"] == "shown":
            life.shown.append((row["seq"], row["account_id"]))
            life.early += row["late_ms"] < 0
        else:
            life.statuses.append((row["seq"], row["status"]))
    return found


def count_violations(events: Sequence[Event], truth: dict[str, Life]) -> Counter[str]:
    """Count false answers and events that must never happen. An empty counter passes."""
    found: Counter[str] = Counter()
    for life in truth.values():
        found.update(_check_life(life))
    for key in {event.key for event in events if event.call == "create"}:
        asked = [event for event in events if event.call == "create" and event.key == key]
        found.update(_check_request(asked, {post_id: life for post_id, life in truth.items() if life.key == key}))
    deleted: set[str | None] = set()
    for event in events:
        if event.call == "delete":
            found.update(_check_delete(event, truth[event.post_id or ""], first=event.post_id not in deleted))
            deleted.add(event.post_id)
        elif event.call == "get":
            found.update(_check_get(event, truth[event.post_id or ""]))
        elif event.call == "list" and event.outcome == "listed":
            found.update(_check_list(event, truth))
    return +found


def _check_life(life: Life) -> Iterable[str]:
    accounts = Counter(account for _, account in life.shown)
    if any(count > 1 for count in accounts.values()):
        yield "published twice"
    if any(seq > life.gone for seq, _ in life.shown):
        yield "published after it was deleted"
    if life.early:
        yield "published early"
    if life.shown and life.statuses[-1][1] not in ("published", "partial"):
        yield "published and not reported"
    if life.gone == float("inf") and life.statuses[-1][1] in ("scheduled", "publishing"):
        yield "never finished"


def _check_request(asked: Sequence[Event], born: dict[str, Life]) -> Iterable[str]:
    """Count violations over all creates of one request, which may make one post together."""
    if len(born) > 1:
        yield "created twice"
    for event in asked:
        reported = born.get(event.post_id or "")
        if event.outcome in ("created", "already_created") and (reported is None or reported.born > event.ended):
            yield "created but missing"
        if event.outcome == "created" and reported and reported.born <= event.began:
            yield "an older post given out as created"
    if born and all(event.outcome == "not_created" for event in asked):
        yield "not created but there"


def _check_delete(event: Event, life: Life, *, first: bool) -> Iterable[str]:
    if event.outcome in ("deleted", "already_gone") and life.gone > event.ended:
        yield "deleted but there"
    if event.outcome == "refused" and first and event.began < life.gone <= event.ended:
        yield "not deleted but gone"


def _check_get(event: Event, life: Life) -> Iterable[str]:
    if event.outcome == "not_found" and life.gone > event.ended:
        yield "not found but there"
    if event.outcome == "found":
        if life.gone <= event.began:
            yield "found but gone"
        if event.status not in life.within(event):
            yield "a status that it did not have"


def _check_list(event: Event, truth: dict[str, Life]) -> Iterable[str]:
    listed = Counter(event.listed)
    for post_id, life in truth.items():
        if life.born <= event.began and life.gone > event.ended and not listed[post_id]:
            yield "not listed but there"
        if (life.born > event.ended or life.gone <= event.began) and listed[post_id]:
            yield "listed but not there"
        if listed[post_id] > 1:
            yield "listed twice"
