"""Probes, and the metrics for Prometheus."""

import anyio
import pytest

from tests.transports.http.conftest import KEY, request
from tests.transports.http.upstream import Upstream, token_of
from ttp_mcp.ledger.ledger import Ledger, PostTaken
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.transports.http import health
from ttp_mcp.transports.http.metrics import CountedLedger

pytestmark = [pytest.mark.requirement("http.health"), pytest.mark.requirement("http.metrics")]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_need_no_key_and_may_name_any_host(serve, path):
    async with serve(server_key=KEY) as web:
        response = await web.http.get(path, headers={"host": "10.1.2.3:8000"})
        head = await web.http.head(path)
        elsewhere = await web.http.get(path, headers={"origin": "https://evil.example"})
    assert (response.status_code, response.text) == (200, "ok\n")
    assert (head.status_code, head.text) == (200, "")
    assert elsewhere.status_code == 403


async def test_readiness_depends_on_the_store_and_never_on_the_api(serve, caplog):
    upstream = Upstream()
    async with serve(sandbox=upstream) as web:
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
    await web.call("no_such_tool")
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


async def test_elicitation_is_counted_as_its_own_outcome(serve):
    async with serve(sandbox=Upstream()) as web:
        sent = request("tools/call", {"name": "delete_post", "arguments": {"post_id": "post-1"}})
        sent["json"]["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = {"elicitation": {"form": {}}}
        await web.http.post("/mcp", **sent)
        text = (await web.http.get("/metrics")).text
    assert 'ttp_mcp_calls_total{tool="delete_post",outcome="asked"} 1' in text


async def test_metrics_contain_no_user_and_no_argument(serve):
    async with serve(options={"multi_tenant": True}, sandbox=Upstream(), server_key=KEY) as web:
        headers = {"authorization": f"Bearer {KEY}", "x_timetopost_token": token_of(7)}
        await web.call("get_post", {"post_id": "post-secret"}, **headers)
        hidden = await web.http.get("/metrics")
        own = {"authorization": f"Bearer {KEY}", "x-timetopost-token": token_of(7)}
        text = (await web.http.get("/metrics", headers={"host": "10.0.0.9:8000", **own})).text
    assert hidden.status_code == 401
    assert "get_post" in text
    assert "secret" not in text
    assert token_of(7)[:12] not in text


@pytest.mark.parametrize("key", [KEY, None])
async def test_multi_tenant_metrics_need_no_users_token(serve, key):
    sent = {"authorization": f"Bearer {key}"} if key else {}
    async with serve(options={"multi_tenant": True}, sandbox=Upstream(), server_key=key) as web:
        await web.call("list_posts", x_timetopost_token=token_of(7), **sent)
        figures = await web.http.get("/metrics", headers=sent)
        with_token = await web.http.get("/metrics", headers={**sent, "x-timetopost-token": token_of(7)})
        listed = await web.rpc("tools/list", **sent)
    assert (figures.status_code, with_token.status_code, listed.status_code) == (200, 200, 401)
    assert 'ttp_mcp_calls_total{tool="list_posts",outcome="ok"} 1' in figures.text


async def test_multi_tenant_metrics_need_the_key(serve):
    """A user's token isn't enough."""
    async with serve(options={"multi_tenant": True}, sandbox=Upstream(), server_key=KEY) as web:
        figures = await web.http.get("/metrics", headers={"x-timetopost-token": token_of(7)})
    assert figures.status_code == 401


async def test_disconnected_call_is_counted_as_cancelled(web):
    async def cut_off(_):
        raise TimeoutError

    context = type("Context", (), {"method": "tools/call", "params": None})()
    with pytest.raises(TimeoutError):
        await web.service.metrics.measure_call(context, cut_off)
    assert 'ttp_mcp_calls_total{tool="unknown",outcome="cancelled"} 1' in web.service.metrics.render()


async def test_unrecorded_outcome_is_not_counted(web, monkeypatch):
    async def not_noted(*_, **__):
        raise PostTaken

    monkeypatch.setattr(Ledger, "finish", not_noted)
    ledger = CountedLedger(web.service.state, "scope")
    ledger.on_outcome = web.service.metrics.count_write
    with pytest.raises(PostTaken):
        await ledger.finish(None, "created")
    assert "ttp_mcp_writes_total{" not in web.service.metrics.render()
