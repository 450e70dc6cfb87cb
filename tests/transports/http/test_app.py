"""What the parts of the service do together: confirmation, connections, answers, limits, and the log."""

from dataclasses import replace

import anyio
import pytest
from mcp.client import Client
from mcp.client.sse import sse_client

from tests.transports.http.conftest import KEY, make_request, read_text
from tests.transports.http.test_run import SlowToWrite, serve_on_port
from tests.transports.http.upstream import Upstream, make_mark, make_token
from ttp_mcp.config import SettingProblem
from ttp_mcp.transports.http.app import HttpService
from ttp_mcp.transports.http.options import Options
from ttp_mcp.transports.http.tenants import Tenants

pytestmark = pytest.mark.requirement("http.serving")

SEVERAL = {"multi_tenant": True}


def arguments_of(listed, name):
    """Names of the arguments of a tool."""
    (found,) = [tool for tool in listed.json()["result"]["tools"] if tool["name"] == name]
    return set(found["inputSchema"]["properties"])


@pytest.mark.requirement("http.confirmation")
@pytest.mark.parametrize("number", [None, 1])
async def test_confirmation_that_the_operator_requires_is_a_code_that_works_once(start_server, number):
    """The client shows no questions, so the agent gets a code to call again with."""
    headers = {"x_timetopost_token": make_token(number)} if number else {}
    upstream = Upstream()
    asking = {"confirm": "required", "sandbox": upstream, "options": {"multi_tenant": bool(number)}}
    async with start_server(**asking) as web:
        listed = await web.rpc("tools/list", **headers)
        refused = await web.call("delete_post", {"post_id": "post-1"}, **headers)
        code = read_text(refused).partition("and confirmation ")[2].partition(" ")[0]
        confirmed = {"post_id": "post-1", "confirmation": code}
        deleted_before = upstream.methods["DELETE"]
        done = await web.call("delete_post", confirmed, **headers)
        again = await web.call("delete_post", confirmed, **headers)
    assert "confirmation" in arguments_of(listed, "delete_post")
    assert "Not done yet, because the user has to agree first." in read_text(refused)
    assert refused.json()["result"]["isError"] is again.json()["result"]["isError"] is True
    assert done.json()["result"].get("isError", False) is False
    assert (deleted_before, upstream.methods["DELETE"]) == (0, 1)


@pytest.mark.requirement("http.confirmation")
async def test_code_is_no_argument_unless_the_operator_requires_confirmation(web):
    listed = await web.rpc("tools/list")
    called = await web.call("delete_post", {"post_id": "post-1", "confirmation": "code"})
    assert "confirmation" not in arguments_of(listed, "delete_post")
    assert "confirmation" in read_text(called)
    assert called.json()["result"]["isError"] is True


class Occupied(Upstream):
    """Answers the user of `slow` once `go` is set; `most` is the highest number of their requests at one time."""

    def __init__(self, slow):
        super().__init__()
        self.go = anyio.Event()
        self.slow, self.now, self.most = slow, 0, 0

    async def app(self, scope, receive, send):
        """Count a request while it waits."""
        if dict(scope["headers"])[b"authorization"].decode().endswith(self.slow):
            self.now += 1
            self.most = max(self.most, self.now)
            await self.go.wait()
            self.now -= 1
        await super().app(scope, receive, send)


@pytest.mark.requirement("http.configuration")
async def test_service_itself_refuses_what_would_be_unsafe(settings):
    with pytest.raises(SettingProblem, match="TTP_SERVER_KEY"):
        HttpService(settings, Options("http", host="0.0.0.0"), port=8000)


