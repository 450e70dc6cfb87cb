"""Whole answers of publish_post: its texts, its data, and the question to the user."""

import pytest
from inline_snapshot import snapshot

from tests.support.ledgers import fail_to_record
from tests.tools.conftest import NOW, Agent, Fault, answer_reads, send_reply, show_fields
from tests.tools.posts.test_publish import (
    BERLIN,
    TEXT,
    WithoutList,
    make_draft,
    make_published,
    reconnect_account,
    to_milliseconds,
)
from ttp_mcp.api import PostCreate
from ttp_mcp.ledger.ledger import Ledger

pytestmark = pytest.mark.requirement("tools.posts.publish")

BOARD = {"pinterest": {"board_id": "board-recipes"}}
FOOTER = "\nSandbox: nothing here becomes public."


def set_results(agent: Agent, post_id: str, status: str, error: str | None, *, but: str = "") -> None:
    """Set the result of a post on its accounts, but not on those of one platform."""
    with agent.sandbox.store.writing() as db:
        db.execute(
            "UPDATE post_targets SET status = ?, url = NULL, external_id = NULL, error = ? WHERE post_id = ? AND "
            "account_id NOT IN (SELECT id FROM accounts WHERE platform = ?)",
            (status, error, post_id, but),
        )


@pytest.mark.parametrize(
    ("status", "outcome", "text"),
    [
        (
            "published",
            "already_published",
            "Already published: {} is published, due Tue 24 Nov 2026 09:02 Europe/Paris (08:02Z), in 1 min.",
        ),
        (
            "publishing",
            "already_queued",
            "Being published right now: {} is publishing, due Tue 24 Nov 2026 09:02 Europe/Paris (08:02Z), in 1 min.",
        ),
        (
            "scheduled",
            "already_queued",
            (
                "Already due: it goes out within about a minute: {} is scheduled, due Tue 24 Nov 2026 09:02 Europe/Paris (08:02Z), "
                "in 1 min."
            ),
        ),
    ],
)
async def test_post_that_needs_no_request_is_described(empty_agent, status, outcome, text):
    post_id = await make_draft(empty_agent)
    due = to_milliseconds(empty_agent.sandbox.clock.now()) + 50_000
    empty_agent.update_post(post_id, status=status, scheduled_at=due)
    found = await empty_agent.expect_ok("publish_post", post_id=post_id)
    assert found == (
        f"{text.format(post_id)} For: linkedin «Harbor Café». Nothing was sent.{FOOTER}",
        {
            "outcome": outcome,
            "post_id": post_id,
            "status": status,
            "accounts": ["linkedin «Harbor Café»"],
            "failures": [],
            "warnings": [],
        },
    )


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("status", ["published", "partial", "failed"])
async def test_post_published_during_the_call_is_reported_with_its_status(connect_agent, status, is_lost):
    def through(app):
        async def publish_at_once(scope, receive, send):
            if not scope["path"].endswith("/publish"):
                await app(scope, receive, send)
                return
            agent.update_post(post_id, status=status)
            if is_lost:
                raise ConnectionResetError
            await send_reply(send, 200, {"success": True, "post": {"id": post_id, "status": status}})

        return publish_at_once

    async with connect_agent(demo_posts=False, through=through) as agent:
        post_id = await make_draft(agent)
        text, data = await agent.expect_ok("publish_post", post_id=post_id)
    lost = " The API's response was lost; the post's status shows that it arrived." if is_lost else ""
    assert text == (
        f"Published: {post_id} is {status}, for linkedin «Harbor Café». get_post shows the result on each account.{lost}{FOOTER}"
    )
    assert (data["outcome"], data["status"]) == ("queued", status)


async def test_lost_response_of_a_queued_post_is_reported(connect_agent):
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, methods=("POST",))) as agent:
        post_id = await make_draft(agent)
        agent.sandbox.app.turn, agent.sandbox.app.after = 0, True
        text, data = await agent.expect_ok("publish_post", post_id=post_id)
    assert text == (
        f"Queued: {post_id} goes out within about a minute to linkedin «Harbor Café». It can't be called back then; get_post "
        f"shows the result. The API's response was lost; the post's status shows that it arrived.{FOOTER}"
    )
    assert data["status"] == "scheduled"


