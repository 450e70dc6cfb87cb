"""Shared stores that stop, hang, lose responses or refuse: clear errors without the password, and recovery."""

import asyncio
import signal
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import anyio
import psycopg
import pytest

from tests.ledger.store.conftest import Open
from tests.ledger.store.servers import PASSWORD, Server
from ttp_mcp.ledger.store import postgresql as postgresql_module
from ttp_mcp.ledger.store.base import LedgerProblem, Put, RateCap, Store
from ttp_mcp.ledger.store.postgresql import PostgresqlStore

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
HOUR = timedelta(hours=1)


def make_put(key: str, value: object = 0, *, expected: str | None = None) -> Put:
    return Put("kind", key, {"value": value}, LATER, expected=expected)


def open_postgresql(url: str, **options: float) -> Store:
    return PostgresqlStore(url, **options)


async def read_refusal(state: Store, scope: str) -> str:
    """Return the message of a write that can't be recorded; a read fails with the same."""
    with anyio.fail_after(30), pytest.raises(LedgerProblem) as refused:
        await state.commit(scope, [make_put("refused")], NOW)
    reported = "".join(traceback.format_exception(refused.value))
    assert PASSWORD not in reported
    assert "word-of-honor" not in reported
    assert len(str(refused.value)) < 300
    return str(refused.value)


async def commit_in_time(state: Store, scope: str, key: str) -> None:
    """Commit with a short timeout, as often as this machine needs."""
    with anyio.fail_after(60):
        while True:
            with suppress(LedgerProblem):
                assert await state.commit(scope, [make_put(key, 1)], NOW) == "done"
                return


@pytest.mark.requirement("state.outage")
@pytest.mark.parametrize("how", ["SIGINT", "SIGQUIT"])
async def test_stopped_store_is_reported_and_used_again(own_postgresql: Server, scope: str, how: str) -> None:
    """After a shutdown or a crash; committed data are kept."""
    state = open_postgresql(own_postgresql.url)
    assert await state.commit(scope, [make_put("a", 1)], NOW) == "done"
    # Several connections, all of which are broken afterwards.
    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(state.get, scope, "kind", ["a"], NOW)
    own_postgresql.end(signal.Signals[how])
    try:
        for _ in range(3):
            assert "can't be reached. Nothing is sent without it; reading goes on." in await read_refusal(state, scope)
        with pytest.raises(LedgerProblem, match="can't be reached"):
            await state.get(scope, "kind", ["a"], NOW)
        with pytest.raises(LedgerProblem, match="can't be reached"):
            await state.list_recent(scope, "kind", NOW, NOW)
    finally:
        own_postgresql.start()

    assert (await state.get(scope, "kind", ["a"], NOW))["a"].value == {"value": 1}
    assert await state.commit(scope, [make_put("b", 2)], NOW) == "done"
    assert {each.key for each in await state.list_recent(scope, "kind", NOW, NOW)} == {"a", "b"}
    await state.aclose()


@pytest.mark.requirement("state.outage")
async def test_restart_between_calls_is_transparent(own_postgresql: Server, scope: str) -> None:
    """Old connections are replaced silently."""
    state = open_postgresql(own_postgresql.url)
    await state.commit(scope, [make_put("a", 1)], NOW)
    own_postgresql.end()
    own_postgresql.start()

    assert await state.commit(scope, [make_put("b", 1)], NOW) == "done"
    await state.aclose()


@pytest.mark.requirement("state.outage")
async def test_store_that_hangs_is_reported_in_time(own_postgresql: Server, scope: str) -> None:
    """The server exists but is silent, on an open connection and on a new one."""
    state = open_postgresql(own_postgresql.url, answer_seconds=0.3)
    await commit_in_time(state, scope, "a")
    own_postgresql.signal_all(signal.SIGSTOP)
    try:
        with anyio.fail_after(20):
            assert "doesn't respond in time" in await read_refusal(state, scope)
            assert "doesn't respond in time" in await read_refusal(
                open_postgresql(own_postgresql.url, answer_seconds=0.3), scope
            )
            with anyio.move_on_after(0.05) as gave_up:
                await state.get(scope, "kind", ["a"], NOW)
            assert gave_up.cancelled_caught
    finally:
        own_postgresql.signal_all(signal.SIGCONT)
    await state.aclose()
    state = open_postgresql(own_postgresql.url)
    assert (await state.get(scope, "kind", ["a"], NOW))["a"].value == {"value": 1}
    await state.aclose()


