"""The same post is not created twice, unless that is wanted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import anyio
import pytest

from ttp_mcp.api import NoAnswer, Post, PostCreate, ValidationFailed
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.writes.outcomes import Created, EarlierAttempt

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
DUE = START + timedelta(days=2)
# The same but for one unit.
AT = {
    "minute": DUE.replace(minute=1),
    "hour": DUE.replace(hour=11),
    "day": DUE.replace(day=27),
    "month": DUE.replace(month=12),
    "year": DUE.replace(year=2027),
}


@pytest.mark.requirement("writes.duplicates")
async def test_same_post_again_is_answered_with_the_first_one(world) -> None:
    """Within the window the second call sends nothing."""
    first = await world.writes.create(world.post(), tool="create_post")
    world.time.clock.move(3600)
    second = await world.another().create(world.post(at=DUE + timedelta(seconds=20)), tool="create_post")

    assert (second.outcome, second.post_id, second.at) == ("already_created", first.post_id, START)
    assert second.post is not None
    assert world.faults.writes == ["POST"]


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("change", ["content", *AT, "account", "thread", "media", "data", "draft"])
async def test_post_that_differs_is_not_a_duplicate(world, change: str) -> None:
    """Text, time, account, thread, media and platform data make a post."""
    post = world.post(account="twitter")
    other = {
        "content": replace(post, content="Doors open at eleven"),
        **{unit: replace(post, scheduled_at=at) for unit, at in AT.items()},
        "account": replace(post, account_ids=(world.accounts["linkedin"],)),
        "thread": replace(post, thread=("And close at six",)),
        "media": replace(post, media_urls=("https://example.com/a.png",)),
        "data": replace(post, platform_data={"twitter": {"reply": 1}}),
        "draft": replace(post, scheduled_at=None),
    }[change]
    await world.writes.create(post, tool="create_post")

    assert (await world.writes.create(other, tool="create_post")).outcome == "created"


SAME_TO_A_READER = {
    "line end": "Caf\u00e9 opens\nat ten\n",
    "CRLF": "Caf\u00e9 opens\r\nat ten",
    "line separator": "Caf\u00e9 opens\u2028at ten",
    "decomposed": "Cafe\u0301 opens\nat ten",
    "outer space": " \tCaf\u00e9 opens\nat ten\u00a0",
    "space at a line's end": "Caf\u00e9 opens  \nat ten",
    "zero width space": "Caf\u00e9 opens\u200b\nat ten",
    "byte order mark": "\ufeffCaf\u00e9 opens\nat ten",
}


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("part", ["content", "thread"])
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("difference", SAME_TO_A_READER)
async def test_retry_that_differs_in_nothing_visible_is_a_duplicate(
    world, difference: str, lost: bool, part: str
) -> None:
    """Also if the first response was lost and the post has to be found."""
    posts = [
        replace(world.post(account="twitter"), **{part: text if part == "content" else (text,)})
        for text in ("Caf\u00e9 opens\nat ten", SAME_TO_A_READER[difference])
    ]
    world.faults.script = ["lost after commit"] if lost else []
    world.faults.reads_fail = lost
    first = await world.writes.create(posts[0], tool="create_post")
    world.faults.reads_fail = False

    second = await world.another().create(posts[1], tool="create_post")

    assert first.outcome == ("unknown" if lost else "created")
    assert (second.outcome, second.reconciled) == ("already_created", lost)
    assert world.faults.writes == ["POST"]


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("text", ["Caf\u00e9 opens at ten", "Caf\u00e9 opens\n\nat ten", "caf\u00e9 opens\nat ten"])
async def test_text_that_looks_different_is_another_post(world, text: str) -> None:
    """A line break, an empty line and a capital letter are visible."""
    await world.writes.create(world.post("Caf\u00e9 opens\nat ten"), tool="create_post")

    assert (await world.writes.create(world.post(text), tool="create_post")).outcome == "created"


@pytest.mark.requirement("writes.duplicates")
async def test_time_with_another_offset_is_the_same_time(world) -> None:
    first = await world.writes.create(world.post(), tool="create_post")
    there = DUE.astimezone(timezone(timedelta(hours=5, minutes=45)))

    assert (await world.writes.create(world.post(at=there), tool="create_post")).post_id == first.post_id


@pytest.mark.requirement("writes.duplicates")
async def test_one_account_in_common_makes_a_duplicate(world) -> None:
    """The same post to more accounts would reach the common one twice."""
    both = replace(world.post(), account_ids=(world.accounts["twitter"], world.accounts["linkedin"]))
    first = await world.writes.create(world.post(), tool="create_post")

    assert (await world.writes.create(both, tool="create_post")).post_id == first.post_id


@pytest.mark.requirement("writes.duplicates")
async def test_post_to_a_platform_covers_the_accounts_that_the_answer_names(world) -> None:
    """Targeting the platform and then its account is the same."""
    first = await world.writes.create(
        PostCreate("Hello", platforms=("linkedin",), scheduled_at=DUE), tool="create_post"
    )
    second = await world.writes.create(world.post("Hello"), tool="create_post")

    assert (second.outcome, second.post_id) == ("already_created", first.post_id)


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("hidden", [(), ("accountIds", "results")], ids=["shown", "hidden"])
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("platform_first", [False, True])
async def test_account_and_its_platform_are_one_target(
    world, platform_first: bool, lost: bool, hidden: tuple[str, ...]
) -> None:
    """Whichever was named first, whatever the API shows of it, and also when the first answer was lost."""
    world.faults.hidden = hidden
    account = world.post()
    platform = replace(account, account_ids=(), platforms=("linkedin",))
    posts = [platform, account] if platform_first else [account, platform]
    world.faults.script = ["lost after commit"] if lost else []
    world.faults.reads_fail = lost
    first = await world.writes.create(posts[0], tool="create_post", target_ids=account.account_ids)
    world.faults.reads_fail = False

    second = await world.another().create(posts[1], tool="create_post", target_ids=account.account_ids)

    assert first.outcome == ("unknown" if lost else "created")
    assert (second.outcome, second.reconciled) == ("already_created", lost)
    assert world.faults.writes == ["POST"]
    found = [await world.ledger.find_prior_create(post, account.account_ids) for post in posts]
    assert [each.post_id for each in found if each] == [second.post_id] * 2


@pytest.mark.requirement("writes.duplicates")
async def test_post_to_a_platform_that_is_gone_frees_the_accounts_that_its_answer_named(world) -> None:
    """Deleted in the dashboard and created again by its account."""
    platform = replace(world.post(), account_ids=(), platforms=("linkedin",))
    first = await world.writes.create(platform, tool="create_post")
    await world.api.posts.delete(first.post_id or "")
    world.time.clock.move(120)

    assert (await world.writes.create(world.post(), tool="create_post")).outcome == "created"


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize(
    ("at", "hours", "outcome"), [(None, 23, "already_created"), (None, 25, "created"), (DUE, 25, "already_created")]
)
async def test_window_is_a_day_and_for_a_scheduled_post_until_its_time(
    world, at: datetime | None, hours: int, outcome: str
) -> None:
    """A draft may be written again the next day; what is scheduled is not scheduled twice."""
    await world.writes.create(world.post(at=at), tool="create_post")
    world.time.clock.move(hours * 3600)

    assert (await world.writes.create(world.post(at=at), tool="create_post")).outcome == outcome


@pytest.mark.requirement("writes.duplicates")
async def test_wanted_duplicate_is_sent(world) -> None:
    """`allow_duplicate` sends it; what comes after is measured against the newest."""
    first = await world.writes.create(world.post(), tool="create_post")
    second = await world.writes.create(world.post(), tool="create_post", allow_duplicate=True)
    third = await world.writes.create(world.post(), tool="create_post")

    assert second.outcome == "created"
    assert second.post_id != first.post_id
    assert third.post_id == second.post_id


@pytest.mark.requirement("writes.duplicates")
async def test_wanted_duplicate_that_was_refused_leaves_the_first_one_known(world) -> None:
    """The reservation of the first post comes back."""
    first = await world.writes.create(world.post(), tool="create_post")
    world.faults.script = ["409"]
    with pytest.raises(ValidationFailed):
        await world.writes.create(world.post(), tool="create_post", allow_duplicate=True)

    assert (await world.writes.create(world.post(), tool="create_post")).post_id == first.post_id


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("elsewhere", [True, False])
async def test_deleted_post_can_be_created_again(world, elsewhere: bool) -> None:
    """Whether it was deleted through us or in the dashboard."""
    first = await world.writes.create(world.post(), tool="create_post")
    if elsewhere:
        await world.api.posts.delete(first.post_id or "")
        world.time.clock.move(120)
    else:
        await world.writes.delete(first.post_id or "", tool="delete_post")

    assert (await world.writes.create(world.post(), tool="create_post")).outcome == "created"


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("seconds", [0, 120])
async def test_post_that_one_reading_does_not_find_is_not_gone(world, seconds: int) -> None:
    """A copy of the API that lags answers 404 for what the list shows, or will show in a moment."""
    first = await world.writes.create(world.post(), tool="create_post")
    world.time.clock.move(seconds)
    world.faults.lagging = True

    second = await world.writes.create(world.post(), tool="create_post")

    assert (second.outcome, second.post_id, second.post) == ("already_created", first.post_id, None)
    assert world.faults.writes == ["POST"]


@pytest.mark.requirement("writes.duplicates")
async def test_post_that_was_just_created_is_not_gone_because_it_is_not_shown(world) -> None:
    """The list may lag as well; after a minute and a half it is believed."""
    first = await world.writes.create(world.post(), tool="create_post")
    await world.api.posts.delete(first.post_id or "")

    world.time.clock.move(80)
    assert (await world.writes.create(world.post(), tool="create_post")).outcome == "already_created"
    world.time.clock.move(10)
    assert (await world.writes.create(world.post(), tool="create_post")).outcome == "created"


@pytest.mark.requirement("writes.duplicates")
async def test_post_is_not_gone_while_the_list_cannot_be_read(world, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not found and not listed have to agree."""
    first = await world.writes.create(world.post(), tool="create_post")
    world.time.clock.move(120)
    world.faults.lagging = True
    monkeypatch.setattr(world.api.posts, "list", _no_answer)

    assert (await world.writes.create(world.post(), tool="create_post")).post_id == first.post_id


