"""Whole results of the tools for plans, and the whole questions to the user."""

import json

import anyio
import pytest
from inline_snapshot import snapshot

from tests.support.ledgers import fail_to_record
from tests.tools.conftest import Fault
from ttp_mcp.ledger.plans import Plans
from ttp_mcp.sandbox.rest import organizations

pytestmark = pytest.mark.requirement("tools.plans")
UNDO = pytest.mark.requirement("tools.plans.undo")

TWO = [
    {"content": f"Post {number}", "account_ids": ["linkedin"], "scheduled_at": f"2026-11-2{number + 4}T10:00"}
    for number in (1, 2)
]


async def make_plan(agent, posts=TWO):
    """Return the id of a plan."""
    _, data = await agent.expect_ok("plan_posts", posts=posts)
    return data["plan_id"]


def render_result(agent, text, plan_id):
    """Return a text with stable names for plan, accounts and posts, and folded lines."""
    return agent.format_text(text).replace(plan_id, "<plan>")


async def test_question_of_an_apply_names_time_accounts_and_text(connect_agent):
    async with connect_agent(answer=True, mode="legacy", demo_posts=False) as agent:
        twitter = await agent.find_account("twitter @harborcafe")
        posts = [TWO[0], {**TWO[1], "account_ids": ["linkedin", twitter], "thread": ["Second"]}]
        plan_id = await make_plan(agent, posts)
        text, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert render_result(agent, agent.questions[0], plan_id) == snapshot("""\
Schedule these 2 posts of plan <plan>? Times are in Europe/Paris.
Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z), linkedin «Harbor Café»:
│ Post 1
Thu 26 Nov 2026 10:00 Europe/Paris (09:00Z), linkedin «Harbor Café» and twitter @harborcafe:
│ Post 2
Thread part 2:
│ Second\
""")
        assert render_result(agent, text, plan_id) == snapshot("""\
Plan <plan>: 2 of 2 posts scheduled now.
- post 1, Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z): created <post 1> for linkedin «Harbor Café», «Post 1»
    (6 of 3000 on linkedin)
- post 2, Thu 26 Nov 2026 10:00 Europe/Paris (09:00Z): created <post 2> for linkedin «Harbor Café» and twitter
    @harborcafe, «Post 2» (6 of 3000 on linkedin, 6 of 280 on twitter), part 2 «Second» (6 of 280 on twitter)
Nothing is public yet; undo_plan deletes these posts, delete_post a single one.
Sandbox: nothing here becomes public.\
""")
        posts = [step.pop("post_id") for step in data["steps"]]
        assert [content for content, _ in agent.list_posts()] == [agent.read_row(each)["content"] for each in posts]
        assert data == {
            "plan_id": plan_id,
            "complete": True,
            "steps": snapshot(
                [
                    {
                        "index": 1,
                        "outcome": "created",
                        "scheduled_at": "2026-11-25T10:00:00+01:00",
                        "accounts": ["linkedin «Harbor Café»"],
                        "contents": "«Post 1» (6 of 3000 on linkedin)",
                    },
                    {
                        "index": 2,
                        "outcome": "created",
                        "scheduled_at": "2026-11-26T10:00:00+01:00",
                        "accounts": ["linkedin «Harbor Café»", "twitter @harborcafe"],
                        "contents": "«Post 2» (6 of 3000 on linkedin, 6 of 280 on twitter), part 2 «Second» (6 of 280 on twitter)",
                    },
                ]
            ),
        }


async def test_every_step_of_an_apply_is_reported(empty_agent):
    """The user sees how far it is."""
    assert await read_progress(empty_agent, "apply_plan", await make_plan(empty_agent)) == [
        (0, 2, "0 of 2 posts scheduled"),
        (1, 2, "1 of 2 posts scheduled"),
        (2, 2, "2 of 2 posts done"),
    ]


@UNDO
async def test_every_step_of_an_undo_is_reported(empty_agent):
    plan_id = await make_plan(empty_agent)
    await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    assert await read_progress(empty_agent, "undo_plan", plan_id) == [
        (0, 2, "0 of 2 posts checked"),
        (1, 2, "1 of 2 posts checked"),
        (2, 2, "2 posts checked"),
    ]


async def read_progress(agent, tool, plan_id):
    """Call a tool and return its reports, up to the last step."""
    reported = []
    last = anyio.Event()

    async def progress(done, total, message):
        reported.append((done, total, message))
        if done == total:
            last.set()

    await agent.client.call_tool(tool, {"plan_id": plan_id}, progress_callback=progress)
    with anyio.fail_after(5):
        await last.wait()
    return reported