@asynccontextmanager
async def lose_responses(url: str, word: bytes, count: int) -> AsyncGenerator[str]:
    """Proxy a server, and drop the connection instead of the response to the first requests that contain a word."""
    parts = urlsplit(url)
    left = [count]
    writers: set[asyncio.StreamWriter] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_server = await asyncio.open_connection(parts.hostname, parts.port)
        writers.update((writer, to_server))
        lost = asyncio.Event()

        async def forth() -> None:
            while data := await reader.read(65536):
                if word in data and left[0]:
                    left[0] -= 1
                    lost.set()
                to_server.write(data)
            to_server.close()

        async def back() -> None:
            while data := await there.read(65536):
                if lost.is_set():
                    break
                writer.write(data)
            writer.close()

        await asyncio.gather(forth(), back())

    proxy = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    try:
        yield url.replace(f":{parts.port}/", f":{port}/")
    finally:
        proxy.close()
        for writer in writers:
            writer.close()


@pytest.mark.requirement("state.repeated")
async def test_lost_commit_response_is_resolved(postgresql_url: str, scope: str) -> None:
    """The commit happened; its steps count once, and the caller gets the result."""
    direct = open_postgresql(postgresql_url)
    await direct.commit(scope, [make_put("first")], NOW)

    async with lose_responses(postgresql_url, b"COMMIT", 1) as lossy_url:
        state = open_postgresql(lossy_url)
        one = make_put("a", 1, expected="")
        assert await state.commit(scope, [one], NOW, RateCap("kind", NOW - HOUR, 2)) == "done"
        assert await state.commit(scope, [make_put("b", expected="")], NOW, RateCap("kind", NOW - HOUR, 2)) == "full"
        await state.aclose()

    assert (await direct.get(scope, "kind", ["a"], NOW))["a"].version == one.version
    assert len(await direct.list_recent(scope, "kind", NOW, NOW)) == 2
    await direct.aclose()


@pytest.mark.requirement("state.outage")
async def test_connection_that_breaks_every_time_is_reported(postgresql_url: str, scope: str) -> None:
    """After a few attempts."""
    direct = open_postgresql(postgresql_url)
    await direct.commit(scope, [make_put("first")], NOW)
    async with lose_responses(postgresql_url, b"COMMIT", 100) as lossy_url:
        state = open_postgresql(lossy_url)
        assert "can't be reached" in await read_refusal(state, scope)
        await state.aclose()
    await direct.aclose()


@pytest.mark.requirement("state.outage")
async def test_missing_store_is_reported(scope: str) -> None:
    """The port is closed, or the name unknown."""
    for address in ("127.0.0.1:1", "store.invalid:5432"):
        state = open_postgresql(f"postgresql://ttp:word-of-honor@{address}/0")
        assert await read_refusal(state, scope) == (
            "the ledger (the PostgreSQL of TTP_STATE_URL) can't be used: it can't be reached. Nothing is sent without it; "
            "reading goes on. Start it or correct TTP_STATE_URL, then call again."
        )
        await state.aclose()


@pytest.mark.requirement("state.outage")
async def test_wrong_password_is_reported_and_not_shown(own_postgresql: Server, scope: str) -> None:
    """In our own text, since a client library's message may quote the password."""
    state = open_postgresql(own_postgresql.url.replace("word-of-honor", "word-of-honor-too"))
    assert "refuses the connection" in await read_refusal(state, scope)
    await state.aclose()
    nowhere = open_postgresql(own_postgresql.url.replace("/postgres", "/nowhere"))
    assert "Check user, password and database in TTP_STATE_URL" in await read_refusal(nowhere, scope)


