"""State of each of several users: bounded, separate, and never closed during their calls."""

import anyio
import pytest

from tests.transports.http.conftest import read_refusal
from tests.transports.http.upstream import Upstream, make_token
from ttp_mcp.credentials import Token
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import scope_of
from ttp_mcp.ledger.store import open_store
from ttp_mcp.transports.http.tenants import Tenants, TenantsBusy
from ttp_mcp.writes import startup_report

pytestmark = pytest.mark.requirement("http.tenants")


class Api:
    """As far as the keeper knows an API client."""

    def __init__(self, closed, token):
        self.closed, self.token = closed, token

    async def aclose(self):
        self.closed.append(self.token)


class Writes:
    """As far as the keeper knows writes."""

    ends_well = True

    def __init__(self):
        self.in_flight = self
        self.count = 0
        self.drained = []

    async def drain(self, seconds):
        self.drained.append(seconds)
        return self.ends_well


class Apps:
    """Makes surroundings, and remembers them and the closed ones."""

    def __init__(self):
        self.made, self.closed = {}, []

    def __call__(self, token):
        number = int(token.reveal()[4:], 16)
        app = self.made[number] = type("App", (), {"api": Api(self.closed, number), "writer": Writes()})()
        return app


@pytest.fixture
def apps():
    """What was made for whom."""
    return Apps()


@pytest.fixture
def time():
    """Seconds of a clock, in a list of one."""
    return [0.0]


@pytest.fixture
def tenants(apps, time):
    """Room for two, and closed after ten seconds."""
    return Tenants(apps, most=2, idle_seconds=10, monotonic=lambda: time[0])


async def test_tenant_is_created_once_and_kept(tenants, apps):
    async with tenants.use(Token(make_token(1))) as first:
        pass
    async with tenants.use(Token(make_token(1))) as second:
        assert second.context is first.context
    assert len(tenants) == 1


async def test_least_recently_used_tenant_is_evicted(tenants, apps):
    for number in (1, 2, 1, 3):
        async with tenants.use(Token(make_token(number))):
            pass
    assert apps.closed == [2]


async def test_no_tenant_is_closed_during_a_call_or_a_write(tenants, apps):
    async with tenants.use(Token(make_token(1))):
        async with tenants.use(Token(make_token(2))):
            pass
        apps.made[2].writer.in_flight.count = 1
        with pytest.raises(TenantsBusy):
            async with tenants.use(Token(make_token(3))):
                pass
        apps.made[2].writer.in_flight.count = 0
        async with tenants.use(Token(make_token(3))):
            pass
    assert apps.closed == [2]


async def test_tenant_is_kept_until_its_last_call_ends(tenants, apps, time):
    async with tenants.use(Token(make_token(1))):
        async with tenants.use(Token(make_token(1))):
            pass
        time[0] = 100
        await tenants.sweep()
        for number in (2, 3):
            async with tenants.use(Token(make_token(number))):
                pass
        assert apps.closed == [2]
    assert len(tenants) == 2


async def test_tenant_is_closed_after_the_idle_time_and_not_before(tenants, apps, time):
    time[0] = 5
    async with tenants.use(Token(make_token(1))):
        pass
    time[0] = 14
    await tenants.sweep()
    assert apps.closed == []
    time[0] = 15
    await tenants.sweep()
    assert apps.closed == [1]


async def test_500_users_are_kept_for_ten_minutes_each(apps, time):
    tenants = Tenants(apps, monotonic=lambda: time[0])
    for number in range(501):
        async with tenants.use(Token(make_token(number))):
            pass
    assert (apps.closed, len(tenants)) == ([0], 500)
    time[0] = 599
    await tenants.sweep()
    assert len(tenants) == 500
    time[0] = 600
    await tenants.sweep()
    assert len(tenants) == 0


async def test_users_are_distinguished_by_their_whole_token(tenants, apps):
    """Two tokens may differ only in the last digit."""
    async with tenants.use(Token(make_token(16))) as one, tenants.use(Token(make_token(17))) as two:
        assert one.name != two.name
        assert one.context is not two.context


async def test_idle_tenant_is_closed(tenants, apps, time):
    async with tenants.use(Token(make_token(1))):
        pass
    time[0] = 9
    await tenants.sweep()
    async with tenants.use(Token(make_token(2))):
        time[0] = 100
        await tenants.sweep()
    assert apps.closed == [1]
    assert len(tenants) == 1


async def test_sweep_runs_until_it_is_cancelled(tenants, apps, time, monkeypatch):
    swept = anyio.Event()
    monkeypatch.setattr("ttp_mcp.transports.http.tenants._SWEEP_SECONDS", 0)
    async with tenants.use(Token(make_token(1))):
        pass
    time[0] = 100

    async def aclose():
        swept.set()

    apps.made[1].api.aclose = aclose
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tenants.sweep_forever)
        with anyio.fail_after(5):
            await swept.wait()
        tasks.cancel_scope.cancel()
    assert len(tenants) == 0


