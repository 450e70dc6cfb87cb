"""Planning many posts, applying the plan, resuming after a failure, and undoing it."""

import json
import re
from datetime import datetime

import anyio
import pytest
from inline_snapshot import snapshot

from tests.support.ledgers import record_nothing
from tests.tools.conftest import Fault, answer_reads, find_code, send_reply, show_fields, show_promised
from ttp_mcp.api import PostCreate
from ttp_mcp.ledger.plans import Plans
from ttp_mcp.ledger.replacements import Replacements
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.sandbox.rest import organizations

pytestmark = pytest.mark.requirement("tools.plans")
UNDO = pytest.mark.requirement("tools.plans.undo")

THREE = [
    {"content": "New winter menu", "account_ids": ["linkedin"]},
    {"content": "Roasting day", "platforms": ["linkedin"]},
    {"content": "Six years", "accountIds": ["linkedin"], "earliest": "2026-11-28", "latest": "2026-11-28T20:00"},
]


async def make_plan(agent, posts=THREE, **rules):
    """Return the id of a plan, and its posts."""
    _, data = await agent.expect_ok("plan_posts", posts=posts, **rules)
    return data["plan_id"], data["planned"]


def list_outcomes(data):
    """Return place and outcome of each step."""
    return [(step["index"], step["outcome"]) for step in data["steps"]]


async def test_plan_is_a_calendar_with_reasons_and_sends_nothing(empty_agent):
    """Each post has a time, accounts and a reason; the id is for apply_plan."""
    text, data = await empty_agent.expect_ok("plan_posts", posts=THREE)
    assert empty_agent.format_text(text).replace(data["plan_id"], "<plan>") == snapshot("""\
Plan <plan>: 3 posts on 1 account, Wed 25 Nov – Tue 1 Dec, Europe/Paris (now Tue 24 Nov 2026 09:02
    Europe/Paris (08:02Z)). Nothing is sent yet; apply_plan(plan_id="<plan>") schedules it.

Wed 25 Nov  08:00  post 1  «New winter menu»  linkedin «Harbor Café»
Sat 28 Nov  08:00  post 3  «Six years»        linkedin «Harbor Café»
Tue 1 Dec   08:00  post 2  «Roasting day»     linkedin «Harbor Café»

Why these times:
- posts 1, 2, 3: best hour of this account (score 1.00, 33 data points)

Days without a post:
- Tue 24 Nov: free, but the posts fit better on other days
- Thu 26 Nov – Fri 27 Nov: free, but the posts fit better on other days
- Sun 29 Nov – Mon 30 Nov: free, but the posts fit better on other days

Best hours come from the API, which doesn't state their time zone; read as Europe/Paris.\
""")
    assert [(each["index"], each["accounts"], each["warnings"]) for each in data["planned"]] == [
        (each["index"], ["linkedin «Harbor Café»"], []) for each in data["planned"]
    ]
    assert data["unplanned"] == []
    assert data["time_zone"] == "Europe/Paris"
    assert empty_agent.list_posts() == []


async def test_same_posts_make_the_same_plan(empty_agent):
    """Its id is the start of its digest."""
    first, _ = await make_plan(empty_agent)
    second, _ = await make_plan(empty_agent)
    third, _ = await make_plan(empty_agent, start="2026-11-27")
    assert first == second
    assert len(first) == 12
    assert third != first


async def test_rules_bound_the_times(empty_agent):
    """Window, quiet hours, spacing, and posts per day."""
    posts = [{"content": f"Post {number}", "platforms": ["linkedin"]} for number in range(4)]
    _, found = await make_plan(
        empty_agent,
        posts,
        start="2026-11-30",
        end="2026-12-05",
        quiet_from="12:00",
        quiet_until="08:00",
        at_most_per_day=1,
    )
    times = sorted(each["scheduled_at"] for each in found)
    assert len({each[:10] for each in times}) == 4
    assert all("2026-11-30T08:00" <= each <= "2026-12-05T00:00" and "08" <= each[11:13] < "12" for each in times)


async def test_booked_times_are_kept_clear(empty_agent):
    """At the requested spacing."""
    await empty_agent.expect_ok(
        "create_post", content="There", account_ids=["linkedin"], scheduled_at="2026-11-26T10:00"
    )
    await empty_agent.expect_ok("create_post", content="A draft", account_ids=["linkedin"])
    _, found = await make_plan(
        empty_agent,
        [{"content": "New", "platforms": ["linkedin"]}],
        start="2026-11-26T08:00",
        end="2026-11-26T13:00",
        spacing_minutes=120,
    )
    at = found[0]["scheduled_at"][:16]
    assert at <= "2026-11-26T08:00" or at >= "2026-11-26T12:00"


async def test_post_without_accounts_is_booked_on_all_accounts_of_its_platforms(connect_agent):
    """The reference guarantees a post's platforms but not its accounts."""
    async with connect_agent(demo_posts=False, through=show_promised) as agent:
        await agent.expect_ok("create_post", content="There", account_ids=["linkedin"], scheduled_at="2026-11-26T10:00")
        _, found = await make_plan(
            agent,
            [
                {"content": "New", "account_ids": [each]}
                for each in ("linkedin", await agent.find_account("twitter @harborcafe"))
            ],
            start="2026-11-26T10:00",
            end="2026-11-26T10:00",
        )
    assert [each["index"] for each in found] == [2]


async def test_unplanned_posts_have_a_reason(empty_agent):
    """The others are planned anyway."""
    posts = [
        {"content": "Fits", "platforms": ["linkedin"]},
        {"content": "Over", "platforms": ["linkedin"], "latest": "2026-11-20"},
        {"content": "x" * 281, "account_ids": [await empty_agent.find_account("twitter @harborcafe")]},
        {"content": "No picture", "platforms": ["instagram"]},
    ]
    text, data = await empty_agent.expect_ok("plan_posts", posts=posts)
    assert [each["index"] for each in data["planned"]] == [1]
    assert [each["index"] for each in data["unplanned"]] == [2, 3, 4]
    assert ", 3 without a time, " in text
    reasons = "\n".join(each["reason"] for each in data["unplanned"])
    assert "its earliest and latest leave no quarter hour in the window" in reasons
    assert "X: content has 281 of 280" in reasons
    assert "Instagram needs at least one image or video" in reasons


async def test_empty_plan_has_no_id(empty_agent):
    text, data = await empty_agent.expect_ok(
        "plan_posts", posts=[{"content": "Over", "platforms": ["linkedin"], "latest": "2026-11-20"}]
    )
    assert text.startswith(
        "No post could be given a time (times in Europe/Paris, now Tue 24 Nov 2026 09:02 Europe/Paris (08:02Z)). Nothing was sent."
    )
    assert "plan_id" not in data


async def test_without_a_ledger_the_calendar_is_shown_but_not_applicable(empty_agent, tmp_path):
    """Planning only reads; the answer explains the missing plan_id and the alternative."""
    # A folder is no database.
    (tmp_path / "state" / "ledger.db").mkdir(parents=True)
    text, data = await empty_agent.expect_ok("plan_posts", posts=THREE)
    heading, _, calendar = text.partition("\n")
    assert heading.startswith("Calendar without a plan_id: 3 posts on 1 account, Wed 25 Nov – Tue 1 Dec, Europe/Paris ")
    assert (
        " Nothing was sent. apply_plan can't be used for it: the ledger (ledger.db in TTP_STATE_DIR) can't be used: "
        in heading
    )
    assert heading.endswith(" After fixing that, call plan_posts again, or create_post for each post of this calendar.")
    assert [post["content"] in calendar for post in THREE] == [True, True, True]
    assert "plan_id" not in data
    assert len(data["planned"]) == 3


