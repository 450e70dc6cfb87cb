"""Who may call, and with which account: the server key, the user's own token, and no mixing of the two."""

import base64

import pytest

from tests.transports.http.conftest import KEY, make_request, read_refusal, read_text
from tests.transports.http.upstream import Upstream, make_mark, make_token
from ttp_mcp import config

pytestmark = pytest.mark.requirement("http.client-auth")

TENANTS = {"options": {"multi_tenant": True}}


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, f"Bearer  x {KEY}"]
)
async def test_caller_without_the_key_gets_401(start_server, value):
    """Also on this machine."""
    async with start_server(server_key=KEY) as web:
        response = await web.rpc("tools/list", authorization=value)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="ttp-mcp"'
    assert "TTP_SERVER_KEY" in read_refusal(response)


async def test_request_without_authorization_is_answered_401(start_server):
    """As a JSON-RPC error, which MCP clients show; a body that was not read must not be taken for the next request."""
    async with start_server(server_key=KEY) as web:
        response = await web.rpc("tools/list")
    assert response.status_code == 401
    assert response.json() == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32600, "message": read_refusal(response)},
    }
    names = ("content-type", "content-length", "cache-control", "connection")
    assert [response.headers[name] for name in names] == [
        *("application/json", str(len(response.content))),
        *("no-store", "close"),
    ]


@pytest.mark.parametrize("value", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER   {KEY}", f"Bearer {KEY} "])
async def test_caller_with_the_key_is_served(start_server, value):
    async with start_server(server_key=KEY) as web:
        response = await web.rpc("tools/list", authorization=value)
    assert response.status_code == 200


async def test_stranger_is_refused_before_the_body_is_read(start_server):
    async with start_server(server_key=KEY) as web:
        read = []

        async def body():
            read.append(1)
            yield b"{}"

        response = await web.http.post("/mcp", content=body(), headers={"content-type": "application/json"})
    assert response.status_code == 401
    assert read == []


def encode_basic(text: str) -> str:
    """User and password as the scheme Basic sends them."""
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "value",
    [
        f"Bearer {make_token(1)}",
        make_token(1),
        f"Token {make_token(1)}",
        "Bearer TTP_123abC",
        f"Bearer x {make_token(1)}",
        f"Bearer user:{make_token(1)}",
        encode_basic(f"user:{make_token(1)}"),
        encode_basic(f"{make_token(1)}:"),
        encode_basic(f"{make_token(1)}:").replace(" ", "   "),
    ],
)
@pytest.mark.parametrize("key", [KEY, None])
async def test_api_token_in_authorization_is_refused_whether_there_is_a_key_or_not(start_server, value, key):
    async with start_server(server_key=key) as web:
        response = await web.rpc("tools/list", authorization=value)
    assert response.status_code == 401
    assert "X-TimeToPost-Token" in read_refusal(response)
    assert value.rpartition(" ")[2] not in response.text


# `ttp_` stands in each by chance or as a name, and no word of them begins as an API token does.
NOT_TOKENS = (
    "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.x9tTp_0123456789abcdef",
    "ttp_key",
    "x-ttp_0123456789",
    "ttp_01234-mcp",
    "http_abcdef",
)


@pytest.mark.parametrize(
    "value",
    [
        *(f"Bearer {each}" for each in NOT_TOKENS),
        *(encode_basic("x:y-ttp_012345"), "Basic ttp_x", "Basic a"),
        # Another scheme has no encoding of its own, and a key may be the base64 of anything.
        encode_basic(f"user:{make_token(1)}").replace("Basic", "Bearer"),
    ],
)
async def test_text_that_starts_like_a_token_is_not_a_token(start_server, value):
    async with start_server() as open_to_all:
        served = await open_to_all.rpc("tools/list", authorization=value)
    async with start_server(server_key=KEY) as web:
        refused = await web.rpc("tools/list", authorization=value)
    assert served.status_code == 200
    assert refused.status_code == 401
    assert "Send this server's key" in read_refusal(refused)


@pytest.mark.parametrize(
    "key",
    [
        "prod-TTP_mcp-0123456789abcdef0123456789",
        "ttp_mcp-0123456789abcdef0123456789",
        "prod:TTP_0123456789abcdef01234567",
        "XX0123456789abcdef0123456789abcdXX",
    ],
)
async def test_every_valid_server_key_is_accepted(start_server, settings, key):
    loaded = config.load_settings({"TTP_SERVER_KEY": key, "TTP_STATE_DIR": str(settings.state_dir)})
    async with start_server(server_key=loaded.server_key) as web:
        response = await web.rpc("tools/list", authorization=f"Bearer {key}")
    assert response.status_code == 200


async def test_users_token_sent_to_a_server_for_one_account_is_refused(start_server):
    async with start_server() as web:
        response = await web.rpc("tools/list", x_timetopost_token=make_token(1))
    assert response.status_code == 400
    assert "Remove the header" in read_refusal(response)


