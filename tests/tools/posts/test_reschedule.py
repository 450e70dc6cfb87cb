"""Changing a post: create the replacement, then delete the old one; and the result when a step fails."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from inline_snapshot import snapshot

from tests.tools.conftest import Fault, answer_reads, read_text, send_reply, show_fields
from ttp_mcp.api import PostCreate
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.replacements import Replacements
from ttp_mcp.ledger.store.base import LedgerProblem

pytestmark = pytest.mark.requirement("tools.reschedule")

POST = {"content": "Doors open at ten", "account_ids": ["linkedin"], "scheduled_at": "2026-11-26T09:00"}
FRIDAY = "2026-11-27T09:00"
NINE = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)


async def create_post(agent, **changes):
    """Return the id of a new post."""
    _, data = await agent.expect_ok("create_post", **POST | changes)
    return data["post_id"]


async def test_post_gets_another_time(empty_agent):
    """One call; the answer names both posts and both times."""
    old = await create_post(empty_agent)
    text, data = await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at=FRIDAY)
    assert empty_agent.format_text(text) == snapshot("""\
Rescheduled: <post 1> goes out Fri 27 Nov 2026 09:00 Europe/Paris (08:00Z), in 3 days, to linkedin «Harbor
    Café». delete_post cancels it.
It replaces <post 2>, which is deleted.
Changed: time (was Thu 26 Nov 2026 09:00 Europe/Paris (08:00Z)).
Unchanged: text, accounts.
Text: «Doors open at ten» (linkedin 17 of 3000 characters).
Sandbox: nothing here becomes public.\
""")
    assert data == {
        "old_post_id": old,
        "post_id": data["post_id"],
        "scheduled_at": "2026-11-27T09:00:00+01:00",
        "changed": ["time (was Thu 26 Nov 2026 09:00 Europe/Paris (08:00Z))"],
        "removed": [],
        "unchanged": ["text", "accounts"],
        "warnings": [],
        "text": "Doors open at ten",
        "characters": {"linkedin": 17},
    }
    assert empty_agent.list_posts() == [("Doors open at ten", "scheduled")]
    assert await list_tools(empty_agent) == ["create_post", "reschedule_post", "reschedule_post"]


async def test_old_id_leads_to_the_new_one(empty_agent):
    """Also over two moves."""
    old = await create_post(empty_agent)
    _, first = await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at=FRIDAY)
    _, second = await empty_agent.expect_ok(
        "reschedule_post", post_id=first["post_id"], scheduled_at="2026-11-28T09:00"
    )
    for gone in (old, first["post_id"]):
        words = await empty_agent.expect_error("get_post", post_id=gone)
        assert words == (
            f"Post not read: {gone} was replaced by {second['post_id']} when it was rescheduled. Call again with that id; "
            "nothing was changed."
        )
        for tool, done, more in (
            ("delete_post", "deleted", {}),
            ("reschedule_post", "rescheduled", {"scheduled_at": FRIDAY}),
        ):
            words = await empty_agent.expect_error(tool, post_id=gone, **more)
            assert words.startswith(
                f"Post not {done}: {gone} was replaced by {second['post_id']} when it was rescheduled"
            )
    assert len(empty_agent.list_posts()) == 1


async def test_post_moves_back_to_its_first_time(empty_agent):
    """A deleted equal post isn't a duplicate."""
    old = await create_post(empty_agent)
    _, moved = await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at=FRIDAY)
    _, back = await empty_agent.expect_ok(
        "reschedule_post", post_id=moved["post_id"], scheduled_at=POST["scheduled_at"]
    )
    assert back["post_id"] not in (old, moved["post_id"])
    assert empty_agent.list_posts() == [("Doors open at ten", "scheduled")]


async def test_draft_is_scheduled(empty_agent):
    """A user would say: schedule this draft."""
    draft = await create_post(empty_agent, content="A draft", scheduled_at=None)
    text, _ = await empty_agent.expect_ok("reschedule_post", post_id=draft, scheduled_at=FRIDAY)
    assert "goes out Fri 27 Nov 2026 09:00 Europe/Paris (08:00Z), in 3 days, to linkedin «Harbor Café»" in text
    assert empty_agent.list_posts() == [("A draft", "scheduled")]


async def test_draft_stays_a_draft_when_only_its_text_changes(empty_agent):
    """It gets no time."""
    _, draft = await empty_agent.expect_ok("create_post", content="A draft", account_ids=["linkedin"])
    text, data = await empty_agent.expect_ok("reschedule_post", post_id=draft["post_id"], content="A better draft")
    assert "is a draft for linkedin «Harbor Café»" in text
    assert "scheduled_at" not in data
    assert empty_agent.list_posts() == [("A better draft", "draft")]


async def test_text_accounts_media_and_thread_change_and_the_rest_stays(empty_agent):
    """All in one call."""
    old = await create_post(empty_agent)
    twitter = await empty_agent.find_account("twitter @harborcafe")
    _, data = await empty_agent.expect_ok(
        "reschedule_post",
        post_id=old,
        content="Now on X",
        account_ids=[twitter],
        media_urls=["https://example.com/a.jpg"],
        thread=["Second part"],
    )
    post = empty_agent.read_row(data["post_id"])
    assert (post["content"], post["media_urls"], post["thread"]) == (
        "Now on X",
        '["https://example.com/a.jpg"]',
        '["Second part"]',
    )
    _, shown = await empty_agent.expect_ok("get_post", post_id=data["post_id"])
    assert shown["accounts"] == ["twitter @harborcafe"]
    assert shown["scheduled_at"] == "2026-11-26T09:00:00+01:00"


