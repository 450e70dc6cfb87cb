"""Shared stores that end, hang, lose answers or refuse: told in words, with nothing of the password, and over when they are back."""

import asyncio
import logging
import signal
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import anyio
import psycopg
import pytest
import redis

from tests.ledger.store.conftest import Open
from tests.ledger.store.servers import PASSWORD, Server
from ttp_mcp.ledger.store.base import LedgerProblem, Put, RateCap, Store
from ttp_mcp.ledger.store.postgresql import PostgresqlStore
from ttp_mcp.ledger.store.redis import RedisStore

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
HOUR = timedelta(hours=1)
KINDS = ("redis", "postgresql")

Fixture = Callable[[str], Server]


def put(key: str, value: object = 0, *, expected: str | None = None) -> Put:
    return Put("kind", key, {"value": value}, LATER, expected=expected)


def opened(url: str, **options: float) -> Store:
    return RedisStore(url, **options) if url.startswith("redis") else PostgresqlStore(url, **options)


async def refusal(state: Store, scope: str) -> str:
    """The words of a write that can't be noted; a read is refused alike."""
    with anyio.fail_after(30), pytest.raises(LedgerProblem) as refused:
        await state.apply(scope, [put("refused")], NOW)
    told = "".join(traceback.format_exception(refused.value))
    assert PASSWORD not in told
    assert "word-of-honor" not in told
    assert len(str(refused.value)) < 300
    return str(refused.value)


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Server:
    """A server of either kind that may be ended."""
    return request.getfixturevalue(f"own_{request.param}")


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest) -> str:
    """A place in a server of either kind."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.mark.requirement("state.outage")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_store_that_ended_is_told_and_used_again_when_it_is_back(
    server: Server, scope: str, how: signal.Signals
) -> None:
    """In good order or by a crash: what was committed is there afterwards."""
    state = opened(server.url)
    assert await state.apply(scope, [put("a", 1)], NOW) == "done"
    # More connections than one, all of which are of no use afterwards.
    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(state.get, scope, "kind", ["a"], NOW)
    server.end(how)
    try:
        for _ in range(3):
            assert "can't be reached. Nothing is sent without it; reading goes on." in await refusal(state, scope)
        with pytest.raises(LedgerProblem, match="can't be reached"):
            await state.get(scope, "kind", ["a"], NOW)
        with pytest.raises(LedgerProblem, match="can't be reached"):
            await state.recent(scope, "kind", NOW, NOW)
    finally:
        server.start()

    assert (await state.get(scope, "kind", ["a"], NOW))["a"].value == {"value": 1}
    assert await state.apply(scope, [put("b", 2)], NOW) == "done"
    assert {each.key for each in await state.recent(scope, "kind", NOW, NOW)} == {"a", "b"}
    await state.aclose()


@pytest.mark.requirement("state.outage")
async def test_store_that_was_restarted_in_between_is_not_noticed(server: Server, scope: str) -> None:
    """Old connections are replaced without a word."""
    state = opened(server.url)
    await state.apply(scope, [put("a", 1)], NOW)
    server.end()
    server.start()

    assert await state.apply(scope, [put("b", 1)], NOW) == "done"
    await state.aclose()


@pytest.mark.requirement("state.outage")
async def test_store_that_hangs_is_told_in_time(server: Server, scope: str) -> None:
    """The server is there and says nothing: neither to an open connection nor to a new one."""
    state = opened(server.url, answer_seconds=0.3)
    await state.apply(scope, [put("a", 1)], NOW)
    server.signal_all(signal.SIGSTOP)
    try:
        with anyio.fail_after(20):
            assert "does not answer in time" in await refusal(state, scope)
            assert "does not answer in time" in await refusal(opened(server.url, answer_seconds=0.3), scope)
            with anyio.move_on_after(0.05) as gave_up:
                await state.get(scope, "kind", ["a"], NOW)
            assert gave_up.cancelled_caught
    finally:
        server.signal_all(signal.SIGCONT)
    await state.aclose()
    state = opened(server.url)
    assert (await state.get(scope, "kind", ["a"], NOW))["a"].value == {"value": 1}
    await state.aclose()


@asynccontextmanager
async def losing_answers(url: str, word: bytes, count: int) -> AsyncGenerator[str]:
    """A way to a server on which the answers to the first requests with a word in them get lost with their connection."""
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
async def test_answer_that_was_lost_is_asked_for_again(url: str, scope: str) -> None:
    """The commit happened, its answer did not arrive: the steps count once, and the caller hears that they are done."""
    word = b"EVALSHA" if url.startswith("redis") else b"COMMIT"
    direct = opened(url)
    await direct.apply(scope, [put("first")], NOW)

    async with losing_answers(url, word, 1) as lossy_url:
        state = opened(lossy_url)
        one = put("a", 1, expected="")
        assert await state.apply(scope, [one], NOW, RateCap("kind", NOW - HOUR, 2)) == "done"
        assert await state.apply(scope, [put("b", expected="")], NOW, RateCap("kind", NOW - HOUR, 2)) == "full"
        await state.aclose()

    assert (await direct.get(scope, "kind", ["a"], NOW))["a"].version == one.version
    assert len(await direct.recent(scope, "kind", NOW, NOW)) == 2
    await direct.aclose()


@pytest.mark.requirement("state.outage")
async def test_connection_that_breaks_every_time_is_told(url: str, scope: str) -> None:
    """It is tried a few times and not for ever."""
    word = b"EVALSHA" if url.startswith("redis") else b"COMMIT"
    direct = opened(url)
    await direct.apply(scope, [put("first")], NOW)
    async with losing_answers(url, word, 100) as lossy_url:
        state = opened(lossy_url)
        assert "can't be reached" in await refusal(state, scope)
        await state.aclose()
    await direct.aclose()


@pytest.mark.requirement("state.outage")
async def test_store_that_is_not_there_is_told(scope: str) -> None:
    """Nobody listens, or the name is not known."""
    for address in ("127.0.0.1:1", "store.invalid:6379"):
        for scheme in ("redis", "rediss", "postgresql"):
            state = opened(f"{scheme}://ttp:{'word-of-honor'}@{address}/0")
            words = await refusal(state, scope)
            assert "can't be reached" in words
            assert "Start it or correct TTP_STATE_URL, then call again." in words
            await state.aclose()


@pytest.mark.requirement("state.outage")
async def test_password_that_is_wrong_is_told_and_not_shown(
    own_redis: Server, own_postgresql: Server, scope: str
) -> None:
    """What is wrong is said in our words, since those of a client library may quote."""
    for server, words in ((own_redis, "refuses the user or the password"), (own_postgresql, "refuses the connection")):
        state = opened(server.url.replace("word-of-honor", "word-of-honor-too"))
        assert words in await refusal(state, scope)
        await state.aclose()
    nowhere = opened(own_postgresql.url.replace("/postgres", "/nowhere"))
    assert "Check user, password and database in TTP_STATE_URL" in await refusal(nowhere, scope)


def admin(server: Server) -> redis.Redis:
    return redis.Redis(port=server.port, password=PASSWORD, decode_responses=True)


@pytest.mark.requirement("state.outage")
async def test_redis_that_refuses_to_write_is_told_and_reading_goes_on(own_redis: Server, scope: str) -> None:
    """Its memory is full, it is a replica, it lacks replicas of its own, or its user may not write; nothing is half done."""
    state = opened(own_redis.url)
    await state.apply(scope, [put("a", 1)], NOW)
    with admin(own_redis) as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", f">{PASSWORD}", "~*", "+@read", "+@connection")
        reader = opened(own_redis.url.replace("://:", "://reader:"))
        assert "has not all the rights" in await refusal(reader, scope)
        assert (await reader.get(scope, "kind", ["a"], NOW))["a"].value == {"value": 1}
        await reader.aclose()
        for name, value, before, words in (
            ("maxmemory", "1", "0", "its memory is full"),
            ("min-replicas-to-write", "1", "0", "it reported an error. Nothing is sent"),
        ):
            client.config_set(name, value)
            try:
                assert words in await refusal(state, scope)
                assert [each.key for each in await state.recent(scope, "kind", NOW, NOW)] == ["a"]
            finally:
                client.config_set(name, before)
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            assert "it is a replica that only reads" in await refusal(state, scope)
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")
    assert await state.apply(scope, [put("b", 1)], NOW) == "done"
    await state.aclose()


@pytest.mark.requirement("state.outage")
async def test_postgresql_that_refuses_to_write_is_told(
    own_postgresql: Server, postgresql_url: str, scope: str
) -> None:
    """It only reads, its user may not make the table, or a table of that name is somebody else's."""
    read_only = opened(f"{postgresql_url}%20-cdefault_transaction_read_only%3Don")
    assert "it only reads" in await refusal(read_only, scope)
    await read_only.aclose()
    with psycopg.connect(postgresql_url, autocommit=True) as db:
        db.execute("CREATE TABLE ttp_mcp_state_1 (something text)")
        state = opened(postgresql_url)
        assert "it reported an error" in await refusal(state, scope)
        await state.aclose()
        db.execute("DROP TABLE ttp_mcp_state_1")
        schema = postgresql_url.rpartition("%3D")[2]
        db.execute(f"CREATE ROLE \"{scope}\" LOGIN PASSWORD '{PASSWORD}'")
        try:
            guest = opened(postgresql_url.replace("://ttp:", f"://{scope}:"))
            assert "has no place for tables" in await refusal(guest, scope)
            db.execute(f'GRANT USAGE ON SCHEMA {schema} TO "{scope}"')
            assert "has not all the rights needed" in await refusal(guest, scope)
            await guest.aclose()
            db.execute(f'REVOKE ALL ON SCHEMA {schema} FROM "{scope}"')
        finally:
            db.execute(f'DROP ROLE "{scope}"')