async def test_apply_that_stops_at_an_unknown_outcome(connect_agent):
    """The post may exist; the answer says how to find out, and how to continue."""
    async with connect_agent(
        demo_posts=False, through=lambda app: Fault(app, methods=("POST",), lasting=True)
    ) as agent:
        twitter = await agent.find_account("twitter @harborcafe")
        posts = [TWO[0], {**TWO[1], "account_ids": ["linkedin", twitter]}, {**TWO[1], "content": "Post 3"}]
        plan_id = await make_plan(agent, posts)
        agent.sandbox.app.turn = 1
        text, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert render_result(agent, text, plan_id) == snapshot("""\
Plan <plan>: 1 of 3 posts scheduled now.
- post 1, Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z): created <post 1> for linkedin «Harbor Café», «Post 1»
    (6 of 3000 on linkedin)
- post 2, Thu 26 Nov 2026 10:00 Europe/Paris (09:00Z): unknown: no response. Look for it with list_posts. If
    it isn't there, call create_post with the same content and media, account_ids <linkedin>,
    <twitter@harborcafe>, scheduled_at 2026-11-26T09:00:00.000Z and allow_duplicate=true, then apply_plan
    again.
Stopped there so that nothing is sent twice; what was created isn't sent again.
Sandbox: nothing here becomes public.\
""")
        assert len(data["steps"]) == len(agent.list_posts()) + 1 == 2
        assert (data["steps"][1]["outcome"], data["steps"][1].get("post_id")) == ("unknown", None)
        text, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert render_result(agent, text, plan_id) == snapshot("""\
Plan <plan>: 1 of 3 posts scheduled now.
- post 2, Thu 26 Nov 2026 10:00 Europe/Paris (09:00Z): unknown: Post 2 not created: an attempt at
    2026-11-24T08:02:00.000Z may have created an equal post, but its response was lost. Look for it with
    list_posts; if it isn't there, create_post with allow_duplicate=true sends it. Nothing was sent by this
    call. If it isn't there, call create_post with the same content and media, account_ids <linkedin>,
    <twitter@harborcafe>, scheduled_at 2026-11-26T09:00:00.000Z and allow_duplicate=true, then apply_plan
    again.
Stopped there so that nothing is sent twice; what was created isn't sent again.
Sandbox: nothing here becomes public.\
""")
        assert (data["complete"], len(data["steps"])) == (False, 1)


async def test_apply_that_the_api_refuses_in_part(connect_agent):
    """A post that is refused concerns no other one; one that exists for some accounts only isn't done."""
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, methods=("POST",), how=400)) as agent:
        twitter = await agent.find_account("twitter @harborcafe")
        linkedin = await agent.find_account("linkedin Harbor Café")
        berlin = await agent.find_account("twitter @harborcafe_berlin")
        posts = [TWO[0], {**TWO[1], "account_ids": [twitter, linkedin, berlin]}, {**TWO[1], "content": "Last"}]
        plan_id = await make_plan(agent, posts)
        await agent.expect_ok("create_post", **{**TWO[1], "account_ids": [twitter]})
        agent.sandbox.app.turn = 0
        text, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert render_result(agent, text, plan_id) == snapshot("""\
Plan <plan>: 1 of 3 posts scheduled now.
- post 1, Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z): refused: Post 1 not created: the API refused the
    request (400). API said: «Something failed.». Correct that, then call again; nothing was changed.
- post 2, Thu 26 Nov 2026 10:00 Europe/Paris (09:00Z): refused: <post 1> has the same text and time but not
    all of the accounts; create_post with the same content and media, scheduled_at 2026-11-26T09:00:00.000Z
    and account_ids <linkedin>, <twitter@harborcafe_berlin> sends it to the rest
- post 3, Thu 26 Nov 2026 10:00 Europe/Paris (09:00Z): created <post 2> for linkedin «Harbor Café», «Last» (4
    of 3000 on linkedin)
Nothing is public yet; undo_plan deletes these posts, delete_post a single one.
Sandbox: nothing here becomes public.\
""")
        assert [step["outcome"] for step in data["steps"]] == ["refused", "refused", "created"]