async def _no_answer() -> list[Post]:
    raise NoAnswer(method="GET", path="/posts")


@pytest.mark.requirement("writes.duplicates")
async def test_duplicate_is_reported_while_the_api_is_away(world) -> None:
    """The ledger knows the id; the post itself is missing from the answer."""
    first = await world.writes.create(world.post(), tool="create_post")
    world.faults.reads_fail = True

    second = await world.writes.create(world.post(), tool="create_post")

    assert (second.outcome, second.post_id, second.post) == ("already_created", first.post_id, None)


@pytest.mark.requirement("writes.duplicates")
async def test_one_of_two_concurrent_processes_sends(world) -> None:
    """The second is told while the first is under way."""
    async with world.held_create() as (results, _):
        with pytest.raises(EarlierAttempt) as raised:
            await world.another().create(world.post(), tool="create_post")
        world.faults.release.set()

    assert raised.value.in_progress is True
    assert str(raised.value) == (
        "an equal post is being created right now, since 2026-11-24T10:00:00.000Z. Call list_posts in a minute to see it. "
        "Nothing was sent by this call."
    )
    assert [result.outcome for result in results] == ["created"]
    assert world.faults.writes == ["POST"]


@pytest.mark.requirement("writes.unknown-blocks")
async def test_after_an_unknown_outcome_the_same_post_is_not_sent_again(world) -> None:
    """The earlier attempt is told with its time, and how to send it all the same."""
    world.faults.script = ["lost before commit"]
    await world.writes.create(world.post(), tool="create_post")

    with pytest.raises(EarlierAttempt) as raised:
        await world.writes.create(world.post(), tool="create_post")
    wanted = await world.writes.create(world.post(), tool="create_post", allow_duplicate=True)

    assert raised.value.in_progress is False
    assert str(raised.value) == (
        "an attempt at 2026-11-24T10:00:00.000Z may have created an equal post, but its response was lost. Look for it with "
        "list_posts; if it isn't there, create_post with allow_duplicate=true sends it. Nothing was sent by this call."
    )
    assert wanted.outcome == "created"
    assert world.faults.writes == ["POST", "POST"]