@pytest.mark.requirement("state.outage")
async def test_postgresql_that_somebody_holds_is_told_in_time(postgresql_url: str, scope: str) -> None:
    """A table that is locked for maintenance: the server gives up by itself, and it works again afterwards."""
    state = opened(postgresql_url, answer_seconds=0.2)
    await state.apply(scope, [put("a", 1)], NOW)
    with psycopg.connect(postgresql_url) as db:
        db.execute("LOCK TABLE ttp_mcp_state_1 IN ACCESS EXCLUSIVE MODE")
        assert "does not answer in time" in await refusal(state, scope)
    assert await state.apply(scope, [put("b", 1)], NOW) == "done"
    await state.aclose()


@pytest.mark.requirement("state.outage")
@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_transaction_that_met_another_is_begun_anew(postgresql_url: str, scope: str, code: str) -> None:
    """A few times: four conflicts in a row are overcome, more are told."""
    state = opened(postgresql_url)
    await state.apply(scope, [put("a", 1)], NOW)
    with psycopg.connect(postgresql_url, autocommit=True) as db:
        db.execute("CREATE SEQUENCE conflicts")
        db.execute(
            "CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF nextval('conflicts') % 10 BETWEEN 1 AND 4 THEN RAISE SQLSTATE '{code}'; END IF; RETURN NEW; END $$"
        )
        db.execute("CREATE TRIGGER conflict BEFORE INSERT ON ttp_mcp_state_1 FOR EACH ROW EXECUTE FUNCTION conflict()")

        assert await state.apply(scope, [put("b", 2)], NOW) == "done"
        db.execute("ALTER SEQUENCE conflicts INCREMENT 10 RESTART 1")
        assert "too many write to it at once" in await refusal(state, scope)
    assert {each.key for each in await state.recent(scope, "kind", NOW, NOW)} == {"a", "b"}
    await state.aclose()