async def test_shutdown_waits_for_the_writes_of_all_tenants(tenants, apps):
    for number in (1, 2):
        async with tenants.use(Token(make_token(number))):
            pass
    assert await tenants.drain(1) is True
    assert [app.writer.drained for app in apps.made.values()] == [[1], [1]]
    apps.made[2].writer.ends_well = False
    apps.made[2].writer.in_flight.count = 3
    assert tenants.writes_in_flight == 3
    assert await tenants.drain(1) is False
    await tenants.aclose()
    assert sorted(apps.closed) == [1, 2]


async def test_full_server_answers_503(start_server):
    waiting, go = anyio.Event(), anyio.Event()

    async def before():
        waiting.set()
        await go.wait()

    more = {"tenants": lambda make: Tenants(make, most=1)}
    async with start_server(options={"multi_tenant": True}, sandbox=Upstream(before=before), more=more) as web:
        answers = []

        async def first():
            answers.append(await web.call("list_posts", x_timetopost_token=make_token(1)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            with anyio.fail_after(5):
                await waiting.wait()
            refused = await web.call("list_posts", x_timetopost_token=make_token(2))
            assert web.service.is_busy
            go.set()
        later = await web.call("list_posts", x_timetopost_token=make_token(2))
        assert not web.service.is_busy
        assert await web.service.drain(1)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert "Try again" in read_refusal(refused)
    assert (answers[0].status_code, later.status_code) == (200, 200)


async def test_each_user_has_their_own_connection_and_ledger(start_server):
    apps = []

    def keeper(make):
        def remember(token):
            apps.append(make(token))
            return apps[-1]

        return Tenants(remember)

    async with start_server(options={"multi_tenant": True}, sandbox=Upstream(), more={"tenants": keeper}) as web:
        for number in (1, 2):
            await web.call("list_posts", x_timetopost_token=make_token(number))
    one, two = apps
    assert one.api is not two.api
    assert one.writer is not two.writer
    assert one.accounts is not two.accounts
    assert one.api.token != two.api.token


@pytest.mark.requirement("history.shows")
async def test_each_user_sees_the_history_of_their_own_writes(start_server, settings, clock):
    """From a ledger shared by all."""
    state = open_store(settings)
    for number in (1, 2):
        ledger = Ledger(state, scope_of(Upstream().api_url, Token(make_token(number)), None), clock.now)
        await ledger.finish(await ledger.begin_delete(f"cm{number}", None, tool="delete_post"), "deleted")
    await state.aclose()

    async with start_server(options={"multi_tenant": True}, sandbox=Upstream(clock=clock)) as web:
        for number, shown in ((1, ["cm1"]), (2, ["cm2"]), (3, [])):
            read = {"uri": "ttp://history"}
            answer = await web.rpc("resources/read", read, mcp_name=read["uri"], x_timetopost_token=make_token(number))
            text = answer.json()["result"]["contents"][0]["text"]
            assert [name for name in ("cm1", "cm2") if name in text] == shown


@pytest.mark.requirement("ledger.reported-at-start")
async def test_unfinished_writes_of_a_user_are_reported_at_their_first_call(
    start_server, settings, clock, caplog, monkeypatch
):
    """The log names users by fingerprint, and only those with open writes."""
    monkeypatch.setattr(startup_report, "WAITS_SECONDS", (0.0,))
    state = open_store(settings)
    for number in (1, 3):
        token = Token(make_token(number))
        ledger = Ledger(state, scope_of(Upstream().api_url, token, None), clock.now)
        await ledger.begin_delete(f"cm{number}", None, tool="delete_post")
    await state.aclose()
    clock.move(3600)

    async with start_server(options={"multi_tenant": True}, sandbox=Upstream(clock=clock)) as web:
        for number in (2, 1):
            await web.call("list_posts", x_timetopost_token=make_token(number))
        with anyio.fail_after(5):
            while not caplog.records:
                await anyio.lowlevel.checkpoint()

    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        f"The user with the token {Token(make_token(1)).fingerprint}: One write is unfinished: "
        "a delete of 2026-11-24T08:02:00.000Z (cm1) may have happened. check_setup says more."
    )


@pytest.mark.requirement("ledger.reported-at-start")
async def test_unfinished_writes_of_the_only_user_are_reported_at_the_start(
    start_server, settings, clock, caplog, monkeypatch
):
    """Before any call."""
    monkeypatch.setattr(startup_report, "WAITS_SECONDS", (0.0,))
    upstream = Upstream(clock=clock)
    state = open_store(settings)
    ledger = Ledger(state, scope_of(upstream.api_url, None, None), clock.now)
    await ledger.begin_delete("cm1", None, tool="delete_post")
    await state.aclose()
    clock.move(3600)

    async with start_server(sandbox=upstream):
        with anyio.fail_after(5):
            while not caplog.records:
                await anyio.lowlevel.checkpoint()

    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("One write is unfinished: a delete of ")
