"""Identity of posts: a found post is claimed only if it can't be another's."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.virtual_time import START
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import scope_of
from ttp_mcp.sandbox.clock import to_ms
from ttp_mcp.writes.outcomes import EarlierAttempt


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_equal_post_from_before_is_not_taken_for_the_new_one(harness) -> None:
    """A post that another client created earlier has an older date, so it isn't even a candidate."""
    await harness.api.posts.create(harness.post())
    harness.time.clock.move(60)
    harness.faults.script = ["lost before commit"]

    created = await harness.writes.create(harness.post(), tool="create_post")

    assert (created.outcome, created.candidates) == ("unknown", ())


@pytest.mark.requirement("writes.no-mistaken-identity")
@pytest.mark.parametrize("missing", ["createdAt", "Date"])
async def test_without_dates_an_equal_post_is_only_a_candidate(harness, missing: str) -> None:
    """If the API sends no creation time or no `Date`, old and new posts look alike."""
    old = await harness.api.posts.create(harness.post())
    await harness.api.aclose()
    harness.time.clock.move(60)
    harness.faults.script = ["lost before commit"]
    harness.faults.hidden = ("createdAt",) if missing == "createdAt" else ()
    harness.faults.without_date = missing == "Date"
    harness.api = harness.client()

    created = await harness.make_writer().create(harness.post(), tool="create_post")
    await harness.api.aclose()

    assert (created.outcome, created.candidates) == ("unknown", (old.id,))


@pytest.mark.requirement("writes.lost-answers")
async def test_post_that_is_dated_in_whole_seconds_is_found_too(harness) -> None:
    """Its date is then slightly older than the request that created it."""
    harness.faults.whole_seconds = True
    harness.faults.script = ["lost after commit"]
    harness.time.clock.move(0.9)

    created = await harness.writes.create(harness.post(), tool="create_post")

    assert (created.outcome, created.reconciled) == ("created", True)
    assert created.post is not None
    assert created.post.created_at == START


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_list_from_before_identifies_the_new_post_even_without_dates(harness) -> None:
    """A caller that has just listed the posts passes the list on; a post outside it is new."""
    await harness.api.posts.create(harness.post())
    before = await harness.api.posts.list()
    harness.faults.hidden = ("createdAt",)
    harness.faults.script = ["lost after commit", "lost before commit"]

    created = await harness.writes.create(harness.post(), tool="create_post", existing=before)
    nothing = await harness.writes.create(harness.post("Another"), tool="create_post", existing=before)

    assert (created.outcome, created.reconciled) == ("created", True)
    assert created.post_id not in {post.id for post in before}
    assert (nothing.outcome, nothing.candidates) == ("unknown", ())


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_several_new_equal_posts_are_named_as_candidates(harness) -> None:
    """Another client created an equal post at the same moment, so either may be ours."""
    other = await harness.api.posts.create(harness.post())
    harness.faults.script = ["lost after commit"]

    created = await harness.writes.create(harness.post(), tool="create_post")

    assert created.outcome == "unknown"
    assert len(created.candidates) == 2
    assert other.id in created.candidates


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_post_of_another_write_is_never_claimed(harness) -> None:
    """An allowed duplicate with a lost response doesn't get the first post's id."""
    await harness.writes.create(harness.post(), tool="create_post")
    harness.faults.script = ["lost before commit"]

    second = await harness.writes.create(harness.post(), tool="create_post", allow_duplicate=True)

    assert (second.outcome, second.candidates) == ("unknown", ())


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_open_write_to_another_account_does_not_matter_if_posts_show_accounts(harness) -> None:
    await harness.ledger.begin_create(harness.post(account="twitter"), tool="create_post")
    harness.faults.script = ["lost after commit"]

    assert (await harness.writes.create(harness.post(account="linkedin"), tool="create_post")).outcome == "created"


class StaleLedger(Ledger):
    """A ledger that doesn't see another process's latest claim yet."""

    async def find_claimed_posts(self, post_ids: Sequence[str]) -> set[str]:
        return set()


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_one_of_two_searches_that_find_the_same_post_gets_it(harness) -> None:
    """Claiming a post is atomic, so a slightly outdated read is harmless."""
    await harness.writes.create(harness.post(), tool="create_post")
    harness.ledger = StaleLedger(
        harness.state, scope_of(harness.api.base_url, harness.api.token, None), harness.time.clock.now
    )
    harness.faults.script = ["lost before commit"]

    second = await harness.make_writer().create(harness.post(), tool="create_post", allow_duplicate=True)

    assert second.outcome == "unknown"