@pytest.mark.requirement("http.tenants")
@pytest.mark.parametrize(("several", "connections"), [(True, 8), (False, 16)])
async def test_one_of_several_users_has_half_of_the_connections(start_server, several, connections):
    """Others are served at the same time."""
    upstream = Occupied(make_token(1))
    upstream.token = make_token(1)
    first, second = ({"x_timetopost_token": make_token(number)} if several else {} for number in (1, 2))
    answers = []
    async with start_server(options={"multi_tenant": several}, sandbox=upstream) as web:

        async def call():
            answers.append(await web.call("get_post", {"post_id": "post-1"}, **first))

        async with anyio.create_task_group() as tasks:
            for _ in range(connections + 4):
                tasks.start_soon(call)
            with anyio.fail_after(5):
                while upstream.now < connections:
                    await anyio.lowlevel.checkpoint()
            # Each takes as many steps as a call of the first user, which would arrive by then.
            for _ in range(3):
                await web.call("get_post", {"post_id": "post-1"}, **second) if several else await web.rpc("tools/list")
            waiting = upstream.now
            upstream.go.set()
    assert waiting == upstream.most == connections
    assert [answer.status_code for answer in answers] == [200] * (connections + 4)


async def test_replicas_need_no_session_and_answer_in_json(web):
    """Clients of earlier protocol versions, too: their next request may reach another replica."""
    opening = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    headers = {"accept": "application/json, text/event-stream"}
    opened, listed = [
        await web.http.post(
            "/mcp", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, headers=headers
        )
        for method, params in (("initialize", opening), ("tools/list", {}))
    ]
    assert (opened.status_code, listed.status_code) == (200, 200)
    assert opened.headers["content-type"] == listed.headers["content-type"] == "application/json"
    assert "mcp-session-id" not in opened.headers
    assert len(listed.json()["result"]["tools"]) > 10


@pytest.mark.requirement("http.confirmation")
async def test_client_of_earlier_versions_gets_a_code_too(start_server):
    """Without a session this server doesn't know what such a client can show."""
    upstream = Upstream()
    async with start_server(confirm="required", sandbox=upstream) as web:
        refused = await web.http.post(
            "/mcp",
            json={
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": {"name": "delete_post", "arguments": {"post_id": "post-1"}},
            },
            headers={"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18"},
        )
    assert "call again with the same arguments and confirmation " in read_text(refused)
    assert upstream.methods["DELETE"] == 0


async def test_asgi_server_may_announce_its_start_and_end(settings):
    """Not every one of them can leave that out."""
    service = HttpService(settings, Options("http"), Upstream(), port=8000)
    messages, sent = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]), []

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message["type"])

    await service.app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    await service.aclose()
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_agents_learn_that_the_api_is_a_sandbox(web):
    found = await web.rpc("server/discover")
    assert found.json()["result"]["instructions"].startswith("Sandbox: nothing here becomes public.")


async def test_unused_users_are_closed_while_the_server_runs(start_server, monkeypatch):
    monkeypatch.setattr("ttp_mcp.transports.http.tenants._SWEEP_SECONDS", 0)
    made = []

    def keeper(make):
        made.append(Tenants(make, idle_seconds=0))
        return made[0]

    async with start_server(options=SEVERAL, sandbox=Upstream(), more={"tenants": keeper}) as web:
        assert (await web.call("list_posts", x_timetopost_token=make_token(1))).status_code == 200
        with anyio.fail_after(5):
            while len(made[0]):
                await anyio.lowlevel.checkpoint()


async def test_connections_and_store_are_closed_at_the_end(start_server):
    kept, closed = [], []

    def keeper(make):
        kept.append(Tenants(make))
        return kept[0]

    async with start_server(options=SEVERAL, sandbox=Upstream(), more={"tenants": keeper}) as web:
        await web.call("list_posts", x_timetopost_token=make_token(1))
        close_store = web.service.state.aclose

        async def aclose():
            await close_store()
            closed.append(len(kept[0]))

        web.service.state.aclose = aclose
        assert len(kept[0]) == 1
    assert closed == [0]


def unknown_and_logged(figures, caplog):
    """Check whether an unknown write was counted, and whether one was logged."""
    counted = 'ttp_mcp_writes_total{kind="create",outcome="unknown"} 1' in figures.text.splitlines()
    return counted, "The server ends before write" in caplog.text


