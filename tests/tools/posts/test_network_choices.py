"""Boards by name, and the options of TikTok accounts, in every tool that writes a post."""

import json
from dataclasses import replace

import pytest

from tests.tools.conftest import answer_reads, read_text, send_reply
from ttp_mcp.api import CreatorInfo, Integration
from ttp_mcp.media.facts import MediaFacts
from ttp_mcp.sandbox.rest.vendor import set_vendor_endpoints
from ttp_mcp.tools.posts.network_choices import NetworkOptions, find_tiktok_errors

pytestmark = pytest.mark.requirement("tools.networks")

SOON = "2026-11-26T10:00"
PHOTO, CLIP = "https://example.com/a.jpg", "https://example.com/a.mp4"
TIKTOK = {
    "privacy": "PUBLIC_TO_EVERYONE",
    "allow_comments": True,
    "allow_duet": False,
    "allow_stitch": False,
    "your_brand": True,
    "branded_content": False,
}


def make_pin(board, **more):
    """Return arguments of a pin."""
    block = board if isinstance(board, dict) else {"board": board}
    post = {"content": "Buns", "platforms": ["pinterest"], "media_urls": [PHOTO], "scheduled_at": SOON}
    return {**post, "platform_data": {"pinterest": block}, **more}


def make_clip(**choices):
    """Return arguments of a TikTok post."""
    post = {"content": "Buns", "platforms": ["tiktok"], "media_urls": [CLIP], "scheduled_at": SOON}
    return {**post, "platform_data": {"tiktok": {**TIKTOK, **choices}}}


def read_board(agent, post_id):
    """Return the board id that a post was sent with."""
    return json.loads(agent.read_row(post_id)["platform_data"])["pinterest"]["boardId"]


@pytest.mark.parametrize(
    ("block", "board_id"),
    [
        ({"board": "Recipes"}, "board-recipes"),
        ({"board": "  rECIPES "}, "board-recipes"),
        ({"board": "winter"}, "board-winter-recipes"),
        ({"board": "board-team-ideas"}, "board-team-ideas"),
        ({"board_id": "Recipes"}, "board-recipes"),
        ({"boardId": "board-recipes"}, "board-recipes"),
    ],
)
async def test_board_is_found_by_id_name_or_part_of_a_name(empty_agent, block, board_id):
    """An exact name takes precedence, and the answer names the board."""
    text, data = await empty_agent.expect_ok("create_post", **make_pin(block))
    assert read_board(empty_agent, data["post_id"]) == board_id
    assert f"({board_id})." in text


async def test_ambiguous_board_sends_nothing_and_lists_the_candidates(empty_agent):
    """In every tool that writes a post."""
    text, data = await empty_agent.expect_ok("create_post", **make_pin("Recipes"))
    before = empty_agent.list_posts()
    ambiguous = (
        "«recipe» matches 2 boards: «Recipes» (board-recipes), «Winter recipes» (board-winter-recipes). Ask the user which, "
        "and pass its id as board."
    )
    plan = {"posts": [{key: value for key, value in make_pin("recipe").items() if key != "scheduled_at"}]}
    assert ambiguous in await empty_agent.expect_error("create_post", **make_pin("recipe"))
    change = {"post_id": data["post_id"], "platform_data": {"pinterest": {"board": "recipe"}}}
    assert ambiguous in await empty_agent.expect_error("reschedule_post", **change)
    for arguments in (make_pin("recipe"), change):
        text, checked = await empty_agent.expect_ok("check_post", **arguments)
        assert (checked["would_be_sent"], ambiguous in text) == (False, True)
    text, planned = await empty_agent.expect_ok("plan_posts", **plan)
    assert (planned["planned"], ambiguous in text) == ([], True)
    assert empty_agent.list_posts() == before


BOARDS = [
    {"id": "1", "name": "Recipes"},
    {"id": "2", "name": "recipes"},
    {"id": "3", "name": "Café"},
    {"id": "4", "name": "  "},
    {"id": "5"},
    {"id": 7, "title": "2026", "pinCount": -1},
    {"id": "8", "name": "3"},
    {"name": "No id"},
]