@pytest.mark.requirement("state.outage")
async def test_sessions_that_an_administrator_ended_are_replaced(postgresql_url: str, scope: str) -> None:
    """All of them, while they were idle."""
    state = opened(f"{postgresql_url}&application_name={scope}")
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(state.apply, f"{scope} {number}", [put("a", 1)], NOW)
    with psycopg.connect(postgresql_url, autocommit=True) as db:
        ended = db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", (scope,)
        )
        assert len(ended.fetchall()) > 1
    assert await state.apply(scope, [put("b", 1)], NOW) == "done"
    await state.aclose()


@pytest.mark.requirement("state.durable")
async def test_postgresql_commits_are_durable_whatever_the_servers_defaults_are(
    postgresql_url: str, scope: str
) -> None:
    """A commit waits for the disk, each statement sees what was committed before it, and none runs for ever."""
    defaults = "%20-csynchronous_commit%3Doff%20-cdefault_transaction_isolation%3Dserializable"
    state = opened(f"{postgresql_url}{defaults}")
    await state.apply(scope, [put("a", 1)], NOW)
    with psycopg.connect(postgresql_url, autocommit=True) as db:
        db.execute("CREATE TABLE seen (name text, value text)")
        db.execute(
            "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen "
            "SELECT name, current_setting(name) FROM unnest(ARRAY['synchronous_commit', 'transaction_isolation', "
            "'statement_timeout']) name; RETURN NEW; END $$"
        )
        db.execute("CREATE TRIGGER see BEFORE INSERT ON ttp_mcp_state_1 FOR EACH ROW EXECUTE FUNCTION see()")
        await state.apply(scope, [put("b", 1)], NOW)
        assert dict(db.execute("SELECT name, value FROM seen").fetchall()) == {
            "synchronous_commit": "on",
            "transaction_isolation": "read committed",
            "statement_timeout": "5s",
        }
    await state.aclose()