@pytest.mark.requirement("state.outage")
async def test_postgresql_that_refuses_to_write_is_reported(
    own_postgresql: Server, postgresql_url: str, scope: str
) -> None:
    """The server is read-only, the user can't create the table, or the table belongs to another program."""
    read_only = open_postgresql(f"{postgresql_url}%20-cdefault_transaction_read_only%3Don")
    assert "it is read-only" in await read_refusal(read_only, scope)
    await read_only.aclose()
    with psycopg.connect(postgresql_url, autocommit=True) as db:
        db.execute("CREATE TABLE ttp_mcp_state_1 (something text)")
        state = open_postgresql(postgresql_url)
        assert "it reported an error" in await read_refusal(state, scope)
        await state.aclose()
        db.execute("DROP TABLE ttp_mcp_state_1")
        schema = postgresql_url.rpartition("%3D")[2]
        db.execute(f"CREATE ROLE \"{scope}\" LOGIN PASSWORD '{PASSWORD}'")
        try:
            guest = open_postgresql(postgresql_url.replace("://ttp:", f"://{scope}:"))
            assert "has no schema for tables" in await read_refusal(guest, scope)
            db.execute(f'GRANT USAGE ON SCHEMA {schema} TO "{scope}"')
            assert "lacks a privilege" in await read_refusal(guest, scope)
            await guest.aclose()
            db.execute(f'REVOKE ALL ON SCHEMA {schema} FROM "{scope}"')
        finally:
            db.execute(f'DROP ROLE "{scope}"')


@pytest.mark.requirement("state.outage")
async def test_locked_postgresql_is_reported_in_time(postgresql_url: str, scope: str) -> None:
    """By a table locked for maintenance; it works again afterwards."""
    state = open_postgresql(postgresql_url, answer_seconds=0.2)
    await commit_in_time(state, scope, "a")
    with psycopg.connect(postgresql_url) as db:
        db.execute("LOCK TABLE ttp_mcp_state_1 IN ACCESS EXCLUSIVE MODE")
        assert "doesn't respond in time" in await read_refusal(state, scope)
    await commit_in_time(state, scope, "b")
    await state.aclose()


@pytest.mark.requirement("state.outage")
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("40001", "too many clients write to it at once"),
        ("40P01", "too many clients write to it at once"),
        # An administrator ends the session.
        ("57P01", "it reported an error"),
    ],
)
async def test_conflicting_transaction_is_retried(postgresql_url: str, scope: str, code: str, words: str) -> None:
    """Four conflicts in a row are retried; five are reported."""
    state = open_postgresql(postgresql_url)
    await state.commit(scope, [make_put("a", 1)], NOW)
    with psycopg.connect(postgresql_url, autocommit=True) as db:
        db.execute("CREATE SEQUENCE conflicts")
        function = (
            "CREATE OR REPLACE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF nextval('conflicts') <= {{}} THEN RAISE SQLSTATE '{code}'; END IF; RETURN NEW; END $$"
        )
        db.execute(function.format(4))  # pyright: ignore[reportArgumentType] - ours
        db.execute("CREATE TRIGGER conflict BEFORE INSERT ON ttp_mcp_state_1 FOR EACH ROW EXECUTE FUNCTION conflict()")

        assert await state.commit(scope, [make_put("b", 2)], NOW) == "done"
        db.execute("ALTER SEQUENCE conflicts RESTART")
        db.execute(function.format(5))  # pyright: ignore[reportArgumentType] - ours
        assert words in await read_refusal(state, scope)
    assert {each.key for each in await state.list_recent(scope, "kind", NOW, NOW)} == {"a", "b"}
    await state.aclose()