@pytest.mark.parametrize(
    ("board", "result"),
    [
        ("Recipes", "«Recipes» matches 2 boards: «Recipes» (1), «recipes» (2). Ask the user which"),
        ("Cafe\u0301", "3"),
        ("2026", "7"),
        ("7", "7"),
        (" 7 ", "7"),
        ("3", "3"),
        ("  ", "Pinterest: platform_data.pinterest needs boardId."),
        ("\u200b", "no board is named «»."),
        (["Recipes"], "boardId must be text."),
        (
            "No id",
            "no board is named «No id». Boards: «Recipes» (1), «recipes» (2), «Café» (3), «» (4), 5, «2026» (7), «3» (8).",
        ),
    ],
)
async def test_board_matches_exactly_one_or_none(connect_agent, board, result):
    """Names that differ only in case or Unicode form, blank or missing ones."""
    replies = {"/integrations/pinterest/boards": {"boards": BOARDS}}
    async with connect_agent(through=answer_reads(replies), demo_posts=False) as agent:
        called = await agent.call("create_post", **make_pin(board))
        if called.is_error:
            assert result in read_text(called)
            assert "problems" not in read_text(called)
            assert agent.list_posts() == []
        else:
            assert read_board(agent, called.structured_content["post_id"]) == result


async def test_unknown_board_is_refused_with_the_known_ones(empty_agent):
    """Except a number, which can be an id that the API doesn't list."""
    text = await empty_agent.expect_error("create_post", **make_pin("Garden"))
    assert text == (
        "Post not created: Pinterest: no board is named «Garden». Boards: «Coffee & Harbor» "
        "(board-coffee-and-harbor), «Recipes» (board-recipes), «Winter recipes» (board-winter-recipes), «Team"
        " ideas» (board-team-ideas). Pass one of their ids as board. Nothing was sent."
    )
    text, data = await empty_agent.expect_ok("create_post", **make_pin(" 549755885175"))
    assert data["warnings"] == ["Pinterest: the API lists no board «549755885175»; it is sent as it is."]


async def test_board_of_a_planned_post_is_found_when_the_plan_is_made(empty_agent):
    """The plan stores its id."""
    _, plan = await empty_agent.expect_ok("plan_posts", posts=[make_pin("Recipes")])
    assert plan["planned"][0]["warnings"] == ["Board: «Recipes» (board-recipes)."]
    _, done = await empty_agent.expect_ok("apply_plan", plan_id=plan["plan_id"])
    assert read_board(empty_agent, done["steps"][0]["post_id"]) == "board-recipes"


async def test_choices_of_a_planned_post_are_read_in_both_spellings(empty_agent):
    """As in create_post."""
    _, plan = await empty_agent.expect_ok("plan_posts", posts=[make_clip()])
    _, done = await empty_agent.expect_ok("apply_plan", plan_id=plan["plan_id"])
    sent = json.loads(empty_agent.read_row(done["steps"][0]["post_id"])["platform_data"])
    assert (sent["tiktok"]["allowDuet"], sent["tiktok"]["yourBrand"]) == (False, True)


async def test_new_board_replaces_the_old_one(empty_agent):
    """Other choices stay."""
    _, data = await empty_agent.expect_ok("create_post", **make_pin({"board": "Recipes", "title": "Buns"}))
    change = {"pinterest": {"board": "Coffee & Harbor"}}
    text, data = await empty_agent.expect_ok("reschedule_post", post_id=data["post_id"], platform_data=change)
    sent = json.loads(empty_agent.read_row(data["post_id"])["platform_data"])["pinterest"]
    assert sent == {"boardId": "board-coffee-and-harbor", "title": "Buns"}
    assert "pinterest.board_id was «board-recipes»" in text


async def test_boards_are_not_read_without_a_pin(connect_agent):
    """A board in the choices of another post has no effect."""
    async with connect_agent(through=answer_reads({"/integrations/pinterest/boards": 500})) as agent:
        _, data = await agent.expect_ok("create_post", **make_pin("Recipes", platforms=["linkedin"]))
        assert (data["warnings"], read_board(agent, data["post_id"])) == ([], "Recipes")


