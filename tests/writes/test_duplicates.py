"""Duplicates: the same post isn't created twice unless the user wants that."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import anyio
import pytest

from ttp_mcp.api import NoAnswer, Post, PostCreate, ValidationFailed
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.writes.outcomes import Created, EarlierAttempt

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
DUE = START + timedelta(days=2)
# These differ from it by one unit.
AT = {
    "minute": DUE.replace(minute=1),
    "hour": DUE.replace(hour=11),
    "day": DUE.replace(day=27),
    "month": DUE.replace(month=12),
    "year": DUE.replace(year=2027),
}


@pytest.mark.requirement("writes.duplicates")
async def test_same_post_again_returns_the_first_one(harness) -> None:
    """Within the window, the second call sends nothing."""
    first = await harness.writes.create(harness.post(), tool="create_post")
    harness.time.clock.move(3600)
    second = await harness.make_writer().create(harness.post(at=DUE + timedelta(seconds=20)), tool="create_post")

    assert (second.outcome, second.post_id, second.at) == ("already_created", first.post_id, START)
    assert second.post is not None
    assert second.post.raw == first.post.raw
    assert harness.faults.writes == ["POST"]


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("change", ["content", *AT, "account", "thread", "media", "data", "draft"])
async def test_post_that_differs_is_not_a_duplicate(harness, change: str) -> None:
    """Text, time, account, thread, media and platform data identify a post."""
    post = harness.post(account="twitter")
    other = {
        "content": replace(post, content="Doors open at eleven"),
        **{unit: replace(post, scheduled_at=at) for unit, at in AT.items()},
        "account": replace(post, account_ids=(harness.accounts["linkedin"],)),
        "thread": replace(post, thread=("And close at six",)),
        "media": replace(post, media_urls=("https://example.com/a.png",)),
        "data": replace(post, platform_data={"twitter": {"reply": 1}}),
        "draft": replace(post, scheduled_at=None),
    }[change]
    await harness.writes.create(post, tool="create_post")

    assert (await harness.writes.create(other, tool="create_post")).outcome == "created"


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
async def test_retry_with_only_invisible_differences_is_a_duplicate(
    harness, difference: str, lost: bool, part: str
) -> None:
    """Even if the first response was lost and the post must be searched for."""
    posts = [
        replace(harness.post(account="twitter"), **{part: text if part == "content" else (text,)})
        for text in ("Caf\u00e9 opens\nat ten", SAME_TO_A_READER[difference])
    ]
    harness.faults.script = ["lost after commit"] if lost else []
    harness.faults.reads_fail = lost
    first = await harness.writes.create(posts[0], tool="create_post")
    harness.faults.reads_fail = False

    second = await harness.make_writer().create(posts[1], tool="create_post")

    assert first.outcome == ("unknown" if lost else "created")
    assert (second.outcome, second.reconciled) == ("already_created", lost)
    assert harness.faults.writes == ["POST"]


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("text", ["Caf\u00e9 opens at ten", "Caf\u00e9 opens\n\nat ten", "caf\u00e9 opens\nat ten"])
async def test_text_that_looks_different_is_another_post(harness, text: str) -> None:
    """Line breaks, empty lines and capital letters are visible."""
    await harness.writes.create(harness.post("Caf\u00e9 opens\nat ten"), tool="create_post")

    assert (await harness.writes.create(harness.post(text), tool="create_post")).outcome == "created"


@pytest.mark.requirement("writes.duplicates")
async def test_time_with_another_offset_is_the_same_time(harness) -> None:
    first = await harness.writes.create(harness.post(), tool="create_post")
    there = DUE.astimezone(timezone(timedelta(hours=5, minutes=45)))

    assert (await harness.writes.create(harness.post(at=there), tool="create_post")).post_id == first.post_id


@pytest.mark.requirement("writes.duplicates")
async def test_one_account_in_common_makes_a_duplicate(harness) -> None:
    """The same post to more accounts would reach the common one twice."""
    both = replace(harness.post(), account_ids=(harness.accounts["twitter"], harness.accounts["linkedin"]))
    first = await harness.writes.create(harness.post(), tool="create_post")

    assert (await harness.writes.create(both, tool="create_post")).post_id == first.post_id


@pytest.mark.requirement("writes.duplicates")
async def test_post_to_a_platform_covers_the_accounts_in_the_response(harness) -> None:
    """Targeting the platform and then its account creates a duplicate."""
    first = await harness.writes.create(
        PostCreate("Hello", platforms=("linkedin",), scheduled_at=DUE), tool="create_post"
    )
    second = await harness.writes.create(harness.post("Hello"), tool="create_post")

    assert (second.outcome, second.post_id) == ("already_created", first.post_id)


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("hidden", [(), ("accountIds", "results")], ids=["shown", "hidden"])
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("platform_first", [False, True])
async def test_account_and_its_platform_are_one_target(
    harness, platform_first: bool, lost: bool, hidden: tuple[str, ...]
) -> None:
    """In either order, whatever the API shows, and after a lost response too."""
    harness.faults.hidden = hidden
    account = harness.post()
    platform = replace(account, account_ids=(), platforms=("linkedin",))
    posts = [platform, account] if platform_first else [account, platform]
    harness.faults.script = ["lost after commit"] if lost else []
    harness.faults.reads_fail = lost
    first = await harness.writes.create(posts[0], tool="create_post", target_ids=account.account_ids)
    harness.faults.reads_fail = False

    second = await harness.make_writer().create(posts[1], tool="create_post", target_ids=account.account_ids)

    assert first.outcome == ("unknown" if lost else "created")
    assert (second.outcome, second.reconciled) == ("already_created", lost)
    assert harness.faults.writes == ["POST"]
    found = [await harness.ledger.find_prior_create(post, account.account_ids) for post in posts]
    assert [each.post_id for each in found if each] == [second.post_id] * 2


@pytest.mark.requirement("writes.duplicates")
async def test_deleted_post_to_a_platform_frees_its_accounts(harness) -> None:
    """It is deleted in the dashboard and created again for its account."""
    platform = replace(harness.post(), account_ids=(), platforms=("linkedin",))
    first = await harness.writes.create(platform, tool="create_post")
    await harness.api.posts.delete(first.post_id or "")
    harness.time.clock.move(120)

    assert (await harness.writes.create(harness.post(), tool="create_post")).outcome == "created"


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize(
    ("at", "hours", "outcome"), [(None, 23, "already_created"), (None, 25, "created"), (DUE, 25, "already_created")]
)
async def test_window_is_a_day_and_for_a_scheduled_post_until_its_time(
    harness, at: datetime | None, hours: int, outcome: str
) -> None:
    """A draft can be created again the next day; a scheduled post isn't scheduled twice."""
    await harness.writes.create(harness.post(at=at), tool="create_post")
    harness.time.clock.move(hours * 3600)

    assert (await harness.writes.create(harness.post(at=at), tool="create_post")).outcome == outcome


