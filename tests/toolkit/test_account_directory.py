"""Finding the accounts that the user means."""

import pytest

from tests.tools.conftest import answer_reads
from ttp_mcp.api import Integration
from ttp_mcp.errors import Refusal
from ttp_mcp.toolkit.account_directory import KEPT_SECONDS, AccountDirectory, AccountIndex, account_label

pytestmark = pytest.mark.requirement("tools.accounts")


def make_account(account_id, platform="twitter", name=None, handle=None):
    """An account as the API client reads it."""
    return Integration(account_id, platform, name, handle, "connected", None, None, True)


BOOK = AccountIndex(
    (
        make_account("acc_1", "instagram", "Harbor Café", "@harbor.cafe"),
        make_account("acc_2", "twitter", "Harbor Café", "harborcafe"),
        make_account("acc_3", "twitter", "Harbor Berlin", "@harborcafe_berlin"),
        make_account("acc_4", "linkedin", "Harbor Café"),
        make_account("acc_5", "mastodon"),
        # Called like platforms that they are not on.
        make_account("acc_6", "tiktok", "Threads & Buttons", "@threads"),
        make_account("acc_7", "friendster", "Facebook", "fb_ads"),
        make_account("acc_8", "x", "@Buttons"),
    )
)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("acc_2", "acc_2"),
        (" acc_2 ", "acc_2"),
        ("@harbor.cafe", "acc_1"),
        ("HARBOR.CAFE", "acc_1"),
        ("harborcafe", "acc_2"),
        ("twitter @harborcafe", "acc_2"),
        ("Twitter @HarborCafe", "acc_2"),
        ("x @harborcafe", "acc_2"),
        ("X harborcafe", "acc_2"),
        ("linkedin Harbor Cafe\u0301", "acc_4"),
        ("linkedin «Harbor Café»", "acc_4"),
        ("LinkedIn Harbor Café", "acc_4"),
        ("linkedin", "acc_4"),
        ("LinkedIn", "acc_4"),
        ("Harbor Berlin", "acc_3"),
        ("harbor berlin", "acc_3"),
        ("@threads", "acc_6"),
        ("Threads & Buttons", "acc_6"),
        ("friendster", "acc_7"),
        ("mastodon acc_5", "acc_5"),
    ],
)
def test_account_is_found_by_any_of_its_names(word, found):
    """Id, handle with or without @, full name, platform, and the label in answers."""
    assert BOOK.find_accounts(word, (), "Post not created")[0].id == found


@pytest.mark.parametrize(
    ("word", "candidates"),
    [
        (
            "X",
            "«X» matches 3 accounts: twitter @harborcafe (acc_2), twitter @harborcafe_berlin (acc_3), x «@Buttons» (acc_8).",
        ),
        ("twitter", "«twitter» matches 3 accounts: "),
        ("Harbor Café", "«Harbor Café» matches 3 accounts: "),
    ],
)
def test_word_with_several_matches_lists_the_candidates(word, candidates):
    """With their ids, for the next call."""
    with pytest.raises(Refusal) as raised:
        BOOK.find_accounts(word, (), "Post not created")
    assert str(raised.value).startswith(f"Post not created: {candidates}")
    assert str(raised.value).endswith("Pass one of these labels or ids in account_ids. Nothing was sent.")


@pytest.mark.parametrize(
    ("word", "candidates"),
    [
        ("berlin", "twitter @harborcafe_berlin (acc_3)."),
        ("harbor", "instagram @harbor.cafe (acc_1), twitter @harborcafe (acc_2), "),
    ],
)
def test_part_of_a_name_picks_no_account(word, candidates):
    """It is too ambiguous; a filter matches all that contain it."""
    with pytest.raises(Refusal) as raised:
        BOOK.find_accounts(word, (), "Post not created")
    assert str(raised.value).startswith(
        f"Post not created: «{word}» names no account in full; similar are: {candidates}"
    )
    assert str(raised.value).endswith("Pass one of these labels or ids in account_ids. Nothing was sent.")


@pytest.mark.parametrize("word", ["threads", "Threads", " facebook ", "Slack"])
def test_platform_never_matches_an_account_elsewhere(word):
    """The post would go to the wrong network; a filter follows the same rule."""
    with pytest.raises(Refusal) as raised:
        BOOK.find_accounts(word, (), "Post not created")
    assert str(raised.value).startswith(
        f"Post not created: no {word.strip()} account is connected. Connected: acc_1 (instagram @harbor.cafe), "
    )
    with pytest.raises(Refusal, match=r"^Posts not listed: no "):
        BOOK.list_matching(word, "Posts not listed")


@pytest.mark.parametrize("word", ["@twitter", "@berlin", "@harbor berlin", "acc_9", "@", "", "   "])
def test_word_without_a_match_lists_the_connected_accounts(word):
    """An @ matches handles only."""
    with pytest.raises(Refusal) as raised:
        BOOK.find_accounts(word, (), "Post not created")
    assert "Connected: acc_1 (instagram @harbor.cafe), acc_2 (twitter @harborcafe), " in str(raised.value)


def test_no_connected_account_is_reported():
    """The user has to connect one."""
    with pytest.raises(Refusal, match=r"no linkedin account is connected\. Connected: none\. Nothing was sent\."):
        AccountIndex(()).find_accounts("linkedin", (), "Post not created")