async def test_failed_post_is_rescheduled(empty_agent):
    """It was never published."""
    old = await create_post(empty_agent)
    empty_agent.update_post(old, status="failed")
    await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at=FRIDAY)
    assert empty_agent.list_posts() == [("Doors open at ten", "scheduled")]


async def test_warnings_of_the_replacement_exclude_the_old_post(empty_agent):
    """Moved by ten minutes, it would clash with itself."""
    old = await create_post(empty_agent)
    await create_post(empty_agent, content="Another", scheduled_at="2026-11-26T09:30")
    _, data = await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at="2026-11-26T09:10")
    assert [empty_agent.mask_ids(each) for each in data["warnings"]] == [
        "Another post for linkedin «Harbor Café» is scheduled 20 min later (<post 1>)."
    ]


@pytest.mark.parametrize("status", ["publishing", "published", "partial"])
async def test_published_or_publishing_post_is_refused(empty_agent, status):
    """Nothing is changed."""
    old = await create_post(empty_agent)
    empty_agent.update_post(old, status=status)
    words = await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
    assert words == (
        f"Post not rescheduled: {old} is {status}, so it is out or on its way and can't be changed. create_post sends a new one; "
        "nothing was changed."
    )
    assert empty_agent.list_posts() == [("Doors open at ten", status)]


async def test_post_that_is_due_within_two_minutes_is_refused(empty_agent, clock):
    """The scheduler may have picked it up."""
    old = await create_post(empty_agent, scheduled_at="2026-11-24T09:10")
    clock.move(6 * 60 + 30)
    words = await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
    assert (
        "is due in 2 min, too soon to be replaced safely. delete_post may still stop it; nothing was changed." in words
    )


async def test_new_time_within_two_minutes_is_refused(empty_agent):
    """Both could be published before the old one is deleted."""
    old = await create_post(empty_agent)
    words = await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at="2026-11-24T09:03:30")
    assert "is less than two minutes away, too soon to replace a post safely. Pass a later time" in words
    assert empty_agent.list_posts() == [("Doors open at ten", "scheduled")]


async def test_past_time_and_broken_platform_rules_are_refused(empty_agent):
    """Before anything is sent."""
    old = await create_post(empty_agent)
    assert "is in the past" in await empty_agent.expect_error(
        "reschedule_post", post_id=old, scheduled_at="2026-11-23T09:00"
    )
    words = await empty_agent.expect_error(
        "reschedule_post", post_id=old, account_ids=["@harbor.cafe instagram", "instagram"]
    )
    assert words.startswith("Post not rescheduled: ")
    assert "Instagram needs at least one image or video" in await empty_agent.expect_error(
        "reschedule_post", post_id=old, account_ids=["instagram"]
    )
    assert empty_agent.list_posts() == [("Doors open at ten", "scheduled")]


async def test_call_without_a_change_is_refused(empty_agent):
    """The error lists what can change."""
    words = await empty_agent.expect_error("reschedule_post", post_id=await create_post(empty_agent))
    assert words == (
        "Post not rescheduled: nothing to change was passed. Pass at least one of scheduled_at, content, account_ids, "
        "media_urls, thread, platform_data, remove."
    )


async def test_change_without_effect_changes_nothing(empty_agent):
    """The same post isn't created twice."""
    old = await create_post(empty_agent)
    words = await empty_agent.expect_error("reschedule_post", post_id=old, content=POST["content"])
    assert words == f"Post not rescheduled: {old} is like that already. Nothing was changed."
    assert empty_agent.list_posts() == [("Doors open at ten", "scheduled")]


async def test_unknown_post_is_not_found(empty_agent):
    """As everywhere."""
    assert "not found (404)" in await empty_agent.expect_error("reschedule_post", post_id="cmb1", scheduled_at=FRIDAY)


async def test_accounts_that_the_api_does_not_show_have_to_be_passed(connect_agent):
    """The reference doesn't guarantee them."""
    bare = {"id": "p1", "content": "Words", "status": "scheduled", "scheduledAt": "2026-11-26T08:00:00.000Z"}
    async with connect_agent(demo_posts=False, through=answer_reads({"/posts/p1": {"post": bare}})) as agent:
        words = await agent.expect_error("reschedule_post", post_id="p1", scheduled_at=FRIDAY)
    assert words == (
        "Post not rescheduled: the API does not show which accounts p1 is for. Pass account_ids; nothing was changed."
    )


@pytest.mark.parametrize("written", ["next week", None])
async def test_unreadable_time_has_to_be_passed(connect_agent, written):
    """Otherwise a scheduled post would become a draft."""
    odd = {
        "id": "p1",
        "content": "Words",
        "status": "scheduled",
        "thread": [],
        "platformData": {},
        "scheduledAt": written,
    }
    async with connect_agent(demo_posts=False) as plain:
        odd["accountIds"] = [await plain.find_account("twitter @harborcafe")]
    async with connect_agent(demo_posts=False, through=answer_reads({"/posts/p1": {"post": odd}})) as agent:
        words = await agent.expect_error("reschedule_post", post_id="p1", content="Other words")
    assert words == (
        "Post not rescheduled: p1 is scheduled, but the API shows no time that can be read. Pass scheduled_at; nothing was "
        "changed."
    )