@pytest.mark.requirement("writes.unknown-blocks")
async def test_candidates_of_an_unknown_outcome_are_named(world) -> None:
    """The newest three of the posts that may be it are listed in the refusal."""
    world.faults.hidden = ("createdAt",)
    ids = [(await world.api.posts.create(world.post())).id for _ in range(4)]
    world.faults.script = ["lost before commit"]
    await world.writes.create(world.post(), tool="create_post")

    with pytest.raises(EarlierAttempt) as raised:
        await world.writes.create(world.post(), tool="create_post")

    assert f"may have created an equal post ({ids[3]}, {ids[2]}, {ids[1]}), but its" in str(raised.value)


@pytest.mark.requirement("writes.unknown-blocks")
@pytest.mark.parametrize(("seconds", "in_progress"), [(89.999, True), (90, False)])
async def test_create_may_be_in_progress_for_90_seconds(world, seconds: float, in_progress: bool) -> None:
    await world.ledger.begin_create(world.post(), tool="create_post")
    world.time.clock.move(seconds)

    with pytest.raises(EarlierAttempt) as raised:
        await world.writes.create(world.post(), tool="create_post")

    assert raised.value.in_progress is in_progress


@pytest.mark.requirement("writes.unknown-blocks")
async def test_unknown_outcome_that_is_settled_names_the_accounts_without_a_post(world) -> None:
    both = replace(world.post(), account_ids=(world.accounts["twitter"], world.accounts["linkedin"]))
    world.faults.script = ["lost after commit"]
    world.faults.reads_fail = True
    await world.writes.create(world.post(), tool="create_post")
    world.faults.reads_fail = False

    found = await world.writes.create(both, tool="create_post")

    (post,) = await world.equal_posts(world.post())
    missing = (world.accounts["twitter"],)
    assert found == Created("already_created", START, found.post, post.id, reconciled=True, missing_accounts=missing)
    assert found.post is not None
    assert found.post.id == post.id


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("gone", [0, 1, None])
async def test_create_for_accounts_of_two_posts_names_those_that_are_left(world, gone: int | None) -> None:
    """Both, or the one that is left with the account that has no post."""
    accounts = [world.accounts[name] for name in ("twitter", "linkedin")]
    posts = [replace(world.post(), account_ids=(account,)) for account in accounts]
    ids = [(await world.writes.create(post, tool="create_post")).post_id for post in posts]
    world.time.clock.move(120)
    if gone is not None:
        await world.api.posts.delete(ids[gone])

    both = replace(world.post(), account_ids=tuple(accounts))
    created = await world.writes.create(both, tool="create_post")

    if gone is None:
        assert created == Created("already_created", START, created.post, ids[0], other_post_ids=(ids[1],))
    else:
        assert (created.outcome, created.post_id) == ("already_created", ids[1 - gone])
        assert created.missing_accounts == (accounts[gone],)