async def test_request_that_was_answered_is_not_sent_again(empty_agent):
    """Even if the API shows the post as it was before."""
    post_id = await make_draft(empty_agent)
    await empty_agent.expect_ok("publish_post", post_id=post_id)
    empty_agent.update_post(post_id, status="draft", scheduled_at=None)
    found = await empty_agent.expect_ok("publish_post", post_id=post_id)
    assert found == (
        (
            f"Already queued: {post_id} was sent to be published Tue 24 Nov 2026 09:02 Europe/Paris (08:02Z); its status is draft. "
            f"Nothing was sent; get_post shows the result.{FOOTER}"
        ),
        {
            "outcome": "already_queued",
            "post_id": post_id,
            "status": "draft",
            "accounts": ["linkedin «Harbor Café»"],
            "failures": [],
            "warnings": [],
        },
    )
    assert empty_agent.read_row(post_id)["status"] == "draft"


async def test_question_about_a_retry_has_its_failures_and_warnings(connect_agent):
    async with connect_agent(demo_posts=False, confirm="off") as first:
        post_id = await make_published(first, BERLIN, "linkedin", thread=["Come early"])
        async with connect_agent(answer=False, sandbox=first.sandbox) as agent:
            assert await agent.expect_error("publish_post", post_id=post_id) == (
                "Not done: the user declined. Ask what to change; nothing was sent."
            )
            (question,) = agent.questions
    assert first.format_text(question) == snapshot("""\
Publish this post now, on twitter @harborcafe_berlin, as a thread of 2 only, as a new post? What is public
    can't be called back.
It failed before: twitter @harborcafe_berlin: «The connection of @harborcafe_berlin has expired. Reconnect the
    account in the dashboard.»
Warning: twitter @harborcafe_berlin (<twitter@harborcafe_berlin>) is expired; posts to it fail until a person
    reconnects it in the TimeToPost dashboard.
│ Doors open at ten
Thread part 2:
│ Come early\
""")


async def test_post_that_does_not_exist_is_not_found(empty_agent):
    assert await empty_agent.expect_error("publish_post", post_id="cmb1") == (
        "Post not published: not found (404): it doesn't exist, or belongs to another organization. Call list_posts for the ids "
        "that exist; retrying won't help."
    )


async def test_warning_about_a_retry_is_in_its_answer(empty_agent):
    post_id = await make_published(empty_agent, BERLIN, "linkedin")
    text, data = await empty_agent.expect_ok("publish_post", post_id=post_id)
    assert data["outcome"] == "retried"
    (warning,) = data["warnings"]
    assert warning.endswith("is expired; posts to it fail until a person reconnects it in the TimeToPost dashboard.")
    assert f"Warning: {warning}" in text.splitlines()


async def test_post_that_changes_while_the_user_is_asked_is_refused(connect_agent):
    def say_yes() -> bool:
        agent.update_post(post_id, content="Other words")
        return True

    async with connect_agent(answer=say_yes, mode="legacy", demo_posts=False) as agent:
        post_id = await make_draft(agent)
        assert await agent.expect_error("publish_post", post_id=post_id) == (
            f"Post not published: {post_id} was changed while the user was asked about it. Call again for a new prompt; nothing "
            "was sent."
        )


async def test_post_published_while_the_user_is_asked_is_reported(connect_agent):
    def say_yes() -> bool:
        agent.update_post(post_id, status="published")
        return True

    async with connect_agent(answer=say_yes, mode="legacy", demo_posts=False) as agent:
        post_id = await make_draft(agent)
        text, data = await agent.expect_ok("publish_post", post_id=post_id)
    assert text.startswith(f"Already published: {post_id} is published")
    assert data["outcome"] == "already_published"


async def test_second_post_of_an_unfinished_reschedule_is_named(empty_agent):
    old = await make_draft(empty_agent)
    account = await empty_agent.find_account("linkedin Harbor Café")
    post = PostCreate(TEXT, account_ids=(account,))
    await empty_agent.runtime.app.ledger.replacements.begin(old, post)
    new = await empty_agent.runtime.app.writer.create(post, tool="reschedule_post", replaces=old)
    assert await empty_agent.expect_error("publish_post", post_id=old) == (
        f"Post not published: an unfinished reschedule created {new.post_id} in place of {old}, so both exist. Call delete_post "
        "for the one that is not wanted, then publish the other; nothing was sent."
    )


async def test_partial_post_without_results_names_the_next_step(connect_agent):
    async with connect_agent(demo_posts=False, through=show_fields(lambda name: name != "results")) as agent:
        old = await make_published(agent, BERLIN, "linkedin")
        assert await agent.expect_error("publish_post", post_id=old) == (
            f"Post not published: {old} is partial, and the API does not show on which accounts it failed. Look at each network, "
            "then call create_post with the accounts that lack it; nothing was sent."
        )


