"""Rights of the token: shown by check_setup, and checked before a post is written."""

import pytest

from tests.tools.conftest import Agent, answer_reads
from ttp_mcp.sandbox.rest.vendor import set_vendor_endpoints

pytestmark = pytest.mark.requirement("tools.rights")

POST = {"content": "New opening hours", "platforms": ["linkedin"]}
STEP = "Create one that can in the TimeToPost dashboard under Settings → API, and log in with `ttp-mcp login`"
NO_PUBLISHING = f"the API token can't publish posts (it may read and draft). {STEP}, or save drafts: call create_post without scheduled_at."


class Requests:
    """Record the requests that pass."""

    def __init__(self, app) -> None:
        self.app = app
        self.seen: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        self.seen.append(f"{scope['method']} {scope['path'].removeprefix('/api')}")
        await self.app(scope, receive, send)


def set_rights(agent: Agent, capability: str) -> None:
    """Narrow or widen the token's rights, as its owner does in the dashboard."""
    with agent.sandbox.store.writing() as db:
        db.execute("UPDATE tokens SET capability = ?", (capability,))


async def read_setup_line(agent: Agent, name: str = "rights") -> str:
    """Return a line of check_setup, as `state: text`."""
    _, data = await agent.expect_ok("check_setup")
    return next(f"{each['state']}: {each['text']}" for each in data["items"] if each["name"] == name)


async def test_setup_shows_user_organization_and_rights(agent):
    assert await read_setup_line(agent) == "ok: user «Demo User», organization «Harbor Café»; it can publish"


@pytest.mark.parametrize(
    ("capability", "access", "line"),
    [
        ("draft", "full", f"problem: user «Demo User», organization «Harbor Café»; {NO_PUBLISHING}"),
        ("draft", "draft", "ok: user «Demo User», organization «Harbor Café»; it can't publish"),
        ("read", "draft", "the API token can't save drafts (it may read)"),
        ("read", "read", "ok: user «Demo User», organization «Harbor Café»; it can't publish"),
    ],
)
async def test_setup_compares_rights_with_the_access_setting(connect_agent, capability, access, line):
    async with connect_agent(access=access) as agent:
        set_rights(agent, capability)
        assert line in await read_setup_line(agent)


async def test_token_that_cannot_publish_saves_drafts_only(connect_agent):
    """Refused before anything is written, with the same text in each tool."""
    async with connect_agent(through=Requests, demo_posts=False) as agent:
        set_rights(agent, "draft")
        words = await agent.expect_error("create_post", **POST, scheduled_at="2026-12-01T10:00")
        assert words == f"Post not created: {NO_PUBLISHING} Nothing was sent."
        _, check = await agent.expect_ok("check_post", **POST, scheduled_at="2026-12-01T10:00")
        assert check["errors"] == [NO_PUBLISHING]
        agent.sandbox.app.seen.clear()
        _, data = await agent.expect_ok("create_post", **POST)
        assert (data["outcome"], data["warnings"]) == ("created", [])
        # A draft is compared with no other post.
        assert agent.sandbox.app.seen == ["GET /integrations", "GET /auth/me", "POST /posts"]
        draft = data["post_id"]
        for tool, arguments in (("publish_post", {}), ("reschedule_post", {"scheduled_at": "2026-12-01T10:00"})):
            words = await agent.expect_error(tool, post_id=draft, **arguments)
            assert f"{NO_PUBLISHING} Nothing was sent." in words
        writes = [request for request in agent.sandbox.app.seen if not request.startswith("GET")]
        assert writes == ["POST /posts"]
        assert [status for _, status in agent.list_posts()] == ["draft"]