async def test_warnings_are_shown_beside_their_post(empty_agent):
    """For an account that can't publish now."""
    berlin = await empty_agent.find_account("twitter @harborcafe_berlin")
    text, data = await empty_agent.expect_ok("plan_posts", posts=[{"content": "Hello Berlin", "account_ids": [berlin]}])
    (warning,) = data["planned"][0]["warnings"]
    assert "is expired; posts to it fail until a person reconnects it in the TimeToPost dashboard." in warning
    assert f"Warning for post 1: {warning}" in text


async def test_doubts_about_choices_are_shown_beside_their_post(empty_agent):
    """The API can list fewer boards than there are."""
    board = {"platform_data": {"pinterest": {"board": "12345"}}, "media_urls": ["https://example.com/a.jpg"]}
    text, data = await empty_agent.expect_ok(
        "plan_posts", posts=[{"content": "x", "platforms": ["pinterest"], **board}]
    )
    warning = "Pinterest: the API lists no board «12345»; it is sent as it is."
    assert warning in data["planned"][0]["warnings"]
    assert f"Warning for post 1: {warning}" in text.splitlines()


async def test_days_of_a_plan_are_those_of_the_time_zone(empty_agent):
    """They begin an hour before those of UTC."""
    post = {"content": "x", "platforms": ["linkedin"], "scheduled_at": "2026-11-26T00:30"}
    text, _ = await empty_agent.expect_ok("plan_posts", posts=[post])
    assert ", Thu 26 Nov – Thu 26 Nov, Europe/Paris (" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"posts": []}, "plan_posts not called: posts must not be empty."),
        ({"posts": [{"platforms": ["linkedin"]}]}, "plan_posts not called: posts.0.content is required."),
        ({"posts": ["words"]}, "plan_posts not called: posts.0 must be an object."),
        ({"posts": [{"content": "x", "when": "now"}]}, "plan_posts not called: posts.0.when is not known here."),
        (
            {"posts": THREE, "quiet_from": "25:00"},
            "plan_posts not called: quiet_from must be a time of day; write it as 07:00.",
        ),
        ({"posts": THREE, "spacing_minutes": 5}, "plan_posts not called: spacing_minutes must be at least 15."),
        (
            {"posts": [{"content": "x"}]},
            "Posts not planned: post 1: pass account_ids or platforms; neither was passed.",
        ),
        (
            {"posts": [{"content": "x", "platforms": ["linkedin"], "mediaUrls": ["a"]}]},
            "Posts not planned: post 1: media_urls entry 1",
        ),
        (
            {"posts": [{"content": "\x00", "platforms": ["linkedin"]}]},
            "plan_posts not called: posts.0 must not hold a NUL character. Nothing was sent.",
        ),
        ({"posts": [{"content": "x", "account_ids": ["nobody"]}]}, "Posts not planned: post 1: no account «nobody»."),
        (
            {"posts": [{"content": "x", "platforms": ["linkedin"], "earliest": "soon"}]},
            "Posts not planned: post 1: earliest: a time must be ISO 8601",
        ),
        ({"posts": THREE, "start": "later"}, "Posts not planned: start: a time must be ISO 8601"),
        ({"posts": THREE, "end": "later"}, "Posts not planned: end: a time must be ISO 8601"),
    ],
)
async def test_invalid_post_is_refused_by_its_number(empty_agent, arguments, words):
    """Before anything is sent or recorded."""
    assert (await empty_agent.expect_error("plan_posts", **arguments)).startswith(words)


async def test_post_for_now_gets_the_nearest_time(empty_agent):
    """Far enough ahead for the user to confirm."""
    posts = [{"content": "Doors open", "platforms": ["linkedin"], "scheduled_at": " Now "}]
    plan_id, (found,) = await make_plan(empty_agent, posts)
    assert found["scheduled_at"] == "2026-11-24T09:08:00+01:00"
    _, done = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert done["complete"]


async def test_choices_for_platforms_are_read_as_in_create_post(empty_agent):
    """In the spelling of the arguments; the API gets its own."""
    posts = [
        {
            "content": "Menu",
            "platforms": ["pinterest"],
            "media_urls": ["https://example.com/a.jpg"],
            "platform_data": {
                "pinterest": {"board_id": "board-recipes", "alt_text": "A menu", "title": ""},
                "tiktok": {},
            },
        }
    ]
    plan_id, _ = await make_plan(empty_agent, posts)
    _, done = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    choices = json.loads(empty_agent.read_row(done["steps"][0]["post_id"])["platform_data"])
    assert choices == {"pinterest": {"boardId": "board-recipes", "altText": "A menu"}}


async def test_posts_as_json_text_and_nulls_are_accepted(empty_agent):
    """Models write them this way."""
    text = '[{"content": "Words", "platforms": ["linkedin"], "account_ids": null, "thread": null, "earliest": null}]'
    _, found = await make_plan(empty_agent, text)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("replies", "note"),
    [
        (None, "The plan of this organization has no best times, so posts are spread over common hours."),
        (
            {"/analytics/weekly-schedule": 500},
            "The best times could not be read, so posts are spread over common hours.",
        ),
        (
            {"/analytics/optimal-times/by-account": {"accounts": []}},
            "Linkedin «Harbor Café» had no ranking of their own and got the organization's.",
        ),
    ],
    ids=["small plan", "not read", "no ranking of its own"],
)
async def test_plan_without_best_times_explains_its_choice(connect_agent, replies, note):
    async with connect_agent(demo_posts=False, through=answer_reads(replies or {})) as agent:
        if replies is None:
            organizations.set_plan(agent.sandbox.store, "org_harbor_cafe", "small")
        text, data = await agent.expect_ok("plan_posts", posts=THREE)
    assert note in text.splitlines()
    assert len(data["planned"]) == 3


RANKED = {"bestHours": [{"hour": 11, "score": 1.0}], "bestDays": [{"day": "Friday", "score": 1.0}], "dataPoints": 50}


@pytest.mark.parametrize("shape", ["list", "wrapped", "by id", "deep by id", "bare list"])
async def test_rankings_are_found_in_every_shape(connect_agent, shape):
    """The reference doesn't document one."""
    async with connect_agent(demo_posts=False) as plain:
        account = await plain.find_account("linkedin Harbor Café")
        reply = {
            "list": {"accounts": [{"integrationId": account, **RANKED}, "odd", {"id": 7, **RANKED}]},
            "wrapped": {"data": [{"accountId": account, "recommendation": RANKED}]},
            "by id": {account: RANKED},
            "deep by id": {"data": {account: {"recommendation": RANKED}}, "n": 3},
            "bare list": {"items": [{"id": account, **RANKED}]},
        }[shape]
        weekly = {
            "schedule": {"monday": {"day": "Monday", "hours": [9, {"hour": 10, "score": 0.5}, {"hour": 99}, "x"]}}
        }
        replies = {"/analytics/optimal-times/by-account": reply, "/analytics/weekly-schedule": weekly}
        async with connect_agent(sandbox=plain.sandbox, through=answer_reads(replies)) as agent:
            _, found = await make_plan(agent, THREE[:1])
    assert found[0]["scheduled_at"] == "2026-11-27T11:00:00+01:00"
    assert found[0]["reason"] == "best hour of this account (score 1.00, 50 data points)"


async def test_plan_is_applied_exactly_as_shown(empty_agent):
    """Accounts by id, times as in the calendar; nothing is public yet."""
    plan_id, shown = await make_plan(empty_agent)
    text, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert data["complete"]
    assert {outcome for _, outcome in list_outcomes(data)} == {"created"}
    assert text.splitlines()[0] == f"Plan {plan_id}: 3 of 3 posts scheduled now."
    assert text.splitlines()[-2:] == [
        "Nothing is public yet; undo_plan deletes these posts, delete_post a single one.",
        "Sandbox: nothing here becomes public.",
    ]
    _, listed = await empty_agent.expect_ok("list_posts", order="soonest")
    assert [post["scheduled_at"] for post in listed["posts"]] == [each["scheduled_at"] for each in shown]