async def test_thread_and_choices_that_the_api_does_not_show_have_to_be_passed(connect_agent):
    """They would be lost silently."""
    bare = {"id": "p1", "content": "Words", "status": "draft", "mediaUrls": ["https://example.com/a.jpg"]}
    async with connect_agent(demo_posts=False, through=answer_reads({"/posts/p1": {"post": bare}})) as agent:
        targets = [await agent.find_account("twitter @harborcafe"), "pinterest"]
        words = await agent.expect_error("reschedule_post", post_id="p1", account_ids=targets)
        assert words == (
            "Post not rescheduled: the API does not show the thread and platform_data of p1. Pass thread and platform_data, "
            "or name it in remove if it has none; nothing was changed."
        )


async def test_accounts_are_found_in_the_results_too(connect_agent):
    """If the post itself doesn't name them."""
    async with connect_agent(demo_posts=False) as plain:
        account = await plain.find_account("linkedin Harbor Café")
        old = await create_post(plain)
        shown = {
            "id": old,
            "content": POST["content"],
            "status": "scheduled",
            "scheduledAt": "2026-11-26T08:00:00.000Z",
            "results": [{"accountId": account, "status": "pending"}],
        }
        async with connect_agent(sandbox=plain.sandbox, through=Once({f"/posts/{old}": {"post": shown}})) as agent:
            await agent.expect_ok("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        assert plain.list_posts() == [("Doors open at ten", "scheduled")]


class Once:
    """Answer the first request to a path with a reply, and pass the others on."""

    def __init__(self, replies):
        self.replies = replies

    def __call__(self, app):
        spoilt = answer_reads(self.replies)(app)

        async def first_only(scope, receive, send):
            path = scope["path"].removeprefix("/api")
            await (spoilt if path in self.replies else app)(scope, receive, send)
            self.replies.pop(path, None)

        return first_only


FAULTS = [*itertools.product(("lost", 500), (False, True)), (409, False), (401, False), (429, False)]


@pytest.mark.requirement("tools.reschedule.failures")
@pytest.mark.parametrize(("how", "after"), FAULTS)
async def test_after_any_single_failure_exactly_one_post_is_published(connect_agent, how, after):
    """Each request of the call fails once, before or after its effect; then the posts are counted."""
    async with connect_agent(demo_posts=False, through=Fault) as agent:
        for turn in itertools.count():
            old, result, standing, reached = await reschedule_with_fault(agent, turn, how=how, after=after)
            text = result.content[0].text
            assert standing == ["scheduled"], (turn, text)
            assert_true(agent, result, old, text)
            if not reached:
                break
        assert turn >= 7


@pytest.mark.requirement("tools.reschedule.failures")
@pytest.mark.parametrize("after", [False, True])
async def test_when_the_api_stays_unreachable_the_answer_says_what_may_exist(connect_agent, after):
    """Nothing can be undone then; both posts exist only if the answer says so."""
    async with connect_agent(demo_posts=False, through=Fault) as agent:
        for turn in itertools.count():
            old, result, standing, reached = await reschedule_with_fault(agent, turn, lasting=True, after=after)
            text = result.content[0].text
            assert standing
            assert len(standing) == 1 or "Both may exist" in text or "may exist" in text, (turn, text)
            assert_true(agent, result, old, text)
            if not reached:
                break


async def reschedule_with_fault(agent, turn, **how):
    """Fail the request of that turn; return the old id, the answer, the posts' status, and if it was reached."""
    fault = agent.sandbox.app
    content = f"{POST['content']}, {turn}"
    old = await create_post(agent, content=content)
    fault.turn, fault.count = turn, 0
    for name, value in how.items():
        setattr(fault, name, value)
    result = await agent.call("reschedule_post", post_id=old, scheduled_at=FRIDAY)
    reached, fault.turn = fault.reached, None
    return old, result, [status for text, status in agent.list_posts() if text == content], reached


def assert_true(agent, result, old, text):
    """Check the claims of an answer."""
    if not result.is_error:
        assert agent.read_row(old) is None
        assert agent.read_row(result.structured_content["post_id"])["status"] == "scheduled"
    if f"{old} is as before" in text or f"{old} still exists" in text or "nothing was changed" in text.lower():
        assert agent.read_row(old)["status"] == "scheduled"
    if f"{old} is gone" in text:
        assert agent.read_row(old) is None


class BeforeRequest:
    """Run something right before the n-th request of a method, counted from 0 once armed."""

    def __init__(self, app):
        self.app = app
        self.wait = None

    def arm(self, method, turn, action):
        self.wait = [method, turn, action]

    async def __call__(self, scope, receive, send):
        if self.wait and scope["method"] == self.wait[0]:
            if self.wait[1] == 0:
                self.wait, (_, _, action) = None, self.wait
                if (done := action()) is not None:
                    await done
            else:
                self.wait[1] -= 1
        await self.app(scope, receive, send)


# GETs of a call: the old post, accounts and posts, the replacement, the old post again, and the old post once it is gone.
BEFORE_DELETE, AFTER_DELETE = 4, 5


@pytest.mark.requirement("tools.reschedule.failures")
@pytest.mark.parametrize("status", ["publishing", "published"])
async def test_post_published_during_the_call_prevents_the_replacement(connect_agent, status):
    """Otherwise the audience would see it twice."""
    async with connect_agent(demo_posts=False, through=BeforeRequest) as agent:
        old = await create_post(agent)
        agent.sandbox.app.arm("GET", BEFORE_DELETE, lambda: agent.update_post(old, status=status))
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        assert agent.list_posts() == [("Doors open at ten", status)]
    assert words == (
        f"Post not rescheduled: the old post is {status} now. The replacement was removed; {old} is as before."
    )


@pytest.mark.requirement("tools.reschedule.failures")
async def test_replacement_stays_when_the_old_post_is_deleted_elsewhere(connect_agent):
    """Deleting it would leave no post at all."""
    async with connect_agent(demo_posts=False, through=BeforeRequest) as agent:
        old = await create_post(agent)

        def delete_old():
            with agent.sandbox.store.writing() as db:
                db.execute("DELETE FROM posts WHERE id = ?", (old,))

        agent.sandbox.app.arm("GET", BEFORE_DELETE, delete_old)
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        (new,) = await list_ids(agent)
        assert agent.list_posts() == [("Doors open at ten", "scheduled")]
        assert f"was replaced by {new}" in await agent.expect_error("get_post", post_id=old)
    assert words == (
        f"Post not rescheduled for sure: a step after the replacement failed, but {old} is gone and the replacement {new} exists. "
        "Check it with get_post."
    )


async def list_tools(agent):
    """Return the tool of each write, in order."""
    history = await agent.runtime.app.ledger.read_history(datetime(2000, 1, 1, tzinfo=UTC))
    return sorted(record.tool for record in history)


async def list_ids(agent):
    """Return the ids of all posts."""
    _, data = await agent.expect_ok("list_posts")
    return [post["id"] for post in data["posts"]]


@pytest.mark.requirement("tools.reschedule.failures")
async def test_replacement_of_a_published_and_deleted_post_stays(connect_agent):
    """It was published during the call, then deleted elsewhere."""
    async with connect_agent(demo_posts=False, through=BeforeRequest) as agent:
        old = await create_post(agent)

        def publish_old():
            agent.update_post(old, status="published")
            agent.sandbox.app.arm("GET", 0, delete_old)

        def delete_old():
            with agent.sandbox.store.writing() as db:
                db.execute("DELETE FROM posts WHERE id = ?", (old,))

        agent.sandbox.app.arm("GET", BEFORE_DELETE, publish_old)
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        (new,) = await list_ids(agent)
        assert f"was replaced by {new}" in await agent.expect_error("get_post", post_id=old)
    assert words == (
        f"Post not rescheduled for sure: the old post is published now, but {old} is gone and the replacement {new} exists. "
        "Check it with get_post."
    )


class NoDelete(BeforeRequest):
    """An API that never answers a delete, or refuses it."""

    lost = True

    async def __call__(self, scope, receive, send):
        if scope["method"] != "DELETE":
            await super().__call__(scope, receive, send)
        elif self.lost:
            raise ConnectionResetError
        else:
            await send_reply(send, 409, {"success": False, "message": "busy"})


@pytest.mark.requirement("tools.reschedule.failures")
@pytest.mark.parametrize("lost", [True, False])
async def test_replacement_that_cannot_be_removed_is_named_with_the_old_post(connect_agent, lost):
    async with connect_agent(demo_posts=False, through=NoDelete) as agent:
        old = await create_post(agent)
        agent.sandbox.app.lost = lost
        agent.sandbox.app.arm("GET", BEFORE_DELETE, lambda: agent.update_post(old, status="published"))
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        (new,) = set(await list_ids(agent)) - {old}
        assert await agent.runtime.app.ledger.replacements.find_pending(old) is not None
    assert words == (
        f"Post not rescheduled: the old post is published now, and the replacement could not be removed. Both may exist: call "
        f"get_post for {old} and {new}, its replacement, and delete_post for the one that is not wanted, before either is due."
    )


@pytest.mark.requirement("tools.reschedule.failures")
@pytest.mark.parametrize("failure", ["ledger", "shutdown"])
async def test_both_posts_are_named_when_no_delete_may_be_sent(connect_agent, monkeypatch, failure):
    """The ledger can't record it, or the server is shutting down."""
    async with connect_agent(demo_posts=False, through=BeforeRequest) as agent:
        old = await create_post(agent)
        if failure == "ledger":
            monkeypatch.setattr(Ledger, "begin_delete", raise_disk_full)
        else:
            agent.sandbox.app.arm("GET", BEFORE_DELETE, agent.runtime.app.writer.in_flight.abandon)
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        (new,) = set(await list_ids(agent)) - {old}
    assert words == (
        f"Post not rescheduled: a step after the replacement failed, and the replacement could not be removed. Both may exist: call "
        f"get_post for {old} and {new}, its replacement, and delete_post for the one that is not wanted, before either is due."
    )


@pytest.mark.requirement("tools.reschedule.failures")
async def test_post_publishing_during_its_delete_loses_the_replacement(connect_agent):
    """The API refuses the delete."""
    async with connect_agent(demo_posts=False, through=BeforeRequest) as agent:
        old = await create_post(agent)
        agent.sandbox.app.arm("DELETE", 0, lambda: agent.update_post(old, status="publishing"))
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        assert agent.list_posts() == [("Doors open at ten", "publishing")]
    assert "a step after the replacement failed. The replacement was removed" in words


@pytest.mark.requirement("tools.reschedule.failures")
@pytest.mark.parametrize("change", ["scheduled_at = scheduled_at + 3600000", "status = 'failed'"])
async def test_replacement_that_differs_from_the_request_is_deleted(connect_agent, change):
    """The API could store another time. The call can be repeated."""
    async with connect_agent(demo_posts=False, through=BeforeRequest) as agent:
        old = await create_post(agent)

        def shift():
            with agent.sandbox.store.writing() as db:
                db.execute(f"UPDATE posts SET {change} WHERE id <> ?", (old,))

        agent.sandbox.app.arm("GET", BEFORE_DELETE - 1, shift)
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        assert agent.list_posts() == [("Doors open at ten", "scheduled")]
        assert agent.read_row(old)
        ledger = agent.runtime.app.ledger
        assert await ledger.replacements.find_pending(old) is None
        assert await list_tools(agent) == ["create_post", "reschedule_post", "reschedule_post"]
        await agent.expect_ok("reschedule_post", post_id=old, scheduled_at=FRIDAY)
    assert words == (
        "Post not rescheduled: the API made the replacement differently than asked. The replacement was removed; "
        f"{old} is as before."
    )


@pytest.mark.requirement("tools.reschedule.failures")
async def test_replacement_is_deleted_when_the_delete_cannot_be_recorded(empty_agent, monkeypatch):
    """No unrecorded delete is sent, so the old post stays."""
    old = await create_post(empty_agent)
    begin = Ledger.begin_delete

    async def begin_delete(self, post_id, *arguments, **options):
        if post_id == old:
            raise LedgerProblem
        return await begin(self, post_id, *arguments, **options)

    monkeypatch.setattr(Ledger, "begin_delete", begin_delete)
    words = await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)

    assert words == (
        f"Post not rescheduled: a step after the replacement failed. The replacement was removed; {old} is as before."
    )
    assert empty_agent.list_posts() == [("Doors open at ten", "scheduled")]
    assert empty_agent.read_row(old)