@pytest.mark.requirement("writes.unknown-blocks")
async def test_unknown_outcome_is_settled_when_its_post_turns_up(world) -> None:
    """The next call finds the post and answers with it, once for every account of it."""
    both = replace(world.post(), account_ids=(world.accounts["twitter"], world.accounts["linkedin"]))
    world.faults.script = ["lost after commit"]
    world.faults.reads_fail = True
    await world.writes.create(both, tool="create_post")
    world.faults.reads_fail = False

    second = await world.writes.create(both, tool="create_post")
    third = await world.writes.create(world.post(), tool="create_post")

    assert (second.outcome, second.reconciled) == ("already_created", True)
    assert (third.outcome, third.post_id) == ("already_created", second.post_id)
    assert world.faults.writes == ["POST"]


@pytest.mark.requirement("writes.unknown-blocks")
async def test_earlier_attempt_is_looked_for_as_it_was_sent(world) -> None:
    """The post of another account on the same platform, whose answer was lost too, is not given out for it."""
    one, two = [each.id for each in await world.api.integrations.list() if each.platform == "twitter"]
    world.faults.reads_fail = True
    world.faults.script = ["lost before commit", "lost after commit"]
    for account in (one, two):
        await world.writes.create(replace(world.post(), account_ids=(account,)), tool="create_post")
    world.faults.reads_fail = False

    with pytest.raises(EarlierAttempt, match="may have created an equal post, but its response was lost"):
        platform = replace(world.post(), account_ids=(), platforms=("twitter",))
        await world.writes.create(platform, tool="create_post", target_ids=(one, two))

    found = await world.writes.create(replace(world.post(), account_ids=(two,)), tool="create_post")
    assert (found.outcome, found.reconciled) == ("already_created", True)


