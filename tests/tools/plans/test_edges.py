"""Edges of applying and undoing plans: accounts that are gone, times to the second, records that are missing."""

import anyio
import pytest

from tests.support.ledgers import fail_to_record, record_nothing
from tests.tools.conftest import Fault, answer_reads, find_code, send_reply, show_fields, show_promised
from tests.tools.plans.test_plans import list_outcomes
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.plans import Plans

pytestmark = pytest.mark.requirement("tools.plans")
UNDO = pytest.mark.requirement("tools.plans.undo")

TWO = [
    {"content": f"Post {number}", "account_ids": ["linkedin"], "scheduled_at": f"2026-11-2{number + 4}T10:00"}
    for number in (1, 2)
]
SOON = {"content": "Soon", "account_ids": ["linkedin"], "scheduled_at": "2026-11-24T09:07"}


async def make_plan(agent, posts=TWO):
    """Return the id of a plan."""
    _, data = await agent.expect_ok("plan_posts", posts=posts)
    return data["plan_id"]


@pytest.mark.parametrize(("seconds", "again"), [(240, True), (241, False)])
async def test_deleted_post_is_recreated_up_to_a_minute_before_its_time(empty_agent, clock, seconds, again):
    """After that its time is over, and the plan has nothing left to do."""
    plan_id = await make_plan(empty_agent, [SOON])
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    await empty_agent.expect_ok("delete_post", post_id=data["steps"][0]["post_id"])
    clock.move(seconds)
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert (list_outcomes(data), data["complete"]) == ([(1, "created")] if again else [], True)
    assert len(empty_agent.list_posts()) == again


async def test_deleted_posts_are_all_recreated(empty_agent):
    """And none of the others."""
    plan_id = await make_plan(empty_agent, [*TWO, {**TWO[0], "content": "Post 3"}])
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    for step in data["steps"]:
        if step["index"] != 2:
            await empty_agent.expect_ok("delete_post", post_id=step["post_id"])
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert sorted(list_outcomes(data)) == [(1, "created"), (3, "created")]
    assert sorted(content for content, _ in empty_agent.list_posts()) == ["Post 1", "Post 2", "Post 3"]


async def test_post_of_a_disconnected_account_is_found(connect_agent):
    """It was created before the account was disconnected; only its label is unknown."""
    replies = {}
    async with connect_agent(demo_posts=False, through=answer_reads(replies)) as agent:
        account = await agent.find_account("linkedin Harbor Café")
        plan_id = await make_plan(agent, TWO[:1])
        _, own = await agent.expect_ok("create_post", **TWO[0])
        replies["/integrations"] = {"integrations": []}
        text, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
    assert data["steps"] == [
        {
            "index": 1,
            "outcome": "already_created",
            "post_id": own["post_id"],
            "scheduled_at": "2026-11-25T10:00:00+01:00",
            "accounts": [account],
            "contents": "«Post 1»",
        }
    ]
    assert f"already created {own['post_id']} for {account}, «Post 1»\n" in text


async def test_options_of_tiktok_are_not_read_for_other_posts(connect_agent):
    """They can't stop a post elsewhere."""
    through = answer_reads({"/integrations/tiktok/creator-info": 500})
    async with connect_agent(demo_posts=False, through=through) as agent:
        _, data = await agent.expect_ok("apply_plan", plan_id=await make_plan(agent))
        assert [(step["outcome"], step.get("reason")) for step in data["steps"]] == [("created", None)] * 2


async def test_warnings_follow_the_reason_of_a_step(connect_agent):
    """What wasn't checked may be why the API refuses the post."""

    def refuse(app):
        async def between(scope, receive, send):
            if scope["path"].endswith("/creator-info") or scope["method"] == "POST":
                await send_reply(send, 400, {"success": False, "message": "No."})
            else:
                await app(scope, receive, send)

        return between

    choices = {"privacy": "SELF_ONLY", "allow_comments": True, "allow_duet": False, "allow_stitch": False}
    clip = {
        **TWO[0],
        "account_ids": ["tiktok"],
        "media_urls": ["https://example.com/a.mp4"],
        "platform_data": {"tiktok": choices | {"your_brand": False, "branded_content": False}},
    }
    async with connect_agent(demo_posts=False, through=refuse) as agent:
        _, data = await agent.expect_ok("apply_plan", plan_id=await make_plan(agent, [clip]))
    assert data["steps"][0]["reason"].startswith(
        "Post 1 not created: the API refused the request (400). API said: «No.». Correct that, then call again; nothing was "
        "changed. TikTok: whether tiktok @harbor.cafe offers these choices couldn't be checked: "
    )