async def test_plan_says_that_it_cannot_be_applied_and_is_refused(empty_agent):
    set_rights(empty_agent, "draft")
    text, data = await empty_agent.expect_ok("plan_posts", posts=[POST])
    assert f"apply_plan would refuse it: {NO_PUBLISHING}" in text
    words = await empty_agent.expect_error("apply_plan", plan_id=data["plan_id"])
    assert words == f"Plan not applied: {NO_PUBLISHING} Nothing was sent."
    assert empty_agent.list_posts() == []


async def test_token_that_can_only_read_writes_nothing(empty_agent):
    set_rights(empty_agent, "read")
    words = await empty_agent.expect_error("create_post", **POST)
    assert words == f"Post not created: the API token can't save drafts (it may read). {STEP}. Nothing was sent."
    words = await empty_agent.expect_error("create_post", **POST, scheduled_at="now")
    assert words == f"Post not created: the API token can't publish posts (it may read). {STEP}. Nothing was sent."


async def test_rights_are_read_once_and_again_while_missing(connect_agent):
    """The user can widen them without a restart."""
    async with connect_agent(through=Requests, demo_posts=False) as agent:
        asked = lambda: agent.sandbox.app.seen.count("GET /auth/me")  # noqa: E731
        set_rights(agent, "draft")
        await agent.expect_error("create_post", **POST, scheduled_at="2026-12-01T10:00")
        set_rights(agent, "publish")
        await agent.expect_ok("create_post", **POST, scheduled_at="2026-12-01T10:00")
        assert asked() == 2
        await agent.expect_ok("create_post", **POST, scheduled_at="2026-12-02T10:00")
        assert asked() == 2


async def test_rights_that_the_api_does_not_offer_change_nothing(empty_agent):
    set_vendor_endpoints(empty_agent.sandbox.store, on=False)
    assert await read_setup_line(empty_agent) == (
        "ok: what the token may do isn't known: this TimeToPost account's API has no information about its token (404)."
    )
    _, data = await empty_agent.expect_ok("create_post", **POST, scheduled_at="2026-12-01T10:00")
    assert (data["outcome"], data["warnings"]) == ("created", [])


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (500, "notice: what the token may do isn't known: the API, or a gateway before it, failed (500)."),
        (
            {"ok": True},
            "notice: what the token may do isn't known: the API's address sent a response of an unexpected shape.",
        ),
        ({"user": {"email": "ada@example.com"}}, "ok: user «ada@example.com»; what it may do isn't stated"),
        ({"capabilities": ["posts:write"]}, "ok: no user stated; what it may do isn't stated"),
        (
            {"user": None, "canPublish": "yes", "capabilities": ["READ", "Publish"]},
            "ok: no user stated; it can publish",
        ),
        (
            {"canPublish": False, "capabilities": ["posts:write"]},
            "problem: no user stated; the API token can't publish posts. ",
        ),
    ],
)
async def test_unclear_rights_refuse_nothing(connect_agent, reply, line):
    """Only an explicit no refuses."""
    async with connect_agent(through=answer_reads({"/auth/me": reply}), demo_posts=False) as agent:
        assert (await read_setup_line(agent)).startswith(line)
        result = await agent.call("create_post", **POST, scheduled_at="2026-12-01T10:00")
        assert result.is_error == line.startswith("problem")


async def test_warning_about_the_organization_is_shown(connect_agent):
    reply = {"user": {"name": "Ada"}, "orgWarning": "No organization is chosen", "canPublish": True}
    async with connect_agent(through=answer_reads({"/auth/me": reply})) as agent:
        assert await read_setup_line(agent, "organization") == "notice: the API says «No organization is chosen»."


async def test_hanging_read_of_the_rights_stops_no_post(connect_agent, monkeypatch):
    """Rights only give an early warning."""
    monkeypatch.setattr("ttp_mcp.api.auth.RIGHTS_SECONDS", 0)
    async with connect_agent(through=Requests, demo_posts=False) as agent:
        set_rights(agent, "draft")
        words = await agent.expect_error("create_post", **POST, scheduled_at="2026-12-01T10:00")
    assert "(403)" in words
