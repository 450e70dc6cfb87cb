"""Cost of one commit on each store, side by side in one process: `python -m benchmarks.shared_state [ROUNDS]`.

PostgreSQL is Debian's, private, on this machine, and commits to the disk each time. The stores take turns, so that other load on
the machine affects both. A commit is the one before a create: three documents and a cap.
"""

import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio

from tests.ledger.store.servers import Server, find_postgresql
from ttp_mcp.ledger.store.base import Put, RateCap, Store
from ttp_mcp.ledger.store.postgresql import PostgresqlStore
from ttp_mcp.ledger.store.sqlite import SqliteStore

BATCH = 20


def steps(number: int, now: datetime) -> list[Put]:
    """The documents of one create."""
    later = now + timedelta(days=1)
    kinds = ("sent", "open", "create")
    return [
        Put(kind, f"{kind} {number}", {"text": "x" * 300}, later, expected="" if kind == "sent" else None)
        for kind in kinds
    ]


async def one_batch(state: Store, scope: str, first: int) -> tuple[list[float], float]:
    """Milliseconds of each commit, and milliseconds of this process's CPU for one on average."""
    taken: list[float] = []
    cpu = time.process_time()
    for number in range(first, first + BATCH):
        now = datetime.now(UTC)
        begun = time.perf_counter()
        done = await state.commit(scope, steps(number, now), now, RateCap("create", now - timedelta(hours=1), 100_000))
        taken.append((time.perf_counter() - begun) * 1000)
        assert done == "done"
    return taken, (time.process_time() - cpu) * 1000 / BATCH


async def main(rounds: int) -> None:
    """Measure and print."""
    program = find_postgresql()
    server = Server(program, durable=True).start() if program else None
    with tempfile.TemporaryDirectory() as folder:
        stores: dict[str, Store] = {"files": SqliteStore(Path(folder))}
        try:
            if server is not None:
                stores["postgresql"] = PostgresqlStore(server.url)
            measured: dict[str, list[tuple[list[float], float]]] = {name: [] for name in stores}
            for state in stores.values():
                await one_batch(state, "warm-up", 0)
            for number in range(rounds):
                for name, state in stores.items():
                    measured[name].append(await one_batch(state, "scope", number * BATCH))
            for name, batches in measured.items():
                taken = sorted(each for batch, _ in batches for each in batch)
                cpu = statistics.median(each for _, each in batches)
                late = taken[len(taken) * 99 // 100]
                print(f"{name:11} {statistics.median(taken):6.2f} ms median  {late:6.2f} ms p99  {cpu:5.2f} ms CPU")
        finally:
            for state in stores.values():
                await state.aclose()
            if server is not None:
                server.remove()


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 50)