async def test_hidden_parts_are_named_with_the_failed_accounts(connect_agent):
    hidden = ("thread", "platformData")
    async with connect_agent(demo_posts=False, through=show_fields(lambda name: name not in hidden)) as agent:
        old = await make_published(agent, BERLIN, "twitter @harborcafe", "linkedin", thread=["Come early"])
        set_results(agent, old, "failed", None, but="linkedin")
        ids = [await agent.find_account(f"twitter @{name}") for name in ("harborcafe_berlin", "harborcafe")]
        assert await agent.expect_error("publish_post", post_id=old) == (
            f"Post not published: the API does not show the thread of {old}. Call create_post with account_ids {', '.join(ids)} "
            "and all parts of the post; nothing was sent."
        )


async def test_hidden_thread_does_not_matter_where_no_thread_is_possible(connect_agent):
    async with connect_agent(demo_posts=False, through=show_fields(lambda name: name != "thread")) as agent:
        old = await make_published(agent, "twitter @harborcafe", "linkedin")
        agent.update_post(old, status="partial")
        set_results(agent, old, "failed", None, but="twitter")
        _, data = await agent.expect_ok("publish_post", post_id=old)
    assert (data["outcome"], data["accounts"]) == ("retried", ["linkedin «Harbor Café»"])


async def test_unreadable_list_of_posts_is_reported(connect_agent):
    async with connect_agent(demo_posts=False, through=WithoutList) as agent:
        old = await make_published(agent, BERLIN, "linkedin")
        agent.sandbox.app.on = True
        assert await agent.expect_error("publish_post", post_id=old) == (
            f"Post not published: the other posts could not be read, so it isn't known whether {old} was sent again already. Call "
            "again in a minute; nothing was sent."
        )


async def test_post_that_every_account_has_by_now_is_described(empty_agent):
    """Two other posts serve its two accounts."""
    old = await make_published(empty_agent, BERLIN, "linkedin")
    empty_agent.update_post(old, status="failed")
    set_results(empty_agent, old, "failed", None)
    reconnect_account(empty_agent)
    others = [await make_draft(empty_agent, name, scheduled_at="2026-11-24T10:00") for name in ("linkedin", BERLIN)]
    text, data = await empty_agent.expect_ok("publish_post", post_id=old)
    assert text == (
        f"Already sent again: {' and '.join(sorted(others))} has the same text for twitter @harborcafe_berlin and linkedin «Harbor "
        f"Café», where {old} failed. Nothing was sent; get_post shows the result.\n"
        "It failed before: twitter @harborcafe_berlin: no reason given\n"
        f"It failed before: linkedin «Harbor Café»: no reason given{FOOTER}"
    )
    assert data == {
        "outcome": "already_queued",
        "post_id": old,
        "status": "failed",
        "new_post_id": others[1],
        "accounts": [BERLIN, "linkedin «Harbor Café»"],
        "failures": [f"{BERLIN}: no reason given", "linkedin «Harbor Café»: no reason given"],
        "warnings": [],
    }


async def test_long_reason_of_a_failure_is_shortened(empty_agent):
    old = await make_published(empty_agent, BERLIN, "linkedin")
    set_results(empty_agent, old, "failed", "x" * 300, but="linkedin")
    _, data = await empty_agent.expect_ok("publish_post", post_id=old)
    (failure,) = data["failures"]
    assert failure == f"{BERLIN}: «{'x' * 199}…»"


async def test_retry_whose_response_was_lost_is_found_without_its_date(connect_agent):
    """The API may show none; a post that wasn't listed before is the new one."""
    faults: list[Fault] = []

    def through(app):
        faults.append(Fault(show_fields(lambda name: name != "createdAt")(app), methods=("POST",), after=True))
        return faults[0]

    async with connect_agent(demo_posts=False, through=through) as agent:
        old = await make_published(agent, BERLIN, "linkedin")
        reconnect_account(agent)
        faults[0].turn, faults[0].count = 0, 0
        _, data = await agent.expect_ok("publish_post", post_id=old)
    assert data["outcome"] == "retried"


async def test_unresolved_retry_is_unknown(connect_agent):
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, methods=("POST",))) as agent:
        old = await make_published(agent, BERLIN, "linkedin")
        reconnect_account(agent)
        fault = agent.sandbox.app
        fault.turn, fault.count = 0, 0
        text, data = await agent.expect_ok("publish_post", post_id=old)
        assert agent.format_text(text) == snapshot("""\
Unknown whether a new post for twitter @harborcafe_berlin was created: no response. Call list_posts and look
    for it; if it is there, it goes out by itself.
It failed before: twitter @harborcafe_berlin: «The connection of @harborcafe_berlin has expired. Reconnect the
    account in the dashboard.»
Sandbox: nothing here becomes public.\
""")
        assert "new_post_id" not in data
        assert data["outcome"] == "unknown"
        words = await agent.expect_error("publish_post", post_id=old)
        assert agent.format_text(words) == snapshot("""\
Post not published: an attempt at 2026-11-24T08:05:20.000Z may have created an equal post, but its response
    was lost. Look for it with list_posts; if it isn't there, create_post with allow_duplicate=true sends it.
    Nothing was sent by this call.\
""")
        assert fault.count == 1