@pytest.mark.parametrize(
    ("tool", "first", "last"),
    [
        ("apply_plan", "0 of 3 posts scheduled", "3 of 3 posts done"),
        ("undo_plan", "0 of 3 posts checked", "3 posts checked"),
    ],
)
async def test_progress_is_reported_while_a_plan_is_applied_or_undone(empty_agent, tool, first, last):
    """Fifty posts take a while."""
    reported = []

    async def progress(done, total, message):
        reported.append((done, total, message))

    plan_id, _ = await make_plan(empty_agent)
    if tool == "undo_plan":
        await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    await empty_agent.client.call_tool(tool, {"plan_id": plan_id}, progress_callback=progress)
    with anyio.fail_after(5):
        while not reported or reported[-1][0] != 3:
            await anyio.sleep(0)
    assert reported[0] == (0, 3, first)
    assert reported[-1] == (3, 3, last)


async def test_applying_again_sends_nothing(empty_agent):
    """Every post already exists."""
    plan_id, _ = await make_plan(empty_agent)
    await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    text, data = await empty_agent.expect_ok("apply_plan", plan_id=f" {plan_id.upper()} ")
    assert (
        text == "Nothing left to do: every post of the plan was created before.\nSandbox: nothing here becomes public."
    )
    assert (data["complete"], data["steps"]) == (True, [])
    assert len(empty_agent.list_posts()) == 3


@pytest.mark.parametrize("moved", [False, True])
async def test_applying_again_recreates_a_deleted_post(empty_agent, moved):
    """Also if it was rescheduled before; only that post is sent, and then it counts as done."""
    plan_id, _ = await make_plan(empty_agent)
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    step = data["steps"][1]
    post_id = step["post_id"]
    if moved:
        _, new = await empty_agent.expect_ok("reschedule_post", post_id=post_id, scheduled_at="2026-12-20T10:00")
        text, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
        assert (
            text
            == "Nothing left to do: every post of the plan was created before.\nSandbox: nothing here becomes public."
        )
        post_id = new["post_id"]
    await empty_agent.expect_ok("delete_post", post_id=post_id)
    text, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert list_outcomes(data) == [(step["index"], "created")]
    assert text.splitlines()[0] == f"Plan {plan_id}: 3 of 3 posts scheduled now."
    assert data["complete"]
    assert len(empty_agent.list_posts()) == 3


async def test_equal_plan_of_deleted_posts_is_applied(empty_agent):
    """It has the same id and the same record of being applied, which no longer holds."""
    plan_id, _ = await make_plan(empty_agent, THREE[:1])
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    await empty_agent.expect_ok("delete_post", post_id=data["steps"][0]["post_id"])
    assert (await make_plan(empty_agent, THREE[:1]))[0] == plan_id
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert (list_outcomes(data), data["complete"]) == ([(1, "created")], True)
    assert len(empty_agent.list_posts()) == 1


async def test_deleted_post_that_cannot_be_recreated_stays_pending(connect_agent):
    """The record of a deleted post doesn't complete a plan."""
    async with connect_agent(demo_posts=False, max_posts_per_hour=3) as agent:
        plan_id, _ = await make_plan(agent)
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        await agent.expect_ok("delete_post", post_id=data["steps"][0]["post_id"])
        text, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
    assert ([outcome for _, outcome in list_outcomes(data)], data["complete"]) == (["stopped"], False)
    assert text.splitlines()[0] == f"Plan {plan_id}: 2 of 3 posts scheduled now."


async def test_post_with_an_unfinished_replacement_is_not_sent_again(empty_agent, monkeypatch):
    """This server deleted the old post, and the new one exists in its place."""
    plan_id, _ = await make_plan(empty_agent, THREE[:1])
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    with monkeypatch.context() as dying:
        dying.setattr(Replacements, "end", record_nothing)
        await empty_agent.expect_ok(
            "reschedule_post", post_id=data["steps"][0]["post_id"], scheduled_at="2026-12-20T10:00"
        )
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert (data["complete"], data["steps"]) == (True, [])
    assert len(empty_agent.list_posts()) == 1


async def test_applying_an_equal_new_plan_sends_nothing(connect_agent, open_sandbox):
    """Also after a restart, since the ledger is kept."""
    sandbox = open_sandbox(demo_posts=False)
    async with connect_agent(sandbox=sandbox) as agent:
        plan_id, _ = await make_plan(agent)
    async with connect_agent(sandbox=sandbox) as agent:
        await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert len(agent.list_posts()) == 3


@pytest.mark.parametrize("after", [False, True])
async def test_plan_resumes_after_a_lost_response(connect_agent, after):
    """If the post exists, the plan continues. If not, it stops, and applying again continues."""
    async with connect_agent(demo_posts=False, through=Fault) as agent:
        plan_id, _ = await make_plan(agent)
        fault = agent.sandbox.app
        fault.methods, fault.turn, fault.after, fault.how = ("POST",), 1, after, 500
        text, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert data["complete"] is after
        if after:
            assert len(agent.list_posts()) == 3
            return
        assert [outcome for _, outcome in list_outcomes(data)] == ["created", "unknown"]
        assert (
            text.splitlines()[-2] == "Stopped there so that nothing is sent twice; what was created isn't sent again."
        )
        reason = data["steps"][1]["reason"]
        assert reason.startswith(
            "the API, or a gateway before it, failed (500). API said: «Something failed.». Look for it with list_posts. "
        )
        assert len(agent.list_posts()) == 1
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert [outcome for _, outcome in list_outcomes(data)] == ["unknown"]
        reason = data["steps"][0]["reason"]
        assert "may have created an equal post" in reason
        # What it says to do works, word for word.
        account, when = re.search(r"account_ids (\S+), scheduled_at (\S+) and allow_duplicate=true", reason).groups()
        wish = {"content": THREE[data["steps"][0]["index"] - 1]["content"], "account_ids": [account]}
        await agent.expect_ok("create_post", **wish, scheduled_at=when, allow_duplicate=True)
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert data["complete"]
        assert len(agent.list_posts()) == 3


async def test_cancelled_apply_notes_the_post_that_it_was_creating(connect_agent):
    """Applying again finds nothing to do."""
    held, release = anyio.Event(), anyio.Event()

    def hold(app):
        async def between(scope, receive, send):
            if scope["method"] == "POST":
                held.set()
                await release.wait()
            await app(scope, receive, send)

        return between

    async with connect_agent(demo_posts=False, through=hold) as agent:
        plan_id, _ = await make_plan(agent, THREE[:1])

        async def apply():
            await agent.call("apply_plan", plan_id=plan_id)
            raise AssertionError("the call ended before it was cancelled")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(apply)
            await held.wait()
            tasks.cancel_scope.cancel()
            release.set()
        assert await agent.runtime.app.writer.in_flight.drain(60)
        text, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert text.startswith("Nothing left to do: every post of the plan was created before.")
        assert data["complete"]
        assert len(agent.list_posts()) == 1


async def test_unclear_post_found_later_belongs_to_the_plan(connect_agent):
    """Its response was lost and the search failed too; applying again finds it, undoing removes it."""
    async with connect_agent(demo_posts=False, through=Fault) as agent:
        plan_id, _ = await make_plan(agent, THREE[:1])
        fault = agent.sandbox.app
        fault.turn, fault.after, fault.lasting, fault.methods = 0, True, True, ("POST",)
        agent.sandbox.app.app = Blind(fault.app)
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert [outcome for _, outcome in list_outcomes(data)] == ["unknown"]
        assert len(agent.list_posts()) == 1
        fault.turn, fault.app.blind = None, False
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert [outcome for _, outcome in list_outcomes(data)] == ["already_created"]
        assert data["complete"]
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert [outcome for _, outcome in list_outcomes(data)] == ["deleted"]
        assert agent.list_posts() == []