async def test_without_the_endpoint_an_id_is_sent_and_a_name_is_refused(empty_agent):
    """In one sentence; nothing else fails."""
    set_vendor_endpoints(empty_agent.sandbox.store, on=False)
    assert await empty_agent.expect_error("create_post", **make_pin("Recipes")) == (
        "Post not created: Pinterest: the board «Recipes» can't be looked up: this TimeToPost account's API "
        "has no list of Pinterest boards (404). Pass its id as board_id. Nothing was sent."
    )
    _, data = await empty_agent.expect_ok("create_post", **make_pin({"board_id": "board-recipes"}))
    assert data["warnings"] == [
        (
            "Pinterest: whether the board «board-recipes» exists couldn't be checked: this TimeToPost account's "
            "API has no list of Pinterest boards (404)."
        )
    ]


@pytest.mark.parametrize("failure", [500, 404, 403])
async def test_boards_that_cannot_be_read_do_not_stop_an_id(connect_agent, failure):
    """Whatever the reason."""
    async with connect_agent(through=answer_reads({"/integrations/pinterest/boards": failure})) as agent:
        text, _ = await agent.expect_ok("create_post", **make_pin({"board_id": "board-recipes"}))
        assert "whether the board «board-recipes» exists couldn't be checked" in text
        assert "can't be looked up" in await agent.expect_error("create_post", **make_pin("Recipes", content="More"))


async def test_unavailable_choice_is_refused_with_the_available_ones(empty_agent):
    """Privacy, and each disabled interaction."""
    text = await empty_agent.expect_error("create_post", **make_clip(privacy="FOLLOWER_OF_CREATOR", allow_stitch=True))
    assert text == (
        "Post not created: 2 problems.\n"
        "- TikTok: tiktok @harbor.cafe doesn't offer the privacy «FOLLOWER_OF_CREATOR». It offers PUBLIC_TO_EVERYONE, "
        "MUTUAL_FOLLOW_FRIENDS, SELF_ONLY; ask its owner which.\n"
        "- TikTok: stitch is disabled on tiktok @harbor.cafe. Pass allow_stitch false, if its owner agrees.\n"
        "Nothing was sent."
    )
    text, data = await empty_agent.expect_ok("check_post", **make_clip(allow_stitch=True))
    assert data["errors"] == [
        "TikTok: stitch is disabled on tiktok @harbor.cafe. Pass allow_stitch false, if its owner agrees."
    ]
    _, data = await empty_agent.expect_ok("create_post", **make_clip())
    change = {"post_id": data["post_id"], "platform_data": {"tiktok": {"allow_stitch": True}}}
    assert "stitch is disabled" in await empty_agent.expect_error("reschedule_post", **change)


async def test_options_are_those_of_the_account(empty_agent):
    """A private account has fewer."""
    with empty_agent.sandbox.store.writing() as db:
        db.execute("UPDATE accounts SET followers = 10 WHERE platform = 'tiktok'")
    _, data = await empty_agent.expect_ok("check_post", **make_clip(allow_duet=True))
    assert [error.split(": ")[1].split(". ")[0] for error in data["errors"]] == [
        "tiktok @harbor.cafe doesn't offer the privacy «PUBLIC_TO_EVERYONE»",
        "comments is disabled on tiktok @harbor.cafe",
        "duet is disabled on tiktok @harbor.cafe",
    ]


async def test_missing_choices_are_listed_with_the_accounts_options(empty_agent):
    """A draft doesn't need them yet."""
    words = "TikTok: tiktok @harbor.cafe offers privacy PUBLIC_TO_EVERYONE or MUTUAL_FOLLOW_FRIENDS or SELF_ONLY"
    post = {"content": "Buns", "platforms": ["tiktok"], "media_urls": [CLIP]}
    assert words in await empty_agent.expect_error("create_post", **post, scheduled_at=SOON)
    _, data = await empty_agent.expect_ok("create_post", **post)
    assert any(warning.startswith(words) for warning in data["warnings"])