async def test_shutdown_waits_until_a_created_post_is_noted(empty_agent, monkeypatch):
    """Undoing the plan would not know it otherwise."""
    noting, release = anyio.Event(), anyio.Event()
    note, drained = Plans.note_step, []

    async def hold(self, *arguments):
        noting.set()
        await release.wait()
        await note(self, *arguments)

    async def drain():
        drained.append(await empty_agent.runtime.app.writer.in_flight.drain(60))

    plan_id = await make_plan(empty_agent, TWO[:1])
    monkeypatch.setattr(Plans, "note_step", hold)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: empty_agent.call("apply_plan", plan_id=plan_id))
        with anyio.fail_after(5):
            await noting.wait()
        tasks.start_soon(drain)
        await anyio.wait_all_tasks_blocked()
        early = list(drained)
        release.set()
    assert (early, drained) == ([], [True])


async def test_create_that_is_abandoned_has_an_unknown_outcome(connect_agent):
    """The server is shutting down; nothing else is sent, and nothing searched for."""
    held = anyio.Event()

    def hang(app):
        async def between(scope, receive, send):
            if scope["method"] == "POST":
                held.set()
                await anyio.sleep_forever()
            await app(scope, receive, send)

        return between

    steps = []
    async with connect_agent(demo_posts=False, through=hang) as agent:
        plan_id = await make_plan(agent)

        async def apply():
            _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
            steps.extend(data["steps"])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(apply)
            with anyio.fail_after(5):
                await held.wait()
            await agent.runtime.app.writer.in_flight.abandon()
        account = await agent.find_account("linkedin Harbor Café")
    assert [(step["index"], step["outcome"]) for step in steps] == [(1, "unknown")]
    assert steps[0]["reason"] == (
        "The call ended before there was a response. Look for it with list_posts. If it isn't there, call create_post with the "
        f"same content and media, account_ids {account}, scheduled_at 2026-11-25T09:00:00.000Z and allow_duplicate=true, then "
        "apply_plan again."
    )


async def test_created_post_is_the_plans_own_without_another_look_at_the_ledger(empty_agent, monkeypatch):
    """Undoing deletes it."""
    plan_id = await make_plan(empty_agent, TWO[:1])
    with monkeypatch.context() as full:
        full.setattr(Ledger, "find_prior_create", fail_to_record)
        _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert list_outcomes(data) == [(1, "created")]
    _, data = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert list_outcomes(data) == [(1, "deleted")]


async def test_post_that_the_ledger_cannot_tell_from_the_users_is_kept(empty_agent, monkeypatch):
    """Undoing a plan never deletes what the user made."""
    plan_id = await make_plan(empty_agent, TWO[:1])
    await empty_agent.expect_ok("create_post", **TWO[0])
    with monkeypatch.context() as full:
        full.setattr(Ledger, "find_prior_create", fail_to_record)
        _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert list_outcomes(data) == [(1, "already_created")]
    _, data = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert list_outcomes(data) == [(1, "kept")]
    assert len(empty_agent.list_posts()) == 1


async def test_post_that_is_deleted_while_its_plan_is_applied_stops_nothing(empty_agent, monkeypatch):
    """By another session, just after it was found as an earlier one."""
    plan_id = await make_plan(empty_agent)
    await empty_agent.expect_ok("create_post", **TWO[0])

    async def find_nothing(*_, **__):
        return None

    monkeypatch.setattr(Ledger, "find_prior_create", find_nothing)
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert list_outcomes(data) == [(1, "already_created"), (2, "created")]


async def test_plan_that_expires_while_it_is_applied_is_reported_as_it_was(empty_agent, monkeypatch):
    """Its posts exist all the same."""
    plan_id, loads, load = await make_plan(empty_agent), [], Plans.load

    async def load_once(self, wanted):
        loads.append(wanted)
        return await load(self, wanted) if len(loads) == 1 else None

    monkeypatch.setattr(Plans, "load", load_once)
    text, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert text.startswith(f"Plan {plan_id}: 0 of 2 posts scheduled now.")
    assert (list_outcomes(data), data["complete"]) == ([(1, "created"), (2, "created")], False)


async def test_apply_stops_when_a_create_cannot_be_recorded(empty_agent, monkeypatch):
    """Nothing is sent that the ledger doesn't know."""
    plan_id = await make_plan(empty_agent)
    monkeypatch.setattr(Ledger, "begin_create", fail_to_record)
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert [(step["outcome"], step["reason"]) for step in data["steps"]] == [
        ("stopped", "Post 1 not created: the disk is full.")
    ]
    assert empty_agent.list_posts() == []