@UNDO
async def test_undo_searches_for_posts_of_an_unclear_apply(connect_agent):
    """Otherwise they would be published; a post that isn't found is reported and not counted as undone."""
    async with connect_agent(demo_posts=False, through=Fault) as agent:
        plan_id, _ = await make_plan(agent, THREE[:1])
        fault = agent.sandbox.app
        fault.turn, fault.after, fault.lasting, fault.methods = 0, True, True, ("POST",)
        agent.sandbox.app.app = Blind(fault.app)
        await agent.expect_ok("apply_plan", plan_id=plan_id)
        text, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert ([outcome for _, outcome in list_outcomes(data)], data["complete"]) == (["unknown"], False)
        assert text.startswith("Nothing to undo: this plan has created no post that is known to be still there.")
        assert "it may have been created" in text
        assert len(agent.list_posts()) == 1
        fault.turn, fault.app.blind = None, False
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert ([outcome for _, outcome in list_outcomes(data)], data["complete"]) == (["deleted"], True)
        assert agent.list_posts() == []


@UNDO
async def test_undo_keeps_an_equal_post_that_the_user_made(empty_agent):
    """The plan was shown, and never applied."""
    plan_id, (post,) = await make_plan(empty_agent, THREE[:1])
    await empty_agent.expect_ok("create_post", **THREE[0], scheduled_at=post["scheduled_at"])
    text, data = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert text.startswith("Nothing to undo: this plan has created no post that is still there.")
    assert list_outcomes(data) == []
    assert empty_agent.list_posts() == [("New winter menu", "scheduled")]


async def test_equal_post_that_is_being_created_stops_the_plan(empty_agent):
    """A duplicate would be a second post, so the answer doesn't name that way."""
    plan_id, (post,) = await make_plan(empty_agent, THREE[:1])
    ledger, account = empty_agent.runtime.app.ledger, await empty_agent.find_account("linkedin Harbor Café")
    at = datetime.fromisoformat(post["scheduled_at"])
    await ledger.begin_create(
        PostCreate("New winter menu", account_ids=(account,), scheduled_at=at), tool="create_post"
    )
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert list_outcomes(data) == [(1, "stopped")]
    assert "an equal post is being created right now" in data["steps"][0]["reason"]
    assert "allow_duplicate" not in data["steps"][0]["reason"]
    assert empty_agent.list_posts() == []


async def test_post_from_before_the_plan_is_not_taken_for_its_own(connect_agent):
    """It is equal, was made elsewhere, and undoing the plan would delete it. The API says nothing of when a post was created."""
    hidden = show_fields(lambda name: name != "createdAt")
    async with connect_agent(demo_posts=False, through=lambda app: Fault(hidden(app), methods=("POST",))) as agent:
        plan_id, (post,) = await make_plan(agent, THREE[:1])
        at, account = datetime.fromisoformat(post["scheduled_at"]), await agent.find_account("linkedin Harbor Café")
        await agent.runtime.app.api.posts.create(PostCreate("New winter menu", account_ids=(account,), scheduled_at=at))
        agent.sandbox.app.turn = 0
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert list_outcomes(data) == [(1, "unknown")]
        agent.sandbox.app.turn = None
        await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert agent.list_posts() == [("New winter menu", "scheduled")]


@UNDO
async def test_undo_removes_a_post_missing_from_the_plans_record(empty_agent, monkeypatch):
    """The process died after the create, but the ledger knows which plan made it."""
    plan_id, _ = await make_plan(empty_agent, THREE[:1])
    with monkeypatch.context() as dying:
        dying.setattr(Plans, "note_step", record_nothing)
        await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    _, data = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert [outcome for _, outcome in list_outcomes(data)] == ["deleted"]
    assert empty_agent.list_posts() == []


@UNDO
async def test_undo_keeps_a_post_that_another_plan_created(empty_agent):
    """The other plan has the same post among others, and was never applied."""
    plan_id, _ = await make_plan(empty_agent, THREE[:1])
    other_id, _ = await make_plan(empty_agent, [THREE[0], {**THREE[1], "earliest": "2026-11-28"}])
    assert other_id != plan_id
    await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    _, data = await empty_agent.expect_ok("undo_plan", plan_id=other_id)
    assert data["steps"] == []
    assert len(empty_agent.list_posts()) == 1


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_plan_whose_times_pass_during_confirmation_is_refused(connect_agent, clock, mode):
    """The user agreed to a time that is over."""

    def late():
        clock.move(2 * 3600)
        return True

    async with connect_agent(answer=late, mode=mode, demo_posts=False) as agent:
        plan_id, found = await make_plan(agent, [{**THREE[0], "latest": "2026-11-24T10:30"}])
        assert found[0]["scheduled_at"] < "2026-11-24T10:31"
        words = await agent.expect_error("apply_plan", plan_id=plan_id)
        # In 2026 the yes itself is too old by then.
        assert "has passed or is too close" in words or "five minutes" in words
        assert agent.list_posts() == []


async def test_user_sees_all_of_each_post(connect_agent):
    """A thread and media are published, too."""
    media = ["https://media.example/a.jpg"]
    async with connect_agent(answer=True, demo_posts=False) as agent:
        account = await agent.find_account("twitter @harborcafe")
        posts = [{"content": "One", "account_ids": [account], "thread": ["Two"], "media_urls": media}]
        plan_id, _ = await make_plan(agent, posts)
        await agent.expect_ok("apply_plan", plan_id=plan_id)
        await agent.expect_ok("undo_plan", plan_id=plan_id)
        for asked in agent.questions:
            assert asked.endswith(":\n│ One\nThread part 2:\n│ Two\nMedia:\n│ https://media.example/a.jpg")
        assert len(agent.questions) == 2


async def test_end_date_includes_its_whole_day(empty_agent):
    """ "Until Friday" includes Friday."""
    day = {"earliest": "2026-11-27", "latest": "2026-11-27"}
    _, found = await make_plan(empty_agent, [{**THREE[0], **day}], end="2026-11-27")
    assert found[0]["scheduled_at"].startswith("2026-11-27T")


async def test_recent_posts_count_for_the_spacing(empty_agent, clock):
    """And for the posts per day."""
    _, data = await empty_agent.expect_ok(
        "create_post", content="Now", platforms=["linkedin"], scheduled_at="2026-11-24T09:10"
    )
    clock.move(600)
    empty_agent.sandbox.tick()
    assert empty_agent.read_row(data["post_id"])["status"] == "published"
    posts = [{"content": "Next", "platforms": ["linkedin"]}]
    _, found = await make_plan(empty_agent, posts, at_most_per_day=1)
    assert found[0]["scheduled_at"] > "2026-11-25"
    _, found = await make_plan(empty_agent, posts, spacing_minutes=120, end="2026-11-24")
    assert found[0]["scheduled_at"] >= "2026-11-24T11:10"


async def test_equal_posts_of_a_plan_are_noted(empty_agent):
    """One may have been pasted twice."""
    _, found = await make_plan(empty_agent, [THREE[0], THREE[1], THREE[0]])
    warned = {each["index"]: each["warnings"] for each in found}
    assert warned == {1: [], 2: [], 3: ["It says the same as post 1 on the same account."]}


class Blind:
    """Allow reads until the first create, then fail them until reset."""

    def __init__(self, app):
        self.app = app
        self.blind = True
        self.made = False

    async def __call__(self, scope, receive, send):
        self.made = self.made or scope["method"] == "POST"
        if scope["method"] == "GET" and self.blind and self.made:
            raise ConnectionResetError
        await self.app(scope, receive, send)