class DeafOnce(Fault):
    """Acknowledge the first delete without effect; `instead` answers the second one."""

    deletes = 0
    instead = None

    async def __call__(self, scope, receive, send):
        if scope["method"] != "DELETE":
            await self.app(scope, receive, send)
            return
        self.deletes += 1
        if self.deletes == 1:
            await send_reply(send, 200, {"success": True})
        elif self.instead:
            await send_reply(send, *self.instead)
        else:
            await self.app(scope, receive, send)


@pytest.mark.requirement("tools.reschedule.failures")
@pytest.mark.parametrize("failure", ["api", "ledger", "shutdown"])
async def test_second_delete_that_fails_leaves_both_posts_named(connect_agent, monkeypatch, failure):
    begin = Ledger.begin_delete

    async def begin_delete(self, *arguments, **options):
        if agent.sandbox.app.deletes:
            raise LedgerProblem
        write = await begin(self, *arguments, **options)
        if failure == "shutdown":
            # From the second delete on; the first one is under way.
            agent.runtime.app.writer.in_flight._is_abandoned = True
        return write

    async with connect_agent(demo_posts=False, through=DeafOnce) as agent:
        old = await create_post(agent)
        if failure == "api":
            agent.sandbox.app.instead = (409, {"success": False, "message": "busy"})
        else:
            monkeypatch.setattr(Ledger, "begin_delete", begin_delete)
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        (new,) = set(await list_ids(agent)) - {old}
    assert words == (
        f"Post not rescheduled for sure: {old} was to be deleted, but it is still there (scheduled). Both may exist: call "
        f"get_post for {old} and {new}, its replacement, and delete_post for the one that is not wanted, before either is due."
    )