async def test_own_post_is_recognized_after_its_record_was_lost(empty_agent, monkeypatch):
    """The process ended before it noted the post: applying again notes it as the plan's own, so that undoing deletes it."""
    plan_id = await make_plan(empty_agent)
    with monkeypatch.context() as dying:
        dying.setattr(Plans, "note_step", record_nothing)
        _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
        assert not data["complete"]
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert (list_outcomes(data), data["complete"]) == ([(1, "already_created"), (2, "already_created")], True)
    _, data = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert list_outcomes(data) == [(1, "deleted"), (2, "deleted")]
    assert empty_agent.list_posts() == []


@UNDO
async def test_undo_finds_unrecorded_posts_behind_one_that_was_refused(connect_agent, monkeypatch):
    """They would be published otherwise."""
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, methods=("POST",), how=400)) as agent:
        plan_id = await make_plan(agent)
        agent.sandbox.app.turn = 0
        with monkeypatch.context() as dying:
            dying.setattr(Plans, "note_step", record_nothing)
            _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert list_outcomes(data) == [(1, "refused"), (2, "created")]
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert (list_outcomes(data), data["complete"]) == ([(2, "deleted")], True)
        assert agent.list_posts() == []


@UNDO
async def test_undo_of_an_unrecorded_post_that_is_gone_says_nothing_of_it(empty_agent, monkeypatch):
    plan_id = await make_plan(empty_agent, TWO[:1])
    with monkeypatch.context() as dying:
        dying.setattr(Plans, "note_step", record_nothing)
        _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    await empty_agent.expect_ok("delete_post", post_id=data["steps"][0]["post_id"])
    text, data = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert text.startswith("Nothing to undo: this plan has created no post that is still there.")
    assert (data["steps"], data["complete"]) == ([], True)


@UNDO
async def test_undo_shows_a_changed_post_without_the_parts_of_the_plan(connect_agent):
    """The reference doesn't guarantee a thread, and the one of the plan may have been removed."""
    async with connect_agent(answer=True, demo_posts=False, through=show_promised) as agent:
        account = await agent.find_account("twitter @harborcafe")
        plan_id = await make_plan(agent, [{"content": "One", "account_ids": [account], "thread": ["Two"]}])
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        await agent.expect_ok(
            "reschedule_post",
            post_id=data["steps"][0]["post_id"],
            account_ids=[account],
            remove=["thread", "platform_data"],
            scheduled_at="2026-12-20T10:00",
        )
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert agent.questions[-1].endswith("│ One")
        assert list_outcomes(data) == [(1, "deleted")]


@pytest.mark.parametrize("tool", ["apply_plan", "undo_plan"])
async def test_unknown_plan_is_named_by_the_tool(empty_agent, tool):
    """With at most 40 characters."""
    failure = {"apply_plan": "Plan not applied", "undo_plan": "Plan not undone"}[tool]
    assert await empty_agent.expect_error(tool, plan_id="5e1ec7ab1e00") == (
        f"{failure}: plan «5e1ec7ab1e00» doesn't exist. Call plan_posts to make one; nothing was sent."
    )
    document = {"posts": []}
    await empty_agent.runtime.app.ledger.plans.save("5e1ec7ab1e00", document)
    assert await empty_agent.expect_error(tool, plan_id="5e1ec7ab1e00") == (
        f"{failure}: plan 5e1ec7ab1e00 was altered since it was shown. Call plan_posts again; nothing was sent."
    )


def without_date(app):
    """Take the time of the API from its responses."""

    async def between(scope, receive, send):
        async def cut(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": [each for each in message["headers"] if each[0].lower() != b"date"]}
            await send(message)

        await app(scope, receive, cut)

    return between


@UNDO
async def test_missing_post_counts_as_gone_where_the_api_has_no_clock(connect_agent, clock):
    """After the replication lag, by this machine's clock."""
    async with connect_agent(demo_posts=False, through=without_date) as agent:
        plan_id = await make_plan(agent, TWO[:1])
        await agent.expect_ok("apply_plan", plan_id=plan_id)
        with agent.sandbox.store.writing() as db:
            db.execute("DELETE FROM posts")
        for seconds, outcome in ((85, "unknown"), (10, "already_gone")):
            clock.move(seconds)
            _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
            assert list_outcomes(data) == [(1, outcome)]


@UNDO
async def test_missing_post_counts_as_gone_after_a_delete_that_was_refused(connect_agent, clock):
    """Only its create could still be missing on a replica."""
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, methods=("DELETE",), how=403)) as agent:
        plan_id = await make_plan(agent, TWO[:1])
        await agent.expect_ok("apply_plan", plan_id=plan_id)
        clock.move(3600)
        agent.sandbox.app.turn = 0
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert list_outcomes(data) == [(1, "failed")]
        with agent.sandbox.store.writing() as db:
            db.execute("DELETE FROM posts")
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert list_outcomes(data) == [(1, "already_gone")]