async def test_refused_post_does_not_stop_the_plan(connect_agent):
    async with connect_agent(demo_posts=False, through=Fault) as agent:
        plan_id, _ = await make_plan(agent)
        fault = agent.sandbox.app
        fault.methods, fault.turn, fault.how = ("POST",), 1, 400
        text, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert [outcome for _, outcome in list_outcomes(data)] == ["created", "refused", "created"]
        assert not data["complete"]
        assert "API said: «Something failed.»" in text
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert [outcome for _, outcome in list_outcomes(data)] == ["created"]
        assert data["complete"]
        assert len(agent.list_posts()) == 3


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_failure_affecting_later_posts_stops_the_plan(connect_agent, status):
    """Applying again continues."""
    async with connect_agent(demo_posts=False, through=Fault) as agent:
        plan_id, _ = await make_plan(agent)
        fault = agent.sandbox.app
        fault.methods, fault.turn, fault.how, fault.lasting = ("POST",), 1, status, True
        text, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert [outcome for _, outcome in list_outcomes(data)] == ["created", "stopped"]
        assert not data["complete"]
        first, *_, last, _sandbox = text.splitlines()
        assert first == f"Plan {plan_id}: 1 of 3 posts scheduled now."
        assert last == (
            "Stopped there. Call apply_plan with the same plan_id to continue; what was created isn't sent again."
        )
        assert "undo_plan" not in text
        fault.turn = None
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert [outcome for _, outcome in list_outcomes(data)] == ["created", "created"]
        assert data["complete"]


async def test_hourly_limit_stops_the_plan(connect_agent):
    """Created posts stay, and the step says when the limit allows more."""
    async with connect_agent(demo_posts=False, max_posts_per_hour=2) as agent:
        plan_id, _ = await make_plan(agent)
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert [outcome for _, outcome in list_outcomes(data)] == ["created", "created", "stopped"]
        assert "TTP_MAX_POSTS_PER_HOUR allows 2 new posts an hour" in data["steps"][-1]["reason"]


async def test_plan_whose_times_passed_is_refused(connect_agent, clock):
    """Sending only the rest isn't what the user saw, and a question would be pointless."""
    async with connect_agent(answer=True, demo_posts=False) as agent:
        plan_id, shown = await make_plan(agent)
        clock.move(8 * 86400)
        words = await agent.expect_error("apply_plan", plan_id=plan_id)
        assert words.startswith(f"Plan not applied: the time of post {shown[0]['index']}, ")
        assert words.endswith(
            "has passed or is too close (3 of 3 posts). Call plan_posts again for the posts that are left; nothing was sent."
        )
        assert agent.questions == []
        assert agent.list_posts() == []


@pytest.mark.parametrize("tool", ["apply_plan", "undo_plan"])
@pytest.mark.parametrize("plan_id", ["5e1ec7ab1e00", "none", "5e1ec7ab1e00cdef", "../plans"])
async def test_unknown_plan_is_refused(empty_agent, tool, plan_id):
    """An id is twelve characters from plan_posts."""
    words = await empty_agent.expect_error(tool, plan_id=plan_id)
    assert f": plan «{plan_id}» doesn't exist. Call plan_posts to make one; nothing was sent." in words


@pytest.mark.parametrize("tool", ["apply_plan", "undo_plan"])
async def test_altered_plan_is_refused(empty_agent, tool):
    """Its id covers all of its content."""
    plan_id, _ = await make_plan(empty_agent)
    ledger = empty_agent.runtime.app.ledger
    document = (await ledger.plans.load(plan_id)).document
    document["posts"][0]["content"] = "Something else"
    await ledger.plans.save("5e1ec7ab1e00", document)
    words = await empty_agent.expect_error(tool, plan_id="5e1ec7ab1e00")
    assert "plan 5e1ec7ab1e00 was altered since it was shown. Call plan_posts again; nothing was sent." in words


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("answer", [True, False])
async def test_user_is_asked_once_for_the_whole_plan(connect_agent, mode, answer):
    """With every text, time and account."""
    async with connect_agent(answer=answer, mode=mode, demo_posts=False) as agent:
        plan_id, _ = await make_plan(agent)
        result = await agent.call("apply_plan", plan_id=plan_id)
        assert result.is_error is not answer
        assert len(agent.list_posts()) == (3 if answer else 0)
        (question,) = agent.questions
        assert question.startswith(f"Schedule these 3 posts of plan {plan_id}? Times are in Europe/Paris.\n")
        assert [question.count(post["content"]) for post in THREE] == [1, 1, 1]
        assert question.count("linkedin «Harbor Café»") == 3


@UNDO
async def test_undo_deletes_only_the_plans_posts(empty_agent):
    """A second undo does nothing, and the plan can be applied again."""
    await empty_agent.expect_ok("create_post", content="Mine", platforms=["linkedin"])
    plan_id, _ = await make_plan(empty_agent)
    await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    text, data = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert text.splitlines()[0] == f"Plan {plan_id}: 3 of 3 posts deleted."
    assert {outcome for _, outcome in list_outcomes(data)} == {"deleted"}
    assert data["complete"]
    assert empty_agent.list_posts() == [("Mine", "draft")]
    text, data = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert (
        text
        == "Nothing to undo: this plan has created no post that is still there.\nSandbox: nothing here becomes public."
    )
    assert data["complete"]
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert data["complete"]
    assert len(empty_agent.list_posts()) == 4


@UNDO
async def test_undo_follows_rescheduled_posts_and_keeps_published_ones(empty_agent):
    """One moved, one published, one deleted by hand."""
    plan_id, _ = await make_plan(empty_agent)
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    moved, out, gone = (step["post_id"] for step in data["steps"])
    _, new = await empty_agent.expect_ok("reschedule_post", post_id=moved, scheduled_at="2026-12-20T10:00")
    empty_agent.update_post(out, status="published")
    await empty_agent.expect_ok("delete_post", post_id=gone)
    text, data = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert {step["post_id"]: step["outcome"] for step in data["steps"]} == {
        new["post_id"]: "deleted",
        out: "kept",
        gone: "already_gone",
    }
    assert f"kept {out}: it is published" in text
    assert data["complete"]
    assert [status for _, status in empty_agent.list_posts()] == ["published"]


@UNDO
async def test_undo_keeps_and_names_posts_that_existed_before(empty_agent):
    """They will be published anyway, and the user should know."""
    plan_id, shown = await make_plan(empty_agent)
    first = shown[0]
    _, own = await empty_agent.expect_ok(
        "create_post",
        content=THREE[first["index"] - 1]["content"],
        account_ids=["linkedin"],
        scheduled_at=first["scheduled_at"],
    )
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert dict(list_outcomes(data))[first["index"]] == "already_created"
    text, data = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert dict(list_outcomes(data))[first["index"]] == "kept"
    assert f"kept {own['post_id']}: it existed before the plan was applied; delete_post removes it" in text
    assert len(empty_agent.list_posts()) == 1
    text, _ = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert text.startswith("Nothing to undo: ")
    assert own["post_id"] in text


@UNDO
async def test_failed_delete_is_reported_and_retried(connect_agent):
    """A refusal or a lost response affects only this post."""
    async with connect_agent(demo_posts=False, through=Fault) as agent:
        plan_id, _ = await make_plan(agent)
        await agent.expect_ok("apply_plan", plan_id=plan_id)
        fault = agent.sandbox.app
        for how, outcome in ((403, "failed"), (500, "unknown")):
            fault.methods, fault.turn, fault.count, fault.how = ("DELETE",), 0, 0, how
            fault.lasting = True
            text, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
            assert {each for _, each in list_outcomes(data)} == {outcome}
            assert not data["complete"]
            assert text.splitlines()[-2] == "Call undo_plan with the same plan_id to retry what is left."
        fault.turn = None
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert data["complete"]
        assert agent.list_posts() == []