async def test_apply_that_a_limit_stops(connect_agent):
    async with connect_agent(demo_posts=False, max_posts_per_hour=1) as agent:
        plan_id = await make_plan(agent)
        text, _ = await agent.expect_ok("apply_plan", plan_id=plan_id)
        assert render_result(agent, text, plan_id) == snapshot("""\
Plan <plan>: 1 of 2 posts scheduled now.
- post 1, Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z): created <post 1> for linkedin «Harbor Café», «Post 1»
    (6 of 3000 on linkedin)
- post 2, Thu 26 Nov 2026 10:00 Europe/Paris (09:00Z): stopped: Post 2 not created: TTP_MAX_POSTS_PER_HOUR
    allows 1 new posts an hour and that is used up. The next one is allowed at 2026-11-24T09:02:00.000Z;
    nothing was sent. Only the person who configured the server can change the limit.
Stopped there. Call apply_plan with the same plan_id to continue; what was created isn't sent again.
Sandbox: nothing here becomes public.\
""")


@UNDO
async def test_undo_of_posts_in_every_state(connect_agent, clock):
    """Deleted, gone, published, from before the plan, and one that can't be deleted."""
    async with connect_agent(
        answer=True, mode="legacy", demo_posts=False, through=lambda app: Fault(app, methods=("DELETE",), how=403)
    ) as agent:
        posts = [{**TWO[0], "content": f"Post {number}"} for number in range(1, 6)]
        plan_id = await make_plan(agent, posts)
        await agent.expect_ok("create_post", **posts[4])
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id)
        ids = [step["post_id"] for step in data["steps"]]
        await agent.expect_ok("delete_post", post_id=ids[0])
        agent.update_post(ids[1], status="published")
        agent.sandbox.app.turn, agent.sandbox.app.count = 1, 0
        text, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert render_result(agent, agent.questions[-1], plan_id) == snapshot("""\
Delete 2 posts that plan <plan> created, unless published by then?
Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z), linkedin «Harbor Café»:
│ Post 3
Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z), linkedin «Harbor Café»:
│ Post 4\
""")
        assert render_result(agent, text, plan_id) == snapshot("""\
Plan <plan>: 2 of 5 posts deleted.
- post 5, Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z): kept <post 1>: it existed before the plan was applied;
    delete_post removes it
- post 1, Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z): already gone <post 2>
- post 2, Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z): kept <post 3>: it is published
- post 3, Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z): deleted <post 4>
- post 4, Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z): failed <post 5>: Post 4 not deleted: the plan or the
    permissions don't allow it (403). API said: «Something failed.». Nothing was changed; retrying won't help.
Call undo_plan with the same plan_id to retry what is left.
Sandbox: nothing here becomes public.\
""")
        assert [(step["index"], step["outcome"], step["post_id"]) for step in data["steps"]] == [
            (5, "kept", ids[4]),
            (1, "already_gone", ids[0]),
            (2, "kept", ids[1]),
            (3, "deleted", ids[2]),
            (4, "failed", ids[3]),
        ]
        text, _ = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert render_result(agent, text, plan_id) == snapshot("""\
Plan <plan>: 1 of 3 posts deleted.
- post 5, Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z): kept <post 1>: it existed before the plan was applied;
    delete_post removes it
- post 2, Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z): kept <post 2>: it is published
- post 4, Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z): deleted <post 3>
Sandbox: nothing here becomes public.\
""")


@UNDO
async def test_undo_whose_responses_are_lost(connect_agent):
    async with connect_agent(
        demo_posts=False, through=lambda app: Fault(app, methods=("DELETE",), lasting=True)
    ) as agent:
        plan_id = await make_plan(agent)
        await agent.expect_ok("apply_plan", plan_id=plan_id)
        agent.sandbox.app.turn = 0
        text, data = await agent.expect_ok("undo_plan", plan_id=plan_id)
        assert render_result(agent, text, plan_id) == snapshot("""\
Plan <plan>: 0 of 2 posts deleted.
- post 1, Wed 25 Nov 2026 10:00 Europe/Paris (09:00Z): unknown <post 1>: the response was lost; check with
    get_post
- post 2, Thu 26 Nov 2026 10:00 Europe/Paris (09:00Z): unknown <post 2>: the response was lost; check with
    get_post
Call undo_plan with the same plan_id to retry what is left.
Sandbox: nothing here becomes public.\
""")
        assert not data["complete"]


async def plan_posts(agent, posts, **rules):
    """Return a plan as its text and data, with stable names."""
    text, data = await agent.expect_ok("plan_posts", posts=posts, **rules)
    plan_id = data.pop("plan_id", "no id")
    return render_result(agent, text, plan_id), json.loads(agent.mask_ids(json.dumps(data)))