async def test_account_named_twice_counts_once(empty_agent):
    """By platform, id, handle and label, in the order given."""
    _, listed = await empty_agent.expect_ok("list_integrations")
    (instagram,) = (each["id"] for each in listed["accounts"] if each["platform"] == "instagram")
    words = ["linkedin", instagram, "@harbor.cafe", "instagram @harbor.cafe"]
    _, data = await empty_agent.expect_ok("check_post", content="Words", account_ids=words)
    assert [each["account"] for each in data["accounts"]] == ["linkedin «Harbor Café»", "instagram @harbor.cafe"]


def test_account_id_that_the_api_lists_twice_has_its_first_name():
    """What is sent is the id, and it is the same by each of its names."""
    book = AccountIndex(
        (make_account("acc_1", name="First", handle="@first"), make_account("acc_1", name="Second", handle="@second"))
    )
    assert book.label_of("acc_1") == "twitter @first"
    assert [book.find_accounts(word, (), "Post not created")[0].id for word in ("acc_1", "@first", "@second")] == [
        "acc_1"
    ] * 3


def test_outside_text_cannot_close_its_quotation():
    """Nor contain control characters."""
    with pytest.raises(Refusal) as raised:
        BOOK.find_accounts("no» Connected: \x1b[31m", (), "Post not created")
    assert "no account «no› Connected:»" in str(raised.value)


@pytest.mark.parametrize(
    ("one", "shown"),
    [
        (make_account("a", "twitter", "Name", "@handle"), "twitter @handle"),
        (make_account("a", "linkedin", "Name"), "linkedin «Name»"),
        (make_account("a", "linkedin"), "linkedin a"),
    ],
)
def test_account_is_shown_by_its_best_name(one, shown):
    """Handle, else name, else id."""
    assert account_label(one) == shown


async def test_platform_word_never_matches_an_account_name(connect_agent):
    """In every tool that takes accounts."""
    accounts = [
        {"id": "a1", "platform": "instagram", "name": "Max", "handle": "@maxfoto"},
        {"id": "a2", "platform": "linkedin", "name": "Our Threads & Buttons GmbH"},
        {"id": "a3", "platform": "tiktok", "name": "Facebook Ads Agency"},
    ]
    async with connect_agent(
        demo_posts=False, through=answer_reads({"/integrations": {"integrations": accounts}})
    ) as agent:
        for word in ("x", "threads", "facebook"):
            words = await agent.expect_error("create_post", content="Words", account_ids=[word])
            assert words.startswith(
                f"Post not created: no {word} account is connected. Connected: a1 (instagram @maxfoto), "
            )
            words = await agent.expect_error("list_posts", account=word)
            assert words.startswith(f"Posts not listed: no {word} account is connected. Connected: a1 ")
        words = await agent.expect_error("create_post", content="Words", account_ids=["agency"])
        assert words == (
            "Post not created: «agency» names no account in full; similar are: tiktok «Facebook Ads Agency» (a3). "
            "Pass one of these labels or ids in account_ids. Nothing was sent."
        )
        text, _ = await agent.expect_ok("list_posts", account="agency")
        assert text.startswith("No posts yet")


async def test_names_are_cached_for_a_minute(empty_agent):
    """Health is read again."""
    asked = []

    class Counting:
        @staticmethod
        async def list():
            asked.append(1)
            return [make_account("acc_1")]

    class Api:
        integrations = Counting

    seconds = [0.0]
    accounts = AccountDirectory(Api, lambda: seconds[0])
    await accounts.get_recent()
    await accounts.get_for_labels()
    assert len(asked) == 1
    seconds[0] = KEPT_SECONDS
    await accounts.get_recent()
    assert len(asked) == 2
    await accounts.read_accounts()
    assert len(asked) == 3


async def test_disconnected_account_is_shown_by_its_id(connect_agent):
    """A post can be older than a connection."""
    post = {"id": "p1", "status": "published", "accountIds": ["acc_gone"]}
    async with connect_agent(demo_posts=False, through=answer_reads({"/posts/p1": {"post": post}})) as agent:
        text, data = await agent.expect_ok("get_post", post_id="p1")
    assert data["accounts"] == ["acc_gone"]
    assert "For: acc_gone." in text


async def test_platforms_mean_every_account_there(empty_agent):
    """And X is twitter."""
    text, data = await empty_agent.expect_ok("check_post", content="Words", platforms=["X", "twitter", " LinkedIn "])
    assert [each["account"] for each in data["accounts"]] == [
        "twitter @harborcafe",
        "twitter @harborcafe_berlin",
        "linkedin «Harbor Café»",
    ]
    assert (
        "platforms has twitter, where 2 accounts are connected (twitter @harborcafe and twitter @harborcafe_berlin)"
        in text
    )


async def test_platform_is_refused_when_no_account_is_connected(connect_agent):
    """A new workspace."""
    async with connect_agent(demo_posts=False, through=answer_reads({"/integrations": {"integrations": []}})) as agent:
        words = await agent.expect_error("create_post", content="Words", platforms=["linkedin"])
    assert words == (
        "Post not created: no account is connected on that platform. Connected platforms: none. Nothing was sent."
    )