@UNDO
@pytest.mark.parametrize("behind_seconds", [0, 600, -600])
async def test_missing_post_counts_as_gone_after_the_replication_lag(connect_agent, clock, behind_seconds):
    """It was deleted elsewhere. For 90 s a lagging replica would look the same."""
    async with connect_agent(demo_posts=False, behind_seconds=behind_seconds) as agent:
        plan_id, _ = await make_plan(agent, THREE[:1])
        _, applied = await agent.expect_ok("apply_plan", plan_id=plan_id)
        with agent.sandbox.store.writing() as db:
            db.execute("DELETE FROM posts")
        clock.move(85)
        text, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert (list_outcomes(data), data["complete"]) == ([(1, "unknown")], False)
        assert data["steps"][0]["post_id"] == applied["steps"][0]["post_id"]
        assert data["steps"][0]["reason"] == (
            "it is not found (404) but may still exist; look for it with list_posts and call undo_plan again in two minutes"
        )
        assert "\nCall undo_plan with the same plan_id to retry what is left.\nSandbox: " in text
        clock.move(10 + 2 * abs(behind_seconds))
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert (list_outcomes(data), data["complete"]) == ([(1, "already_gone")], True)
        text, _ = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert (
            text
            == "Nothing to undo: this plan has created no post that is still there.\nSandbox: nothing here becomes public."
        )


class Lagging:
    """API replicas without the new posts: when read by id or also in lists, as configured."""

    def __init__(self, app):
        self.app = app
        self.missing = {"one": 0, "list": 0}

    async def __call__(self, scope, receive, send):
        path = scope["path"]
        kind = "one" if path.startswith("/api/posts/") else "list" if path == "/api/posts" else None
        if kind is None or scope["method"] != "GET" or not self.missing[kind]:
            await self.app(scope, receive, send)
            return
        self.missing[kind] -= 1
        if kind == "list":
            await send_reply(send, 200, {"success": True, "posts": []})
        else:
            await send_reply(send, 404, {"success": False, "message": "Not found."})


@UNDO
@pytest.mark.parametrize("lists", [0, 1])
@pytest.mark.parametrize("age", [0, 3600])
async def test_post_missing_from_a_lagging_replica_is_kept(connect_agent, clock, age, lists):
    """The next undo deletes it. Only an old post that a list doesn't show either counts as gone."""
    async with connect_agent(demo_posts=False, through=Lagging) as agent:
        plan_id, _ = await make_plan(agent, THREE[:1])
        await agent.expect_ok("apply_plan", plan_id=plan_id)
        clock.move(age)
        agent.sandbox.app.missing = {"one": 1, "list": lists}
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        gone = bool(age and lists)
        assert (list_outcomes(data), data["complete"]) == ([(1, "already_gone" if gone else "unknown")], gone)
        assert len(agent.list_posts()) == 1
        if not gone:
            agent.sandbox.app.missing = {"one": 0, "list": 0}
            _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
            assert (list_outcomes(data), data["complete"]) == ([(1, "deleted")], True)
            assert agent.list_posts() == []


@UNDO
async def test_post_with_an_unfinished_replacement_is_not_called_gone(empty_agent, clock, monkeypatch):
    """Its replacement exists."""
    plan_id, _ = await make_plan(empty_agent, THREE[:1])
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    with monkeypatch.context() as dying:
        dying.setattr(Replacements, "end", record_nothing)
        await empty_agent.expect_ok(
            "reschedule_post", post_id=data["steps"][0]["post_id"], scheduled_at="2026-12-20T10:00"
        )
    clock.move(3600)
    _, data = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert (list_outcomes(data), data["complete"]) == ([(1, "unknown")], False)
    assert len(empty_agent.list_posts()) == 1


@UNDO
async def test_outcomes_are_reported_when_the_ledger_fails(empty_agent, monkeypatch):
    """They couldn't be recorded."""
    plan_id, _ = await make_plan(empty_agent, THREE[:1])

    async def full(*_, **__):
        raise LedgerProblem("the disk is full.")

    with monkeypatch.context() as broken:
        broken.setattr(Plans, "note_step", full)
        _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert list_outcomes(data) == [(1, "created")]
    # Applying again finds it as a post that exists; that is noted now.
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert list_outcomes(data) == [(1, "already_created")]


@UNDO
async def test_undo_without_a_ledger_deletes_nothing(empty_agent, monkeypatch):
    """A delete that can't be recorded isn't sent."""
    plan_id, _ = await make_plan(empty_agent, THREE[:1])
    await empty_agent.expect_ok("apply_plan", plan_id=plan_id)

    async def full(*_, **__):
        raise LedgerProblem("the disk is full.")

    monkeypatch.setattr(type(empty_agent.runtime.app.ledger), "begin_delete", full)
    _, data = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert list_outcomes(data) == [(1, "failed")]
    assert data["steps"][0]["reason"] == "Post 1 not deleted: the disk is full."
    assert len(empty_agent.list_posts()) == 1


@UNDO
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_undo_asks_about_the_posts_it_deletes(connect_agent, mode):
    """A post that was rescheduled since is shown with its new text and time."""
    async with connect_agent(answer=True, mode=mode, demo_posts=False) as agent:
        plan_id, _ = await make_plan(agent, THREE[:1])
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        old = data["steps"][0]["post_id"]
        await agent.expect_ok("reschedule_post", post_id=old, content="New words", scheduled_at="2026-12-20T10:00")
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert agent.questions[-1].splitlines() == [
            f"Delete 1 post that plan {plan_id} created, unless published by then?",
            "Sun 20 Dec 2026 10:00 Europe/Paris (09:00Z), linkedin «Harbor Café»:",
            "│ New words",
        ]
        assert list_outcomes(data) == [(1, "deleted")]
        assert agent.list_posts() == []


@UNDO
async def test_undo_asks_only_about_deletable_posts(connect_agent):
    """Published and deleted posts are reported without a question."""
    async with connect_agent(answer=True, demo_posts=False) as agent:
        plan_id, _ = await make_plan(agent)
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        out, gone, left = (step["post_id"] for step in data["steps"])
        text = agent.read_row(left)["content"]
        agent.update_post(out, status="published")
        await agent.expect_ok("delete_post", post_id=gone)
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert [step["outcome"] for step in data["steps"]] == ["kept", "already_gone", "deleted"]
        assert agent.questions[-1].startswith(f"Delete 1 post that plan {plan_id} created")
        assert [agent.questions[-1].count(post["content"]) for post in THREE] == [
            post["content"] == text for post in THREE
        ]
        asked = len(agent.questions)
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert [step["outcome"] for step in data["steps"]] == ["kept"]
        assert len(agent.questions) == asked


@UNDO
@pytest.mark.parametrize(
    "change",
    [
        {"content": "Other words"},
        {"scheduled_at": 1_800_000_000_000},
        {"media_urls": '["https://media.example/a.jpg"]'},
    ],
)
async def test_undo_code_covers_the_posts_as_shown(connect_agent, change):
    """Not for changed posts with the same ids."""
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        plan_id, _ = await make_plan(agent, THREE[:1])
        words = await agent.expect_error("apply_plan", plan_id=plan_id)
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id, confirmation=find_code(words))
        code = find_code(await agent.expect_error("undo_plan", plan_id=plan_id))
        agent.update_post(data["steps"][0]["post_id"], **change)
        words = await agent.expect_error("undo_plan", plan_id=plan_id, confirmation=code)
        assert "or for other arguments" in words
        assert len(agent.list_posts()) == 1
        code = find_code(await agent.expect_error("undo_plan", plan_id=plan_id))
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id, confirmation=code)
        assert list_outcomes(data) == [(1, "deleted")]


