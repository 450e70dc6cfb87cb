"""Bodies with a byte order mark or half an emoji, over HTTP."""

import codecs
import json

import pytest

from tests.transports.http.conftest import KEY, make_request, read_text
from ttp_mcp.transports.http.body import repair_bodies

pytestmark = pytest.mark.requirement("http.body")

MARK = codecs.BOM_UTF8
CUT = (
    "Tool not called: content holds half of an emoji, so the text was cut within a character. "
    "Send the whole text again. Nothing was sent, so repeating is safe."
)


def make_body(content):
    """Keywords of a call of check_post; the content is JSON text."""
    wanted = make_request(
        "tools/call", {"name": "check_post", "arguments": {"content": "CONTENT", "platforms": ["linkedin"]}}
    )
    body = json.dumps(wanted["json"]).encode().replace(b"CONTENT", content)
    return {"content": body, "headers": {**wanted["headers"], "content-type": "application/json"}}


async def test_byte_order_mark_before_a_body_is_skipped(web):
    wanted = make_body(b"Doors open at ten")
    plain = await web.http.post("/mcp", **wanted)
    marked = await web.http.post("/mcp", **{**wanted, "content": MARK + wanted["content"]})
    assert (marked.status_code, marked.json()) == (200, plain.json())


@pytest.mark.parametrize("content", [rb"a\ud83d", rb"\ude00", rb"\ud83d\ud83d\ude00"])
async def test_lone_surrogate_is_an_error_of_the_call(web, content):
    """With the call's id, so that the model sees it."""
    response = await web.http.post("/mcp", **make_body(content))
    assert (response.status_code, response.json()["id"]) == (200, 1)
    assert response.json()["result"]["isError"] is True
    assert read_text(response) == CUT


@pytest.mark.parametrize("content", [rb"\ud83d\ude00", rb"\\ud83d", rb"caf\u00e9"])
async def test_other_escapes_are_unchanged(web, content):
    response = await web.http.post("/mcp", **make_body(content))
    assert CUT not in response.text
    assert response.json()["result"].get("isError", False) is False


async def test_prompt_with_half_an_emoji_is_rendered(web):
    """The user reads it before anything is sent."""
    wanted = make_request("prompts/get", {"name": "turn_into_thread", "arguments": {"text": "a\ud83d"}})
    response = await web.http.post(
        "/mcp",
        content=json.dumps(wanted["json"]).encode(),
        headers={**wanted["headers"], "content-type": "application/json"},
    )
    assert response.json()["result"]["messages"][0]["content"]["text"].endswith("The text:\na\ufffd")


async def test_body_in_many_parts_is_repaired_as_a_whole(web):
    """The mark and an escape may be split across two parts."""
    wanted = make_body(rb"a\ud83d")

    async def parts():
        for byte in MARK + wanted["content"]:
            yield bytes([byte])

    response = await web.http.post("/mcp", **{**wanted, "content": parts()})
    assert read_text(response) == CUT


async def test_body_of_a_client_without_a_key_is_not_read(start_server):
    """Repairing must not come before authentication."""
    read = []

    async def parts():
        read.append(True)
        yield b"{}"

    async with start_server(server_key=KEY) as web:
        response = await web.http.post("/mcp", **{**make_body(b"x"), "content": parts()})
    assert response.status_code == 401


@pytest.mark.parametrize("scope", [{"type": "http", "method": "GET"}, {"type": "lifespan"}])
async def test_request_without_a_body_is_passed_on(scope):
    seen = []

    async def app(*given):
        seen.append(given)

    given = (scope, object(), object())
    await repair_bodies(app, 100)(*given)
    assert seen == [given]


@pytest.mark.parametrize(
    ("first", "received"),
    [
        ({"type": "http.request", "body": MARK + b"{}"}, {"type": "http.request", "body": b"{}"}),
        ({"type": "http.request"}, {"type": "http.request", "body": b""}),
        ({"type": "http.disconnect"}, {"type": "http.disconnect", "body": b""}),
    ],
)
async def test_only_the_body_of_a_request_is_changed(first, received):
    """A client that leaves sends no body, and what follows a body isn't one."""
    later = {"type": "http.request", "body": MARK + b"later"}
    sent, seen = iter([first, later]), []

    async def receive():
        return next(sent)

    async def app(_, receive, __):
        seen.extend([await receive(), await receive()])

    await repair_bodies(app, 100)({"type": "http", "method": "POST"}, receive, None)
    assert seen == [received, later]


async def test_client_that_leaves_during_its_body_is_noticed():
    left = {"type": "http.disconnect"}
    sent, seen = iter([{"type": "http.request", "body": b"{", "more_body": True}, left]), []

    async def receive():
        return next(sent)

    async def app(_, receive, __):
        seen.append(await receive())

    await repair_bodies(app, 100)({"type": "http", "method": "POST"}, receive, None)
    assert seen == [{**left, "body": b"{"}]


async def test_body_over_the_limit_stays_in_parts():
    """Otherwise one client could fill the memory."""
    part = {"type": "http.request", "body": b"x" * 60, "more_body": True}
    sent, seen = iter([part] * 4), []

    async def receive():
        return next(sent)

    async def app(_, receive, __):
        seen.extend([await receive(), await receive()])

    await repair_bodies(app, 100)({"type": "http", "method": "POST"}, receive, None)
    assert seen == [{**part, "body": b"x" * 120}, part]