async def test_plan_of_posts_of_every_kind(empty_agent):
    """Fixed and free times, on one account and two, beside another post, and two that can't be planned."""
    await empty_agent.expect_ok(
        "create_post", content="There", account_ids=["linkedin"], scheduled_at="2026-11-25T08:30"
    )
    twitter = await empty_agent.find_account("twitter @harborcafe")
    posts = [
        {"content": "Fixed", "account_ids": ["linkedin"], "scheduled_at": "2026-11-25T09:20"},
        {"content": "Free", "account_ids": ["linkedin", twitter]},
        {"content": "Fixed", "account_ids": ["linkedin"], "scheduled_at": "2026-11-25T09:40"},
        {"content": "x" * 281, "account_ids": [twitter]},
        {"content": "Late", "account_ids": [twitter], "latest": "2026-11-20"},
    ]
    text, data = await plan_posts(empty_agent, posts, end="2026-11-27")
    assert text == snapshot("""\
Plan <plan>: 3 posts on 2 accounts, 2 without a time, Wed 25 Nov – Fri 27 Nov, Europe/Paris (now Tue 24
    Nov 2026 09:02 Europe/Paris (08:02Z)). Nothing is sent yet; apply_plan(plan_id="<plan>") schedules
    it.

Wed 25 Nov  09:20  post 1  «Fixed»  linkedin «Harbor Café»
Wed 25 Nov  09:40  post 3  «Fixed»  linkedin «Harbor Café»
Fri 27 Nov  08:00  post 2  «Free»   linkedin «Harbor Café», twitter @harborcafe

Why these times:
- posts 1, 3: the time you gave
- post 2: best hour of these 2 accounts (mean score 0.93)

Without a time:
- post 4: X: content has 281 of 280 characters as X counts them (a link 23, an emoji 2); shorten it by 1.
- post 5: its earliest and latest leave no quarter hour in the window; widen them or the window

Days without a post:
- Tue 24 Nov: free, but the posts fit better on other days
- Thu 26 Nov: free, but the posts fit better on other days

Warning for post 1: Another post for linkedin «Harbor Café» is scheduled 50 min earlier (<post 1>).
Warning for post 3: It says the same as post 1 on the same account.
Best hours come from the API, which doesn't state their time zone; read as Europe/Paris.\
""")
    assert data == snapshot(
        {
            "planned": [
                {
                    "index": 1,
                    "scheduled_at": "2026-11-25T09:20:00+01:00",
                    "accounts": ["linkedin «Harbor Café»"],
                    "reason": "the time you gave",
                    "warnings": ["Another post for linkedin «Harbor Café» is scheduled 50 min earlier (<post 1>)."],
                },
                {
                    "index": 3,
                    "scheduled_at": "2026-11-25T09:40:00+01:00",
                    "accounts": ["linkedin «Harbor Café»"],
                    "reason": "the time you gave",
                    "warnings": ["It says the same as post 1 on the same account."],
                },
                {
                    "index": 2,
                    "scheduled_at": "2026-11-27T08:00:00+01:00",
                    "accounts": ["linkedin «Harbor Café»", "twitter @harborcafe"],
                    "reason": "best hour of these 2 accounts (mean score 0.93)",
                    "warnings": [],
                },
            ],
            "unplanned": [
                {
                    "index": 4,
                    "reason": "X: content has 281 of 280 characters as X counts them (a link 23, an emoji 2); shorten it by 1.",
                },
                {
                    "index": 5,
                    "reason": "its earliest and latest leave no quarter hour in the window; widen them or the window",
                },
            ],
            "time_zone": "Europe/Paris",
        }
    )


async def test_plan_of_fixed_times_says_nothing_of_best_hours(empty_agent):
    text, _ = await plan_posts(empty_agent, TWO)
    assert text == snapshot("""\
Plan <plan>: 2 posts on 1 account, Wed 25 Nov – Thu 26 Nov, Europe/Paris (now Tue 24 Nov 2026 09:02
    Europe/Paris (08:02Z)). Nothing is sent yet; apply_plan(plan_id="<plan>") schedules it.

Wed 25 Nov  10:00  post 1  «Post 1»  linkedin «Harbor Café»
Thu 26 Nov  10:00  post 2  «Post 2»  linkedin «Harbor Café»

Why these times:
- posts 1, 2: the time you gave\
""")