@pytest.mark.parametrize("several", [False, True])
async def test_abandoned_write_is_unknown_and_logged_only_in_a_shutdown(start_server, caplog, several):
    """Otherwise its client gets the outcome."""
    upstream = SlowToWrite()
    upstream.token = make_token(1)
    headers = {"x_timetopost_token": make_token(1)} if several else {}
    draft = {"content": "A draft", "account_ids": [f"acc-{make_mark(make_token(1))}"]}
    async with start_server(options={"multi_tenant": several}, sandbox=upstream) as web:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: web.call("create_post", draft, **headers))
            with anyio.fail_after(5):
                await upstream.waiting.wait()
            assert web.service.is_busy
            assert not await web.service.drain(0)
        assert not web.service.is_busy
        assert await web.service.drain(0)
        figures = await web.http.get("/metrics")
    assert unknown_and_logged(figures, caplog) == (True, False)


async def test_write_that_is_done_before_a_shutdown_ends_is_not_logged(web, caplog):
    accounts = (await web.call("list_integrations")).json()["result"]["structuredContent"]["accounts"]
    web.service.stop_accepting()
    created = await web.call("create_post", {"content": "A draft", "account_ids": [accounts[0]["id"]]})
    assert created.json()["result"].get("isError", False) is False
    assert unknown_and_logged(await web.http.get("/metrics"), caplog) == (False, False)


LISTED = {"allowed_hosts": ("mcp.example.com:8000",), "server_key": KEY}


@pytest.mark.parametrize(("transport", "path"), [("http", "/social/mcp"), ("sse", "/social/messages/")])
async def test_body_is_as_large_as_configured(start_server, transport, path):
    """Over both transports, and under a name that clients of other machines use."""
    sent = make_request("tools/list", authorization=f"Bearer {KEY}", host="mcp.example.com:8000")
    size = len(str(sent["json"])) + 100
    options = {"transport": transport, "path": "/social/mcp"}
    async with start_server(**LISTED, options=options, more={"body_bytes": size}) as web:
        served = await web.http.post(path, **sent)
        sent["json"]["params"]["text"] = "x" * size
        refused = await web.http.post(path, **sent)
    assert (served.status_code, refused.status_code) == ({"http": 200, "sse": 400}[transport], 413)


async def test_deprecation_of_sse_is_logged(start_server, caplog):
    async with start_server(options={"transport": "sse"}):
        pass
    assert caplog.messages == [
        "SSE is deprecated in MCP since 2025-03-26; use --transport http wherever the client can"
    ]


OAUTH = {"oauth_issuer": "https://login.example.com", "oauth_resource": "https://mcp.example.com/sse"}


@pytest.mark.requirement("http.oauth")
@pytest.mark.parametrize(("method", "path"), [("GET", "/sse"), ("POST", "/messages/")])
async def test_sse_client_without_a_token_learns_where_to_get_one(start_server, method, path):
    async with start_server(**OAUTH, options={"transport": "sse"}) as web:
        refused = await web.http.request(method, path, headers={"content-type": "application/json"})
        page = refused.headers["www-authenticate"].partition('resource_metadata="')[2].partition('"')[0]
        metadata = await web.http.get(page.removeprefix("https://mcp.example.com"))
    assert refused.status_code == 401
    assert metadata.json()["resource"] == OAUTH["oauth_resource"]
    assert metadata.json()["authorization_servers"] == [OAUTH["oauth_issuer"] + "/"]


@pytest.mark.requirement("http.oauth")
async def test_sse_client_with_the_key_is_served_beside_an_issuer(settings):
    keyed = replace(settings, server_key=KEY, **OAUTH)
    headers = {"authorization": f"Bearer {KEY}"}
    async with serve_on_port(keyed, transport="sse") as (url, _, _), Client(sse_client(url, headers=headers)) as client:
        answer = await client.call_tool("list_posts", {})
    assert make_mark(Upstream().token) in answer.content[0].text