@pytest.mark.requirement("writes.duplicates")
async def test_wanted_duplicate_is_sent(harness) -> None:
    """`allow_duplicate` sends it; later posts are compared with the newest one."""
    first = await harness.writes.create(harness.post(), tool="create_post")
    second = await harness.writes.create(harness.post(), tool="create_post", allow_duplicate=True)
    third = await harness.writes.create(harness.post(), tool="create_post")

    assert second.outcome == "created"
    assert second.post_id != first.post_id
    assert third.post_id == second.post_id


@pytest.mark.requirement("writes.duplicates")
async def test_refused_duplicate_keeps_the_first_one_known(harness) -> None:
    """The first post's reservation is restored."""
    first = await harness.writes.create(harness.post(), tool="create_post")
    harness.faults.script = ["409"]
    with pytest.raises(ValidationFailed):
        await harness.writes.create(harness.post(), tool="create_post", allow_duplicate=True)

    assert (await harness.writes.create(harness.post(), tool="create_post")).post_id == first.post_id


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("elsewhere", [True, False])
async def test_deleted_post_can_be_created_again(harness, elsewhere: bool) -> None:
    """Deleted through this server or in the dashboard."""
    first = await harness.writes.create(harness.post(), tool="create_post")
    if elsewhere:
        await harness.api.posts.delete(first.post_id or "")
        harness.time.clock.move(120)
    else:
        await harness.writes.delete(first.post_id or "", tool="delete_post")

    assert (await harness.writes.create(harness.post(), tool="create_post")).outcome == "created"


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("seconds", [0, 120])
async def test_post_missing_from_one_read_is_not_gone(harness, seconds: int) -> None:
    """A lagging replica of the API responds with 404 for a post that the list shows, or will show soon."""
    first = await harness.writes.create(harness.post(), tool="create_post")
    harness.time.clock.move(seconds)
    harness.faults.lagging = True

    second = await harness.writes.create(harness.post(), tool="create_post")

    assert (second.outcome, second.post_id, second.post) == ("already_created", first.post_id, None)
    assert harness.faults.writes == ["POST"]


