"""Real processes in a fresh home folder: one login, then clients that start the server without any variable."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import PROGRAM, serve_sandbox
from tests.support.login import CLIENTS, Home
from tests.support.windows import WINDOWS
from ttp_mcp.tools import every_tool

SETTINGS = Path("AppData/Local/ttp-mcp" if WINDOWS else ".config/ttp-mcp")
STATE = SETTINGS if WINDOWS else Path(".local/share/ttp-mcp")


@pytest.mark.requirement("login.clients")
def test_after_one_login_clients_start_list_and_call_without_a_variable(api, tmp_path):
    home = Home(tmp_path / "home", *PROGRAM)
    assert api["token"] not in home.login(api)
    for name in CLIENTS:
        entry = home.install(name)
        assert "env" not in entry
        with home.start_server(entry) as client:
            tools = client.request("tools/list")["tools"]
            assert [tool["name"] for tool in tools] == [tool.name for tool in every_tool()]
            assert client.call("list_posts", limit=1)["posts"]
            proc = Path("/proc") / str(client.process.pid)
            shown = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes() if proc.exists() else b""
        assert api["token"] not in client.seen
        assert api["token"].encode() not in shown
    assert home.find_files(api["token"]) == [str(SETTINGS / "login.json")]


@pytest.mark.requirement("login.profiles")
def test_concurrent_profiles_are_isolated(tmp_path):
    """In posts, accounts and ledger; the default profile has no login and sends nothing."""
    home = Home(tmp_path / "home", *PROGRAM)
    time = (datetime.now(UTC) + timedelta(days=7)).isoformat()
    with serve_sandbox(tmp_path / "a") as api_a, serve_sandbox(tmp_path / "b", "--empty") as api_b:
        home.login(api_a, "--profile", "brand-a")
        home.login(api_b, "--profile", "brand-b")
        entries = [home.install("cursor", "--profile", name) for name in ("brand-a", "brand-b")]
        assert [entry["env"] for entry in entries] == [{"TTP_PROFILE": "brand-a"}, {"TTP_PROFILE": "brand-b"}]
        with home.start_server(entries[0]) as brand_a, home.start_server(entries[1]) as brand_b:
            created = brand_a.call("create_post", content="Only A", account_ids=["linkedin"], scheduled_at=time)
            assert created["outcome"] == "created"
            assert len(brand_a.call("list_integrations")["accounts"]) == 6
            assert brand_b.call("list_integrations")["accounts"] == []
            assert brand_b.call("list_posts")["posts"] == []
            assert "not found (404)" in read_error(brand_b, created["post_id"])
            state = home.folder / STATE / "profiles"
            assert (state / "brand-a/ledger.db").exists()
            assert not (state / "brand-b/ledger.db").exists()
        assert "no login" not in brand_a.seen + brand_b.seen
    with home.start_server(home.install("cursor")) as default:
        result = default.request("tools/call", name="list_posts", arguments={})
        assert "no API token is set" in result["content"][0]["text"]
    for api in (api_a, api_b):
        (name,) = home.find_files(api["token"])
        assert name.startswith(str(SETTINGS / "profiles" / "brand-"))


def read_error(client, post_id):
    """Return the error for a post that a client must not see."""
    result = client.request("tools/call", name="get_post", arguments={"post_id": post_id})
    assert result["isError"]
    return result["content"][0]["text"]