@UNDO
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"content": "Other words"}, "it was changed or rescheduled during this call, "),
        ({"status": "published"}, "it is published"),
    ],
)
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_post_changed_during_confirmation_is_kept(connect_agent, mode, change, reason):
    """The user agreed to delete another version. In protocol 2026 the reply is a call of its own, which is refused."""
    post_id = None

    def thinking():
        if post_id is not None:
            agent.update_post(post_id, **change)
        return True

    async with connect_agent(answer=thinking, mode=mode, demo_posts=False) as agent:
        plan_id, _ = await make_plan(agent, THREE[:1])
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        post_id = data["steps"][0]["post_id"]
        if mode == "auto" and "content" in change:
            assert "the user's answer was for other arguments" in await agent.expect_error("undo_plan", plan_id=plan_id)
        else:
            text, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
            assert list_outcomes(data) == [(1, "kept")]
            assert data["steps"][0]["reason"].startswith(reason)
            assert data["complete"] is ("content" not in change)
            assert ("to retry what is left.\nSandbox: " in text) is ("content" in change)
        assert len(agent.list_posts()) == 1
        if "content" in change:
            _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
            assert list_outcomes(data) == [(1, "deleted")]


class BeforeSecondRead:
    """Run `happens` before a post is read by its id for the second time."""

    def __init__(self, app):
        self.app = app
        self.happens = None
        self.reads = 0

    async def __call__(self, scope, receive, send):
        happens = self.happens
        if happens is not None and scope["method"] == "GET" and scope["path"].startswith("/api/posts/"):
            self.reads += 1
            if self.reads == 2:
                self.happens = None
                await happens()
        await self.app(scope, receive, send)


@UNDO
async def test_post_rescheduled_during_undo_is_kept(connect_agent):
    """The user didn't agree to delete the new one; the next undo finds it."""
    async with connect_agent(demo_posts=False, through=BeforeSecondRead) as agent:
        plan_id, _ = await make_plan(agent, THREE[:1])
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        changes = {"post_id": data["steps"][0]["post_id"], "content": "New words", "scheduled_at": "2026-12-20T10:00"}

        async def happens():
            await agent.expect_ok("reschedule_post", **changes)

        agent.sandbox.app.happens = happens
        text, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert (list_outcomes(data), data["complete"]) == ([(1, "kept")], False)
        assert "\nCall undo_plan with the same plan_id to retry what is left.\nSandbox: " in text
        assert agent.list_posts() == [("New words", "scheduled")]
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert list_outcomes(data) == [(1, "deleted")]


@UNDO
async def test_undo_shows_what_the_api_leaves_out(connect_agent):
    """The reference guarantees neither threads nor accounts."""
    async with connect_agent(answer=True, demo_posts=False, through=show_promised) as agent:
        account = await agent.find_account("twitter @harborcafe")
        plan_id, _ = await make_plan(agent, [{"content": "One", "account_ids": [account], "thread": ["Two"]}])
        await agent.expect_ok("apply_plan", plan_id=plan_id)
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert agent.questions[-1].endswith(", twitter @harborcafe:\n│ One\nThread part 2:\n│ Two")
        assert list_outcomes(data) == [(1, "deleted")]


@UNDO
async def test_post_missing_from_the_list_is_undone(connect_agent):
    """It is read by its id instead."""
    async with connect_agent(demo_posts=False, through=answer_reads({"/posts": {"posts": []}})) as agent:
        plan_id, _ = await make_plan(agent, THREE[:1])
        await agent.expect_ok("apply_plan", plan_id=plan_id)
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert list_outcomes(data) == [(1, "deleted")]
        assert agent.list_posts() == []


@pytest.mark.requirement("tools.plans")
async def test_post_existing_for_some_accounts_is_not_done(empty_agent):
    """The other accounts would get nothing. Once it exists there too, the plan covers both."""
    twitter, linkedin = (
        await empty_agent.find_account("twitter @harborcafe"),
        await empty_agent.find_account("linkedin Harbor Café"),
    )
    _, plan = await empty_agent.expect_ok("plan_posts", posts=[{"content": "Soup", "account_ids": [twitter, linkedin]}])
    when = plan["planned"][0]["scheduled_at"]
    _, there = await empty_agent.expect_ok("create_post", content="Soup", account_ids=[twitter], scheduled_at=when)

    text, data = await empty_agent.expect_ok("apply_plan", plan_id=plan["plan_id"])
    assert not data["complete"]
    assert f"{there['post_id']} has the same text and time but not all of the accounts" in text
    assert f"account_ids {linkedin} sends it to the rest" in text

    await empty_agent.expect_ok("create_post", content="Soup", account_ids=[linkedin], scheduled_at=when)
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan["plan_id"])
    assert data["complete"]
    assert len(empty_agent.list_posts()) == 2


@UNDO
@pytest.mark.parametrize("moved", [False, True])
async def test_plan_is_undone_where_lists_show_less_than_posts(connect_agent, moved):
    """The question and the check before the delete read posts the same way."""
    hidden = ("platforms", "accountIds", "mediaUrls", "thread")
    sparse = show_fields(lambda name: name not in hidden, lists_only=True)
    async with connect_agent(answer=True, demo_posts=False, through=sparse) as agent:
        plan_id, _ = await make_plan(agent, THREE[:1])
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        if moved:
            await agent.expect_ok(
                "reschedule_post", post_id=data["steps"][0]["post_id"], scheduled_at="2026-12-20T10:00"
            )
        _, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert list_outcomes(data) == [(1, "deleted")]
        assert agent.list_posts() == []


@pytest.mark.requirement("tools.plans")
async def test_deleted_past_post_does_not_block_the_others(connect_agent, clock):
    """It is left alone, since nothing can be scheduled for a past time."""
    async with connect_agent(demo_posts=False, max_posts_per_hour=2) as agent:
        plan_id, times = await make_plan(agent, THREE)
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        first, _, left = data["steps"]
        assert left["outcome"] == "stopped"
        await agent.expect_ok("delete_post", post_id=first["post_id"])
        due = next(datetime.fromisoformat(each["scheduled_at"]) for each in times if each["index"] == first["index"])
        clock.move((due - clock.now()).total_seconds() + 3700)
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert list_outcomes(data) == [(left["index"], "created")]


@UNDO
async def test_post_with_a_pending_replacement_is_not_half_undone(empty_agent, clock, monkeypatch):
    """The other half would be published unnoticed."""

    async def crash(*_, **__):
        raise RuntimeError

    plan_id, _ = await make_plan(empty_agent, THREE[:1])
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    old = data["steps"][0]["post_id"]
    with monkeypatch.context() as broken:
        broken.setattr("ttp_mcp.writes.replacement.Replacer._swap", crash)
        await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at="2026-12-20T10:00")
    clock.move(271)
    text, data = await empty_agent.expect_ok("undo_plan", plan_id=plan_id)
    assert (list_outcomes(data), data["complete"]) == ([(1, "unknown")], False)
    assert "a reschedule of it did not finish" in text
    assert len(empty_agent.list_posts()) == 2


@pytest.mark.requirement("tools.plans.fixed")
async def test_fixed_time_is_kept_and_other_posts_are_planned_around_it(empty_agent):
    """In quiet hours and off the quarter hour; the other post keeps its distance."""
    posts = [
        {"content": "Fixed", "platforms": ["linkedin"], "scheduled_at": "2026-11-25T06:40"},
        {"content": "Free", "platforms": ["linkedin"], "latest": "2026-11-25", "earliest": "2026-11-25"},
    ]
    text, data = await empty_agent.expect_ok("plan_posts", posts=posts)
    fixed, free = data["planned"]
    assert (fixed["scheduled_at"], fixed["reason"]) == ("2026-11-25T06:40:00+01:00", "the time you gave")
    assert free["scheduled_at"] >= "2026-11-25T10:40"
    assert "08:00 is too close to post 1" in text
    _, data = await empty_agent.expect_ok("apply_plan", plan_id=data["plan_id"])
    assert [step["scheduled_at"] for step in data["steps"]] == [fixed["scheduled_at"], free["scheduled_at"]]