@pytest.mark.requirement("tools.reschedule.failures")
async def test_delete_without_effect_is_repeated_beyond_the_limit(connect_agent):
    """A limit must not leave both posts."""

    async with connect_agent(demo_posts=False, through=DeafOnce, max_deletes_per_hour=1) as agent:
        old = await create_post(agent)
        _, data = await agent.expect_ok("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        assert agent.list_posts() == [("Doors open at ten", "scheduled")]
        assert agent.read_row(data["post_id"])
        assert await list_tools(agent) == ["create_post", *["reschedule_post"] * 3]
        assert f"{old} was replaced by {data['post_id']}" in await agent.expect_error("get_post", post_id=old)


@pytest.mark.requirement("tools.reschedule.failures")
async def test_post_surviving_its_delete_is_named_with_its_replacement(connect_agent):
    """The API may ignore the delete or apply it late; deleting the replacement could then leave none."""

    class Deaf(Fault):
        async def __call__(self, scope, receive, send):
            if scope["method"] == "DELETE" and scope["path"].endswith(self.how):
                await send_reply(send, 200, {"success": True})
            else:
                await self.app(scope, receive, send)

    async with connect_agent(demo_posts=False, through=Deaf) as agent:
        old = await create_post(agent)
        agent.sandbox.app.how = old
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        assert agent.list_posts() == [("Doors open at ten", "scheduled")] * 2
        (new,) = set(await list_ids(agent)) - {old}
    assert words == (
        f"Post not rescheduled for sure: {old} was to be deleted, but it is still there (scheduled). Both may exist: call "
        f"get_post for {old} and {new}, its replacement, and delete_post for the one that is not wanted, before either is due."
    )


@pytest.mark.requirement("tools.reschedule.failures")
async def test_replacement_is_found_without_its_date(connect_agent):
    """Posts from before the call are known."""
    faults = []

    def through(app):
        faults.append(Fault(app))
        return show_fields(lambda name: name != "createdAt")(faults[-1])

    async with connect_agent(demo_posts=False, through=through) as agent:
        old = await create_post(agent)
        fault = faults[-1]
        fault.turn, fault.after, fault.methods = 0, True, ("POST",)
        await agent.expect_ok("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        assert agent.list_posts() == [("Doors open at ten", "scheduled")]


@pytest.mark.requirement("tools.reschedule.failures")
async def test_unclear_replacement_stays_recorded_when_the_call_is_repeated(connect_agent):
    """Its post may still appear beside the old one."""
    async with connect_agent(demo_posts=False, through=Fault) as agent:
        old = await create_post(agent)
        fault = agent.sandbox.app
        fault.turn, fault.count, fault.how, fault.after, fault.methods = 0, 0, "lost", False, ("POST",)
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        assert words == (
            "Post not rescheduled: no response. So the replacement may exist, and the "
            f"old post {old} still exists. Look with list_posts and delete the one that is not wanted."
        )
        fault.turn = None
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)

        assert "may have created an equal post, but its response was lost" in words
        assert words.endswith(f"{old} was not changed.")
        assert await agent.runtime.app.ledger.replacements.find_pending(old) is not None


@pytest.mark.requirement("tools.reschedule.failures")
async def test_hourly_limit_of_deletions_never_leaves_both_posts(connect_agent):
    """The call may always delete what it created."""
    async with connect_agent(demo_posts=False, max_deletes_per_hour=0) as agent:
        old = await create_post(agent)
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        assert agent.list_posts() == [("Doors open at ten", "scheduled")]
        assert agent.read_row(old)
    assert "The replacement was removed" in words


@pytest.mark.requirement("tools.reschedule.failures")
async def test_equal_post_of_another_user_is_never_taken_for_the_replacement(empty_agent):
    """Both exist and the agent chooses; relying on the other one could leave an account without a post."""
    old = await create_post(empty_agent)
    other = await create_post(empty_agent, scheduled_at=FRIDAY)
    words = await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
    assert words == (
        f"Post not rescheduled: the same text is at that time already, as {other}, so {old} is not needed for that. delete_post "
        f"removes it; nothing was changed, {old} still exists."
    )
    assert empty_agent.read_row(old)
    assert empty_agent.read_row(other)
    assert await empty_agent.runtime.app.ledger.replacements.find_pending(old) is None


@pytest.mark.requirement("tools.reschedule.failures")
async def test_unanswered_deletes_leave_both_posts_named(connect_agent):
    """Neither the old post nor the replacement could be deleted."""
    async with connect_agent(demo_posts=False, through=Fault) as agent:
        old = await create_post(agent)
        fault = agent.sandbox.app
        fault.turn, fault.lasting, fault.methods = 0, True, ("DELETE",)
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        (new,) = set(await list_ids(agent)) - {old}
    assert words == (
        f"Post not rescheduled for sure: {old} was to be deleted, but the response was lost. Both may exist: call "
        f"get_post for {old} and {new}, its replacement, and delete_post for the one that is not wanted, before either is due."
    )


@pytest.mark.requirement("tools.reschedule")
async def test_reschedule_succeeds_when_its_end_cannot_be_recorded(empty_agent, monkeypatch):
    """Only the pointer from the old id is missing."""
    old = await create_post(empty_agent)
    monkeypatch.setattr(Replacements, "end", raise_disk_full)
    _, data = await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at=FRIDAY)
    assert empty_agent.read_row(data["post_id"])
    assert empty_agent.read_row(old) is None


