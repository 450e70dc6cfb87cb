"""Publishing a post now, and retrying it on the accounts where it failed."""

from datetime import datetime, timedelta

import anyio
import pytest
from inline_snapshot import snapshot

from tests.tools.conftest import NOW, Agent, Fault, answer_reads, read_text, send_reply, show_fields
from ttp_mcp.api import PostCreate
from ttp_mcp.sandbox.rest.vendor import set_vendor_endpoints

pytestmark = pytest.mark.requirement("tools.posts.publish")

TEXT = "Doors open at ten"
BERLIN = "twitter @harborcafe_berlin"


def advance_time(agent: Agent, seconds: float = 90) -> None:
    """Advance time and run the scheduler of the sandbox."""
    agent.sandbox.clock.move(seconds)
    agent.sandbox.tick()


def count_public(agent: Agent, platform: str, text: str = TEXT) -> int:
    """Count how often a text is public on a platform."""
    with agent.sandbox.store.reading() as db:
        found = db.execute(
            "SELECT count(*) AS n FROM publications WHERE content = ? AND platform = ?", (text, platform)
        )
        return found.fetchone()["n"]


def to_milliseconds(at: datetime) -> int:
    """Return a time as the sandbox stores it."""
    return int(at.timestamp() * 1000)


def reconnect_account(agent: Agent) -> None:
    """Reconnect the expired account, as the user does in the dashboard."""
    with agent.sandbox.store.writing() as db:
        db.execute("UPDATE accounts SET status = 'connected', has_refresh_capability = 1")


async def make_draft(agent: Agent, *account_ids: str, **more: object) -> str:
    """Return the id of a new draft."""
    _, data = await agent.expect_ok("create_post", content=TEXT, account_ids=list(account_ids or ["linkedin"]), **more)
    return data["post_id"]


async def make_published(agent: Agent, *account_ids: str, **more: object) -> str:
    """Return the id of a post that was published as far as possible."""
    post_id = await make_draft(agent, *account_ids, scheduled_at="now", **more)
    advance_time(agent, 200)
    return post_id


async def test_draft_goes_out_at_the_next_tick(empty_agent):
    post_id = await make_draft(empty_agent)
    text, data = await empty_agent.expect_ok("publish_post", post_id=post_id)
    assert empty_agent.format_text(text) == snapshot("""\
Queued: <post 1> goes out within about a minute to linkedin «Harbor Café». It can't be called back then;
    get_post shows the result.
Sandbox: nothing here becomes public.\
""")
    assert data == {
        "outcome": "queued",
        "post_id": post_id,
        "status": "scheduled",
        "accounts": ["linkedin «Harbor Café»"],
        "failures": [],
        "warnings": [],
    }
    advance_time(empty_agent)
    assert empty_agent.read_row(post_id)["status"] == "published"
    assert count_public(empty_agent, "linkedin") == 1


async def test_scheduled_post_goes_out_before_its_time(empty_agent):
    post_id = await make_draft(empty_agent, scheduled_at="2026-12-24T18:00")
    await empty_agent.expect_ok("publish_post", post_id=post_id)
    advance_time(empty_agent)
    assert empty_agent.read_row(post_id)["status"] == "published"


async def test_scheduled_post_that_was_missed_is_sent(empty_agent):
    """It has been due for too long to be published automatically."""
    post_id = await make_draft(empty_agent, scheduled_at="2026-11-24T18:00")
    empty_agent.update_post(post_id, scheduled_at=to_milliseconds(NOW - timedelta(minutes=11)))
    _, data = await empty_agent.expect_ok("publish_post", post_id=post_id)
    assert data["outcome"] == "queued"
    empty_agent.update_post(post_id, scheduled_at=to_milliseconds(NOW - timedelta(minutes=9)))
    text, data = await empty_agent.expect_ok("publish_post", post_id=post_id)
    assert data["outcome"] == "already_queued"
    assert "Nothing was sent." in text


