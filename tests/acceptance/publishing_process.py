"""Workers that publish from one folder and are killed while they do; a separate program, so that it can fork.

Arguments: data file, number of kills, seed, `guarded` or `careless`. Prints how many workers it killed while there was work,
and how many were started in all.
"""

import contextlib
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from ttp_mcp.sandbox import networks
from ttp_mcp.sandbox.clock import ManualClock, to_ms
from ttp_mcp.sandbox.scheduler import Claim, Scheduler, publish_to_account
from ttp_mcp.sandbox.store import Store

NOW = datetime(2026, 6, 24, 9, 30, tzinfo=UTC)
WORKERS = 3
# Short enough that the posts of a dead worker are taken over soon, and now and then those of a slow one.
LEASE_SECONDS = 0.5
LEFT = "SELECT count(*) FROM posts WHERE status IN ('scheduled', 'publishing')"


class Careless(Scheduler):
    """A worker without the guard: effect and status in two transactions, and a new id per publication."""

    def publish(self, claim: Claim) -> bool:
        now = to_ms(NOW)
        with self._store.writing() as db:
            post = db.execute("SELECT * FROM posts WHERE id = ?", (claim.post_id,)).fetchone()
            accounts = db.execute(
                "SELECT a.* FROM post_targets t JOIN accounts a ON a.id = t.account_id WHERE t.post_id = ?",
                (post["id"],),
            ).fetchall()
            for account in accounts:
                publish_to_account(db, post, account, at=now, now=now)
        if claim.fence == 1 and int(claim.post_id) % 20 == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        with self._store.writing() as db:
            db.execute(
                "UPDATE posts SET status = 'published', lease_until = NULL WHERE id = ? AND fence = ?",
                (claim.post_id, claim.fence),
            )
        return True


def count_unfinished(path: Path) -> int:
    """Count the unfinished posts."""
    with closing(sqlite3.connect(path, timeout=30)) as db:
        return db.execute(LEFT).fetchone()[0]


def publish_all(path: Path, kind: type[Scheduler]) -> None:
    """Publish until no post is left."""
    scheduler = kind(Store(path), ManualClock(NOW), lease_seconds=LEASE_SECONDS)
    while scheduler.tick() or count_unfinished(path):
        time.sleep(0.005)


def start_worker(path: Path, kind: type[Scheduler]) -> int:
    """Fork a worker and return its process id."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        random.seed(os.getpid())
        publish_all(path, kind)
        code = 0
    finally:
        os._exit(code)


class Nursery:
    """Keep the number of workers constant while there is work."""

    def __init__(self, path: Path, kind: type[Scheduler]) -> None:
        self.path, self.kind, self.started = path, kind, 0
        self.pids: set[int] = set()

    def fill(self) -> None:
        """Replace workers that have exited."""
        for pid in list(self.pids):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self.pids.remove(pid)
        while len(self.pids) < WORKERS:
            self.pids.add(start_worker(self.path, self.kind))
            self.started += 1

    def kill(self, pid: int) -> None:
        """Kill a worker without warning."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def main(path: Path, kills: int, seed: int, kind: type[Scheduler]) -> None:
    """Spread the kills over the whole run."""
    chance = random.Random(seed)
    if kind is Careless:
        networks.create_external_id = lambda *_: str(random.getrandbits(63))
    nursery, total, killed = Nursery(path, kind), count_unfinished(path), 0
    nursery.fill()
    while remaining := count_unfinished(path):
        nursery.fill()
        if killed < kills and remaining <= total * (1 - killed / (kills + 1)):
            time.sleep(chance.uniform(0, 0.01))
            nursery.kill(chance.choice(sorted(nursery.pids)))
            killed += 1
        else:
            time.sleep(0.002)
    for pid in nursery.pids:
        os.waitpid(pid, 0)
    print(killed, nursery.started)  # noqa: T201 - for the test


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Careless if sys.argv[4] == "careless" else Scheduler)