async def raise_disk_full(*_, **__):
    """A ledger whose disk is full."""
    raise LedgerProblem


@pytest.mark.parametrize(("old_minutes", "new"), [(5, "09:11"), (600, "09:05")])
async def test_late_confirmation_replaces_nothing(connect_agent, clock, old_minutes, new):
    """One of the two posts is due within two minutes by then."""

    def late():
        clock.move(4 * 60)
        return True

    async with connect_agent(answer=late, mode="legacy", demo_posts=False, confirm="required") as agent:
        account = await agent.find_account("linkedin Harbor Café")
        due = clock.now() + timedelta(minutes=old_minutes)
        old = await agent.runtime.app.api.posts.create(
            PostCreate("Doors open at ten", account_ids=(account,), scheduled_at=due)
        )
        words = await agent.expect_error("reschedule_post", post_id=old.id, scheduled_at=f"2026-11-24T{new}")
        assert "too soon" in words
        assert agent.list_posts() == [("Doors open at ten", "scheduled")]
        assert agent.read_row(old.id)


@pytest.mark.parametrize(
    ("before", "after"), [(["twitter"], ["twitter", "linkedin"]), (["twitter", "linkedin"], ["twitter"])]
)
async def test_accounts_are_added_and_removed(empty_agent, before, after):
    """The old post, equal in text and time, isn't a duplicate of its replacement."""
    ids = {
        "twitter": await empty_agent.find_account("twitter @harborcafe"),
        "linkedin": await empty_agent.find_account("linkedin Harbor Café"),
    }
    old = await create_post(empty_agent, account_ids=[ids[name] for name in before])
    _, data = await empty_agent.expect_ok("reschedule_post", post_id=old, account_ids=[ids[name] for name in after])
    _, post = await empty_agent.expect_ok("get_post", post_id=data["post_id"])
    assert [account.split()[0] for account in post["accounts"]] == after
    assert len(empty_agent.list_posts()) == 1
    text, again = await empty_agent.expect_ok("create_post", **POST | {"account_ids": [ids["twitter"]]})
    assert again["post_id"] == data["post_id"], text


async def test_partial_duplicate_does_not_replace_the_old_post(empty_agent):
    """Without the old post the other accounts would get nothing."""
    twitter, linkedin = (
        await empty_agent.find_account("twitter @harborcafe"),
        await empty_agent.find_account("linkedin Harbor Café"),
    )
    there = await create_post(empty_agent, account_ids=[twitter], scheduled_at=FRIDAY)
    old = await create_post(empty_agent, account_ids=[linkedin])
    words = await empty_agent.expect_error(
        "reschedule_post", post_id=old, account_ids=[twitter, linkedin], scheduled_at=FRIDAY
    )
    assert words == (
        f"Post not rescheduled: the same text is at that time already, as {there}, but not for linkedin «Harbor Café». Call again "
        f"with account_ids {linkedin} to have the rest there; nothing was changed, {old} still exists."
    )
    assert len(empty_agent.list_posts()) == 2
    await empty_agent.expect_ok("reschedule_post", post_id=old, account_ids=[linkedin], scheduled_at=FRIDAY)