async def test_confirmation_of_a_retry_covers_the_accounts_shown(connect_agent):
    """Another one can fail in the meantime."""
    async with connect_agent(demo_posts=False, confirm="off") as first:
        post_id = await make_published(first, "linkedin", "twitter @harborcafe", BERLIN)
        reconnect_account(first)
        async with connect_agent(confirm="required", sandbox=first.sandbox) as agent:
            words = await agent.expect_error("publish_post", post_id=post_id)
            code = words.partition("arguments and confirmation ")[2].partition(" (once")[0]
            account_id = await agent.find_account("twitter @harborcafe")
            with agent.sandbox.store.writing() as db:
                db.execute(
                    "UPDATE post_targets SET status = 'failed', url = NULL, external_id = NULL WHERE account_id = ?",
                    (account_id,),
                )
            words = await agent.expect_error("publish_post", post_id=post_id, confirmation=code)
            assert "or for other arguments" in words


async def test_post_that_is_being_rescheduled_is_not_published(connect_agent):
    """Both the post and its replacement would be published."""
    creating, go = anyio.Event(), anyio.Event()

    def through(app):
        async def hold(scope, receive, send):
            if agents and (scope["method"], scope["path"]) == ("POST", "/api/posts"):
                creating.set()
                await go.wait()
            await app(scope, receive, send)

        return hold

    agents = []
    async with connect_agent(demo_posts=False, confirm="off", through=through) as agent:
        post_id = await make_draft(agent, scheduled_at="2026-12-24T18:00")
        agents.append(agent)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                lambda: agent.expect_ok("reschedule_post", post_id=post_id, scheduled_at="2026-12-25T18:00")
            )
            await creating.wait()
            words = await agent.expect_error("publish_post", post_id=post_id)
            go.set()
        assert words == (
            f"Post not published: {post_id} is being rescheduled right now. Call again in a minute; nothing was sent."
        )
        advance_time(agent)
        assert count_public(agent, "linkedin") == 0
        assert agent.list_posts() == [(TEXT, "scheduled")]


async def test_post_for_an_account_that_is_gone_is_refused(empty_agent):
    post_id = await make_draft(empty_agent)
    with empty_agent.sandbox.store.writing() as db:
        db.execute("UPDATE accounts SET organization_id = 'org_nordlicht' WHERE platform = 'linkedin'")
    words = await empty_agent.expect_error("publish_post", post_id=post_id)
    assert words.startswith("Post not published: no account «")
    assert words.endswith("Nothing was sent.")
    assert empty_agent.list_posts() == [(TEXT, "draft")]


@pytest.mark.parametrize("seconds", [0, 90])
async def test_second_call_sends_nothing(empty_agent, seconds):
    """Before the tick the post's time shows it, after it its status."""
    post_id = await make_draft(empty_agent)
    await empty_agent.expect_ok("publish_post", post_id=post_id)
    advance_time(empty_agent, seconds)
    text, data = await empty_agent.expect_ok("publish_post", post_id=post_id)
    assert data["outcome"] in ("already_queued", "already_published")
    assert "Nothing was sent." in text
    assert count_public(empty_agent, "linkedin") == 1


async def test_post_that_is_publishing_is_left_alone(empty_agent):
    post_id = await make_draft(empty_agent)
    empty_agent.update_post(post_id, status="publishing")
    text, data = await empty_agent.expect_ok("publish_post", post_id=post_id)
    assert data["outcome"] == "already_queued"
    assert text.startswith(f"Being published right now: {post_id} is publishing")


async def test_failed_post_goes_out_again_when_its_account_is_back(empty_agent):
    post_id = await make_published(empty_agent, BERLIN)
    assert empty_agent.read_row(post_id)["status"] == "failed"
    reconnect_account(empty_agent)
    text, data = await empty_agent.expect_ok("publish_post", post_id=post_id)
    assert data["outcome"] == "queued"
    assert "It failed before: twitter @harborcafe_berlin: «The connection of @harborcafe_berlin has expired." in text
    advance_time(empty_agent)
    assert empty_agent.read_row(post_id)["status"] == "published"


