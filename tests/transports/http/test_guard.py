"""The first check of a request: addressed to this server, from an allowed origin, and unambiguous."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transports.http.conftest import KEY, MODERN, make_request, read_refusal
from tests.transports.http.upstream import Upstream, make_token
from ttp_mcp.transports.http.guard import Guard, GuardRules, parse_authority, parse_origin

pytestmark = pytest.mark.requirement("http.guard")


REFUSED_ORIGIN = "Web pages of that Origin may not call. The operator can add it to TTP_ALLOWED_ORIGINS."


async def send_raw_request(web, *, method="POST", path="/mcp", headers=(), body=b"{}"):
    """Status of the response to a request with exactly these headers, and its error."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    await web.service.app(scope, receive, send)
    answer = json.loads(b"".join(message.get("body", b"") for message in sent[1:]))
    return sent[0]["status"], answer.get("error", {}).get("message")


def make_accepted_request(**headers):
    """Headers and body of a request that is accepted; a test of a refusal changes one thing."""
    wanted = make_request("tools/list")
    body = json.dumps(wanted["json"]).encode()
    named = {"host": "localhost:8000", "content-type": "application/json", **wanted["headers"], **headers}
    return {"headers": [(name.encode(), value.encode()) for name, value in named.items()], "body": body}


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:8000"])
async def test_loopback_server_accepts_the_names_of_this_machine(web, host):
    response = await web.rpc("tools/list", host=host)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost",
        "localhost:80",
        "localhost:9",
        "localhost:8000.evil.example",
        "localhost:8000@evil.example",
        "localhost.:8000",
        "localhost:08000",
        "localhost:8000 ",
        "127.0.0.1:8000:8000",
        "[::1]",
        "[::1:8000",
        "::1:8000",
        "localhost:99999",
        "2130706433:8000",
        "127.1:8000",
        "",
    ],
)
async def test_any_other_host_is_refused_with_421(web, host):
    response = await web.rpc("tools/list", host=host)
    assert response.status_code == 421
    assert read_refusal(response) == (
        "This server is not addressed by that Host. Its operator can add it to TTP_ALLOWED_HOSTS."
    )


async def test_request_without_a_host_is_refused_with_400(web):
    accepted = make_accepted_request()
    assert (await send_raw_request(web, **accepted))[0] == 200
    accepted["headers"] = [(name, value) for name, value in accepted["headers"] if name != b"host"]
    assert await send_raw_request(web, **accepted) == (400, "The request has no Host header.")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "localhost:8000"),
        ("origin", "http://localhost:8000"),
        ("authorization", f"Bearer {KEY}"),
        ("content-length", None),
        ("content-type", "application/json"),
        ("transfer-encoding", "chunked"),
        ("mcp-protocol-version", MODERN),
        ("x-timetopost-token", make_token(1)),
    ],
)
async def test_repeated_header_is_refused(start_server, name, value):
    """Also with the same value: the request is accepted as soon as one of the two is gone."""
    async with start_server(options={"multi_tenant": True}, sandbox=Upstream(), server_key=KEY) as web:
        accepted = make_accepted_request(authorization=f"Bearer {KEY}", **{"x-timetopost-token": make_token(1)})
        header = (name.encode(), (value or str(len(accepted["body"]))).encode())
        others = [other for other in accepted["headers"] if other[0] != header[0]]
        assert (await send_raw_request(web, headers=[*others, header], body=accepted["body"]))[0] == 200
        refused = await send_raw_request(web, headers=[*others, header, header], body=accepted["body"])
    assert refused == (400, f"The request has two headers {name}.")


async def test_other_headers_may_be_repeated(web):
    """Each proxy may add one."""
    accepted = make_accepted_request()
    added = [(b"x-forwarded-for", b"10.0.0.1"), (b"x-forwarded-for", b"10.0.0.2")]
    assert (await send_raw_request(web, headers=[*accepted["headers"], *added], body=accepted["body"]))[0] == 200


async def test_two_declared_lengths_are_refused(web):
    """Each of them alone is accepted."""
    accepted = make_accepted_request()
    length = (b"content-length", str(len(accepted["body"])).encode())
    chunked = (b"transfer-encoding", b"chunked")
    refused = (400, "The request has both content-length and transfer-encoding.")
    for headers, expected in (
        ([length], (200, None)),
        ([chunked], (200, None)),
        ([length, chunked], refused),
        ([chunked, length], refused),
    ):
        assert await send_raw_request(web, headers=[*accepted["headers"], *headers], body=accepted["body"]) == expected