async def test_concurrent_equal_calls_are_serialized(empty_agent):
    """Each would claim the other's replacement, and could delete it."""
    old = await create_post(empty_agent)
    answers = []

    async def move():
        answers.append(read_text(await empty_agent.call("reschedule_post", post_id=old, scheduled_at=FRIDAY)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(move)
        tasks.start_soon(move)
    refused, done = sorted(answers)
    assert f"{old} is being replaced by another call right now" in refused
    assert done.startswith("Rescheduled: ")
    assert len(empty_agent.list_posts()) == 1


async def find_two_accounts(agent):
    """Return the ids of two accounts."""
    return await agent.find_account("twitter @harborcafe"), await agent.find_account("linkedin Harbor Café")


async def test_accounts_of_the_old_post_count_as_missing(empty_agent):
    """It is deleted, and the equal post is for another account."""
    twitter, linkedin = await find_two_accounts(empty_agent)
    there = await create_post(empty_agent, account_ids=[twitter])
    old = await create_post(empty_agent, account_ids=[linkedin])
    words = await empty_agent.expect_error("reschedule_post", post_id=old, account_ids=[twitter, linkedin])
    assert f"at that time already, as {there}, but not for linkedin" in words
    assert len(empty_agent.list_posts()) == 2


async def test_account_whose_equal_post_was_deleted_counts_as_missing(empty_agent):
    """create_post says the same."""
    twitter, linkedin = await find_two_accounts(empty_agent)
    await create_post(empty_agent, account_ids=[twitter], scheduled_at=FRIDAY)
    await empty_agent.expect_ok(
        "delete_post", post_id=await create_post(empty_agent, account_ids=[linkedin], scheduled_at=FRIDAY)
    )
    old = await create_post(empty_agent, account_ids=[twitter, linkedin])
    words = await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
    assert "but not for linkedin" in words
    assert empty_agent.read_row(old)
    text, _ = await empty_agent.expect_ok(
        "create_post", **POST | {"account_ids": [twitter, linkedin], "scheduled_at": FRIDAY}
    )
    assert "but not for linkedin" in text


async def test_old_post_is_remembered_after_its_replacement_is_deleted(connect_agent):
    """Otherwise an equal create would reach its accounts twice."""
    async with connect_agent(demo_posts=False, max_deletes_per_hour=0) as agent:
        twitter, linkedin = await find_two_accounts(agent)
        old = await create_post(agent, account_ids=[twitter, linkedin])
        assert "was removed" in await agent.expect_error("reschedule_post", post_id=old, account_ids=[twitter])
        text, data = await agent.expect_ok("create_post", **POST | {"account_ids": [twitter, linkedin]})
        assert text.startswith(f"Already created: {old}, the same post for the same accounts and time")
        _, data = await agent.expect_ok("create_post", **POST | {"account_ids": [twitter]})
        assert data["post_id"] == old
        assert len(agent.list_posts()) == 1


async def test_first_post_counts_after_its_copy_is_deleted(empty_agent, clock):
    """It still exists; only the copy hid it."""
    first = await create_post(empty_agent)
    second = await create_post(empty_agent, allow_duplicate=True)
    await empty_agent.expect_ok("delete_post", post_id=second)
    assert await create_post(empty_agent) == first
    await empty_agent.runtime.app.api.posts.delete(first)
    clock.move(120)
    assert await create_post(empty_agent) not in (first, second)


async def test_post_deleted_elsewhere_does_not_serve_its_account(empty_agent, clock):
    """Each equal post is read before all accounts count as served."""
    twitter, linkedin = await find_two_accounts(empty_agent)
    first = await create_post(empty_agent, account_ids=[twitter])
    second = await create_post(empty_agent, account_ids=[linkedin])
    await empty_agent.runtime.app.api.posts.delete(second)
    clock.move(120)
    text, data = await empty_agent.expect_ok("create_post", **POST | {"account_ids": [twitter, linkedin]})
    assert data["post_id"] == first
    assert "but not for linkedin" in text


async def test_hidden_thread_can_be_removed(connect_agent):
    """A hidden thread isn't an equal one."""
    async with connect_agent(demo_posts=False, through=show_fields(lambda name: name != "thread")) as agent:
        twitter = await agent.find_account("twitter @harborcafe")
        old = await create_post(agent, account_ids=[twitter], thread=["And close at six"])
        _, data = await agent.expect_ok("reschedule_post", post_id=old, remove=["thread"])
        assert json.loads(agent.read_row(data["post_id"])["thread"] or "[]") == []


async def test_posts_serving_the_accounts_together_are_all_named(empty_agent):
    """Naming one would be half of the answer."""
    twitter, linkedin = await find_two_accounts(empty_agent)
    first, second = (
        await create_post(empty_agent, account_ids=[twitter]),
        await create_post(empty_agent, account_ids=[linkedin]),
    )
    both = POST | {"account_ids": [twitter, linkedin]}
    text, _ = await empty_agent.expect_ok("create_post", **both)
    assert text.startswith(f"Already created: {first} and {second} are together the same post")
    text, _ = await empty_agent.expect_ok("check_post", **both)
    assert f"For the other accounts it is {second}." in text
    old = await create_post(empty_agent, account_ids=[twitter, linkedin], scheduled_at=FRIDAY)
    words = await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=POST["scheduled_at"])
    assert f"as {first} and {second}, so {old} is not needed" in words
    assert len(empty_agent.list_posts()) == 3


async def test_post_with_an_unclear_create_is_not_its_own_replacement(empty_agent):
    """The search finds it under the id that is to be deleted."""
    twitter, linkedin = await find_two_accounts(empty_agent)
    app = empty_agent.runtime.app
    post = PostCreate("Doors open at ten", account_ids=(twitter, linkedin), scheduled_at=NINE)
    write = await app.ledger.begin_create(post, tool="create_post")
    lost = await app.api.posts.create(post)
    await app.ledger.finish(write, "unknown")
    _, moved = await empty_agent.expect_ok("reschedule_post", post_id=lost.id, account_ids=[twitter])
    assert moved["post_id"] != lost.id
    assert empty_agent.list_posts() == [("Doors open at ten", "scheduled")]


async def test_post_beside_a_deleted_replacement_is_remembered(empty_agent):
    """A later create for a removed account doesn't forget the other post."""
    twitter, linkedin = await find_two_accounts(empty_agent)
    old = await create_post(empty_agent, account_ids=[twitter, linkedin])
    _, moved = await empty_agent.expect_ok("reschedule_post", post_id=old, account_ids=[twitter])
    alone = await create_post(empty_agent, account_ids=[linkedin])
    assert await create_post(empty_agent, account_ids=[twitter]) == moved["post_id"]
    assert await create_post(empty_agent, account_ids=[linkedin]) == alone
    assert len(empty_agent.list_posts()) == 2


async def test_every_copy_that_exists_is_remembered(empty_agent):
    """Deleting one leads to the next."""
    first = await create_post(empty_agent)
    second, third = (
        await create_post(empty_agent, allow_duplicate=True),
        await create_post(empty_agent, allow_duplicate=True),
    )
    for gone in (third, second):
        await empty_agent.expect_ok("delete_post", post_id=gone)
    assert await create_post(empty_agent) == first


FILLED = {"account_ids": [], "media_urls": [], "thread": [], "platform_data": {}}


@pytest.mark.requirement("tools.reschedule.empty")
@pytest.mark.parametrize(
    "filler", [FILLED, {**FILLED, "platform_data": {"pinterest": {}, "tiktok": {"privacy": ""}}, "remove": []}]
)
async def test_empty_lists_and_objects_change_nothing(empty_agent, filler):
    """Some clients send them for every argument that the model left out."""
    targets = [await empty_agent.find_account("twitter @harborcafe"), "pinterest"]
    old = await create_post(
        empty_agent,
        account_ids=targets,
        media_urls=["https://example.com/a.jpg"],
        thread=["Second"],
        platform_data={"pinterest": {"boardId": "board-recipes"}},
    )
    text, data = await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at=FRIDAY, **filler)
    post = empty_agent.read_row(data["post_id"])
    assert (post["media_urls"], post["thread"]) == ('["https://example.com/a.jpg"]', '["Second"]')
    assert json.loads(post["platform_data"]) == {"pinterest": {"boardId": "board-recipes"}}
    assert data["removed"] == []
    assert "\nUnchanged: text, accounts, media, thread, platform choices." in text