@UNDO
async def test_question_of_an_undo_names_a_post_that_has_become_a_draft(connect_agent):
    async with connect_agent(answer=True, mode="legacy", demo_posts=False) as agent:
        plan_id = await make_plan(agent, TWO[:1])
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        agent.update_post(data["steps"][0]["post_id"], status="draft", scheduled_at=None)
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert agent.questions[-1] == (
            f"Delete 1 post that plan {plan_id} created, unless published by then?\n"
            "no time set, linkedin «Harbor Café»:\n│ Post 1"
        )
        assert list_outcomes(data) == [(1, "deleted")]


@UNDO
@pytest.mark.requirement("tools.plans.confirmed")
async def test_code_for_an_undo_covers_no_equal_post_with_another_id(connect_agent):
    """The post was deleted and created again since."""
    async with connect_agent(demo_posts=False, confirm="required") as agent:

        async def call(tool, **arguments):
            words = await agent.expect_error(tool, **arguments)
            return await agent.expect_ok(tool, **arguments, confirmation=find_code(words))

        plan_id = await make_plan(agent, TWO[:1])
        _, data = await call("apply_plan", plan_id=plan_id)
        code = find_code(await agent.expect_error("undo_plan", plan_id=plan_id))
        await call("delete_post", post_id=data["steps"][0]["post_id"])
        await call("apply_plan", plan_id=plan_id)
        words = await agent.expect_error("undo_plan", plan_id=plan_id, confirmation=code)
        assert "or for other arguments" in words
        assert len(agent.list_posts()) == 1


@UNDO
async def test_undo_ends_at_the_limit_of_deletes_and_is_recorded(connect_agent, clock):
    """The history has the tool that deleted."""
    async with connect_agent(demo_posts=False, max_deletes_per_hour=1) as agent:
        plan_id = await make_plan(agent)
        await agent.expect_ok("apply_plan", plan_id=plan_id)
        since = clock.now()
        clock.move(60)
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert (list_outcomes(data), data["complete"]) == ([(1, "deleted"), (2, "failed")], False)
        assert data["steps"][1]["reason"].startswith("Post 2 not deleted: TTP_MAX_DELETES_PER_HOUR allows 1 ")
        history = await agent.runtime.app.ledger.read_history(since)
        assert [each.tool for each in history if each.kind == "delete"] == ["undo_plan"]


async def test_every_error_of_a_post_that_is_not_planned_is_named(empty_agent):
    accounts = [await empty_agent.find_account("twitter @harborcafe"), "instagram"]
    _, data = await empty_agent.expect_ok("plan_posts", posts=[{"content": "x" * 281, "account_ids": accounts}])
    assert data["planned"] == []
    assert data["unplanned"][0]["reason"].startswith("X: content has 281 of 280 ")
    assert ". Instagram needs at least one image or video" in data["unplanned"][0]["reason"]


async def test_created_post_is_found_without_its_date(connect_agent):
    """The posts from before the call are known, so it is the plan's own."""
    faults = []

    def through(app):
        faults.append(Fault(app, methods=("POST",), after=True))
        return show_fields(lambda name: name != "createdAt")(faults[-1])

    async with connect_agent(demo_posts=False, through=through) as agent:
        plan_id = await make_plan(agent, TWO[:1])
        faults[-1].turn = 0
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert (list_outcomes(data), len(agent.list_posts())) == ([(1, "created")], 1)


@UNDO
async def test_plan_with_a_published_post_is_applied_again_after_an_undo(empty_agent, clock):
    """What was kept stays done, although its time is over."""
    plan_id = await make_plan(empty_agent)
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    empty_agent.update_post(data["steps"][0]["post_id"], status="published")
    clock.move(30 * 3600)
    _, data = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert list_outcomes(data) == [(1, "kept"), (2, "deleted")]
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert (list_outcomes(data), data["complete"]) == ([(2, "created")], True)


@UNDO
@pytest.mark.parametrize(("age", "outcome"), [(0, "unknown"), (3600, "already_gone")])
async def test_post_that_is_gone_just_before_its_delete_is_not_deleted(connect_agent, clock, age, outcome):
    """It was there when the user was asked."""
    reads = []

    def through(app):
        async def between(scope, receive, send):
            if scope["method"] == "GET" and scope["path"].startswith("/api/posts/"):
                reads.append(scope["path"])
                if len(reads) == 2:
                    with agent.sandbox.store.writing() as db:
                        db.execute("DELETE FROM posts")
            assert scope["method"] != "DELETE"
            await app(scope, receive, send)

        return between

    async with connect_agent(demo_posts=False, through=through) as agent:
        plan_id = await make_plan(agent, TWO[:1])
        await agent.expect_ok("apply_plan", plan_id=plan_id)
        clock.move(age)
        reads.clear()
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert list_outcomes(data) == [(1, outcome)]
