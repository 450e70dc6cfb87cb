"""Probes, and the metrics for Prometheus."""

import anyio
import pytest

from tests.transports.http.conftest import KEY, make_request
from tests.transports.http.upstream import Upstream, make_token
from ttp_mcp.api import Post, PostCreate
from ttp_mcp.ledger.ledger import Ledger, PostTaken
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.transports.http import health
from ttp_mcp.transports.http.metrics import CountedLedger, Metrics

pytestmark = [pytest.mark.requirement("http.health"), pytest.mark.requirement("http.metrics")]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_need_no_key_and_may_name_any_host(start_server, path):
    async with start_server(server_key=KEY) as web:
        response = await web.http.get(path, headers={"host": "10.1.2.3:8000"})
        head = await web.http.head(path)
        elsewhere = await web.http.get(path, headers={"origin": "https://evil.example"})
    assert (response.status_code, response.text) == (200, "ok\n")
    assert (head.status_code, head.text) == (200, "")
    assert elsewhere.status_code == 403


async def test_readiness_depends_on_the_store_and_never_on_the_api(start_server, caplog):
    upstream = Upstream()
    async with start_server(sandbox=upstream) as web:
        before = await web.http.get("/readyz")

        async def broken(*_):
            raise LedgerProblem("the disk is full")

        web.service.state.get = broken
        after = await web.http.get("/readyz")
        alive = await web.http.get("/healthz")
    assert (before.status_code, after.status_code, alive.status_code) == (200, 503, 200)
    assert after.text == "the state can't be used; see the log\n"
    assert "not ready: the disk is full" in caplog.messages
    assert (after.headers["content-type"], after.headers["cache-control"]) == ("text/plain", "no-store")
    assert upstream.asked == {}


async def test_damaged_store_is_not_ready(web, settings):
    settings.state_dir.mkdir(mode=0o700, exist_ok=True)
    (settings.state_dir / "ledger.db").write_bytes(b"no database" * 1000)
    response = await web.http.get("/readyz")
    assert (response.status_code, response.text) == (503, "the state can't be used; see the log\n")


async def test_store_that_does_not_answer_is_not_ready(web, monkeypatch, caplog):
    """A probe waits for a few seconds only."""

    async def hang(*_):
        await anyio.sleep_forever()

    web.service.state.get = hang
    monkeypatch.setattr(health, "_STORE_SECONDS", 0)
    response = await web.http.get("/readyz")
    assert (response.status_code, response.text) == (503, "the state can't be used; see the log\n")
    assert "not ready: the store does not answer" in caplog.messages


async def test_draining_server_is_alive_and_not_ready(web):
    web.service.stop_accepting()
    assert (await web.http.get("/readyz")).text == "leaving\n"
    assert (await web.http.get("/healthz")).status_code == 200


async def test_calls_and_writes_are_counted_by_tool_and_outcome(web):
    await web.call("list_integrations")
    await web.call("list_posts", {"limit": -1})
    assert "no_such_tool" in (await web.call("no_such_tool")).json()["error"]["message"]
    await web.rpc("tools/list")
    accounts = (await web.call("list_integrations")).json()["result"]["structuredContent"]["accounts"]
    draft = {"content": "A draft", "account_ids": [accounts[0]["id"]]}
    await web.call("create_post", draft)
    lines = (await web.http.get("/metrics")).text.splitlines()
    assert 'ttp_mcp_calls_total{tool="list_integrations",outcome="ok"} 2' in lines
    assert 'ttp_mcp_calls_total{tool="list_posts",outcome="error"} 1' in lines
    assert 'ttp_mcp_calls_total{tool="unknown",outcome="rejected"} 1' in lines
    assert 'ttp_mcp_call_seconds_count{tool="list_integrations"} 2' in lines
    assert 'ttp_mcp_call_seconds_bucket{tool="list_integrations",le="+Inf"} 2' in lines
    assert 'ttp_mcp_writes_total{kind="create",outcome="created"} 1' in lines
    assert "ttp_mcp_calls_in_flight 0" in lines