@pytest.mark.requirement("state.replicas")
async def test_users_do_not_wait_for_each_other(postgresql_url: str, scope: str) -> None:
    """One commit waits while it holds its own scope."""
    state = open_postgresql(postgresql_url, answer_seconds=600)
    await state.commit(scope, [make_put("first")], NOW)
    number = int(scope[:7], 16)
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
    with psycopg.connect(postgresql_url, autocommit=True) as db:
        db.execute("SELECT pg_advisory_lock(%s)", (number,))
        db.execute(
            f"CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.scope = '{scope}' THEN "
            f"PERFORM pg_advisory_xact_lock({number}); END IF; RETURN NEW; END $$"
        )
        db.execute("CREATE TRIGGER wait BEFORE INSERT ON ttp_mcp_state_1 FOR EACH ROW EXECUTE FUNCTION wait()")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(state.commit, scope, [make_put("a")], NOW)
            with anyio.fail_after(60):
                while db.execute(waiting, (number,)).fetchone() == (0,):
                    await anyio.sleep(0)
                assert await state.commit(f"{scope} of another", [make_put("a")], NOW) == "done"
            db.execute("SELECT pg_advisory_unlock(%s)", (number,))
    assert set(await state.get(scope, "kind", ["a"], NOW)) == {"a"}
    await state.aclose()


@pytest.mark.requirement("state.outage")
async def test_terminated_sessions_are_replaced(postgresql_url: str, scope: str) -> None:
    """All of them, while idle. There are at most four."""
    state = open_postgresql(f"{postgresql_url}&application_name={scope}")
    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(state.commit, f"{scope} {number}", [make_put("a", 1)], NOW)
    with psycopg.connect(postgresql_url, autocommit=True) as db:
        ended = db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", (scope,)
        )
        assert 1 < len(ended.fetchall()) <= 4
    assert await state.commit(scope, [make_put("b", 1)], NOW) == "done"
    await state.aclose()


@pytest.mark.requirement("state.durable")
async def test_postgresql_commits_are_durable_with_any_server_defaults(postgresql_url: str, scope: str) -> None:
    """A commit waits for the disk, each statement sees earlier commits, and none runs without a timeout.

    It leaves nothing in its session, which a pooler may give to another client.
    """
    defaults = "%20-csynchronous_commit%3Doff%20-cdefault_transaction_isolation%3Dserializable"
    state = open_postgresql(f"{postgresql_url}{defaults}")
    for _ in range(7):
        await state.commit(scope, [make_put("a", 1)], NOW)
    with psycopg.connect(postgresql_url, autocommit=True) as db:
        db.execute("CREATE TABLE seen (name text, value text)")
        db.execute(
            "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen "
            "SELECT name, current_setting(name) FROM unnest(ARRAY['synchronous_commit', 'transaction_isolation', "
            "'statement_timeout', 'application_name']) name UNION SELECT 'prepared', count(*)::text FROM pg_prepared_statements; "
            "RETURN NEW; END $$"
        )
        db.execute("CREATE TRIGGER see BEFORE INSERT ON ttp_mcp_state_1 FOR EACH ROW EXECUTE FUNCTION see()")
        await state.commit(scope, [make_put("b", 1)], NOW)
        assert dict(db.execute("SELECT name, value FROM seen").fetchall()) == {
            "synchronous_commit": "on",
            "transaction_isolation": "read committed",
            "statement_timeout": "5s",
            "application_name": "ttp-mcp",
            "prepared": "0",
        }
    await state.aclose()


@pytest.mark.requirement("state.lazy")
async def test_only_writes_create_the_table_concurrently(postgresql_url: str, scope: str) -> None:
    """Replicas that start together on an empty database."""
    states = [open_postgresql(postgresql_url) for _ in range(6)]
    assert await states[0].get(scope, "kind", ["a"], NOW) == {}
    assert await states[0].list_recent(scope, "kind", NOW, NOW) == []
    with psycopg.connect(postgresql_url) as db:
        assert db.execute("SELECT to_regclass('ttp_mcp_state_1')").fetchone() == (None,)
    results: list[str] = []

    async def write(number: int) -> None:
        results.append(await states[number].commit(scope, [make_put(str(number))], NOW))

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(write, number)

    assert results == ["done"] * 6
    for state in states:
        await state.aclose()