async def test_unrecorded_outcome_is_a_warning(empty_agent, monkeypatch):
    """Of a publish and of a retry."""
    partial = await make_published(empty_agent, BERLIN, "linkedin")
    draft = await make_draft(empty_agent, "pinterest", media_urls=["https://example.com/a.jpg"], platform_data=BOARD)

    monkeypatch.setattr(Ledger, "finish", fail_to_record)
    reconnect_account(empty_agent)
    for post_id, outcome in ((draft, "queued"), (partial, "retried")):
        text, data = await empty_agent.expect_ok("publish_post", post_id=post_id)
        assert data["outcome"] == outcome
        assert data["warnings"] == ["the ledger could not record this; check_setup says why."]
        assert f"\nWarning: {data['warnings'][0]}{FOOTER}" in text


async def test_warnings_are_left_out_of_what_was_not_sent(empty_agent):
    """They were about a request."""
    post_id = await make_draft(empty_agent, BERLIN)
    _, data = await empty_agent.expect_ok("publish_post", post_id=post_id)
    assert len(data["warnings"]) == 1
    empty_agent.update_post(post_id, status="draft", scheduled_at=None)
    _, data = await empty_agent.expect_ok("publish_post", post_id=post_id)
    assert (data["outcome"], data["warnings"]) == ("already_queued", [])


@pytest.mark.parametrize("status", ["failed", "partial", "scheduled"])
async def test_retry_that_was_made_before_is_reported_with_its_status(empty_agent, status):
    """The API shows it with another text by now, so that only the ledger has it."""
    old = await make_published(empty_agent, BERLIN, "linkedin")
    _, first = await empty_agent.expect_ok("publish_post", post_id=old)
    new = first["new_post_id"]
    empty_agent.update_post(new, status=status, content="Other words")
    # At another time it would be no equal post.
    empty_agent.sandbox.clock.move(10_800)
    text, data = await empty_agent.expect_ok("publish_post", post_id=old)
    more = "" if status == "scheduled" else f" It failed too: call publish_post with {new}."
    assert text.splitlines()[0] == (
        f"Already sent again: {new} was created for the accounts where {old} failed, and is {status}; nothing was sent.{more}"
    )
    assert (data["outcome"], data["new_post_id"]) == ("already_queued", new)


async def test_result_without_an_account_is_no_account_to_send_to(connect_agent):
    post = {"id": "p1", "content": TEXT, "status": "partial", "thread": [], "platformData": {}}
    post["results"] = [{"platform": "twitter", "status": "failed"}, {"platform": "linkedin", "status": "published"}]
    async with connect_agent(demo_posts=False, through=answer_reads({"/posts/p1": {"post": post}})) as agent:
        words = await agent.expect_error("publish_post", post_id="p1")
    assert words.startswith("Post not published: p1 is partial, and the API does not show on which accounts it failed.")


async def test_failed_account_without_an_id_is_named_by_its_platform(connect_agent):
    """Only the other one can be sent to again."""
    post = {"id": "p1", "content": TEXT, "status": "partial", "thread": [], "platformData": {}}
    async with connect_agent(demo_posts=False, through=answer_reads({"/posts/p1": {"post": post}})) as agent:
        account = await agent.find_account("linkedin Harbor Café")
        post["results"] = [
            {"platform": "twitter", "status": "failed"},
            # Nor does every API name the platform.
            {"accountId": account, "status": "failed", "error": "No."},
        ]
        _, data = await agent.expect_ok("publish_post", post_id="p1")
    assert data["failures"] == ["twitter: no reason given", "linkedin «Harbor Café»: «No.»"]
    assert data["accounts"] == ["linkedin «Harbor Café»"]


async def test_code_is_for_one_post(connect_agent):
    """Not for an equal one."""
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        first = await make_draft(agent)
        _, second = await agent.expect_ok("create_post", content=TEXT, account_ids=["linkedin"], allow_duplicate=True)
        words = await agent.expect_error("publish_post", post_id=first)
        code = words.partition("arguments and confirmation ")[2].partition(" (once")[0]
        words = await agent.expect_error("publish_post", post_id=second["post_id"], confirmation=code)
        assert "or for other arguments" in words
        assert [status for _, status in agent.list_posts()] == ["draft", "draft"]


