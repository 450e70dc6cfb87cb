"""The data: transactions, versions, several processes and threads, and unusable files."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.support.locks import watch_locks
from tests.support.windows import skip_on_windows
from ttp_mcp.sandbox import store as store_module
from ttp_mcp.sandbox.store import SCHEMA_VERSION, Store, StoreProblem

pytestmark = pytest.mark.requirement("sandbox.store")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the data are."""
    return tmp_path / "sandbox.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """New data."""
    with closing(Store(path)) as opened:
        yield opened


def add_note(db: sqlite3.Connection, key: str, value: str = "") -> None:
    db.execute("INSERT INTO meta VALUES (?, ?)", (key, value))


def list_notes(store: Store) -> list[str]:
    with store.reading() as db:
        return [row["key"] for row in db.execute("SELECT key FROM meta ORDER BY key")]


def test_connections_are_durable_and_check_references(store: Store) -> None:
    """Acknowledged data are on disk; foreign keys are enforced."""
    db = store.connection()
    settings = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert settings == ["wal", 2, 1]
    with pytest.raises(sqlite3.IntegrityError), store.writing():
        db.execute("INSERT INTO post_targets (post_id, account_id, position, status) VALUES ('p', 'a', 0, 'pending')")


# Transactions


def test_error_rolls_back_the_whole_transaction(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.writing() as db:
        add_note(db, "first")
        _ = 1 / 0
    assert list_notes(store) == []
    with store.writing() as db:
        add_note(db, "second")
    assert list_notes(store) == ["second"]


def test_nested_transactions_are_one(store: Store) -> None:
    """Inner ones commit with the outermost, and see its writes."""
    with pytest.raises(ZeroDivisionError), store.writing() as db:
        with store.writing() as inner:
            add_note(inner, "inner")
        assert inner is db
        assert list_notes(store) == ["inner"]
        _ = 1 / 0
    assert list_notes(store) == []


def test_view_is_consistent(store: Store) -> None:
    """Another thread's write appears in the next view."""

    def write() -> None:
        with store.writing() as other:
            add_note(other, "written in between")

    with store.reading():
        assert list_notes(store) == []
        with ThreadPoolExecutor(1) as pool:
            pool.submit(write).result(5)
        assert list_notes(store) == []
    assert list_notes(store) == ["written in between"]


def test_transaction_ended_by_sqlite_keeps_its_error(store: Store) -> None:
    """On a full disk SQLite rolls back; the error names the disk, and the next write works."""
    for transaction in (store.writing, store.reading):
        with pytest.raises(sqlite3.OperationalError, match="no room"), transaction() as db:
            db.execute("ROLLBACK")
            raise sqlite3.OperationalError("no room")
    with store.writing() as db:
        add_note(db, "after")
    assert list_notes(store) == ["after"]


def test_failed_commit_is_rolled_back(store: Store) -> None:
    """A deferred constraint leaves no transaction open."""
    with pytest.raises(sqlite3.IntegrityError), store.writing() as db:
        db.execute("PRAGMA defer_foreign_keys = ON")
        add_note(db, "lost")
        db.execute("INSERT INTO post_targets (post_id, account_id, position, status) VALUES ('p', 'a', 0, 'pending')")
    assert not store.connection().in_transaction
    assert list_notes(store) == []


def test_full_store_refuses_writes_until_there_is_room(store: Store) -> None:
    """Nothing of the refused write is kept; earlier data stay."""
    with store.writing() as db:
        add_note(db, "before")
    db = store.connection()
    db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError, match="full"), store.writing():
        add_note(db, "too much", "x" * 1_000_000)
    assert list_notes(store) == ["before"]
    db.execute("PRAGMA max_page_count = 1000000")
    with store.writing():
        add_note(db, "room again", "x" * 1_000_000)
    assert list_notes(store) == ["before", "room again"]


# Versions


def test_new_data_have_the_current_version(store: Store) -> None:
    """Later programs rely on it."""
    assert store.connection().execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION


def test_data_of_a_newer_version_are_refused_and_left_alone(path: Path) -> None:
    """An older program must not write a format it doesn't know."""
    with closing(Store(path)) as newer, newer.writing() as db:
        add_note(db, "from the future")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreProblem, match=r"newer ttp-mcp\. Upgrade it, or set another TTP_STATE_DIR\."):
        Store(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION + 1
        assert db.execute("SELECT key FROM meta").fetchall() == [("from the future",)]


def test_older_data_are_migrated_step_by_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step runs once, in order, and data stay."""
    with closing(Store(path)) as old, old.writing() as db:
        add_note(db, "old")
    monkeypatch.setattr(store_module, "SCHEMA_VERSION", SCHEMA_VERSION + 2)
    steps = {
        SCHEMA_VERSION: "CREATE TABLE extra (name TEXT) STRICT;\nINSERT INTO extra VALUES\n  ('a');\n",
        SCHEMA_VERSION + 1: "UPDATE extra SET name = name || 'b';\n",
    }
    monkeypatch.setattr(store_module, "MIGRATIONS", steps)
    for _ in range(2):
        with closing(Store(path)) as opened, opened.reading() as db:
            assert [tuple(row) for row in db.execute("SELECT name FROM extra")] == [("ab",)]
            assert db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION + 2
            assert list_notes(opened) == ["old"]


def test_data_of_version_1_get_tokens_that_may_publish(path: Path) -> None:
    """Tokens had no capability then."""
    with closing(Store(path)) as old, old.writing() as db:
        db.execute("ALTER TABLE tokens DROP COLUMN capability")
        db.execute("INSERT INTO users VALUES ('usr', 'User')")
        db.execute("INSERT INTO tokens (id, user_id, label, hash, created_at) VALUES ('t', 'usr', 'old', 'h', 0)")
        db.execute("PRAGMA user_version = 1")
    with closing(Store(path)) as opened, opened.reading() as db:
        assert [row["capability"] for row in db.execute("SELECT capability FROM tokens")] == ["publish"]


def test_failed_migration_leaves_the_older_data(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(path).close()
    with monkeypatch.context() as newer:
        newer.setattr(store_module, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
        steps = {SCHEMA_VERSION: "CREATE TABLE extra (name TEXT) STRICT;\nINSERT INTO nowhere VALUES (1);\n"}
        newer.setattr(store_module, "MIGRATIONS", steps)
        with pytest.raises(StoreProblem, match="no such table: nowhere"):
            Store(path)
    with closing(Store(path)) as opened, opened.reading() as db:
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'extra'").fetchone()[0] == 0


# Files that can't be used


def test_file_that_is_not_a_database_is_refused_with_a_fix(path: Path) -> None:
    """It isn't changed, and closed, so that Windows can move it while the error is shown."""
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreProblem) as refused:
        Store(path)
    assert str(refused.value) == (
        "sandbox.db can't be opened as sandbox data (file is not a database). "
        "Move it away, or run `ttp-mcp sandbox reset`."
    )
    assert path.read_bytes() == b"no database" * 1000
    assert path.name not in {Path(file.path).name for file in psutil.Process().open_files()}