@pytest.mark.parametrize("given", ["http://localhost:8000", "http://127.0.0.1:8000", "http://[::1]:8000"])
async def test_same_origin_page_may_call_without_cors_headers(web, given):
    response = await web.rpc("tools/list", origin=given)
    assert response.status_code == 200
    assert [name for name in response.headers if name.startswith("access-control")] == []


@pytest.mark.parametrize(
    "given",
    [
        "null",
        "",
        "http://evil.example",
        "https://localhost:8000",
        "http://localhost",
        "http://localhost:9",
        "http://localhost:8000.evil.example",
        "http://localhost:8000@evil.example",
        "http://localhost:8000/",
        "localhost:8000",
        "file://",
    ],
)
async def test_any_other_origin_is_refused_with_403(web, given):
    response = await web.rpc("tools/list", origin=given)
    assert response.status_code == 403
    assert read_refusal(response) == REFUSED_ORIGIN


async def test_scripts_of_a_listed_origin_may_read_answers_and_refusals(start_server):
    async with start_server(allowed_origins=("https://app.example.com",), server_key="k" * 40) as web:
        answered = await web.rpc("tools/list", origin="https://app.example.com", authorization=f"Bearer {'k' * 40}")
        refused = await web.rpc("tools/list", origin="https://APP.example.com:443")
    assert (answered.status_code, refused.status_code) == (200, 401)
    assert answered.headers["access-control-allow-origin"] == "https://app.example.com"
    assert refused.headers["access-control-allow-origin"] == "https://APP.example.com:443"
    assert answered.headers["vary"] == "Origin"
    assert answered.headers["access-control-expose-headers"] == "www-authenticate"
    assert "access-control-allow-credentials" not in answered.headers


async def test_preflight_of_a_listed_origin_is_answered_without_a_key(start_server):
    async with start_server(allowed_origins=("https://app.example.com",), server_key="k" * 40) as web:
        response = await web.http.options(
            "/mcp", headers={"origin": "https://app.example.com", "access-control-request-method": "POST"}
        )
        probe = await web.http.options(
            "/healthz", headers={"origin": "https://app.example.com", "access-control-request-method": "GET"}
        )
    assert (response.status_code, response.content) == (204, b"")
    assert dict(response.headers) == {
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": (
            "accept, authorization, content-type, last-event-id, mcp-method, mcp-name, mcp-protocol-version, "
            "mcp-session-id, x-timetopost-token"
        ),
        "access-control-max-age": "600",
        "access-control-allow-origin": "https://app.example.com",
        "access-control-expose-headers": "www-authenticate",
        "vary": "Origin",
    }
    assert probe.headers["access-control-allow-methods"] == "GET, HEAD"


async def test_preflight_of_an_origin_that_is_not_listed_is_refused_with_403(web):
    for page in ("https://evil.example", "http://localhost:8000"):
        headers = {"origin": page, "access-control-request-method": "POST"}
        response = await web.http.options("/mcp", headers=headers)
        assert (response.status_code, read_refusal(response)) == (403, REFUSED_ORIGIN)


async def test_options_request_that_is_not_a_preflight_is_refused_with_405(start_server):
    async with start_server(allowed_origins=("https://app.example.com",)) as web:
        without_method = await web.http.options("/mcp", headers={"origin": "https://app.example.com"})
        without_origin = await web.http.options("/mcp", headers={"access-control-request-method": "POST"})
        both = {"origin": "https://app.example.com", "access-control-request-method": "POST"}
        other_method = await web.http.get("/mcp", headers=both)
    assert [each.status_code for each in (without_method, without_origin, other_method)] == [405, 405, 405]


async def test_cors_headers_of_the_sdk_are_removed():
    """They allow every page."""

    async def app(scope, receive, send):
        allowed = [(b"Access-Control-Allow-Origin", b"*"), (b"Access-Control-Allow-Credentials", b"true")]
        await send({"type": "http.response.start", "status": 200, "headers": [*allowed, (b"X-Other", b"1")]})
        await send({"type": "http.response.body"})

    sent = []

    async def send(message):
        sent.append(message)

    page = frozenset({("https", "app.example.com", 443)})
    guard = Guard(app, GuardRules(frozenset(), page, page, {"/mcp": ("GET",)}, "/mcp", frozenset({"/mcp"})))
    headers = [(b"origin", b"https://app.example.com")]
    await guard({"type": "http", "path": "/mcp", "method": "GET", "query_string": b"", "headers": headers}, None, send)
    assert sent[0]["headers"] == [
        (b"X-Other", b"1"),
        (b"access-control-allow-origin", b"https://app.example.com"),
        (b"access-control-expose-headers", b"www-authenticate"),
        (b"vary", b"Origin"),
    ]