async def test_elicitation_is_counted_as_its_own_outcome(start_server):
    async with start_server(sandbox=Upstream()) as web:
        sent = make_request("tools/call", {"name": "delete_post", "arguments": {"post_id": "post-1"}})
        sent["json"]["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = {"elicitation": {"form": {}}}
        await web.http.post("/mcp", **sent)
        text = (await web.http.get("/metrics")).text
    assert 'ttp_mcp_calls_total{tool="delete_post",outcome="asked"} 1' in text


async def test_metrics_contain_no_user_and_no_argument(start_server):
    async with start_server(options={"multi_tenant": True}, sandbox=Upstream(), server_key=KEY) as web:
        headers = {"authorization": f"Bearer {KEY}", "x_timetopost_token": make_token(7)}
        await web.call("get_post", {"post_id": "post-secret"}, **headers)
        hidden = await web.http.get("/metrics")
        own = {"authorization": f"Bearer {KEY}", "x-timetopost-token": make_token(7)}
        text = (await web.http.get("/metrics", headers={"host": "10.0.0.9:8000", **own})).text
    assert hidden.status_code == 401
    assert "get_post" in text
    assert "secret" not in text
    assert make_token(7)[:12] not in text


@pytest.mark.parametrize("key", [KEY, None])
async def test_multi_tenant_metrics_need_no_users_token(start_server, key):
    sent = {"authorization": f"Bearer {key}"} if key else {}
    async with start_server(options={"multi_tenant": True}, sandbox=Upstream(), server_key=key) as web:
        await web.call("list_posts", x_timetopost_token=make_token(7), **sent)
        figures = await web.http.get("/metrics", headers=sent)
        with_token = await web.http.get("/metrics", headers={**sent, "x-timetopost-token": make_token(7)})
        listed = await web.rpc("tools/list", **sent)
    assert (figures.status_code, with_token.status_code, listed.status_code) == (200, 200, 401)
    assert 'ttp_mcp_calls_total{tool="list_posts",outcome="ok"} 1' in figures.text


async def test_multi_tenant_metrics_need_the_key(start_server):
    """A user's token isn't enough."""
    async with start_server(options={"multi_tenant": True}, sandbox=Upstream(), server_key=KEY) as web:
        figures = await web.http.get("/metrics", headers={"x-timetopost-token": make_token(7)})
    assert figures.status_code == 401


async def test_disconnected_call_is_counted_as_cancelled(web):
    async def cut_off(_):
        raise TimeoutError

    for params in (None, {}, {"name": ["list_posts"]}):
        context = type("Context", (), {"method": "tools/call", "params": params})()
        with pytest.raises(TimeoutError):
            await web.service.metrics.measure_call(context, cut_off)
    assert 'ttp_mcp_calls_total{tool="unknown",outcome="cancelled"} 3' in web.service.metrics.render()


PAGE = """\
# HELP ttp_mcp_calls_total Calls of tools.
# TYPE ttp_mcp_calls_total counter
ttp_mcp_calls_total{tool="get_post",outcome="ok"} 3
ttp_mcp_calls_total{tool="unknown",outcome="error"} 1
# HELP ttp_mcp_call_seconds Time that calls of tools took.
# TYPE ttp_mcp_call_seconds histogram
ttp_mcp_call_seconds_bucket{tool="get_post",le="0.005"} 0
ttp_mcp_call_seconds_bucket{tool="get_post",le="0.01"} 0
ttp_mcp_call_seconds_bucket{tool="get_post",le="0.025"} 1
ttp_mcp_call_seconds_bucket{tool="get_post",le="0.05"} 1
ttp_mcp_call_seconds_bucket{tool="get_post",le="0.1"} 1
ttp_mcp_call_seconds_bucket{tool="get_post",le="0.25"} 1
ttp_mcp_call_seconds_bucket{tool="get_post",le="0.5"} 2
ttp_mcp_call_seconds_bucket{tool="get_post",le="1.0"} 2
ttp_mcp_call_seconds_bucket{tool="get_post",le="2.5"} 2
ttp_mcp_call_seconds_bucket{tool="get_post",le="5.0"} 2
ttp_mcp_call_seconds_bucket{tool="get_post",le="10.0"} 2
ttp_mcp_call_seconds_bucket{tool="get_post",le="30.0"} 2
ttp_mcp_call_seconds_bucket{tool="get_post",le="+Inf"} 3
ttp_mcp_call_seconds_sum{tool="get_post"} 270.520000
ttp_mcp_call_seconds_count{tool="get_post"} 3
ttp_mcp_call_seconds_bucket{tool="unknown",le="0.005"} 0
ttp_mcp_call_seconds_bucket{tool="unknown",le="0.01"} 0
ttp_mcp_call_seconds_bucket{tool="unknown",le="0.025"} 0
ttp_mcp_call_seconds_bucket{tool="unknown",le="0.05"} 0
ttp_mcp_call_seconds_bucket{tool="unknown",le="0.1"} 0
ttp_mcp_call_seconds_bucket{tool="unknown",le="0.25"} 0
ttp_mcp_call_seconds_bucket{tool="unknown",le="0.5"} 0
ttp_mcp_call_seconds_bucket{tool="unknown",le="1.0"} 0
ttp_mcp_call_seconds_bucket{tool="unknown",le="2.5"} 0
ttp_mcp_call_seconds_bucket{tool="unknown",le="5.0"} 0
ttp_mcp_call_seconds_bucket{tool="unknown",le="10.0"} 0
ttp_mcp_call_seconds_bucket{tool="unknown",le="30.0"} 0
ttp_mcp_call_seconds_bucket{tool="unknown",le="+Inf"} 1
ttp_mcp_call_seconds_sum{tool="unknown"} 50.000000
ttp_mcp_call_seconds_count{tool="unknown"} 1
# HELP ttp_mcp_calls_in_flight Calls of tools under way.
# TYPE ttp_mcp_calls_in_flight gauge
ttp_mcp_calls_in_flight 0
# HELP ttp_mcp_writes_total Writes by outcome.
# TYPE ttp_mcp_writes_total counter
ttp_mcp_writes_total{kind="create",outcome="created"} 2
"""


async def test_page_has_the_text_format_of_prometheus():
    """Of three calls and one within the last of them; a request that isn't a call isn't counted."""
    times = iter([10.0, 10.02, 20.0, 20.5, 30.0, 150.0, 200.0, 300.0])
    metrics = Metrics(frozenset({"get_post"}), lambda: next(times))
    pages = []

    async def answer(context):
        pages.append(metrics.render())
        return {"isError": context.params["name"] == "bad"}

    def context(method, name):
        return type("Context", (), {"method": method, "params": {"name": name}})()

    async def answer_twice(given):
        await metrics.measure_call(context("tools/call", "bad"), answer)
        return await answer(given)

    for name in ("get_post", "get_post"):
        await metrics.measure_call(context("tools/call", name), answer)
    await metrics.measure_call(context("tools/call", "get_post"), answer_twice)
    other = context("tools/list", "get_post")
    assert await metrics.measure_call(other, return_context) is other
    write = type("Write", (), {"kind": "create"})()
    metrics.count_write(write, "created")
    metrics.count_write(write, "created")
    assert metrics.render() == PAGE
    in_flight = [line for page in pages for line in page.splitlines() if line.startswith("ttp_mcp_calls_in_flight")]
    assert in_flight == [f"ttp_mcp_calls_in_flight {number}" for number in (1, 1, 2, 1)]


async def return_context(context):
    """Answer with what was asked."""
    return context


async def test_ledger_that_counts_records_what_the_ledger_does(web, clock):
    """A post that was found by searching belongs to one write only, also over HTTP."""
    counted = []
    ledger = CountedLedger(web.service.state, "scope", clock.now)
    ledger.on_outcome = lambda write, outcome: counted.append((write.kind, outcome))
    post = Post({"id": "post-1"})
    first, second = [
        await ledger.begin_create(PostCreate(content, account_ids=("acc-1",)), tool="create_post")
        for content in ("One", "Two")
    ]
    await ledger.finish(first, "created", post, claim=True)
    with pytest.raises(PostTaken):
        await ledger.finish(second, "created", post, claim=True)
    records = {record.post_id: record for record in await ledger.read_history(clock.now())}
    assert (records["post-1"].outcome, len(records)) == ("created", 2)
    assert counted == [("create", "created")]


async def test_unrecorded_outcome_is_not_counted(web, monkeypatch):
    async def not_noted(*_, **__):
        raise PostTaken

    monkeypatch.setattr(Ledger, "finish", not_noted)
    ledger = CountedLedger(web.service.state, "scope")
    ledger.on_outcome = web.service.metrics.count_write
    with pytest.raises(PostTaken):
        await ledger.finish(None, "created")
    assert "ttp_mcp_writes_total{" not in web.service.metrics.render()