async def test_video_that_is_too_long_is_refused_when_its_length_is_known(empty_agent):
    """Up to the account's limit it passes. A length just beyond it isn't shown as the limit."""
    facts = empty_agent.runtime.app.ledger.media_facts
    await facts.remember(CLIP, MediaFacts("video/mp4", 9_000_000, 720, 1280, 600.04))
    assert "takes videos of at most 600 s; media_urls entry 1 has 600.1 s" in await empty_agent.expect_error(
        "create_post", **make_clip()
    )
    await facts.remember(CLIP, MediaFacts("video/mp4", 9_000_000, 720, 1280, 600.0))
    await empty_agent.expect_ok("create_post", **make_clip())


async def test_options_are_read_for_each_post_and_before_each_post_of_a_plan(connect_agent):
    """TikTok forbids caching."""
    asked = []

    def counting(app):
        async def count(scope, receive, send):
            if scope["path"].endswith("/creator-info"):
                asked.append(scope["query_string"])
            await app(scope, receive, send)

        return count

    async with connect_agent(through=counting, demo_posts=False) as agent:
        await agent.expect_ok("check_post", **make_clip())
        await agent.expect_ok("create_post", **make_clip())
        assert len(asked) == 2
        posts = [{**make_clip(), "content": text, "scheduled_at": None} for text in ("One", "Two", "Three")]
        _, plan = await agent.expect_ok("plan_posts", posts=posts)
        assert len(asked) == 3
        with agent.sandbox.store.writing() as db:
            db.execute("UPDATE accounts SET followers = 10 WHERE platform = 'tiktok'")
        text, done = await agent.expect_ok("apply_plan", plan_id=plan["plan_id"])
        assert len(asked) == 6
        assert [step["outcome"] for step in done["steps"]] == ["refused"] * 3
        assert "doesn't offer the privacy «PUBLIC_TO_EVERYONE»" in text
        assert "ask its owner which. TikTok: comments is disabled on tiktok @harbor.cafe. Pass" in text


async def test_without_the_endpoint_general_rules_apply(connect_agent):
    """For a post and a plan; the answer says so, and the endpoint is called once."""
    asked = []

    def lacking(app):
        async def refuse(scope, receive, send):
            if not scope["path"].endswith("/creator-info"):
                await app(scope, receive, send)
                return
            asked.append(scope["path"])
            await send_reply(send, 404, {"success": False, "message": "There is nothing at this path."})

        return refuse

    words = (
        "TikTok: whether tiktok @harbor.cafe offers these choices couldn't be checked: this TimeToPost "
        "account's API has no list of what a TikTok account offers (404)."
    )
    async with connect_agent(through=lacking, demo_posts=False) as agent:
        _, data = await agent.expect_ok("create_post", **make_clip(allow_stitch=True))
        assert data["warnings"] == [words]
        assert "must be one of" in await agent.expect_error("create_post", **make_clip(privacy="EVERYONE"))
        _, plan = await agent.expect_ok("plan_posts", posts=[{**make_clip(), "content": "One"}])
        _, done = await agent.expect_ok("apply_plan", plan_id=plan["plan_id"])
        assert (done["complete"], done["steps"][0]["reason"]) == (True, words)
        assert len(asked) == 1


@pytest.mark.parametrize("failure", [500, 403, 404])
async def test_options_that_cannot_be_read_do_not_stop_a_post(connect_agent, failure):
    """Whatever the reason."""
    async with connect_agent(through=answer_reads({"/integrations/tiktok/creator-info": failure})) as agent:
        text, data = await agent.expect_ok("create_post", **make_clip())
        assert "whether tiktok @harbor.cafe offers these choices couldn't be checked" in text
        assert data["outcome"] == "created"


async def test_account_that_the_api_does_not_have_is_named(connect_agent):
    through = answer_reads({"/integrations/tiktok/creator-info": 404}, message="No such account.")
    async with connect_agent(through=through, demo_posts=False) as agent:
        _, data = await agent.expect_ok("create_post", **make_clip())
    (warning,) = data["warnings"]
    assert warning.endswith("checked: the API doesn't have it as connected (404); the API said «No such account.».")


async def test_time_that_passes_while_options_are_read_sends_nothing(connect_agent, clock):
    """Without a confirmation nothing else checks the time again."""

    def delay(app):
        async def take_a_while(scope, receive, send):
            if "tiktok" in scope["path"]:
                clock.move(290)
            await app(scope, receive, send)

        return take_a_while

    async with connect_agent(through=delay, confirm="off", demo_posts=False) as agent:
        words = await agent.expect_error("create_post", **make_clip() | {"scheduled_at": "2026-11-24T09:07"})
        assert "is less than 60 s away" in words
        assert agent.list_posts() == []