@pytest.mark.requirement("writes.unknown-blocks")
async def test_create_whose_process_ended_is_looked_for_by_the_next(world) -> None:
    """An intent without an outcome, old enough, is treated as a lost answer."""
    await world.ledger.begin_create(world.post(), tool="create_post")
    post = await world.api.posts.create(world.post())
    world.time.clock.move(120)

    assert [(each.content, each.is_open) for each in await world.ledger.list_unfinished()] == [
        ("Doors open at ten", False)
    ]
    found = await world.writes.create(world.post(), tool="create_post")

    assert (found.outcome, found.post_id) == ("already_created", post.id)
    assert await world.ledger.list_unfinished() == []


@pytest.mark.requirement("writes.duplicates")
async def test_accounts_that_an_equal_post_is_not_for_are_named(world) -> None:
    """Those would get nothing, so they must not be taken for served."""
    both = replace(world.post(), account_ids=(world.accounts["twitter"], world.accounts["linkedin"]))
    await world.writes.create(world.post(), tool="create_post")

    again = await world.writes.create(both, tool="create_post")
    assert (again.outcome, again.missing_accounts) == ("already_created", (world.accounts["twitter"],))


@pytest.mark.requirement("writes.duplicates")
async def test_post_that_expires_while_its_repetition_is_noted_is_not_a_duplicate(world, monkeypatch) -> None:
    """The time of the note and that of the look after it are not the same."""
    draft = world.post(at=None)
    await world.writes.create(draft, tool="create_post")
    world.time.clock.move(24 * 3600 - 1)
    commit, tries = world.state.commit, []

    async def slowly(*arguments):
        tries.append(arguments)
        if len(tries) == 1:
            world.time.clock.move(2)
        return await commit(*arguments)

    monkeypatch.setattr(world.state, "commit", slowly)
    assert (await world.writes.create(draft, tool="create_post")).outcome == "created"
    assert len(tries) == 3


@pytest.mark.requirement("writes.duplicates")
async def test_ledger_that_changes_all_the_time_stops_a_write_with_words(world, monkeypatch) -> None:
    """Nobody waits for ever."""

    async def changed(*_):
        return "changed"

    monkeypatch.setattr(world.state, "commit", changed)
    with pytest.raises(LedgerProblem) as raised:
        await world.writes.create(world.post(), tool="create_post")
    assert str(raised.value) == (
        "the ledger can't be used: other processes keep changing the same entry. Nothing is sent without it; reading goes on. "
        "Call again in a moment."
    )
    assert world.faults.writes == []