@pytest.mark.parametrize("others", [[], ["linkedin"]])
async def test_failed_post_whose_account_is_gone_is_refused(empty_agent, others):
    """Like a draft: no account is left that another post could have reached."""
    old = await make_published(empty_agent, BERLIN, *others)
    with empty_agent.sandbox.store.writing() as db:
        db.execute("UPDATE accounts SET organization_id = 'org_nordlicht' WHERE handle = '@harborcafe_berlin'")
    words = await empty_agent.expect_error("publish_post", post_id=old)
    assert words.startswith("Post not published: no account «")
    assert words.endswith("Nothing was sent.")


async def test_partial_post_is_sent_again_to_the_failed_account_only(empty_agent):
    """As a new post, with its thread."""
    old = await make_published(empty_agent, BERLIN, "linkedin", thread=["Come early"])
    assert empty_agent.read_row(old)["status"] == "partial"
    reconnect_account(empty_agent)
    text, data = await empty_agent.expect_ok("publish_post", post_id=old)
    assert empty_agent.format_text(text) == snapshot("""\
Sent again: <post 1> goes out Tue 24 Nov 2026 09:07 Europe/Paris (08:07Z), in 2 min, only to twitter
    @harborcafe_berlin, as a thread of 2. <post 2> stays as it is; delete_post with <post 1> cancels the new
    one before that time.
It failed before: twitter @harborcafe_berlin: «The connection of @harborcafe_berlin has expired. Reconnect the
    account in the dashboard.»
Sandbox: nothing here becomes public.\
""")
    assert (data["outcome"], data["accounts"]) == ("retried", [BERLIN])
    advance_time(empty_agent, 200)
    new = empty_agent.read_row(data["new_post_id"])
    assert (new["status"], new["content"], new["thread"]) == ("published", TEXT, '["Come early"]')
    assert (count_public(empty_agent, "twitter"), count_public(empty_agent, "linkedin")) == (1, 1)


async def test_thread_and_choices_of_other_platforms_are_left_out_of_a_retry(empty_agent):
    old = await make_published(empty_agent, "linkedin", "twitter @harborcafe", thread=["Come early"])
    with empty_agent.sandbox.store.writing() as db:
        db.execute("UPDATE posts SET status = 'partial', platform_data = '{\"x\": {\"a\": 1}}' WHERE id = ?", (old,))
        db.execute(
            "UPDATE post_targets SET status = 'failed', url = NULL, external_id = NULL, error = 'No.' WHERE post_id = ? AND "
            "account_id = (SELECT id FROM accounts WHERE platform = 'linkedin' AND organization_id = 'org_harbor_cafe')",
            (old,),
        )
    _, data = await empty_agent.expect_ok("publish_post", post_id=old)
    new = empty_agent.read_row(data["new_post_id"])
    assert (new["thread"], new["platform_data"]) == ("[]", "{}")


async def test_failed_post_that_one_account_shows_is_sent_to_the_other_only(empty_agent):
    """Its status alone would mean that no account has it."""
    post_id = await make_published(empty_agent, BERLIN, "linkedin")
    empty_agent.update_post(post_id, status="failed")
    reconnect_account(empty_agent)
    _, data = await empty_agent.expect_ok("publish_post", post_id=post_id)
    assert (data["outcome"], data["accounts"]) == ("retried", [BERLIN])
    advance_time(empty_agent, 200)
    assert (count_public(empty_agent, "linkedin"), count_public(empty_agent, "twitter")) == (1, 1)


async def test_post_in_a_state_that_the_reference_does_not_name_is_not_published(connect_agent):
    replies = {"/posts/p1": {"post": {"id": "p1", "content": TEXT, "status": "archived", "accountIds": ["a1"]}}}
    async with connect_agent(demo_posts=False, through=answer_reads(replies)) as agent:
        words = await agent.expect_error("publish_post", post_id="p1")
    assert words == (
        "Post not published: p1 is archived, and only a draft, scheduled, failed or partial post can be published. "
        "get_post shows it; nothing was sent."
    )