async def test_each_user_is_served_with_their_own_token(start_server):
    upstream = Upstream()
    async with start_server(**TENANTS, sandbox=upstream) as web:
        first, second = [
            read_text(await web.call("list_posts", x_timetopost_token=make_token(number))) for number in (1, 2)
        ]
    assert make_mark(make_token(1)) in first
    assert make_mark(make_token(2)) in second
    assert make_mark(make_token(2)) not in first


@pytest.mark.parametrize(
    "value", [None, "", "ttp_1", "Bearer " + make_token(1), make_token(1) + "0", make_token(1).upper()]
)
async def test_call_without_a_users_token_is_refused(start_server, value):
    """No other account is used instead."""
    upstream = Upstream()
    headers = {} if value is None else {"x_timetopost_token": value}
    async with start_server(**TENANTS, sandbox=upstream) as web:
        listed = await web.rpc("tools/list", **headers)
        called = await web.call("list_posts", **headers)
    assert (listed.status_code, called.status_code) == (401, 401)
    assert called.headers["www-authenticate"] == 'X-TimeToPost-Token realm="ttp-mcp"'
    assert "X-TimeToPost-Token" in read_refusal(called)
    assert upstream.asked == {}


async def test_header_beyond_ascii_is_not_a_users_token(start_server):
    async with start_server(**TENANTS, sandbox=Upstream()) as web:
        sent = make_request("tools/list")
        headers = [*((name.encode(), value.encode()) for name, value in sent["headers"].items())]
        response = await web.http.post(
            "/mcp", json=sent["json"], headers=[*headers, (b"x-timetopost-token", b"ttp_\xff")]
        )
    assert response.status_code == 401


async def test_users_token_does_not_replace_the_key(start_server):
    async with start_server(**TENANTS, sandbox=Upstream(), server_key=KEY) as web:
        without = await web.rpc("tools/list", x_timetopost_token=make_token(1))
        both = await web.rpc("tools/list", x_timetopost_token=make_token(1), authorization=f"Bearer {KEY}")
    assert (without.status_code, both.status_code) == (401, 200)


async def test_one_user_cannot_apply_the_plan_of_another(start_server):
    upstream = Upstream()
    async with start_server(**TENANTS, sandbox=upstream) as web:
        posts = [{"content": "Hello", "account_ids": [f"acc-{make_mark(make_token(1))}"]}]
        planned = await web.call("plan_posts", {"posts": posts}, x_timetopost_token=make_token(1))
        plan = planned.json()["result"]["structuredContent"]
        arguments = {name: plan[name] for name in ("plan_id", "plan_hash") if name in plan}
        stolen = await web.call("apply_plan", arguments, x_timetopost_token=make_token(2))
    assert stolen.json()["result"]["isError"] is True
    assert "doesn't exist" in read_text(stolen)
    assert upstream.asked[make_token(2)] == 0


async def test_one_user_cannot_use_the_confirmation_of_another(start_server):
    upstream = Upstream()
    arguments = {"post_id": "post-1"}
    capabilities = {"elicitation": {"form": {}}}
    answer = {"confirm": {"action": "accept", "content": {"confirm": True}}}
    async with start_server(**TENANTS, sandbox=upstream, server_key=KEY) as web:
        asked = await _call_delete(web, 1, arguments, capabilities)
        state = asked.json()["result"]["requestState"]
        more = {"inputResponses": answer, "requestState": state}
        stolen = await _call_delete(web, 2, arguments, capabilities, **more)
        again = await _call_delete(web, 1, arguments, capabilities, **more)
    assert asked.json()["result"]["resultType"] == "input_required"
    assert "result" not in stolen.json()
    assert again.json()["result"].get("isError", False) is False


async def _call_delete(web, number, arguments, capabilities, **more):
    headers = {"authorization": f"Bearer {KEY}", "x_timetopost_token": make_token(number)}
    sent = make_request("tools/call", {"name": "delete_post", "arguments": arguments, **more}, **headers)
    sent["json"]["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities
    return await web.http.post("/mcp", **sent)


async def test_replicas_with_one_key_accept_each_others_state(start_server, settings, clock):
    upstream = Upstream()
    arguments = {"post_id": "post-1"}
    capabilities = {"elicitation": {"form": {}}}
    answer = {"confirm": {"action": "accept", "content": {"confirm": True}}}
    async with start_server(**TENANTS, sandbox=upstream, server_key=KEY) as one:
        asked = await _call_delete(one, 1, arguments, capabilities)
    state = asked.json()["result"]["requestState"]
    async with start_server(**TENANTS, sandbox=upstream, server_key=KEY) as other:
        done = await _call_delete(other, 1, arguments, capabilities, inputResponses=answer, requestState=state)
    assert done.json()["result"].get("isError", False) is False


async def test_server_files_are_never_read(start_server, tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    async with start_server(media_dirs=(tmp_path,)) as web:
        answer = await web.call("upload_media", {"source": str(tmp_path / "a.png")})
    assert answer.json()["result"]["isError"] is True
    assert "presign_media" in read_text(answer)