MANY = [{"id": f"b{number}", "name": f"Board {number}"} for number in range(1, 23)]
FIRST_20 = ", ".join(f"«Board {number}» (b{number})" for number in range(1, 21))


@pytest.mark.parametrize(
    ("boards", "board", "error"),
    [
        (MANY, "x" * 61, f"no board is named «{'x' * 59}…». Boards: {FIRST_20} and 2 more. Pass one of their ids as board."),
        (MANY[:20], "Garden", f"no board is named «Garden». Boards: {FIRST_20}. Pass one of their ids as board."),
        ([{"id": "b", "name": "y" * 61}], "G", f"no board is named «G». Boards: «{'y' * 59}…» (b). Pass one of their ids as board."),
        ([], "Garden", "no board is named «Garden». Boards: none. Pass one of their ids as board."),
        (
            MANY,
            "board",
            f"«board» matches 22 boards: {FIRST_20} and 2 more. Ask the user which, and pass its id as board.",
        ),
        (
            404,
            "x" * 61,
            (
                f"the board «{'x' * 59}…» can't be looked up: no Pinterest account is connected (404); the API said «Pinterest is not "
                f"{'o' * 142}…». Pass its id as board_id."
            ),
        ),
        (
            500,
            "Garden",
            (
                "the board «Garden» can't be looked up: the API, or a gateway before it, failed (500). API said: «Not here.». Pass its "
                "id as board_id."
            ),
        ),
    ],
)  # fmt: skip
async def test_board_that_is_not_found_is_explained(connect_agent, boards, board, error):
    """With at most twenty boards to choose from."""

    def refuse(app):
        async def instead(scope, receive, send):
            if scope["path"] != "/api/integrations/pinterest/boards":
                await app(scope, receive, send)
            elif boards == 404:
                await send_reply(send, 404, {"success": False, "message": f"Pinterest is not {'o' * 144}"})
            else:
                await send_reply(send, 500 if boards == 500 else 200, {"boards": boards, "message": "Not here."})

        return instead

    async with connect_agent(through=refuse, demo_posts=False) as agent:
        _, data = await agent.expect_ok("check_post", **make_pin(board))
    assert data["errors"] == [f"Pinterest: {error}"]


FULL = {
    "privacy_level_options": ["PUBLIC_TO_EVERYONE", "SELF_ONLY"],
    "commentDisabled": True,
    "duetDisabled": True,
    "stitchDisabled": False,
    "maxVideoPostDurationSec": 60,
}


@pytest.mark.parametrize(
    ("creator", "offered"),
    [
        (FULL, "privacy PUBLIC_TO_EVERYONE or SELF_ONLY; stitch as its owner chooses; comments and duet disabled; videos of at most 60 s"),
        ({"privacy_level_options": ["SELF_ONLY"]}, "privacy SELF_ONLY"),
        ({"commentDisabled": False, "duetDisabled": False}, "comments and duet as its owner chooses"),
        ({"maxVideoPostDurationSec": 600}, "videos of at most 600 s"),
    ],
)  # fmt: skip
async def test_account_that_offers_less_is_described_as_far_as_known(connect_agent, creator, offered):
    replies = {"/integrations/tiktok/creator-info": {"creatorInfo": creator}}
    async with connect_agent(through=answer_reads(replies), demo_posts=False) as agent:
        text, _ = await agent.expect_ok("tiktok_options")
        post = {"content": "Buns", "platforms": ["tiktok"], "media_urls": [CLIP]}
        _, data = await agent.expect_ok("check_post", **post)
    assert text.endswith(f": {offered}.")
    assert f"TikTok: tiktok @harbor.cafe offers {offered}." in data["warnings"]