async def test_code_to_publish_a_post_covers_no_new_post(connect_agent):
    """The status of the post is another now, so that it would be sent again."""
    post = {"id": "p1", "content": TEXT, "status": "failed", "thread": [], "platformData": {}}
    async with connect_agent(
        demo_posts=False, confirm="required", through=answer_reads({"/posts/p1": {"post": post}})
    ) as agent:
        account = await agent.find_account("linkedin Harbor Café")
        post |= {
            "accountIds": [account],
            "results": [{"accountId": account, "platform": "linkedin", "status": "failed"}],
        }
        words = await agent.expect_error("publish_post", post_id="p1")
        code = words.partition("arguments and confirmation ")[2].partition(" (once")[0]
        post["status"] = "partial"
        words = await agent.expect_error("publish_post", post_id="p1", confirmation=code)
        assert "or for other arguments" in words


async def test_reschedule_that_created_nothing_yet_stops_no_publish(empty_agent):
    """There is no second post."""
    post_id = await make_draft(empty_agent)
    account = await empty_agent.find_account("linkedin Harbor Café")
    await empty_agent.runtime.app.ledger.replacements.begin(post_id, PostCreate(TEXT, account_ids=(account,)))
    _, data = await empty_agent.expect_ok("publish_post", post_id=post_id)
    assert data["outcome"] == "queued"


@pytest.mark.parametrize("seconds", [0, 200, 4000])
async def test_retry_is_made_once(empty_agent, seconds):
    """Whatever happened to the first, unless it failed."""
    old = await make_published(empty_agent, BERLIN, "linkedin")
    reconnect_account(empty_agent)
    _, first = await empty_agent.expect_ok("publish_post", post_id=old)
    advance_time(empty_agent, seconds)
    text, again = await empty_agent.expect_ok("publish_post", post_id=old)
    assert (again["outcome"], again["new_post_id"]) == ("already_queued", first["new_post_id"])
    assert "Nothing was sent" in text
    advance_time(empty_agent, 200)
    assert count_public(empty_agent, "twitter") == 1


async def test_retry_that_failed_too_is_named(empty_agent):
    old = await make_published(empty_agent, BERLIN, "linkedin")
    _, first = await empty_agent.expect_ok("publish_post", post_id=old)
    advance_time(empty_agent, 200)
    assert empty_agent.read_row(first["new_post_id"])["status"] == "failed"
    text, again = await empty_agent.expect_ok("publish_post", post_id=old)
    assert again["outcome"] == "already_queued"
    assert f"It failed too: call publish_post with {first['new_post_id']}." in text


async def test_account_that_got_the_post_by_create_post_is_left_out(empty_agent):
    """An agent may have created it directly."""
    old = await make_published(empty_agent, BERLIN, "linkedin")
    reconnect_account(empty_agent)
    await empty_agent.expect_ok("create_post", content=TEXT, account_ids=[BERLIN], scheduled_at="2026-11-24T10:00")
    text, data = await empty_agent.expect_ok("publish_post", post_id=old)
    assert data["outcome"] == "already_queued"
    assert "has the same text for twitter @harborcafe_berlin" in text
    advance_time(empty_agent, 7200)
    assert count_public(empty_agent, "twitter") == 1


async def test_failed_post_is_not_published_again_where_another_one_shows_it(empty_agent):
    """Only the accounts without it get a new post."""
    old = await make_published(empty_agent, BERLIN, "linkedin")
    with empty_agent.sandbox.store.writing() as db:
        db.execute("UPDATE posts SET status = 'failed' WHERE id = ?", (old,))
        db.execute(
            "UPDATE post_targets SET status = 'failed', url = NULL, external_id = NULL, error = 'No.' WHERE post_id = ?",
            (old,),
        )
    reconnect_account(empty_agent)
    await empty_agent.expect_ok("create_post", content=TEXT, account_ids=["linkedin"], scheduled_at="2026-11-24T10:00")
    _, data = await empty_agent.expect_ok("publish_post", post_id=old)
    assert (data["outcome"], data["accounts"]) == ("retried", [BERLIN])
    assert empty_agent.read_row(old)["status"] == "failed"


class WithoutList:
    """Fail lists of posts while `on`."""

    def __init__(self, app) -> None:
        self.app = app
        self.on = False

    async def __call__(self, scope, receive, send) -> None:
        if self.on and scope["path"] == "/api/posts" and scope["method"] == "GET":
            await send_reply(send, 500, {"success": False, "message": "Busy."})
        else:
            await self.app(scope, receive, send)