@pytest.mark.requirement("writes.duplicates")
async def test_new_post_missing_from_the_list_is_not_gone(harness) -> None:
    """The list may lag as well; it counts after 90 seconds."""
    first = await harness.writes.create(harness.post(), tool="create_post")
    await harness.api.posts.delete(first.post_id or "")

    harness.time.clock.move(80)
    assert (await harness.writes.create(harness.post(), tool="create_post")).outcome == "already_created"
    harness.time.clock.move(10)
    assert (await harness.writes.create(harness.post(), tool="create_post")).outcome == "created"


@pytest.mark.requirement("writes.duplicates")
async def test_post_is_not_gone_while_the_list_cannot_be_read(harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A post is gone only if it is neither found nor listed."""
    first = await harness.writes.create(harness.post(), tool="create_post")
    harness.time.clock.move(120)
    harness.faults.lagging = True
    monkeypatch.setattr(harness.api.posts, "list", _raise_no_answer)

    assert (await harness.writes.create(harness.post(), tool="create_post")).post_id == first.post_id


async def _raise_no_answer() -> list[Post]:
    raise NoAnswer(method="GET", path="/posts")


@pytest.mark.requirement("writes.duplicates")
async def test_duplicate_is_reported_while_the_api_is_unavailable(harness) -> None:
    """The id is from the ledger; the result lacks the post itself."""
    first = await harness.writes.create(harness.post(), tool="create_post")
    harness.faults.reads_fail = True

    second = await harness.writes.create(harness.post(), tool="create_post")

    assert (second.outcome, second.post_id, second.post) == ("already_created", first.post_id, None)


@pytest.mark.requirement("writes.duplicates")
async def test_one_of_two_concurrent_processes_sends(harness) -> None:
    """The second is refused while the first is in flight."""
    async with harness.hold_create() as (results, _):
        with pytest.raises(EarlierAttempt) as raised:
            await harness.make_writer().create(harness.post(), tool="create_post")
        harness.faults.release.set()

    assert raised.value.in_progress is True
    assert str(raised.value) == (
        "an equal post is being created right now, since 2026-11-24T10:00:00.000Z. Call list_posts in a minute to see it. "
        "Nothing was sent by this call."
    )
    assert [result.outcome for result in results] == ["created"]
    assert harness.faults.writes == ["POST"]


@pytest.mark.requirement("writes.unknown-blocks")
async def test_same_post_is_not_resent_after_an_unknown_outcome(harness) -> None:
    """The refusal has the time of the earlier attempt, and how to send the post anyway."""
    harness.faults.script = ["lost before commit"]
    await harness.writes.create(harness.post(), tool="create_post")

    with pytest.raises(EarlierAttempt) as raised:
        await harness.writes.create(harness.post(), tool="create_post")
    wanted = await harness.writes.create(harness.post(), tool="create_post", allow_duplicate=True)

    assert raised.value.in_progress is False
    assert str(raised.value) == (
        "an attempt at 2026-11-24T10:00:00.000Z may have created an equal post, but its response was lost. Look for it with "
        "list_posts; if it isn't there, create_post with allow_duplicate=true sends it. Nothing was sent by this call."
    )
    assert wanted.outcome == "created"
    assert harness.faults.writes == ["POST", "POST"]


@pytest.mark.requirement("writes.unknown-blocks")
@pytest.mark.parametrize("failure", ["api", "hanging api", "ledger"])
async def test_unknown_outcome_blocks_while_its_post_cannot_be_searched_for(harness, failure: str, monkeypatch) -> None:
    writes = harness.make_writer(min_search_seconds=0.25)
    harness.faults.script = ["lost before commit"]
    await writes.create(harness.post(), tool="create_post")
    harness.faults.reads_fail, harness.faults.reads_hang = failure == "api", failure == "hanging api"
    if failure == "ledger":
        monkeypatch.setattr(harness.ledger, "find_claimed_posts", _raise_disk_full)

    # A request that hangs ends by itself much later.
    with anyio.fail_after(20), pytest.raises(EarlierAttempt, match="may have created an equal post, but its response"):
        await writes.create(harness.post(), tool="create_post")
    assert harness.faults.writes == ["POST"]


async def _raise_disk_full(_: object) -> set[str]:
    raise LedgerProblem("the ledger can't be used: the disk is full.")


@pytest.mark.requirement("writes.unknown-blocks")
async def test_candidates_of_an_unknown_outcome_are_named(harness) -> None:
    """The refusal lists the newest three posts that may be it."""
    harness.faults.hidden = ("createdAt",)
    ids = [(await harness.api.posts.create(harness.post())).id for _ in range(4)]
    harness.faults.script = ["lost before commit"]
    await harness.writes.create(harness.post(), tool="create_post")

    with pytest.raises(EarlierAttempt) as raised:
        await harness.writes.create(harness.post(), tool="create_post")

    assert f"may have created an equal post ({ids[3]}, {ids[2]}, {ids[1]}), but its" in str(raised.value)


@pytest.mark.requirement("writes.unknown-blocks")
@pytest.mark.parametrize(("seconds", "in_progress"), [(89.999, True), (90, False)])
async def test_create_may_be_in_progress_for_90_seconds(harness, seconds: float, in_progress: bool) -> None:
    await harness.ledger.begin_create(harness.post(), tool="create_post")
    harness.time.clock.move(seconds)

    with pytest.raises(EarlierAttempt) as raised:
        await harness.writes.create(harness.post(), tool="create_post")

    assert raised.value.in_progress is in_progress


@pytest.mark.requirement("writes.unknown-blocks")
async def test_post_of_a_create_in_progress_is_left_to_it(harness) -> None:
    """It may be another one; the process that sent the create claims its own."""
    await harness.ledger.begin_create(harness.post(), tool="create_post")
    post = await harness.api.posts.create(harness.post())

    with pytest.raises(EarlierAttempt) as raised:
        await harness.writes.create(harness.post(), tool="create_post")

    assert raised.value.in_progress is True
    assert await harness.ledger.find_claimed_posts([post.id]) == set()


@pytest.mark.requirement("writes.unknown-blocks")
async def test_resolved_outcome_names_the_accounts_without_a_post(harness) -> None:
    both = replace(harness.post(), account_ids=(harness.accounts["twitter"], harness.accounts["linkedin"]))
    harness.faults.script = ["lost after commit"]
    harness.faults.reads_fail = True
    await harness.writes.create(harness.post(), tool="create_post")
    harness.faults.reads_fail = False

    found = await harness.writes.create(both, tool="create_post")

    (post,) = await harness.equal_posts(harness.post())
    missing = (harness.accounts["twitter"],)
    assert found == Created("already_created", START, found.post, post.id, reconciled=True, missing_accounts=missing)
    assert found.post is not None
    assert found.post.id == post.id


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("gone", [0, 1, None])
async def test_create_for_accounts_of_two_posts_names_the_remaining_ones(harness, gone: int | None) -> None:
    """Both posts, or the remaining one and the account without a post."""
    accounts = [harness.accounts[name] for name in ("twitter", "linkedin")]
    posts = [replace(harness.post(), account_ids=(account,)) for account in accounts]
    ids = [(await harness.writes.create(post, tool="create_post")).post_id for post in posts]
    harness.time.clock.move(120)
    if gone is not None:
        await harness.api.posts.delete(ids[gone])

    both = replace(harness.post(), account_ids=tuple(accounts))
    created = await harness.writes.create(both, tool="create_post")

    if gone is None:
        assert created == Created("already_created", START, created.post, ids[0], other_post_ids=(ids[1],))
    else:
        assert (created.outcome, created.post_id) == ("already_created", ids[1 - gone])
        assert created.missing_accounts == (accounts[gone],)


@pytest.mark.requirement("writes.unknown-blocks")
async def test_unknown_outcome_is_resolved_once_its_post_is_found(harness) -> None:
    """The next call finds the post and returns it, for every account of it."""
    both = replace(harness.post(), account_ids=(harness.accounts["twitter"], harness.accounts["linkedin"]))
    harness.faults.script = ["lost after commit"]
    harness.faults.reads_fail = True
    await harness.writes.create(both, tool="create_post")
    harness.faults.reads_fail = False

    second = await harness.writes.create(both, tool="create_post")
    third = await harness.writes.create(harness.post(), tool="create_post")

    assert (second.outcome, second.reconciled) == ("already_created", True)
    assert (third.outcome, third.post_id) == ("already_created", second.post_id)
    assert harness.faults.writes == ["POST"]


@pytest.mark.requirement("writes.unknown-blocks")
async def test_search_uses_the_targets_of_the_earlier_attempt(harness) -> None:
    """Another account's post on the same platform, whose response was lost too, isn't taken for it."""
    one, two = [each.id for each in await harness.api.integrations.list() if each.platform == "twitter"]
    harness.faults.reads_fail = True
    harness.faults.script = ["lost before commit", "lost after commit"]
    for account in (one, two):
        await harness.writes.create(replace(harness.post(), account_ids=(account,)), tool="create_post")
    harness.faults.reads_fail = False

    with pytest.raises(EarlierAttempt, match="may have created an equal post, but its response was lost"):
        platform = replace(harness.post(), account_ids=(), platforms=("twitter",))
        await harness.writes.create(platform, tool="create_post", target_ids=(one, two))

    found = await harness.writes.create(replace(harness.post(), account_ids=(two,)), tool="create_post")
    assert (found.outcome, found.reconciled) == ("already_created", True)


@pytest.mark.requirement("writes.unknown-blocks")
async def test_create_of_an_ended_process_is_searched_for_by_the_next(harness) -> None:
    """An old intent without an outcome is treated as a lost response."""
    await harness.ledger.begin_create(harness.post(), tool="create_post")
    post = await harness.api.posts.create(harness.post())
    harness.time.clock.move(120)

    assert [(each.content, each.is_open) for each in await harness.ledger.list_unfinished()] == [
        ("Doors open at ten", False)
    ]
    found = await harness.writes.create(harness.post(), tool="create_post")

    assert (found.outcome, found.post_id) == ("already_created", post.id)
    assert await harness.ledger.list_unfinished() == []


@pytest.mark.requirement("writes.duplicates")
async def test_accounts_outside_the_equal_post_are_named(harness) -> None:
    """They would get nothing, so they must not count as served."""
    both = replace(harness.post(), account_ids=(harness.accounts["twitter"], harness.accounts["linkedin"]))
    await harness.writes.create(harness.post(), tool="create_post")

    again = await harness.writes.create(both, tool="create_post")
    assert (again.outcome, again.missing_accounts) == ("already_created", (harness.accounts["twitter"],))


@pytest.mark.requirement("writes.duplicates")
async def test_claim_that_expires_during_the_commit_is_not_a_duplicate(harness, monkeypatch) -> None:
    """Time passes between the commit and the read after it."""
    draft = harness.post(at=None)
    await harness.writes.create(draft, tool="create_post")
    harness.time.clock.move(24 * 3600 - 1)
    commit, tries = harness.state.commit, []

    async def slowly(*arguments):
        tries.append(arguments)
        if len(tries) == 1:
            harness.time.clock.move(2)
        return await commit(*arguments)

    monkeypatch.setattr(harness.state, "commit", slowly)
    assert (await harness.writes.create(draft, tool="create_post")).outcome == "created"
    assert len(tries) == 3


@pytest.mark.requirement("writes.duplicates")
async def test_contended_ledger_refuses_a_write(harness, monkeypatch) -> None:
    """The number of attempts is bounded."""

    async def changed(*_):
        return "changed"

    monkeypatch.setattr(harness.state, "commit", changed)
    with pytest.raises(LedgerProblem) as raised:
        await harness.writes.create(harness.post(), tool="create_post")
    assert str(raised.value) == (
        "the ledger can't be used: other processes keep changing the same entry. Nothing is sent without it; reading goes on. "
        "Call again in a moment."
    )
    assert harness.faults.writes == []


@pytest.mark.requirement("writes.duplicates")
async def test_refused_repetition_keeps_the_first_ones_expiry(harness) -> None:
    """The first one is known until its time."""
    post = harness.post(at=START + timedelta(days=10))
    first = await harness.writes.create(post, tool="create_post")
    harness.faults.script = ["409"]
    with pytest.raises(ValidationFailed):
        await harness.writes.create(post, tool="create_post", allow_duplicate=True)
    harness.time.clock.move(26 * 3600)

    assert (await harness.writes.create(post, tool="create_post")).post_id == first.post_id


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize(("second", "third"), [("none", "already_created"), ("lost after commit", "refused")])
async def test_refused_write_keeps_the_claim_of_a_later_duplicate(harness, second, third) -> None:
    """A post sent with `allow_duplicate` in the meantime exists, or may."""
    post = harness.post()
    harness.faults.script = ["held, then refused", second]
    async with anyio.create_task_group() as tasks:

        async def first() -> None:
            with pytest.raises(ValidationFailed):
                await harness.writes.create(post, tool="create_post")

        tasks.start_soon(first)
        await harness.faults.held.wait()
        harness.faults.reads_fail = True
        await harness.make_writer().create(post, tool="create_post", allow_duplicate=True)
        harness.faults.reads_fail = False
        harness.faults.release.set()

    if third == "refused":
        harness.faults.hidden = ("createdAt",)
        harness.time.clock.move(120)
        with pytest.raises(EarlierAttempt):
            await harness.make_writer().create(post, tool="create_post")
    else:
        assert (await harness.make_writer().create(post, tool="create_post")).outcome == third
    assert len(await harness.equal_posts(post)) == 1


@pytest.mark.requirement("writes.duplicates")
async def test_refused_repetition_does_not_restore_an_outdated_claim(harness) -> None:
    """The write that it would have repeated has an outcome by then."""
    post = harness.post()
    first = await harness.ledger.begin_create(post, tool="create_post")
    second = await harness.ledger.begin_create(post, tool="create_post", allow_duplicate=True)
    await harness.ledger.finish(first, "created", Post({"id": "cm1"}))
    await harness.ledger.finish(second, "not_done")

    found = await harness.ledger.find_prior_create(post)
    assert (found.state, found.post_id) == ("created", "cm1")


@pytest.mark.requirement("writes.duplicates")
async def test_second_copy_is_known_for_a_day_without_the_first(harness) -> None:
    """A later change to the older claim doesn't shorten it."""
    draft = harness.post(at=None)
    first = await harness.ledger.begin_create(draft, tool="create_post")
    harness.time.clock.move(20 * 3600)
    second = await harness.writes.create(draft, tool="create_post", allow_duplicate=True)
    await harness.ledger.finish(first, "unknown")
    harness.time.clock.move(20 * 3600)

    assert (await harness.writes.create(draft, tool="create_post")).post_id == second.post_id


@pytest.mark.requirement("writes.duplicates")
async def test_duplicate_is_found_without_sending(harness) -> None:
    """A list of all posts shows which of them are gone."""
    accounts = [harness.accounts[name] for name in ("twitter", "linkedin")]
    posts = [replace(harness.post(), account_ids=(account,)) for account in accounts]
    one, two = [(await harness.writes.create(post, tool="create_post")).post for post in posts]
    platforms = replace(harness.post(), account_ids=(), platforms=("twitter", "linkedin"))
    find = harness.writes.duplicates.find_prior

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
    assert await find(harness.post("Another"), [one, two]) is None


@pytest.mark.requirement("writes.duplicates")
async def test_create_without_a_known_post_is_a_duplicate_with_any_list(harness) -> None:
    await harness.ledger.begin_create(harness.post(), tool="create_post")

    found = await harness.writes.duplicates.find_prior(harness.post(), [])

    assert found is not None
    assert (found.state, found.post_id) == ("pending", None)


@pytest.mark.requirement("writes.duplicates")
async def test_create_under_way_is_a_duplicate_beside_an_equal_post_that_was_deleted(harness) -> None:
    await harness.ledger.begin_create(harness.post(), tool="create_post")
    deleted = (await harness.writes.create(harness.post(), tool="create_post", allow_duplicate=True)).post
    await harness.writes.delete(deleted.id, tool="delete_post", post=deleted)

    found = await harness.writes.duplicates.find_prior(harness.post(), [])

    assert found is not None
    assert (found.state, found.post_id) == ("pending", None)


IN_TEN_DAYS = START + timedelta(days=10)


@pytest.mark.requirement("writes.duplicates")
async def test_remaining_copy_is_known_until_its_time(harness) -> None:
    """The newer of two copies was deleted elsewhere."""
    post = harness.post(at=IN_TEN_DAYS)
    first = await harness.writes.create(post, tool="create_post")
    second = await harness.writes.create(post, tool="create_post", allow_duplicate=True)
    await harness.api.posts.delete(second.post_id or "")
    harness.time.clock.move(120)

    for _ in range(2):
        assert (await harness.writes.create(post, tool="create_post")).post_id == first.post_id
        harness.time.clock.move(26 * 3600)


@pytest.mark.requirement("writes.duplicates")
async def test_remaining_copy_on_another_account_is_known_until_its_time(harness) -> None:
    accounts = (harness.accounts["twitter"], harness.accounts["linkedin"])
    one, two = (replace(harness.post(at=IN_TEN_DAYS), account_ids=(account,)) for account in accounts)
    first = await harness.writes.create(one, tool="create_post")
    kept = await harness.writes.create(two, tool="create_post")
    gone = await harness.writes.create(two, tool="create_post", allow_duplicate=True)
    await harness.api.posts.delete(gone.post_id or "")
    harness.time.clock.move(120)

    both = await harness.writes.create(replace(one, account_ids=accounts), tool="create_post")
    harness.time.clock.move(26 * 3600)

    assert (both.post_id, both.other_post_ids) == (first.post_id, (kept.post_id,))
    assert (await harness.writes.create(two, tool="create_post")).post_id == kept.post_id


@pytest.mark.requirement("writes.unknown-blocks")
async def test_post_of_a_resolved_outcome_is_known_until_its_time(harness) -> None:
    post = harness.post(at=IN_TEN_DAYS)
    harness.faults.script = ["lost after commit"]
    harness.faults.reads_fail = True
    await harness.writes.create(post, tool="create_post")
    harness.faults.reads_fail = False

    found = await harness.writes.create(post, tool="create_post")
    harness.time.clock.move(26 * 3600)

    assert (await harness.writes.create(post, tool="create_post")).post_id == found.post_id


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_post_that_another_lost_create_may_have_made_is_not_claimed(harness) -> None:
    """If the API doesn't show the accounts, the post may belong to either create."""
    harness.faults.hidden = ("accountIds", "results")
    harness.faults.reads_fail = True
    harness.faults.script = ["lost before commit", "lost after commit"]
    posts = [harness.post(account="twitter"), harness.post(account="linkedin")]
    for post in posts:
        await harness.writes.create(post, tool="create_post")
    harness.faults.reads_fail = False

    for post in posts:
        with pytest.raises(EarlierAttempt, match="may have created an equal post"):
            await harness.writes.create(post, tool="create_post")


@pytest.mark.requirement("writes.unknown-blocks")
@pytest.mark.parametrize("seconds", [0, 120])
async def test_earlier_create_that_is_not_found_is_unknown_since_its_time(harness, seconds: int) -> None:
    """While it may be in progress, and afterwards."""
    await harness.ledger.begin_create(harness.post(), tool="create_post")
    harness.time.clock.move(seconds)
    prior = await harness.ledger.find_prior_create(harness.post())
    assert prior is not None

    assert await harness.writes.duplicates.recall(prior, harness.post()) == Created("unknown", START)


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("is_replaced", [True, False])
async def test_unresolved_create_that_made_the_replaced_post_is_not_a_duplicate(harness, is_replaced: bool) -> None:
    """Its post is only known once it is searched for."""
    harness.faults.script = ["lost after commit"]
    harness.faults.reads_fail = True
    await harness.writes.create(harness.post(), tool="create_post")
    harness.faults.reads_fail = False
    (old,) = await harness.equal_posts(harness.post())

    replaces = old.id if is_replaced else "cm0"
    new = await harness.writes.create(harness.post(), tool="reschedule_post", replaces=replaces)

    assert (new.outcome, new.post_id == old.id) == (("created", False) if is_replaced else ("already_created", True))
    assert len(await harness.equal_posts(harness.post())) == (2 if is_replaced else 1)
