"""State in a SQLite file: atomic, durable, private, shared by processes, with clear errors."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from tests.support.locks import watch_locks
from tests.support.windows import WINDOWS, needs_links, needs_modes
from ttp_mcp.config import SettingProblem, Settings
from ttp_mcp.ledger.store import open_store
from ttp_mcp.ledger.store import sqlite as sqlite_module
from ttp_mcp.ledger.store.base import Delete, LedgerProblem, Put, RateCap
from ttp_mcp.ledger.store.sqlite import SqliteStore
from ttp_mcp.times import find_zone

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


@pytest.fixture
async def state(tmp_path: Path) -> AsyncGenerator[SqliteStore]:
    """A store in its own folder."""
    found = SqliteStore(tmp_path / "home" / "state", busy_seconds=0.05)
    yield found
    await found.aclose()


def make_put(key: str, value: int = 0, *, expected: str | None = None, expires_at: datetime = LATER) -> Put:
    return Put("kind", key, {"value": value}, expires_at, expected=expected)


async def read_values(state: SqliteStore, *keys: str, now: datetime = NOW) -> dict[str, int]:
    return {key: entry.value["value"] for key, entry in (await state.get("s", "kind", keys, now)).items()}


@pytest.mark.requirement("state.atomic")
async def test_all_steps_happen_or_none(state: SqliteStore) -> None:
    """One unmet expectation undoes the others."""
    assert await state.commit("s", [make_put("a", 1, expected="")], NOW) == "done"
    version = (await state.get("s", "kind", ["a"], NOW))["a"].version

    assert await state.commit("s", [make_put("b", 2), make_put("a", 2, expected="")], NOW) == "changed"
    assert await state.commit("s", [make_put("b", 2), Delete("kind", "a", expected="other")], NOW) == "changed"
    assert await read_values(state, "a", "b") == {"a": 1}
    assert await state.commit("s", [make_put("b", 2), make_put("a", 3, expected=version)], NOW) == "done"
    assert await read_values(state, "a", "b") == {"a": 3, "b": 2}
    assert await state.commit("s", [make_put("a", 4, expected=version)], NOW) == "changed"
    assert await state.commit("s", [Delete("kind", "a"), Delete("kind", "a")], NOW) == "done"
    assert await read_values(state, "a", "b") == {"b": 2}


@pytest.mark.requirement("state.atomic")
async def test_at_most_counts_and_puts_in_one_step(state: SqliteStore) -> None:
    """No more than allowed succeed concurrently; entries older than the window don't count."""
    results: list[str] = []

    async def add(number: int) -> None:
        results.append(
            await state.commit("s", [make_put(str(number))], NOW, RateCap("kind", NOW - timedelta(hours=1), 3))
        )

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(add, number)

    assert sorted(results) == ["done"] * 3 + ["full"] * 5
    two_hours_on = NOW + timedelta(hours=2)
    limit = RateCap("kind", two_hours_on - timedelta(hours=1), 3)
    assert await state.commit("s", [make_put("new")], two_hours_on, limit) == "done"


@pytest.mark.requirement("state.expiry")
async def test_documents_that_expired_a_day_ago_are_removed(state: SqliteStore) -> None:
    """At a process's first commit. A clock that is ahead, such as a sandbox's, doesn't count."""
    past, later, far = (datetime(year, 1, 1, tzinfo=UTC) for year in (2020, 2500, 2900))
    await state.commit(
        "s", [make_put("old", expires_at=past), make_put("kept", expires_at=later)], past - timedelta(hours=1)
    )
    await state.aclose()
    again = SqliteStore(state.path.parent)
    await again.commit("another", [make_put("new", expires_at=far + timedelta(hours=1))], far)
    await again.aclose()
    with sqlite3.connect(state.path) as db:
        assert db.execute("SELECT key FROM entries ORDER BY key").fetchall() == [("kept",), ("new",)]
    db.close()