async def test_retry_needs_the_list_of_posts(connect_agent):
    """Otherwise an account could get it twice."""
    async with connect_agent(demo_posts=False, through=WithoutList) as agent:
        old = await make_published(agent, BERLIN, "linkedin")
        agent.sandbox.app.on = True
        words = await agent.expect_error("publish_post", post_id=old)
    assert "the other posts could not be read" in words


async def test_draft_needs_no_list_of_posts(connect_agent):
    """It is published itself, so no account can get it twice."""
    async with connect_agent(demo_posts=False, through=WithoutList) as agent:
        post_id = await make_draft(agent)
        agent.sandbox.app.on = True
        _, data = await agent.expect_ok("publish_post", post_id=post_id)
        assert data["outcome"] == "queued"


async def test_partial_post_whose_failures_are_not_shown_is_refused(connect_agent):
    async with connect_agent(demo_posts=False, through=show_fields(lambda name: name != "results")) as agent:
        old = await make_published(agent, BERLIN, "linkedin")
        words = await agent.expect_error("publish_post", post_id=old)
    assert "the API does not show on which accounts it failed" in words


async def test_choices_of_a_post_count_when_it_is_checked(connect_agent):
    """A pin without a board would be refused."""
    choices = {"pinterest": {"boardId": "board-recipes"}}
    async with connect_agent(demo_posts=False, through=show_fields(lambda name: name != "results")) as agent:
        post_id = await make_draft(agent, "pinterest", media_urls=["https://example.com/a.jpg"], platform_data=choices)
        _, data = await agent.expect_ok("publish_post", post_id=post_id)
        assert data["outcome"] == "queued"
        advance_time(agent)
        assert count_public(agent, "pinterest") == 1


async def test_post_whose_accounts_are_not_shown_is_published(connect_agent):
    """Its platforms name them."""
    hidden = ("accountIds", "accounts", "results")
    async with connect_agent(demo_posts=False, through=show_fields(lambda name: name not in hidden)) as agent:
        _, draft = await agent.expect_ok("create_post", content=TEXT, platforms=["linkedin"])
        _, data = await agent.expect_ok("publish_post", post_id=draft["post_id"])
        assert data["outcome"] == "queued"
        advance_time(agent)
        assert count_public(agent, "linkedin") == 1


async def test_retry_that_would_lose_its_thread_is_refused(connect_agent):
    async with connect_agent(demo_posts=False, through=show_fields(lambda name: name != "thread")) as agent:
        old = await make_published(agent, BERLIN, "linkedin", thread=["Come early"])
        words = await agent.expect_error("publish_post", post_id=old)
    assert f"the API does not show the thread of {old}" in words


async def test_post_that_a_platform_would_refuse_is_not_sent(connect_agent):
    """A draft may break the rules, a published post may not."""
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, methods=("POST",))) as agent:
        post_id = await make_draft(agent)
        agent.update_post(post_id, content="x" * 3001)
        agent.sandbox.app.turn = 10
        words = await agent.expect_error("publish_post", post_id=post_id)
        assert "3000" in words
        assert agent.sandbox.app.count == 0


async def test_expired_account_is_a_warning(empty_agent):
    post_id = await make_draft(empty_agent, BERLIN)
    text, data = await empty_agent.expect_ok("publish_post", post_id=post_id)
    (warning,) = data["warnings"]
    assert "is expired; posts to it fail until a person reconnects it" in warning
    assert f"Warning: {warning}" in text


async def test_user_is_asked_first_and_a_refusal_sends_nothing(connect_agent):
    async with connect_agent(answer=False, demo_posts=False) as agent:
        post_id = await make_draft(agent)
        words = await agent.expect_error("publish_post", post_id=post_id)
        assert "declined" in words
        assert agent.questions == [
            f"Publish this post now, on linkedin «Harbor Café»? What is public can't be called back.\n│ {TEXT}"
        ]
        assert agent.read_row(post_id)["status"] == "draft"