@pytest.mark.requirement("tools.reschedule.empty")
async def test_removed_parts_are_named_before_and_after(connect_agent):
    """Removing a part needs its keyword, which clients don't send by accident."""
    async with connect_agent(answer=True, demo_posts=False, confirm="required") as agent:
        twitter = await agent.find_account("twitter @harborcafe")
        old = await create_post(
            agent, account_ids=[twitter], media_urls=["https://example.com/a.jpg"], thread=["Second", "Third"]
        )
        text, data = await agent.expect_ok("reschedule_post", post_id=old, remove=["media", "thread"])
    post = agent.read_row(data["post_id"])
    assert (post["thread"], post["media_urls"]) == ("[]", "[]")
    assert "\nIts picture («a.jpg») was removed.\n2 further posts of the thread were removed.\n" in text
    assert "\nIts picture («a.jpg») is removed.\n2 further posts of the thread are removed.\n" in agent.questions[-1]
    assert data["removed"] == ["its picture («a.jpg»)", "2 further posts of the thread"]


@pytest.mark.requirement("tools.reschedule.empty")
async def test_part_that_is_set_and_removed_is_refused(empty_agent):
    """One of the two is a mistake."""
    old = await create_post(empty_agent, media_urls=["https://example.com/a.jpg"])
    words = await empty_agent.expect_error(
        "reschedule_post", post_id=old, media_urls=["https://example.com/b.jpg"], remove=["media"]
    )
    assert "media_urls is both set and removed" in words


@pytest.mark.requirement("tools.reschedule.empty")
async def test_omitted_choices_stay(empty_agent):
    """A new title keeps the board, in either spelling."""
    old = await create_post(
        empty_agent,
        account_ids=["pinterest"],
        media_urls=["https://example.com/a.jpg"],
        platform_data={"pinterest": {"board_id": "board-recipes", "title": "Old"}},
    )
    text, data = await empty_agent.expect_ok(
        "reschedule_post", post_id=old, platform_data={"pinterest": {"title": "New"}}
    )
    assert json.loads(empty_agent.read_row(data["post_id"])["platform_data"]) == {
        "pinterest": {"boardId": "board-recipes", "title": "New"}
    }
    assert "\nChanged: platform choices (pinterest.title was «Old»).\n" in text