class OnceStaleLedger(StaleLedger):
    """A ledger that sees it at the second read."""

    looks = 0

    async def find_claimed_posts(self, post_ids: Sequence[str]) -> set[str]:
        self.looks += 1
        return set() if self.looks == 1 else await Ledger.find_claimed_posts(self, post_ids)


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_search_continues_after_a_post_of_another_write(harness) -> None:
    first = await harness.writes.create(harness.post(), tool="create_post")
    harness.ledger = OnceStaleLedger(
        harness.state, scope_of(harness.api.base_url, harness.api.token, None), harness.time.clock.now
    )
    harness.faults.script = ["commits late"]

    second = await harness.make_writer().create(harness.post(), tool="create_post", allow_duplicate=True)

    assert (second.outcome, second.reconciled) == ("created", True)
    assert second.post_id != first.post_id


@pytest.mark.requirement("writes.no-mistaken-identity")
@pytest.mark.parametrize("rival", ["open", "unknown", None])
async def test_without_account_ids_two_open_writes_of_one_text_are_kept_apart(harness, rival: str | None) -> None:
    """If the API doesn't show accounts, the post may belong to another unresolved write of the same text."""
    harness.faults.hidden = ("accountIds", "results")
    if rival:
        other = await harness.ledger.begin_create(harness.post(account="twitter"), tool="create_post")
        if rival == "unknown":
            await harness.ledger.finish(other, "unknown")
    harness.faults.script = ["lost after commit"]

    created = await harness.writes.create(harness.post(account="linkedin"), tool="create_post")

    assert created.outcome == ("unknown" if rival else "created")
    assert len(created.candidates) == (1 if rival else 0)


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_open_write_to_another_platform_does_not_matter(harness) -> None:
    """The API always shows the platforms of a post."""
    harness.faults.hidden = ("accountIds", "results")
    post = replace(harness.post(), account_ids=(), platforms=("linkedin",))
    await harness.ledger.begin_create(replace(post, platforms=("twitter",)), tool="create_post")
    harness.faults.script = ["lost after commit"]

    assert (await harness.writes.create(post, tool="create_post")).outcome == "created"


@pytest.mark.requirement("writes.no-mistaken-identity")
@pytest.mark.parametrize(("seconds", "is_ours"), [(-2.001, False), (-2, True), (92, True), (92.001, False)])
async def test_equal_post_that_was_created_long_after_the_attempt_is_not_taken_for_it(
    harness, seconds: float, is_ours: bool
) -> None:
    """A write has its outcome within 90 seconds, and the API's clock is known to 2 seconds."""
    begun = harness.time.clock.now()
    harness.faults.script = ["lost before commit"]
    harness.faults.reads_fail = True
    await harness.writes.create(harness.post(), tool="create_post")
    harness.faults.reads_fail = False
    harness.time.clock.move(100 - harness.time.monotonic())
    late = await harness.api.posts.create(harness.post())
    with harness.sandbox.store.writing() as db:
        db.execute("UPDATE posts SET created_at = ? WHERE id = ?", (to_ms(begun + timedelta(seconds=seconds)), late.id))

    if is_ours:
        assert (await harness.writes.create(harness.post(), tool="create_post")).post_id == late.id
    else:
        with pytest.raises(EarlierAttempt, match="may have created an equal post, but its response was lost"):
            await harness.writes.create(harness.post(), tool="create_post")


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_post_that_another_process_claimed_first_is_only_a_candidate(harness) -> None:
    """Both processes found it; the first to claim it gets it."""
    harness.faults.script = ["lost after commit"]
    harness.faults.reads_fail = True
    await harness.writes.create(harness.post(), tool="create_post")
    harness.faults.reads_fail = False
    prior = await harness.ledger.find_prior_create(harness.post())
    harness.ledger = StaleLedger(
        harness.state, scope_of(harness.api.base_url, harness.api.token, None), harness.time.clock.now
    )

    first = await harness.make_writer().duplicates.recall(prior, harness.post())
    second = await harness.make_writer().duplicates.recall(prior, harness.post())

    assert (first.outcome, second.outcome) == ("already_created", "unknown")
    assert second.candidates == (first.post_id,)