@pytest.mark.requirement("writes.duplicates")
async def test_repetition_that_was_refused_leaves_the_first_one_known_for_as_long_as_before(world) -> None:
    """Up to the time of the post."""
    post = world.post(at=START + timedelta(days=10))
    first = await world.writes.create(post, tool="create_post")
    world.faults.script = ["409"]
    with pytest.raises(ValidationFailed):
        await world.writes.create(post, tool="create_post", allow_duplicate=True)
    world.time.clock.move(26 * 3600)

    assert (await world.writes.create(post, tool="create_post")).post_id == first.post_id


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize(("second", "third"), [("none", "already_created"), ("lost after commit", "refused")])
async def test_refused_write_leaves_the_note_of_the_one_that_took_its_place(world, second, third) -> None:
    """What was sent with `allow_duplicate` meanwhile stands, or may."""
    post = world.post()
    world.faults.script = ["held, then refused", second]
    async with anyio.create_task_group() as tasks:

        async def first() -> None:
            with pytest.raises(ValidationFailed):
                await world.writes.create(post, tool="create_post")

        tasks.start_soon(first)
        await world.faults.held.wait()
        world.faults.reads_fail = True
        await world.another().create(post, tool="create_post", allow_duplicate=True)
        world.faults.reads_fail = False
        world.faults.release.set()

    if third == "refused":
        world.faults.hidden = ("createdAt",)
        world.time.clock.move(120)
        with pytest.raises(EarlierAttempt):
            await world.another().create(post, tool="create_post")
    else:
        assert (await world.another().create(post, tool="create_post")).outcome == third
    assert len(await world.equal_posts(post)) == 1


@pytest.mark.requirement("writes.duplicates")
async def test_refused_repetition_does_not_put_back_a_note_that_is_out_of_date(world) -> None:
    """The write that it would have repeated has its outcome by then."""
    post = world.post()
    first = await world.ledger.begin_create(post, tool="create_post")
    second = await world.ledger.begin_create(post, tool="create_post", allow_duplicate=True)
    await world.ledger.finish(first, "created", Post({"id": "cm1"}))
    await world.ledger.finish(second, "not_done")

    found = await world.ledger.find_prior_create(post)
    assert (found.state, found.post_id) == ("created", "cm1")


@pytest.mark.requirement("writes.duplicates")
async def test_second_copy_is_known_for_a_day_without_the_first(world) -> None:
    """What is noted of the older one later does not shorten it."""
    draft = world.post(at=None)
    first = await world.ledger.begin_create(draft, tool="create_post")
    world.time.clock.move(20 * 3600)
    second = await world.writes.create(draft, tool="create_post", allow_duplicate=True)
    await world.ledger.finish(first, "unknown")
    world.time.clock.move(20 * 3600)

    assert (await world.writes.create(draft, tool="create_post")).post_id == second.post_id


@pytest.mark.requirement("writes.duplicates")
async def test_duplicate_that_would_be_met_is_found_without_sending(world) -> None:
    """A list of all posts shows which of them are gone."""
    accounts = [world.accounts[name] for name in ("twitter", "linkedin")]
    posts = [replace(world.post(), account_ids=(account,)) for account in accounts]
    one, two = [(await world.writes.create(post, tool="create_post")).post for post in posts]
    platforms = replace(world.post(), account_ids=(), platforms=("twitter", "linkedin"))
    find = world.writes.duplicates.find_prior

    for existing in (None, [one, two]):
        found = await find(platforms, existing, accounts)
        assert found is not None
        assert (found.post_id, found.other_post_ids, found.missing_accounts) == (one.id, (two.id,), ())
    for left, gone in ((one, accounts[1]), (two, accounts[0])):
        found = await find(platforms, [left], accounts)
        assert found is not None
        assert (found.post_id, found.other_post_ids, found.missing_accounts) == (left.id, (), (gone,))
    assert await find(platforms, [], accounts) is None
    assert await find(platforms, None) is None
    assert await find(world.post("Another"), [one, two]) is None