@pytest.mark.parametrize(
    ("creator", "choices", "errors"),
    [
        (
            FULL,
            {"privacy": "FOLLOWER_OF_CREATOR", "allow_comments": True, "allow_duet": False, "allow_stitch": True},
            [
                ("TikTok: tiktok @harbor.cafe doesn't offer the privacy «FOLLOWER_OF_CREATOR». It offers PUBLIC_TO_EVERYONE, SELF_ONLY; "
                "ask its owner which."),
                "TikTok: comments is disabled on tiktok @harbor.cafe. Pass allow_comments false, if its owner agrees.",
                "TikTok: tiktok @harbor.cafe takes videos of at most 60 s; media_urls entry 2 has 60.6 s. Shorten it.",
            ],
        ),
        ({}, {}, []),
        (FULL | {"maxVideoPostDurationSec": None}, {"allow_comments": False, "allow_duet": True}, [
            "TikTok: duet is disabled on tiktok @harbor.cafe. Pass allow_duet false, if its owner agrees."
        ]),
    ],
)  # fmt: skip
async def test_choices_are_compared_with_what_is_known_of_the_account(connect_agent, creator, choices, errors):
    """Pictures have no length, and neither has a file that wasn't uploaded here."""
    replies = {"/integrations/tiktok/creator-info": {"creatorInfo": creator}}
    async with connect_agent(through=answer_reads(replies), demo_posts=False) as agent:
        facts = agent.runtime.app.ledger.media_facts
        await facts.remember(PHOTO, MediaFacts("image/jpeg", 9_000, 720, 1280, 99.0))
        await facts.remember(CLIP, MediaFacts("video/mp4", 9_000_000, 720, 1280, 60.6))
        post = make_clip(**choices)
        post["media_urls"] = [PHOTO, CLIP, "https://example.com/b.mp4"]
        _, data = await agent.expect_ok("check_post", **post)
    assert [error for error in data["errors"] if "tiktok @harbor.cafe" in error] == errors


CREATOR = CreatorInfo(None, None, ("SELF_ONLY",), True, None, None, None)


@pytest.mark.parametrize(
    ("creator", "block", "errors"),
    [
        (
            CREATOR,
            {"privacy": "x" * 61},
            [f"TikTok: us doesn't offer the privacy «{'x' * 59}…». It offers SELF_ONLY; ask its owner which."],
        ),
        (CREATOR, {"privacy": "SELF_ONLY"}, []),
        (CREATOR, {"privacy": ""}, []),
        (CREATOR, {"privacy": 5}, []),
        (replace(CREATOR, privacy_levels=()), {"privacy": "x"}, []),
        (CREATOR, {"allowComments": "yes"}, []),
        (CREATOR, {"allowDuet": True}, []),
    ],
)  # fmt: skip
def test_choices_of_another_form_are_left_to_the_rules(creator, block, errors):
    """They say that a choice is missing or no text."""
    assert find_tiktok_errors(creator, block, [], "us") == errors


async def test_board_is_found_without_accounts_that_were_just_read(empty_agent):
    """The accounts are kept for a minute, and a plan can take longer."""
    pin = Integration("p", "pinterest", None, None, None, None, None, None)
    options = NetworkOptions(empty_agent.runtime.app)
    found = await options.check({"pinterest": {"board": "Recipes"}}, [pin], [], scheduled=True)
    assert found.platform_data == {"pinterest": {"boardId": "board-recipes"}}
    assert (found.errors, found.warnings) == ([], [])


async def test_boards_are_read_once_for_a_plan(connect_agent):
    asked = []

    def count_reads(app):
        async def count(scope, receive, send):
            asked.append(scope["path"])
            await app(scope, receive, send)

        return count

    async with connect_agent(through=count_reads, demo_posts=False) as agent:
        posts = [make_pin("Recipes", content=text) for text in ("One", "Two")]
        await agent.expect_ok("plan_posts", posts=posts)
    assert asked.count("/api/integrations/pinterest/boards") == 1


async def test_problems_of_two_networks_are_listed_together(empty_agent):
    post = make_clip(allow_stitch=True) | {"platforms": ["pinterest", "tiktok"]}
    post["platform_data"] |= {"pinterest": {"board": "recipe"}}
    _, data = await empty_agent.expect_ok("check_post", **post)
    assert [error.split(" ")[:3] for error in data["errors"]] == [
        ["Pinterest:", "«recipe»", "matches"],
        ["TikTok:", "stitch", "is"],
    ]