async def test_plan_without_a_post(empty_agent):
    text, data = await plan_posts(empty_agent, [{**TWO[0], "scheduled_at": "2026-11-20T10:00"}])
    assert text == snapshot("""\
No post could be given a time (times in Europe/Paris, now Tue 24 Nov 2026 09:02 Europe/Paris (08:02Z)).
    Nothing was sent.

Without a time:
- post 1: scheduled_at has passed or is less than 60 s ahead; pass a later one\
""")
    assert data == snapshot(
        {
            "planned": [],
            "unplanned": [
                {"index": 1, "reason": "scheduled_at has passed or is less than 60 s ahead; pass a later one"}
            ],
            "time_zone": "Europe/Paris",
        }
    )


async def test_plan_without_best_times(connect_agent):
    """The organization's plan has none; the token may not publish."""
    async with connect_agent(demo_posts=False) as agent:
        organizations.set_plan(agent.sandbox.store, "org_harbor_cafe", "small")
        with agent.sandbox.store.writing() as db:
            db.execute("UPDATE tokens SET capability = 'draft'")
        text, _ = await plan_posts(agent, [{"content": "Free", "account_ids": ["linkedin"]}], end="2026-11-25")
        assert text == snapshot("""\
Plan <plan>: 1 post on 1 account, Tue 24 Nov – Tue 24 Nov, Europe/Paris (now Tue 24 Nov 2026 09:02
    Europe/Paris (08:02Z)). Nothing is sent yet; apply_plan(plan_id="<plan>") schedules it. apply_plan
    would refuse it: the API token can't publish posts (it may read and draft). Create one that can in the
    TimeToPost dashboard under Settings → API, and log in with `ttp-mcp login`, or save drafts: call
    create_post without scheduled_at.

Tue 24 Nov  12:00  post 1  «Free»  linkedin «Harbor Café»

Why these times:
- post 1: no history of this account, so spread evenly over common hours

Days without a post:
- Wed 25 Nov: free, but the posts fit better on other days

The plan of this organization has no best times, so posts are spread over common hours.\
""")


async def test_plan_that_cannot_be_stored(empty_agent, monkeypatch):
    monkeypatch.setattr(Plans, "save", fail_to_record)
    text, data = await plan_posts(empty_agent, TWO[:1])
    assert text == snapshot("""\
Calendar without a plan_id: 1 post on 1 account, Wed 25 Nov – Wed 25 Nov, Europe/Paris (now Tue 24 Nov 2026
    09:02 Europe/Paris (08:02Z)). Nothing was sent. apply_plan can't be used for it: the disk is full. After
    fixing that, call plan_posts again, or create_post for each post of this calendar.

Wed 25 Nov  10:00  post 1  «Post 1»  linkedin «Harbor Café»

Why these times:
- post 1: the time you gave\
""")
    assert data == snapshot(
        {
            "planned": [
                {
                    "index": 1,
                    "scheduled_at": "2026-11-25T10:00:00+01:00",
                    "accounts": ["linkedin «Harbor Café»"],
                    "reason": "the time you gave",
                    "warnings": [],
                }
            ],
            "unplanned": [],
            "time_zone": "Europe/Paris",
        }
    )


async def test_refusal_of_a_plan_names_each_problem(empty_agent):
    posts = [
        {"content": "a", "account_ids": ["nobody"]},
        {"content": "b", "platforms": ["linkedin"], "scheduled_at": "2026-11-25T10:00", "earliest": "2026-11-25"},
        {"content": "c", "platforms": ["linkedin"], "scheduled_at": "soon"},
        {"content": "d", "platforms": ["linkedin"], "earliest": "2026-12-05", "latest": "2026-12-01"},
    ]
    text = await empty_agent.expect_error("plan_posts", posts=posts)
    assert empty_agent.format_text(text) == snapshot("""\
Posts not planned: 4 problems.
- post 1: no account «nobody». Connected: <instagram@harbor.cafe> (instagram @harbor.cafe),
    <twitter@harborcafe> (twitter @harborcafe), <twitter@harborcafe_berlin> (twitter @harborcafe_berlin),
    <linkedin> (linkedin «Harbor Café»), <tiktok@harbor.cafe> (tiktok @harbor.cafe), <pinterest@harborcafe>
    (pinterest @harborcafe).
- post 2: pass either scheduled_at or earliest and latest, not both.
- post 3: scheduled_at: a time must be ISO 8601, for example 2026-11-25T18:00 (read in Europe/Paris) or
    2026-11-25T18:00:00Z.
- post 4: latest (Tue 1 Dec 2026 23:59 Europe/Paris (22:59Z)) is earlier than earliest (Sat 5 Dec 2026 00:00
    Europe/Paris (4 Dec 23:00Z)). Pass a later latest.
Nothing was sent.\
""")
