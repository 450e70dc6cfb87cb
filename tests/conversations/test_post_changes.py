"""Everyday requests about posts, with the number of calls each takes."""

import pytest

pytestmark = pytest.mark.requirement("conversations.everyday")

LONG = " ".join(f"Sentence number {number} tells what the cafe serves on that day." for number in range(1, 17))


async def test_posting_now_takes_one_call(conversation):
    """The answer contains the time."""
    reply = await conversation.call("create_post", content="We are open", platforms=["linkedin"], scheduled_at="now")
    (post,) = conversation.list_added()
    assert post["due"] == "2026-11-24T09:04"
    assert "09:04" in reply.text
    assert len(conversation.calls) == 1


async def test_scheduling_on_two_named_accounts_takes_one_call(conversation):
    """Labels and platforms count as names."""
    await conversation.call(
        "create_post",
        content="Soup today",
        account_ids=["@harborcafe_berlin", "linkedin"],
        scheduled_at="2026-12-01T09:00",
    )
    (post,) = conversation.list_added()
    assert post["due"] == "2026-12-01T09:00"
    assert len(conversation.calls) == 1


async def test_fixing_a_typo_takes_two_calls(conversation):
    """Find the post and change it; the answer lists what changed and what didn't."""
    posts = (await conversation.call("list_posts", status="scheduled", limit=1)).data["posts"]
    reply = await conversation.call("reschedule_post", post_id=posts[0]["id"], content="The right words")
    assert "Changed: text (was " in reply.text
    assert "Unchanged: time, accounts" in reply.text
    (old,), (new,) = conversation.list_removed(), conversation.list_added()
    assert (new["content"], new["due"], new["media_urls"]) == ("The right words", old["due"], old["media_urls"])
    assert len(conversation.calls) == 2


async def test_posting_a_long_text_as_a_thread_takes_two_calls(conversation):
    """The refusal includes the thread."""
    account = {"account_ids": ["twitter @harborcafe"], "scheduled_at": "2026-12-01T09:00"}
    assert len(LONG) >= 850
    reply = await conversation.call("check_post", content=LONG, **account)
    await conversation.call("create_post", **reply.data["proposed_thread"], **account)
    (post,) = conversation.list_added()
    assert len(post["content"]) <= 280
    assert len(conversation.calls) == 2


async def test_repeating_a_post_of_last_week_takes_two_calls(conversation):
    """User: "Post Monday's post of last week again on Thursday at 9." """
    listed = await conversation.call("list_posts", status="published", after="2026-11-16", before="2026-11-22")
    old = conversation.before[listed.data["posts"][0]["id"]]
    await conversation.call("create_post", copy_of=old["id"], scheduled_at="2026-11-26T09:00")
    (new,) = conversation.list_added()
    assert new["due"] == "2026-11-26T09:00"
    assert [new[name] for name in ("content", "media_urls", "thread")] == [
        old[name] for name in ("content", "media_urls", "thread")
    ]
    assert len(conversation.calls) == 2
