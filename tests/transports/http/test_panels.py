"""Panels over HTTP: the same list and the same documents as over stdio."""

import base64

import pytest

from tests.transports.http.conftest import Web
from ttp_mcp.server.panels import IMAGES, PANELS, TEXTS

pytestmark = pytest.mark.requirement("panels.served")


async def test_panels_are_listed_named_and_read(web: Web) -> None:
    """With their type, and what they need of their frame."""
    listed = (await web.rpc("resources/list")).json()["result"]["resources"]
    assert {panel.uri for panel in PANELS} <= {each["uri"] for each in listed}
    tools = (await web.rpc("tools/list")).json()["result"]["tools"]
    linked = {each["_meta"]["ui"]["resourceUri"] for each in tools if "ui" in each.get("_meta", {})}
    assert linked == {panel.uri for panel in PANELS}
    for panel in PANELS:
        (content,) = (await web.rpc("resources/read", {"uri": panel.uri}, mcp_name=panel.uri)).json()["result"][
            "contents"
        ]
        assert content["text"] == panel.render("Europe/Paris")
        assert (content["mimeType"], content["_meta"]["ui"]["prefersBorder"]) == ("text/html;profile=mcp-app", True)


async def test_images_of_the_sandbox_are_read_and_nothing_else(web: Web) -> None:
    """No other file, host or address."""
    with web.sandbox.store.reading() as db:
        key = db.execute("SELECT key FROM media WHERE content_type = 'image/png'").fetchone()["key"]
    uri = f"{IMAGES}http%3A%2F%2Fmedia.sandbox.localhost%2F{key.replace('/', '%2F')}"
    (content,) = (await web.rpc("resources/read", {"uri": uri}, mcp_name=uri)).json()["result"]["contents"]
    assert base64.b64decode(content["blob"]).startswith(b"\x89PNG")
    for url in (
        "http%3A%2F%2Felsewhere.example%2Fx.png",
        "file%3A%2F%2F%2Fetc%2Fpasswd",
        "http%3A%2F%2Fmedia.sandbox.localhost%2F..%2Fsandbox.db",
        "",
    ):
        refused = (await web.rpc("resources/read", {"uri": IMAGES + url}, mcp_name=IMAGES + url)).json()
        assert refused["error"]["code"] == -32602


async def test_text_of_a_post_is_read_in_full_and_listed_nowhere(web: Web) -> None:
    """For panels: `get_post` sends a very long text in parts."""
    with web.sandbox.store.writing() as db:
        post_id = db.execute("SELECT id FROM posts LIMIT 1").fetchone()["id"]
        db.execute("UPDATE posts SET content = ? WHERE id = ?", ("long\u202e " * 2000, post_id))
    uri = f"{TEXTS}{post_id}"
    (content,) = (await web.rpc("resources/read", {"uri": uri}, mcp_name=uri)).json()["result"]["contents"]
    assert content == {"uri": uri, "mimeType": "text/plain", "text": "long " * 2000}
    for method in ("resources/list", "resources/templates/list"):
        assert TEXTS not in (await web.rpc(method)).text
    for unknown in (f"{TEXTS}nothing", TEXTS, f"{TEXTS}../posts"):
        refused = (await web.rpc("resources/read", {"uri": unknown}, mcp_name=unknown)).json()
        assert refused["error"]["code"] == -32602