@pytest.mark.requirement("tools.plans.fixed")
async def test_fixed_times_that_are_close_are_noted(empty_agent):
    """Both are kept: the user chose them."""
    posts = [
        {"content": "One", "platforms": ["linkedin"], "scheduled_at": "2026-11-25T10:00"},
        {"content": "Two", "platforms": ["linkedin"], "scheduled_at": "2026-11-25T10:20"},
    ]
    text, data = await empty_agent.expect_ok("plan_posts", posts=posts)
    assert [each["warnings"] for each in data["planned"]] == [[], ["Post 1 is 20 min apart on the same account."]]
    assert "Warning for post 2: Post 1 is 20 min apart on the same account." in text


@pytest.mark.requirement("tools.plans.fixed")
@pytest.mark.parametrize("when", ["2026-11-24T09:00", "2026-11-24T09:02:59"])
async def test_fixed_time_that_has_passed_or_is_too_close_is_not_planned(empty_agent, when):
    _, data = await empty_agent.expect_ok(
        "plan_posts", posts=[{"content": "x", "platforms": ["linkedin"], "scheduled_at": when}]
    )
    assert data["planned"] == []
    reason = "scheduled_at has passed or is less than 60 s ahead; pass a later one"
    assert data["unplanned"] == [{"index": 1, "reason": reason}]


@pytest.mark.requirement("tools.plans.fixed")
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"scheduled_at": "2026-11-25T10:00", "latest": "2026-11-26"},
            "Posts not planned: post 1: pass either scheduled_at or earliest and latest, not both. Nothing was sent.",
        ),
        ({"scheduled_at": "2026-11-25"}, "Posts not planned: post 1: scheduled_at: a time must be ISO 8601"),
        ({"scheduledAt": "tomorrow"}, "Posts not planned: post 1: scheduled_at: a time must be ISO 8601"),
    ],
)
async def test_fixed_time_that_cannot_be_read_is_refused(empty_agent, fields, words):
    refusal = await empty_agent.expect_error(
        "plan_posts", posts=[{"content": "x", "platforms": ["linkedin"], **fields}]
    )
    assert refusal.startswith(words)


@pytest.mark.requirement("tools.plans.days")
async def test_calendar_gives_each_reason_once(empty_agent):
    """With the posts or empty days that it applies to."""
    posts = [{"content": f"Post {number}", "platforms": ["linkedin"]} for number in range(3)]
    for day in (26, 27):
        await empty_agent.expect_ok(
            "create_post", content=f"{day}", platforms=["linkedin"], scheduled_at=f"2026-11-{day}T23:00"
        )
    text, _ = await empty_agent.expect_ok("plan_posts", posts=posts, at_most_per_day=1, end="2026-11-30")
    assert text.count("best hour of this account (") == 1
    assert "- Thu 26 Nov – Fri 27 Nov: at_most_per_day (1) is reached" in text.splitlines()
    text, _ = await empty_agent.expect_ok("plan_posts", posts=posts[:1], end="2026-11-26")
    assert text.count(": free, but the posts fit better on other days") == 2


@pytest.mark.parametrize(("given", "first"), [("7:00", "07:00"), ("07:00", "07:00"), ("9:30", "09:30")])
async def test_time_of_day_needs_no_leading_zero(empty_agent, given, first):
    await empty_agent.expect_ok("plan_posts", posts=THREE, quiet_until=given)
    _, found = await make_plan(empty_agent, THREE[:1], quiet_from="12:00", quiet_until=given)
    assert found[0]["scheduled_at"][11:16] >= first


@pytest.mark.parametrize("given", ["7", "7am", "24:00", "7:5", "07:00:00", "٠٧:٠٠", "7:0٠"])
@pytest.mark.parametrize("name", ["quiet_from", "quiet_until"])
async def test_other_forms_of_a_time_of_day_are_refused_with_the_right_one(empty_agent, name, given):
    words = await empty_agent.expect_error("plan_posts", posts=THREE, **{name: given})
    assert words == f"plan_posts not called: {name} must be a time of day; write it as 07:00. Nothing was sent."


async def test_applied_plan_returns_what_was_created(empty_agent):
    """Text and length as each platform counts it, thread, media, accounts and time, so get_post isn't needed."""
    account = await empty_agent.find_account("twitter @harborcafe")
    posts = [
        {
            "content": "Read https://harbor.com/a-very-long-address-of-a-page-about-coffee-and-cake",
            "account_ids": [account],
            "thread": ["Second"],
            "media_urls": ["https://media.example/a.jpg"],
            "scheduled_at": "2026-11-25T10:00",
        }
    ]
    plan_id, _ = await make_plan(empty_agent, posts)
    text, data = await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    (step,) = data["steps"]
    assert empty_agent.format_text(text).replace(plan_id, "<plan>") == snapshot("""\
Plan <plan>: 1 of 1 post scheduled now.
- post 1, Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z): created <post 1> for twitter @harborcafe, «Read
    https://harbor.com/a-very-long-address-of-a-page-about-coffee-and-cake» (28 of 280 on twitter), part 2
    «Second» (6 of 280 on twitter), 1 media file «a.jpg»
Nothing is public yet; undo_plan deletes these posts, delete_post a single one.
Sandbox: nothing here becomes public.\
""")
    assert (step["scheduled_at"], step["accounts"]) == ("2026-11-25T10:00:00+01:00", ["twitter @harborcafe"])
    assert step["contents"] in text


@pytest.mark.requirement("tools.plans")
async def test_texts_of_a_plan_are_read_as_in_create_post(empty_agent):
    """Line ends, links in a thread as X counts them, texts that show nothing."""
    part = "see https://example.com/" + "x" * 300
    thread = {"content": "a\u2028b", "account_ids": ["twitter @harborcafe"], "thread": [part]}
    _, plan = await empty_agent.expect_ok("plan_posts", posts=[thread])
    assert any("the API may count plain characters" in each for each in plan["planned"][0]["warnings"])
    _, plan = await empty_agent.expect_ok("plan_posts", posts=[{**thread, "thread": ["c"]}])
    await empty_agent.expect_ok("apply_plan", plan_id=plan["plan_id"])
    assert [content for content, _ in empty_agent.list_posts()] == ["a\nb"]
    words = await empty_agent.expect_error(
        "plan_posts", posts=[thread, {"content": "\u2800", "platforms": ["linkedin"]}]
    )
    assert words.startswith("Posts not planned: post 2: content shows nothing")


@pytest.mark.requirement("tools.plans")
async def test_every_problem_of_a_list_is_named_at_once(empty_agent):
    """One call finds them all."""
    posts = [
        {"content": "a", "account_ids": ["nobody", "linkedin"]},
        {"content": "b", "platforms": ["linkedin"], "scheduled_at": "soon", "media_urls": ["a.jpg"]},
        {"content": "c", "platforms": ["linkedin"], "earliest": "2026-12-05", "latest": "2026-12-01"},
    ]
    lines = (await empty_agent.expect_error("plan_posts", posts=posts)).splitlines()
    assert [line.partition(" (")[0][:35] for line in lines] == [
        "Posts not planned: 4 problems.",
        "- post 1: no account «nobody». Conn",
        "- post 2: media_urls entry 1 is not",
        "- post 2: scheduled_at: a time must",
        "- post 3: latest",
        "Nothing was sent.",
    ]


@pytest.mark.requirement("tools.plans")
async def test_media_facts_are_compared_in_a_plan(empty_agent):
    """As in create_post."""
    from ttp_mcp.media.facts import MediaFacts

    url = "https://example.com/wide.jpg"
    await empty_agent.runtime.app.ledger.media_facts.remember(url, MediaFacts("image/jpeg", 1000, 2000, 500))
    post = {"content": "hi", "platforms": ["instagram"], "media_urls": [url]}
    _, plan = await empty_agent.expect_ok("plan_posts", posts=[post])
    assert any("1.91:1" in each for each in plan["planned"][0]["warnings"])