async def test_probe_is_answered_under_any_name(web):
    response = await web.http.get("/healthz", headers={"host": "10.0.0.9:8000"})
    assert response.status_code == 200


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS", "HEAD"])
async def test_only_methods_of_the_transport_are_accepted(web, method):
    response = await web.http.request(method, "/mcp")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    if method != "HEAD":
        assert read_refusal(response) == "/mcp takes POST."


async def test_methods_of_another_path_are_named(web):
    response = await web.http.post("/healthz")
    assert response.headers["allow"] == "GET, HEAD"
    assert read_refusal(response) == "/healthz takes GET, HEAD."


@pytest.mark.parametrize("path", ["/", "/mcp//", "/mcp/x", "/mcpx", "/social/mcpx", "/MCP", "/docs", "/healthz//"])
async def test_unknown_path_is_refused_naming_the_mcp_path(start_server, path):
    async with start_server(options={"path": "/social/mcp"}) as web:
        response = await web.http.post(path)
    assert response.status_code == 404
    assert read_refusal(response) == "There is nothing at this path. MCP is at /social/mcp."


@pytest.mark.parametrize("configured", ["/mcp", "/mcp/"])
@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
async def test_final_slash_is_ignored_without_a_redirect(start_server, configured, path):
    """Clients and gateways add and remove it."""
    async with start_server(options={"path": configured}) as web:
        response = await web.http.post(path, **make_request("tools/list"))
        probe = await web.http.get("/healthz/")
    assert (response.status_code, response.history) == (200, [])
    assert len(response.json()["result"]["tools"]) > 10
    assert probe.status_code == 200


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
async def test_key_is_needed_with_and_without_the_final_slash(start_server, path):
    async with start_server(server_key=KEY) as web:
        assert (await web.http.post(path, **make_request("tools/list"))).status_code == 401


async def test_token_in_a_url_is_refused(web):
    response = await web.http.post("/mcp?token=TTP_" + "0" * 48)
    assert response.status_code == 400
    assert read_refusal(response) == (
        "An API token must not be in a URL, which logs keep. Revoke that token, and send a new one in a header."
    )


async def test_listed_hosts_are_served_with_the_usual_port_of_the_proxy(start_server):
    options = {"host": "0.0.0.0", "behind_tls_proxy": True}
    async with start_server(
        options=options, server_key="k" * 40, allowed_hosts=("mcp.example.com", "10.0.0.5:8000")
    ) as web:
        statuses = [
            (await web.rpc("tools/list", host=host, authorization=f"Bearer {'k' * 40}")).status_code
            for host in (
                "mcp.example.com",
                "mcp.example.com:443",
                "10.0.0.5:8000",
                "mcp.example.com:80",
                "localhost:8000",
            )
        ]
    assert statuses == [200, 200, 200, 421, 421]


async def test_body_over_4_mib_is_refused_with_413(web):
    """However it is sent."""

    async def chunks():
        for _ in range(5):
            yield b" " * 1024 * 1024

    headers = {"content-type": "application/json", "mcp-protocol-version": "2026-07-28"}
    whole = await web.http.post("/mcp", content=b" " * 5 * 1024 * 1024, headers=headers)
    chunked = await web.http.post("/mcp", content=chunks(), headers=headers)
    assert (whole.status_code, chunked.status_code) == (413, 413)


async def test_websockets_are_not_answered():
    reached = []

    async def app(scope, receive, send):
        reached.append((scope["type"], receive, send))

    guard = Guard(app, GuardRules(frozenset(), frozenset(), frozenset(), {}, "/mcp", frozenset()))
    await guard({"type": "websocket"}, "receive", "send")
    await guard({"type": "lifespan"}, "receive", "send")
    assert reached == [("lifespan", "receive", "send")]


@given(st.text(max_size=60))
def test_malformed_host_is_not_parsed(text):
    found = parse_authority(text, 80)
    assert found is None or text.lower() in (found[0], f"{found[0]}:{found[1]}")
    place = parse_origin(text)
    assert place is None or text.lower() in (f"{place[0]}://{place[1]}", f"{place[0]}://{place[1]}:{place[2]}")


def test_origin_of_another_scheme_can_be_listed():
    assert parse_origin("vscode-webview://abc123") == ("vscode-webview", "abc123", 0)
    assert parse_origin("HTTPS://A.example") == ("https", "a.example", 443)
    assert parse_origin("http://a.example") == ("http", "a.example", 80)
    assert parse_origin("https://a.example:65535") == ("https", "a.example", 65535)
    assert parse_origin("https://a.example:65536") is None