@pytest.mark.requirement("state.durable")
async def test_redis_that_may_forget_is_warned_about_once(
    own_redis: Server, scope: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Without an append-only file, or with eviction; the words name the options. One that may not be asked is used in silence."""
    caplog.set_level(logging.WARNING, logger="ttp_mcp.ledger.store.redis")

    async def write_twice(url: str) -> list[str]:
        caplog.clear()
        state = opened(url)
        for key in ("a", "b"):
            assert await state.apply(scope, [put(key)], NOW) == "done"
        await state.aclose()
        return [record.getMessage() for record in caplog.records]

    assert await write_twice(own_redis.url) == []
    with admin(own_redis) as client:
        client.execute_command("ACL", "SETUSER", "writer", "on", f">{PASSWORD}", "~*", "+@all", "-info")
        client.config_set("appendonly", "no")
        client.config_set("maxmemory", "1gb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            warned = await write_twice(own_redis.url)
            assert await write_twice(own_redis.url.replace("://:", "://writer:")) == []
        finally:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "0")
            client.config_set("appendonly", "yes")
    assert len(warned) == 2
    assert "appendonly yes and appendfsync always" in warned[0]
    assert "maxmemory-policy noeviction" in warned[1]


@pytest.mark.requirement("state.lazy")
async def test_looking_makes_no_table_and_many_may_make_it_at_once(postgresql_url: str, scope: str) -> None:
    """Replicas that start on an empty database together."""
    states = [opened(postgresql_url) for _ in range(6)]
    assert await states[0].get(scope, "kind", ["a"], NOW) == {}
    assert await states[0].recent(scope, "kind", NOW, NOW) == []
    with psycopg.connect(postgresql_url) as db:
        assert db.execute("SELECT to_regclass('ttp_mcp_state_1')").fetchone() == (None,)
    results: list[str] = []

    async def write(number: int) -> None:
        results.append(await states[number].apply(scope, [put(str(number))], NOW))

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(write, number)

    assert results == ["done"] * 6
    for state in states:
        await state.aclose()


@pytest.mark.requirement("state.expiry")
async def test_postgresql_clears_away_what_is_expired_for_a_day(postgresql_url: str, scope: str) -> None:
    """With a process's first commit, and by no clock that is ahead of the server's: it could lose what is still of use."""
    past = datetime(2020, 1, 1, tzinfo=UTC)
    far = datetime(2900, 1, 1, tzinfo=UTC)
    state = opened(postgresql_url)
    await state.apply(scope, [Put("kind", "old", {}, past), Put("kind", "kept", {}, far - HOUR)], past - HOUR)
    await state.aclose()
    await state.apply(f"{scope} of another", [Put("kind", "new", {}, far)], far - timedelta(minutes=1))
    await state.aclose()
    again = opened(postgresql_url)
    await again.apply(scope, [Put("kind", "last", {}, far)], past + 25 * HOUR)
    await again.aclose()

    with psycopg.connect(postgresql_url) as db:
        rows = db.execute("SELECT convert_from(key, 'utf8') FROM ttp_mcp_state_1 ORDER BY 1").fetchall()
    assert rows == [("kept",), ("last",), ("new",)]


@pytest.mark.requirement("state.expiry")
async def test_redis_clears_everything_away_by_itself(own_redis: Server, scope: str) -> None:
    """Each key ends a day after the last document in it; what is expired leaves the sets with the next write."""
    state = opened(own_redis.url)
    await state.apply(scope, [Put("kind", "short", {}, NOW + HOUR), Put("kind", "long", {}, NOW + 48 * HOUR)], NOW)
    with admin(own_redis) as client:
        keys = sorted(client.scan_iter(f"*{scope}*"))
        hours = {key.rpartition(f"{{{scope}}}:")[2]: round(client.pttl(key) / 3_600_000) for key in keys}
        assert hours == {
            "document:kind:long": 72,
            "document:kind:short": 25,
            "expiry:kind": 72,
            "number": 72,
            "time:kind": 72,
        }
        await state.apply(scope, [Put("kind", "new", {}, NOW + 48 * HOUR)], NOW + HOUR)
        for name in ("expiry", "time"):
            assert client.zrange(f"ttp-mcp:1:{{{scope}}}:{name}:kind", 0, -1) == ["long", "new"]
    await state.aclose()


@pytest.mark.requirement("state.replicas")
async def test_redis_forgets_the_script_and_is_told_it_again(own_redis: Server, scope: str) -> None:
    """As after a failover."""
    state = opened(own_redis.url)
    await state.apply(scope, [put("a")], NOW)
    with admin(own_redis) as client:
        client.script_flush()
    assert await state.apply(scope, [put("b")], NOW) == "done"
    await state.aclose()


@pytest.mark.requirement("state.replicas")
async def test_keys_of_a_scope_are_in_one_slot_of_a_cluster(own_redis: Server, scope: str) -> None:
    """A node of a cluster takes a script only if all its keys are in one slot."""
    node = Server("redis", own_redis.program, **{"cluster-enabled": "yes"}).start()
    try:
        with admin(node) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            with anyio.fail_after(5):
                while "cluster_state:ok" not in str(client.execute_command("CLUSTER", "INFO")):
                    await anyio.sleep(0.02)
        state = opened(node.url)
        for each in (scope, f"a}}b{{{scope}"):
            steps = [put("a"), Put("other", "b", {}, LATER), put("c}{d")]
            assert await state.apply(each, steps, NOW, RateCap("third", NOW - HOUR, 5)) == "done"
            assert len(await state.recent(each, "kind", NOW, NOW)) == 2
        await state.aclose()
    finally:
        node.remove()


@pytest.mark.requirement("state.outage")
async def test_nothing_shows_the_password(open_store: Open, state_url: str | None) -> None:
    """Not even a debugger's view of the store."""
    assert "word-of-honor" not in repr(open_store())