async def test_retry_that_cannot_be_read_is_named(connect_agent):
    replies: dict[str, object] = {}
    async with connect_agent(demo_posts=False, through=answer_reads(replies)) as agent:
        old = await make_published(agent, BERLIN, "linkedin")
        _, first = await agent.expect_ok("publish_post", post_id=old)
        new = first["new_post_id"]
        agent.update_post(new, content="Other words")
        replies[f"/posts/{new}"] = 500
        text, data = await agent.expect_ok("publish_post", post_id=old)
    assert text.splitlines()[0] == (
        f"Already sent again: {new} was created for the accounts where {old} failed, and is not readable; nothing was sent."
    )
    assert (data["outcome"], data["new_post_id"]) == ("already_queued", new)


async def test_question_shows_the_thread_of_a_post_without_results(connect_agent):
    hide = show_fields(lambda name: name != "results")
    async with connect_agent(answer=False, demo_posts=False, through=hide) as agent:
        post_id = await make_draft(agent, "twitter @harborcafe", thread=["Come early"])
        await agent.expect_error("publish_post", post_id=post_id)
        assert agent.questions == [
            (
                "Publish this post now, on twitter @harborcafe, as a thread of 2? What is public can't be called back.\n"
                f"│ {TEXT}\nThread part 2:\n│ Come early"
            )
        ]


def list_targets(agent: Agent, post_id: str) -> list[str]:
    """Return the platforms of the accounts to which the sandbox sends a post."""
    with agent.sandbox.store.reading() as db:
        rows = db.execute(
            "SELECT platform FROM post_targets JOIN accounts ON accounts.id = account_id WHERE post_id = ?", (post_id,)
        )
        return [row["platform"] for row in rows]


@pytest.mark.parametrize("hidden", [(), ("accountIds", "accounts", "results")])
async def test_new_post_is_for_the_accounts_that_lack_it_only(connect_agent, hidden):
    """Even if the failed post names only its platforms."""
    shown: dict[str, object] = {}
    async with connect_agent(demo_posts=False, through=answer_reads(shown)) as agent:
        old = await make_published(agent, "instagram", "linkedin", media_urls=["https://example.com/a.jpg"])
        agent.update_post(old, status="failed")
        set_results(agent, old, "failed", None)
        _, read = await agent.expect_ok("get_post", post_id=old)
        assert read["status"] == "failed"
        post = (await agent.runtime.app.api.posts.get(old)).raw
        shown[f"/posts/{old}"] = {"post": {name: post[name] for name in post if name not in hidden}}
        await agent.expect_ok(
            "create_post",
            content=TEXT,
            account_ids=["linkedin"],
            media_urls=["https://example.com/a.jpg"],
            scheduled_at="2026-11-24T10:00",
        )
        _, data = await agent.expect_ok("publish_post", post_id=old)
        assert (data["outcome"], data["accounts"]) == ("retried", ["instagram @harbor.cafe"])
        assert list_targets(agent, data["new_post_id"]) == ["instagram"]


async def test_publishes_are_recorded_with_their_tool(empty_agent):
    """A retry is the create of a new post."""
    partial = await make_published(empty_agent, BERLIN, "linkedin")
    for post_id in (await make_draft(empty_agent, "twitter @harborcafe"), partial):
        await empty_agent.expect_ok("publish_post", post_id=post_id)
    records = await empty_agent.runtime.app.ledger.read_history(NOW.replace(year=2020))
    assert sorted((each.tool, each.outcome) for each in records) == [
        ("create_post", "created"),
        ("create_post", "created"),
        ("publish_post", "created"),
        ("publish_post", "queued"),
    ]


async def test_post_that_was_replaced_since_it_was_read_is_named(connect_agent):
    """The API answers 409 then."""

    def through(app):
        async def replace_first(scope, receive, send):
            if not scope["path"].endswith("/publish"):
                await app(scope, receive, send)
                return
            moved.append(await agent.expect_ok("reschedule_post", post_id=post_id, scheduled_at="2026-12-01T10:00"))
            await send_reply(send, 409, {"success": False, "message": "Not any more."})

        return replace_first

    moved: list[tuple[str, dict[str, object]]] = []
    async with connect_agent(demo_posts=False, through=through) as agent:
        post_id = await make_draft(agent)
        words = await agent.expect_error("publish_post", post_id=post_id)
    assert words == (
        f"Post not published: {post_id} was replaced by {moved[0][1]['post_id']} when it was rescheduled. Call again with that id; "
        "nothing was changed."
    )