def test_unreachable_file_is_not_called_damaged(tmp_path: Path) -> None:
    """Moving good data away wouldn't help."""
    with pytest.raises(StoreProblem, match=r"unable to open database file\). Check the folder's rights and free space"):
        Store(tmp_path / "missing" / "sandbox.db")


def test_locked_data_are_not_called_damaged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file that another process fills is waited for, then reported correctly."""
    monkeypatch.setattr(store_module, "BUSY_SECONDS", 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreProblem, match=r"database is locked\)\. Check .* whether a process holds the file"):
            Store(path)


def test_current_data_open_while_another_process_writes(store: Store, path: Path) -> None:
    """Opening needs neither the write lock nor disk space."""
    with store.writing(), closing(Store(path)) as other:
        assert list_notes(other) == []


# Threads and processes


def test_each_thread_has_its_own_connection_until_close(store: Store) -> None:
    """Including those of threads that still run."""
    found: list[sqlite3.Connection] = [store.connection()]
    there, over = threading.Event(), threading.Event()

    def other() -> None:
        found.append(store.connection())
        there.set()
        over.wait(5)

    thread = threading.Thread(target=other)
    thread.start()
    assert there.wait(5)
    assert found[0] is not found[1]
    assert store.connection() is found[0]
    store.close()
    for db in found:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            db.execute("SELECT 1")
    over.set()
    thread.join(5)


@pytest.mark.parametrize("kind", ["reading", "writing"])
def test_closing_waits_for_a_transaction_of_another_thread(
    path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would crash if the connection was closed while that thread uses it."""
    begun, closing_began = threading.Event(), threading.Event()
    monkeypatch.setattr(store_module, "threading", watch_locks(closing_began))
    store = Store(path)
    found: list[str] = []

    def use() -> None:
        with store.reading() if kind == "reading" else store.writing() as db:
            begun.set()
            closing_began.wait()
            found.append(db.execute("SELECT 'used'").fetchone()[0])

    thread = threading.Thread(target=use)
    thread.start()
    begun.wait()
    store.close()
    closing_began.set()
    thread.join()

    assert found == ["used"]


@skip_on_windows("Windows doesn't count open files")
def test_connection_of_an_ended_thread_is_closed(store: Store) -> None:
    """So a long-running server doesn't run out of files."""
    process = psutil.Process()
    before = process.num_fds()
    for _ in range(20):
        thread = threading.Thread(target=lambda: list_notes(store))
        thread.start()
        thread.join(5)
    assert process.num_fds() <= before + 1


def test_closed_store_reopens_on_use(store: Store) -> None:
    """A late write of an ending thread isn't a failure."""
    store.close()
    assert list_notes(store) == []


def test_new_data_can_be_opened_concurrently(tmp_path: Path) -> None:
    """SQLite refuses at once, ignoring its timeout, if two processes switch a new file to WAL."""
    together = threading.Barrier(4)

    def open_each(_: int) -> None:
        for number in range(60):
            together.wait()
            try:
                Store(tmp_path / f"{number}.db").close()
            except StoreProblem:
                together.abort()
                raise

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(open_each, range(4))) == [None] * 4


def test_many_processes_create_and_write_new_data(path: Path) -> None:
    """One creates the tables, the others wait; no write is lost or refused."""
    script = (
        "import sys, pathlib\n"
        "from ttp_mcp.sandbox.store import Store\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "store = Store(pathlib.Path(sys.argv[1]))\n"
        "for number in range(20):\n"
        "    with store.writing() as db:\n"
        "        db.execute('INSERT INTO meta VALUES (?, ?)', (f'{sys.argv[2]}-{number}', ''))\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path), str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for number in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"ready"
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    for process in started:
        assert process.wait(30) == 0
        assert process.stdout is not None
        process.stdout.close()
    with closing(Store(path)) as opened:
        assert len(list_notes(opened)) == 80
        assert opened.connection().execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_refusal_of_new_data_by_sqlite_is_retried(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, but deterministic."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        connect = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda *_, **options: connect(path, **{**options, "timeout": 0}))
        monkeypatch.setattr(store_module.time, "sleep", lambda _: other.in_transaction and other.execute("COMMIT"))
        with closing(Store(path)) as opened:
            assert list_notes(opened) == []