async def test_code_of_a_preview_publishes_what_was_shown(connect_agent):
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        post_id = await make_draft(agent)
        words = await agent.expect_error("publish_post", post_id=post_id)
        code = words.partition("confirmation ")[2].split()[0]
        agent.update_post(post_id, content="Other words")
        assert "for other arguments" in await agent.expect_error("publish_post", post_id=post_id, confirmation=code)
        agent.update_post(post_id, content=TEXT)
        _, data = await agent.expect_ok("publish_post", post_id=post_id, confirmation=code)
    assert data["outcome"] == "queued"


@pytest.mark.parametrize("change", [{"content": "Other words"}, {"status": "published"}])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_post_that_changes_while_the_user_is_asked_is_left(connect_agent, change, mode):
    opened = []

    def say_yes() -> bool:
        agent, post_id = opened
        agent.update_post(post_id, **change)
        return True

    async with connect_agent(answer=say_yes, mode=mode, demo_posts=False) as agent:
        post_id = await make_draft(agent)
        opened += [agent, post_id]
        result = await agent.call("publish_post", post_id=post_id)
        assert "othing was sent" in read_text(result)
        advance_time(agent)
        assert [count_public(agent, "linkedin", text) for text in (TEXT, "Other words")] == [0, 0]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_post_goes_out_once_the_user_agrees(connect_agent, mode):
    """Both a draft, and a retry as a new post."""
    async with connect_agent(demo_posts=False, confirm="off") as first:
        partial = await make_published(first, BERLIN, "linkedin")
        reconnect_account(first)
        async with connect_agent(answer=True, mode=mode, sandbox=first.sandbox) as agent:
            draft = await make_draft(agent, "linkedin")
            done = [await agent.expect_ok("publish_post", post_id=each) for each in (draft, partial)]
            assert [data["outcome"] for _, data in done] == ["queued", "retried"]
            assert len(agent.questions) == 2
            advance_time(agent, 200)
            assert (count_public(agent, "twitter"), count_public(agent, "linkedin")) == (1, 2)


async def test_lost_answer_is_settled_by_the_status(connect_agent):
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, methods=("POST",))) as agent:
        post_id = await make_draft(agent)
        fault = agent.sandbox.app
        fault.turn, fault.after = 0, True
        text, data = await agent.expect_ok("publish_post", post_id=post_id)
    assert data["outcome"] == "queued"
    assert text.splitlines()[0].endswith("The API's response was lost; the post's status shows that it arrived.")


async def test_request_that_may_still_arrive_is_not_sent_again(connect_agent):
    """The answer says what to check."""
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, methods=("POST",))) as agent:
        post_id = await make_draft(agent)
        fault = agent.sandbox.app
        fault.turn = 0
        text, data = await agent.expect_ok("publish_post", post_id=post_id)
        assert data["outcome"] == "unknown"
        assert agent.format_text(text) == snapshot("""\
Unknown whether <post 1> is being published: no response. Its status was draft when last seen. Call get_post
    in two minutes: if status and time are as before, the request did not arrive, and publish_post is safe to
    call again.
Sandbox: nothing here becomes public.\
""")
        fault.turn = None
        text, data = await agent.expect_ok("publish_post", post_id=post_id)
        assert data["outcome"] == "unknown"
        assert agent.format_text(text) == snapshot("""\
Unknown whether <post 1> is being published: a request was sent Tue 24 Nov 2026 09:02 Europe/Paris (08:02Z),
    and its response was lost or is still to come. Its status is draft. Nothing was sent by this call; call
    get_post in two minutes, and publish_post if nothing has changed.
Sandbox: nothing here becomes public.\
""")
        assert fault.count == 1
        advance_time(agent, 90)
        _, data = await agent.expect_ok("publish_post", post_id=post_id)
        assert data["outcome"] == "queued"
        advance_time(agent)
        assert count_public(agent, "linkedin") == 1