@pytest.mark.requirement("state.expiry")
async def test_postgresql_removes_documents_that_expired_a_day_ago(postgresql_url: str, scope: str) -> None:
    """With a process's first commit. A clock that is ahead of the server's doesn't count."""
    past, later, far = (datetime(year, 1, 1, tzinfo=UTC) for year in (2020, 2500, 2900))
    state = open_postgresql(postgresql_url)
    await state.commit(scope, [Put("kind", "old", {}, past), Put("kind", "kept", {}, later)], past - HOUR)
    await state.aclose()
    state = open_postgresql(postgresql_url)
    await state.commit(f"{scope} of another", [Put("kind", "new", {}, far)], far - timedelta(minutes=1))
    await state.aclose()
    again = open_postgresql(postgresql_url)
    await again.commit(scope, [Put("kind", "last", {}, far)], past + 25 * HOUR)
    await again.aclose()

    with psycopg.connect(postgresql_url) as db:
        rows = db.execute("SELECT convert_from(key, 'utf8') FROM ttp_mcp_state_1 ORDER BY 1").fetchall()
    assert rows == [("kept",), ("last",), ("new",)]


@pytest.mark.requirement("state.expiry")
async def test_postgresql_removes_expired_documents_every_few_commits(
    postgresql_url: str, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the first one and, here, each third after it."""
    monkeypatch.setattr(postgresql_module, "PRUNE_EVERY", 3)
    state = open_postgresql(postgresql_url)
    left: list[object] = []
    for number in range(7):
        await state.commit(scope, [Put("kind", str(number), {}, datetime(2020, 1, 1, tzinfo=UTC))], NOW)
        with psycopg.connect(postgresql_url) as db:
            left += db.execute("SELECT count(*) FROM ttp_mcp_state_1").fetchone() or ()
    await state.aclose()
    assert left == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.requirement("state.expiry")
@pytest.mark.parametrize(("seconds", "keys"), [(24 * 3600 - 0.001, ["new", "old"]), (24 * 3600, ["new"])])
async def test_postgresql_keeps_documents_for_a_day_after_they_expired(
    postgresql_url: str, scope: str, seconds: float, keys: list[str]
) -> None:
    """Another replica's clock may be behind."""
    past = datetime(2020, 1, 1, tzinfo=UTC)
    for name, at in (("old", past - HOUR), ("new", past + timedelta(seconds=seconds))):
        state = open_postgresql(postgresql_url)
        await state.commit(scope, [Put("kind", name, {}, at + HOUR)], at)
        await state.aclose()
    with psycopg.connect(postgresql_url) as db:
        rows = db.execute("SELECT convert_from(key, 'utf8') FROM ttp_mcp_state_1 ORDER BY 1").fetchall()
    assert [key for (key,) in rows] == keys


@pytest.mark.requirement("state.not-ours")
async def test_key_that_is_not_text_is_reported_as_damage(postgresql_url: str, scope: str) -> None:
    state = open_postgresql(postgresql_url)
    await state.commit(scope, [make_put("a", 1)], NOW)
    with psycopg.connect(postgresql_url, autocommit=True) as db:
        db.execute(r"UPDATE ttp_mcp_state_1 SET key = '\xff'")
    with pytest.raises(LedgerProblem, match=r"it is damaged, an entry can't be read"):
        await state.list_recent(scope, "kind", NOW, NOW)
    await state.aclose()


@pytest.mark.requirement("state.url")
async def test_encoding_of_the_url_does_not_count(postgresql_url: str, scope: str) -> None:
    """With that of some old databases, versions would be bytes and equal none of ours."""
    state = open_postgresql(f"{postgresql_url}&client_encoding=sql_ascii")
    put = make_put("é", "é")
    await state.commit(scope, [put], NOW)
    assert await state.commit(scope, [make_put("é", expected=put.version)], NOW) == "done"
    await state.aclose()


@pytest.mark.requirement("state.outage")
async def test_password_is_never_shown(open_store: Open, state_url: str | None) -> None:
    """Not even in a debugger's view of the store."""
    assert "word-of-honor" not in repr(open_store())