@pytest.mark.requirement("state.expiry")
async def test_expired_documents_are_removed_every_few_commits(
    state: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the first one and, here, each third after it."""
    monkeypatch.setattr(sqlite_module, "PRUNE_EVERY", 3)
    left: list[int] = []
    for number in range(7):
        await state.commit("s", [make_put(str(number), expires_at=datetime(2020, 1, 1, tzinfo=UTC))], NOW)
        db = sqlite3.connect(state.path)
        left += db.execute("SELECT count(*) FROM entries").fetchone()
        db.close()
    assert left == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.requirement("state.atomic")
async def test_recent_is_newest_first_and_keeps_the_time_of_the_first_put(state: SqliteStore) -> None:
    """Replacing a document does not make it newer."""
    await state.commit("s", [make_put("a")], NOW)
    await state.commit("s", [make_put("b")], NOW + timedelta(seconds=1))
    await state.commit("s", [make_put("a", 2)], NOW + timedelta(seconds=2))

    assert [(each.key, each.value["value"]) for each in await state.list_recent("s", "kind", NOW, NOW)] == [
        ("b", 0),
        ("a", 2),
    ]
    assert [each.key for each in await state.list_recent("s", "kind", NOW + timedelta(seconds=1), NOW)] == ["b"]
    assert await state.list_recent("other", "kind", NOW, NOW) == []


@pytest.mark.requirement("state.atomic")
async def test_key_that_is_not_text_is_absent(state: SqliteStore) -> None:
    """A lone surrogate from a model is an unknown key."""
    await state.commit("s", [make_put("a", 1)], NOW)

    assert await read_values(state, "a", "\ud800") == {"a": 1}
    assert await read_values(state, "\ud800") == {}


@pytest.mark.requirement("state.private")
@needs_modes
async def test_file_and_folder_are_private(state: SqliteStore) -> None:
    """0700 and 0600 under any umask, also for the files that SQLite adds."""
    before = os.umask(0)
    try:
        await state.commit("s", [make_put("a")], NOW)
    finally:
        os.umask(before)

    assert stat.S_IMODE(state.path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in state.path.parent.iterdir()} == {0o600}


@pytest.mark.requirement("state.lazy")
async def test_reading_creates_no_file(tmp_path: Path) -> None:
    """There is none before the first write, and closing without one works."""
    state = SqliteStore(tmp_path / "state")

    assert await state.get("s", "kind", ["a"], NOW) == {}
    assert await state.list_recent("s", "kind", NOW, NOW) == []
    await state.aclose()
    assert not (tmp_path / "state").exists()


@pytest.mark.requirement("state.durable")
async def test_commits_are_durable_and_do_not_block_readers(state: SqliteStore) -> None:
    """A commit is on the disk before it returns, and readers don't wait for writers."""
    await state.commit("s", [make_put("a")], NOW)
    db = state._open["write"]  # the connection's own setting can't be seen from outside
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA busy_timeout").fetchone() == (50,)
    await read_values(state, "a")
    reader = state._open["read"]
    assert reader.execute("PRAGMA busy_timeout").fetchone() == (200,)
    await read_values(state, "a")
    assert state._open["read"] is reader


PROCESS = """
import sys, os
from datetime import UTC, datetime, timedelta
from pathlib import Path
import anyio
from ttp_mcp.ledger.store.base import Put
from ttp_mcp.ledger.store.sqlite import SqliteStore
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
async def main():
    state = SqliteStore(Path(sys.argv[1]))
    done = 0
    for number in range(int(sys.argv[2])):
        step = Put("kind", str(number), {"value": number}, NOW + timedelta(days=1), expected="")
        done += await state.commit("s", [step], NOW) == "done"
    print(done, flush=True)
    os._exit(9)
anyio.run(main)
"""


@pytest.mark.requirement("state.shared")
def test_processes_share_the_file_and_commits_survive_their_end(tmp_path: Path) -> None:
    """Three processes open a new file at once and race for the same keys; each key is won once, and nothing is lost."""
    command = [sys.executable, "-c", PROCESS, str(tmp_path / "state"), "30"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    got = [int(process.communicate(timeout=60)[0]) for process in running]

    assert sum(got) == 30
    db = sqlite3.connect(tmp_path / "state" / "ledger.db")
    assert db.execute("SELECT count(*) FROM entries").fetchone() == (30,)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


@pytest.mark.requirement("state.faults")
async def test_full_disk_is_reported_and_the_next_call_works_when_there_is_room(state: SqliteStore) -> None:
    """Existing documents stay readable."""
    await state.commit("s", [make_put("a", 1)], NOW)
    db = state._open["write"]
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")

    with pytest.raises(LedgerProblem) as raised:
        await state.commit("s", [Put("kind", "big", {"value": "x" * 100_000}, LATER)], NOW)
    assert str(raised.value) == (
        "the ledger (ledger.db in TTP_STATE_DIR) can't be used: the disk is full. Nothing is sent without it; reading goes on. "
        "Free some space, then call again."
    )
    assert await read_values(state, "a", "big") == {"a": 1}
    assert await state.commit("s", [make_put("b", 2)], NOW) == "done"


@pytest.mark.requirement("state.faults")
async def test_file_that_another_program_holds_is_reported_and_reads_continue(state: SqliteStore) -> None:
    """The write fails after a bounded wait."""
    await state.commit("s", [make_put("a", 1)], NOW)
    holder = sqlite3.connect(state.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(LedgerProblem, match="another program holds the file"):
            await state.commit("s", [make_put("b")], NOW)
        assert await read_values(state, "a") == {"a": 1}
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert await state.commit("s", [make_put("b")], NOW) == "done"


@pytest.mark.requirement("state.faults")
async def test_locked_new_file_is_waited_for_briefly(tmp_path: Path) -> None:
    """Another process holds a file that isn't in WAL mode yet."""
    holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    holder.execute("CREATE TABLE other (x)")
    holder.execute("BEGIN EXCLUSIVE")
    state = SqliteStore(tmp_path, busy_seconds=0.05)
    try:
        with pytest.raises(LedgerProblem, match="another program holds the file"):
            await state.commit("s", [make_put("a")], NOW)
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    await state.aclose()


@pytest.mark.requirement("state.shared")
async def test_refusal_of_a_new_file_by_sqlite_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite refuses at once when several processes open a new file; here it never waits."""
    path, connect, waits = tmp_path / "ledger.db", sqlite3.connect, list[float]()
    holder = connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")

    def release(seconds: float) -> None:
        waits.append(seconds)
        holder.execute("COMMIT")

    monkeypatch.setattr(sqlite3, "connect", lambda *_, **options: connect(path, **{**options, "timeout": 0}))
    monkeypatch.setattr(sqlite_module.time, "sleep", release)
    state = SqliteStore(tmp_path, busy_seconds=1e6)
    assert await state.commit("s", [make_put("a", 1)], NOW) == "done"
    assert waits == [0.01]
    await state.aclose()
    holder.close()


@pytest.mark.requirement("state.faults")
async def test_new_file_on_a_full_disk_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only another process is waited for."""

    class Full(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if "journal_mode" in sql:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return super().execute(sql, *values)

    def refuse_to_sleep(seconds: float) -> None:
        raise AssertionError(seconds)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Full))
    monkeypatch.setattr(sqlite_module.time, "sleep", refuse_to_sleep)
    with pytest.raises(LedgerProblem, match="the disk is full"):
        await SqliteStore(tmp_path).commit("s", [make_put("a")], NOW)


@pytest.mark.requirement("state.shared")
async def test_commit_waits_for_another_process_and_sees_its_commit(tmp_path: Path) -> None:
    """Expectations are checked after the wait."""
    state = SqliteStore(tmp_path, busy_seconds=120)
    await state.commit("s", [make_put("a", 1)], NOW)
    version = (await state.get("s", "kind", ["a"], NOW))["a"].version
    begun = threading.Event()
    results: list[str] = []

    async def commit() -> None:
        results.append(await state.commit("s", [make_put("a", 2, expected=version)], NOW))

    state._open["write"].set_trace_callback(lambda _: begun.set())
    holder = sqlite3.connect(state.path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    holder.execute("UPDATE entries SET version = 'other'")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(commit)
        await anyio.to_thread.run_sync(begun.wait)
        holder.execute("COMMIT")
    holder.close()

    assert results == ["changed"]
    assert await read_values(state, "a") == {"a": 1}
    await state.aclose()


@pytest.mark.requirement("state.shared")
async def test_commit_compares_nothing_before_it_holds_the_file(tmp_path: Path) -> None:
    state = SqliteStore(tmp_path, busy_seconds=0)
    await state.commit("s", [make_put("a", 1)], NOW)
    statements: list[str] = []
    state._open["write"].set_trace_callback(statements.append)
    holder = sqlite3.connect(state.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerProblem, match="another program holds the file"):
        await state.commit("s", [make_put("a", 2)], NOW)
    holder.close()

    assert statements == ["BEGIN IMMEDIATE"]
    await state.aclose()


@contextmanager
def lock_file(file: Path) -> Generator[None]:
    """Lock the file from another program, for reading too."""
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    holder.execute("UPDATE entries SET value = value")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


@pytest.mark.requirement("state.reads-do-not-wait")
async def test_reads_of_a_locked_file_fail_fast_in_parallel(tmp_path: Path) -> None:
    """Even while writes wait with their full timeout."""
    before = SqliteStore(tmp_path)
    await before.commit("s", [make_put("a", 1)], NOW)
    await before.aclose()
    state = SqliteStore(tmp_path, busy_seconds=120)
    refused: list[str] = []

    async def read(key: str) -> None:
        with pytest.raises(LedgerProblem) as problem:
            await state.get("s", "kind", [key], NOW)
        refused.append(str(problem.value))

    async with anyio.create_task_group() as writing:
        with lock_file(tmp_path / "ledger.db"):
            for number in range(50):
                writing.start_soon(state.commit, "s", [make_put(str(number))], NOW)
            await anyio.wait_all_tasks_blocked()
            # One write alone would wait for two minutes; the bound leaves time for a busy machine.
            with anyio.fail_after(30):
                async with anyio.create_task_group() as reading:
                    for number in range(50):
                        reading.start_soon(read, str(number))
    assert len(refused) == 50
    assert {"another program holds the file" in text for text in refused} == {True}
    assert await read_values(state, "a", "49") == {"a": 1, "49": 0}
    await state.aclose()


@pytest.mark.requirement("state.reads-do-not-wait")
async def test_cancelled_read_is_released_while_its_thread_still_waits(
    state: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its result isn't needed any more."""
    await state.commit("s", [make_put("a", 1)], NOW)
    begun, over = threading.Event(), threading.Event()

    def stuck(*_: object) -> sqlite3.Connection:
        begun.set()
        over.wait()
        raise OSError

    monkeypatch.setattr(state, "_connect", stuck)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_values, state, "a")
        await anyio.to_thread.run_sync(begun.wait)
        tasks.cancel_scope.cancel()
    # Another read doesn't wait for that thread either.
    with pytest.raises(LedgerProblem) as refused:
        await read_values(state, "a")
    over.set()
    monkeypatch.undo()
    assert str(refused.value) == (
        "the ledger (ledger.db in TTP_STATE_DIR) can't be used: another program holds the file. Nothing is sent without it; "
        "reading goes on. Call again in a moment; if that doesn't help, stop the other ttp-mcp."
    )

    assert await read_values(state, "a") == {"a": 1}


@pytest.mark.requirement("state.shared")
async def test_file_without_tables_is_empty(state: SqliteStore) -> None:
    """Another process created the file but not yet its tables."""
    state.path.parent.mkdir(parents=True)
    state.path.touch()

    assert await read_values(state, "a") == {}
    await state.commit("s", [make_put("a", 1)], NOW)
    assert await read_values(state, "a") == {"a": 1}


@pytest.mark.requirement("state.faults")
async def test_damaged_file_is_reported_and_left_alone(tmp_path: Path) -> None:
    """It may contain needed data, so only the user may move it."""
    file = tmp_path / "ledger.db"
    file.write_bytes(b"this is no database" * 200)
    state = SqliteStore(tmp_path)

    words = r"the file is damaged.*Stop every ttp-mcp server, then move ledger.db"
    with pytest.raises(LedgerProblem, match=words) as writing:
        await state.commit("s", [make_put("a")], NOW)
    with pytest.raises(LedgerProblem, match=words) as reading:
        await read_values(state, "a")
    assert file.read_bytes() == b"this is no database" * 200
    # While the errors are kept, which refer to the connections.
    assert file.name not in {Path(each.path).name for each in psutil.Process().open_files()}
    del writing, reading

    file.unlink()
    assert await read_values(state, "a") == {}
    assert await state.commit("s", [make_put("a", 1)], NOW) == "done"
    assert await read_values(state, "a") == {"a": 1}
    await state.aclose()


@pytest.mark.requirement("state.not-ours")
@pytest.mark.parametrize(
    ("column", "value"),
    [("at", 2**62), ("at", "noon"), ("value", "{"), ("value", "[1]"), ("value", "[" * 100_000)],
    ids=["a time beyond any date", "no time", "no JSON", "no object", "too deep"],
)
async def test_unreadable_entry_is_reported_as_damage(state: SqliteStore, column: str, value: int | str) -> None:
    """It isn't reported as a bug, and it isn't taken for a missing one."""
    await state.commit("s", [make_put("a", 1)], NOW)
    await state.aclose()
    db = sqlite3.connect(state.path, isolation_level=None)
    db.execute(f"UPDATE entries SET {column} = ?", (value,))
    db.close()

    with pytest.raises(LedgerProblem, match="it is damaged, an entry can't be read"):
        await read_values(state, "a")


@pytest.mark.requirement("state.faults")
async def test_misuse_of_a_connection_is_reported_and_the_next_call_works(state: SqliteStore) -> None:
    """Python reports it without a code of SQLite."""
    await state.commit("s", [make_put("a", 1)], NOW)
    state._open["write"].close()

    with pytest.raises(LedgerProblem, match="SQLite reported an error"):
        await state.commit("s", [make_put("b", 2)], NOW)
    assert await state.commit("s", [make_put("c", 3)], NOW) == "done"
    assert await read_values(state, "a", "b", "c") == {"a": 1, "c": 3}


@pytest.mark.requirement("state.faults")
async def test_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    """A file has the name of the folder."""
    (tmp_path / "state").write_text("in the way")

    with pytest.raises(LedgerProblem, match=r"can't be opened or created. Nothing is sent"):
        await SqliteStore(tmp_path / "state").commit("s", [make_put("a")], NOW)


@pytest.mark.requirement("state.faults")
async def test_file_that_is_read_only_is_reported(state: SqliteStore) -> None:
    """As on a read-only drive."""
    await state.commit("s", [make_put("a", 1)], NOW)
    db = state._open["write"]
    db.execute("PRAGMA query_only = ON")

    with pytest.raises(LedgerProblem, match=r"the file is read-only. .*Make it writable"):
        await state.commit("s", [make_put("b")], NOW)


@pytest.mark.requirement("state.faults")
async def test_file_with_other_tables_is_reported(tmp_path: Path) -> None:
    """It is another program's database with our version number."""
    db = sqlite3.connect(tmp_path / "ledger.db")
    db.execute("PRAGMA user_version = 1")
    db.close()
    state = SqliteStore(tmp_path)

    with pytest.raises(LedgerProblem, match="SQLite reported an error"):
        await state.commit("s", [make_put("a")], NOW)
    await state.aclose()


GUEST = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
import anyio
from ttp_mcp.ledger.store.base import Put
from ttp_mcp.ledger.store.sqlite import SqliteStore
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
async def main():
    state = SqliteStore(Path(sys.argv[1]))
    print(await state.commit("s", [Put("kind", sys.argv[2], {"value": 9}, NOW + timedelta(days=1), expected="")], NOW))
    await state.aclose()
anyio.run(main)
"""


@pytest.mark.requirement("state.shared")
def test_exiting_process_keeps_the_log_of_readers(tmp_path: Path) -> None:
    """The last process to close a file removes its log; one that read and then wrote still counts."""

    def guest(key: str) -> str:
        command = [sys.executable, "-c", GUEST, str(tmp_path), key]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    async def host() -> None:
        state = SqliteStore(tmp_path)
        assert await read_values(state, "a") == {"a": 9}
        assert await state.commit("s", [make_put("b")], NOW) == "done"
        assert guest("c") == "done"
        assert await state.commit("s", [make_put("d")], NOW) == "done"
        assert guest("d") == "changed"
        await state.aclose()

    assert guest("a") == "done"
    anyio.run(host)


@pytest.mark.requirement("state.shared")
async def test_file_that_another_process_fills_first_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables exist when this process gets the file."""
    raced: list[str] = []

    class Racing(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE" and not raced:
                command = [sys.executable, "-c", GUEST, str(tmp_path), "a"]
                raced.append(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
            return super().execute(sql, *values)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Racing))
    state = SqliteStore(tmp_path)
    assert await state.commit("s", [make_put("b", 1)], NOW) == "done"
    assert raced == ["done\n"]
    assert await read_values(state, "a", "b") == {"a": 9, "b": 1}
    await state.aclose()


@pytest.mark.requirement("state.shared")
async def test_closing_leaves_no_log(state: SqliteStore) -> None:
    """SQLite removes it with the last connection."""
    await state.commit("s", [make_put("a", 1)], NOW)
    assert await read_values(state, "a") == {"a": 1}
    await state.aclose()
    assert [file.name for file in state.path.parent.iterdir()] == ["ledger.db"]


@pytest.mark.requirement("state.shared")
async def test_closing_waits_for_a_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would crash if the connection was closed while a thread reads."""
    begun, closing = threading.Event(), threading.Event()
    found: list[dict[str, int]] = []

    class Slow(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql.startswith("SELECT key"):
                begun.set()
                closing.wait()
            return super().execute(sql, *values)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Slow))
    monkeypatch.setattr(sqlite_module, "threading", watch_locks(closing))
    state = SqliteStore(tmp_path)
    await state.commit("s", [make_put("a", 1)], NOW)

    async def read() -> None:
        found.append(await read_values(state, "a"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await anyio.to_thread.run_sync(begun.wait)
        await state.aclose()
        closing.set()
    assert found == [{"a": 1}]
    await state.aclose()


@pytest.mark.requirement("state.faults")
async def test_inaccessible_path_is_reported(tmp_path: Path) -> None:
    """An overlong name replaces a folder without access, since root may run this test."""
    state = SqliteStore(tmp_path / ("<" if WINDOWS else "x" * 300))

    if WINDOWS:  # such a folder isn't there yet
        assert await read_values(state, "a") == {}
    else:
        with pytest.raises(LedgerProblem, match="can't be opened or created"):
            await read_values(state, "a")
    with pytest.raises(LedgerProblem, match="can't be opened or created"):
        await state.commit("s", [make_put("a")], NOW)


@pytest.mark.requirement("state.versions")
async def test_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    """An unknown format must not be written."""
    db = sqlite3.connect(tmp_path / "ledger.db")
    db.execute("PRAGMA user_version = 2")
    db.close()
    state = SqliteStore(tmp_path)

    for _ in range(2):
        with pytest.raises(LedgerProblem) as raised:
            await state.commit("s", [make_put("a")], NOW)
        assert str(raised.value) == (
            "the ledger (ledger.db in TTP_STATE_DIR) was written by a newer ttp-mcp. Nothing is sent without it; reading goes on. "
            "Upgrade ttp-mcp, or set TTP_STATE_DIR to another folder."
        )
    with pytest.raises(LedgerProblem, match=r"written by a newer ttp-mcp.*Upgrade"):
        await read_values(state, "a")
    await state.aclose()


def make_settings(folder: Path, state_url: str | None = None) -> Settings:
    return Settings(zone=find_zone("UTC"), state_dir=folder, state_url=state_url)


@pytest.mark.requirement("state.choice")
async def test_state_is_in_files_unless_configured(tmp_path: Path) -> None:
    """Choosing a store doesn't open it."""
    state = open_store(make_settings(tmp_path / "state"))

    assert isinstance(state, SqliteStore)
    assert not (tmp_path / "state").exists()
    with pytest.raises(SettingProblem, match="TTP_STATE_URL"):
        open_store(make_settings(tmp_path, "memcached://host"))


@pytest.mark.requirement("state.private")
@needs_links
async def test_linked_file_is_private(tmp_path: Path) -> None:
    """Even if the file doesn't exist yet."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ledger.db").symlink_to(tmp_path / "elsewhere.db")
    state = SqliteStore(tmp_path / "state")
    assert await state.commit("scope", [Put("kind", "a", {"value": 1}, LATER)], NOW) == "done"
    await state.aclose()
    assert stat.S_IMODE((tmp_path / "elsewhere.db").stat().st_mode) == 0o600