async def test_refusal_for_another_reason_is_reported(connect_agent):
    """Even if the post was published in the meantime."""
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, methods=("POST",))) as agent:
        post_id = await make_draft(agent)
        fault = agent.sandbox.app
        inner = fault.app

        async def publish_first(scope, receive, send):
            if scope["path"].endswith("/publish"):
                agent.update_post(post_id, status="published")
                await send_reply(send, 422, {"success": False, "message": "Too long."})
            else:
                await inner(scope, receive, send)

        fault.app = publish_first
        words = await agent.expect_error("publish_post", post_id=post_id)
    assert "the API refused the request (422)" in words


async def test_post_published_since_it_was_read_is_not_an_error(connect_agent):
    """The API answers 409 then."""
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, methods=("POST",))) as agent:
        post_id = await make_draft(agent)
        fault = agent.sandbox.app
        fault.turn, fault.how = 0, 409
        words = await agent.expect_error("publish_post", post_id=post_id)
        assert "the API refused the request (409)" in words
        inner = fault.app

        async def publish_first(scope, receive, send):
            if scope["method"] == "POST":
                agent.update_post(post_id, status="published")
            await inner(scope, receive, send)

        fault.turn, fault.app = None, publish_first
        _, data = await agent.expect_ok("publish_post", post_id=post_id)
    assert data["outcome"] == "already_published"


async def test_same_call_twice_at_once_sends_one_request(connect_agent):
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, methods=("POST",))) as agent:
        post_id = await make_draft(agent)
        fault = agent.sandbox.app
        fault.turn, fault.how = 10, "lost"
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(lambda: agent.expect_ok("publish_post", post_id=post_id))
        assert fault.count == 1


async def test_post_with_an_unfinished_reschedule_is_refused(empty_agent):
    """Both posts would be published."""
    old = await make_draft(empty_agent)
    replacements = empty_agent.runtime.app.ledger.replacements
    account = await empty_agent.find_account("linkedin Harbor Café")
    post = PostCreate(TEXT, account_ids=(account,))
    await replacements.begin(old, post)
    new = await empty_agent.runtime.app.writer.create(post, tool="reschedule_post", replaces=old)
    words = await empty_agent.expect_error("publish_post", post_id=old)
    assert f"an unfinished reschedule created {new.post_id} in place of {old}" in words
    assert empty_agent.read_row(old)["status"] == "draft"


async def test_limit_of_posts_an_hour_counts_a_publish(connect_agent):
    async with connect_agent(demo_posts=False, max_posts_per_hour=1) as agent:
        post_id = await make_draft(agent)
        words = await agent.expect_error("publish_post", post_id=post_id)
    assert words.startswith(
        "Post not published: TTP_MAX_POSTS_PER_HOUR allows 1 new posts an hour and that is used up."
    )


async def test_old_id_of_a_rescheduled_post_names_the_new_one(empty_agent):
    old = await make_draft(empty_agent)
    _, data = await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at="2026-12-01T10:00")
    assert await empty_agent.expect_error("publish_post", post_id=old) == (
        f"Post not published: {old} was replaced by {data['post_id']} when it was rescheduled. Call again with that id; nothing "
        "was changed."
    )


async def test_missing_endpoint_is_reported_in_one_sentence(empty_agent):
    """A retry still works, since it is a new post."""
    partial = await make_published(empty_agent, BERLIN, "linkedin")
    post_id = await make_draft(empty_agent)
    set_vendor_endpoints(empty_agent.sandbox.store, on=False)
    words = await empty_agent.expect_error("publish_post", post_id=post_id)
    assert empty_agent.format_text(words) == snapshot("""\
Post not published: this TimeToPost account's API has no way to publish a post at once (404); nothing was
    changed, and reschedule_post with scheduled_at now sends the post in about two minutes instead.\
""")
    assert empty_agent.read_row(post_id)["status"] == "draft"
    _, data = await empty_agent.expect_ok("publish_post", post_id=partial)
    assert data["outcome"] == "retried"


@pytest.mark.parametrize("access", ["read", "draft"])
async def test_access_without_publishing_has_no_such_tool(connect_agent, access):
    async with connect_agent(access=access) as agent:
        assert "publish_post" not in {tool.name for tool in (await agent.client.list_tools()).tools}