@pytest.mark.requirement("writes.duplicates")
async def test_create_without_a_known_post_is_a_duplicate_with_any_list(world) -> None:
    await world.ledger.begin_create(world.post(), tool="create_post")

    found = await world.writes.duplicates.find_prior(world.post(), [])

    assert found is not None
    assert (found.state, found.post_id) == ("pending", None)


IN_TEN_DAYS = START + timedelta(days=10)


@pytest.mark.requirement("writes.duplicates")
async def test_copy_that_is_left_is_known_until_its_time(world) -> None:
    """Of two copies the newer one was deleted elsewhere."""
    post = world.post(at=IN_TEN_DAYS)
    first = await world.writes.create(post, tool="create_post")
    second = await world.writes.create(post, tool="create_post", allow_duplicate=True)
    await world.api.posts.delete(second.post_id or "")
    world.time.clock.move(120)

    for _ in range(2):
        assert (await world.writes.create(post, tool="create_post")).post_id == first.post_id
        world.time.clock.move(26 * 3600)


@pytest.mark.requirement("writes.duplicates")
async def test_copy_that_is_left_on_another_account_is_known_until_its_time(world) -> None:
    accounts = (world.accounts["twitter"], world.accounts["linkedin"])
    one, two = (replace(world.post(at=IN_TEN_DAYS), account_ids=(account,)) for account in accounts)
    first = await world.writes.create(one, tool="create_post")
    kept = await world.writes.create(two, tool="create_post")
    gone = await world.writes.create(two, tool="create_post", allow_duplicate=True)
    await world.api.posts.delete(gone.post_id or "")
    world.time.clock.move(120)

    both = await world.writes.create(replace(one, account_ids=accounts), tool="create_post")
    world.time.clock.move(26 * 3600)

    assert (both.post_id, both.other_post_ids) == (first.post_id, (kept.post_id,))
    assert (await world.writes.create(two, tool="create_post")).post_id == kept.post_id


@pytest.mark.requirement("writes.unknown-blocks")
async def test_post_of_an_unknown_outcome_that_was_settled_is_known_until_its_time(world) -> None:
    post = world.post(at=IN_TEN_DAYS)
    world.faults.script = ["lost after commit"]
    world.faults.reads_fail = True
    await world.writes.create(post, tool="create_post")
    world.faults.reads_fail = False

    found = await world.writes.create(post, tool="create_post")
    world.time.clock.move(26 * 3600)

    assert (await world.writes.create(post, tool="create_post")).post_id == found.post_id


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_post_that_another_lost_create_may_have_made_is_not_given_out(world) -> None:
    """Where the API doesn't show the accounts, the post may be either's."""
    world.faults.hidden = ("accountIds", "results")
    world.faults.reads_fail = True
    world.faults.script = ["lost before commit", "lost after commit"]
    posts = [world.post(account="twitter"), world.post(account="linkedin")]
    for post in posts:
        await world.writes.create(post, tool="create_post")
    world.faults.reads_fail = False

    for post in posts:
        with pytest.raises(EarlierAttempt, match="may have created an equal post"):
            await world.writes.create(post, tool="create_post")


@pytest.mark.requirement("writes.unknown-blocks")
@pytest.mark.parametrize("seconds", [0, 120])
async def test_earlier_create_that_is_not_found_is_unknown_since_its_time(world, seconds: int) -> None:
    """While it may be in progress, and after."""
    await world.ledger.begin_create(world.post(), tool="create_post")
    world.time.clock.move(seconds)
    prior = await world.ledger.find_prior_create(world.post())
    assert prior is not None

    assert await world.writes.duplicates.recall(prior, world.post()) == Created("unknown", START)
