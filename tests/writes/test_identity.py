"""Identity of posts: a found post is claimed only if it can't be another's."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from tests.virtual_time import START
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import scope_of
from ttp_mcp.sandbox.clock import to_ms
from ttp_mcp.writes.outcomes import EarlierAttempt


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_equal_post_from_before_is_not_taken_for_the_new_one(world) -> None:
    """A post that another client created earlier has an older date, so it isn't even a candidate."""
    await world.api.posts.create(world.post())
    world.time.clock.move(60)
    world.faults.script = ["lost before commit"]

    created = await world.writes.create(world.post(), tool="create_post")

    assert (created.outcome, created.candidates) == ("unknown", ())


@pytest.mark.requirement("writes.no-mistaken-identity")
@pytest.mark.parametrize("missing", ["createdAt", "Date"])
async def test_without_dates_an_equal_post_is_only_a_candidate(world, missing: str) -> None:
    """If the API sends no creation time or no `Date`, old and new posts look alike."""
    old = await world.api.posts.create(world.post())
    await world.api.aclose()
    world.time.clock.move(60)
    world.faults.script = ["lost before commit"]
    world.faults.hidden = ("createdAt",) if missing == "createdAt" else ()
    world.faults.without_date = missing == "Date"
    world.api = world.client()

    created = await world.another().create(world.post(), tool="create_post")
    await world.api.aclose()

    assert (created.outcome, created.candidates) == ("unknown", (old.id,))


@pytest.mark.requirement("writes.lost-answers")
async def test_post_that_is_dated_in_whole_seconds_is_found_too(world) -> None:
    """Its date is then slightly older than the request that created it."""
    world.faults.whole_seconds = True
    world.faults.script = ["lost after commit"]
    world.time.clock.move(0.9)

    created = await world.writes.create(world.post(), tool="create_post")

    assert (created.outcome, created.reconciled) == ("created", True)
    assert created.post is not None
    assert created.post.created_at == START


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_list_from_before_identifies_the_new_post_even_without_dates(world) -> None:
    """A caller that has just listed the posts passes the list on; a post outside it is new."""
    await world.api.posts.create(world.post())
    before = await world.api.posts.list()
    world.faults.hidden = ("createdAt",)
    world.faults.script = ["lost after commit", "lost before commit"]

    created = await world.writes.create(world.post(), tool="create_post", existing=before)
    nothing = await world.writes.create(world.post("Another"), tool="create_post", existing=before)

    assert (created.outcome, created.reconciled) == ("created", True)
    assert created.post_id not in {post.id for post in before}
    assert (nothing.outcome, nothing.candidates) == ("unknown", ())


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_several_new_equal_posts_are_named_as_candidates(world) -> None:
    """Another client created an equal post at the same moment, so either may be ours."""
    other = await world.api.posts.create(world.post())
    world.faults.script = ["lost after commit"]

    created = await world.writes.create(world.post(), tool="create_post")

    assert created.outcome == "unknown"
    assert len(created.candidates) == 2
    assert other.id in created.candidates


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_post_of_another_write_is_never_claimed(world) -> None:
    """An allowed duplicate with a lost response doesn't get the first post's id."""
    await world.writes.create(world.post(), tool="create_post")
    world.faults.script = ["lost before commit"]

    second = await world.writes.create(world.post(), tool="create_post", allow_duplicate=True)

    assert (second.outcome, second.candidates) == ("unknown", ())


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_open_write_to_another_account_does_not_matter_if_posts_show_accounts(world) -> None:
    await world.ledger.begin_create(world.post(account="twitter"), tool="create_post")
    world.faults.script = ["lost after commit"]

    assert (await world.writes.create(world.post(account="linkedin"), tool="create_post")).outcome == "created"


class StaleLedger(Ledger):
    """A ledger that doesn't see another process's latest claim yet."""

    async def find_claimed_posts(self, post_ids: Sequence[str]) -> set[str]:
        return set()


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_one_of_two_searches_that_find_the_same_post_gets_it(world) -> None:
    """Claiming a post is atomic, so a slightly outdated read is harmless."""
    await world.writes.create(world.post(), tool="create_post")
    world.ledger = StaleLedger(world.state, scope_of(world.api.base_url, world.api.token, None), world.time.clock.now)
    world.faults.script = ["lost before commit"]

    second = await world.another().create(world.post(), tool="create_post", allow_duplicate=True)

    assert second.outcome == "unknown"


class OnceStaleLedger(StaleLedger):
    """A ledger that sees it at the second read."""

    looks = 0

    async def find_claimed_posts(self, post_ids: Sequence[str]) -> set[str]:
        self.looks += 1
        return set() if self.looks == 1 else await Ledger.find_claimed_posts(self, post_ids)


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_search_continues_after_a_post_of_another_write(world) -> None:
    first = await world.writes.create(world.post(), tool="create_post")
    world.ledger = OnceStaleLedger(
        world.state, scope_of(world.api.base_url, world.api.token, None), world.time.clock.now
    )
    world.faults.script = ["commits late"]

    second = await world.another().create(world.post(), tool="create_post", allow_duplicate=True)

    assert (second.outcome, second.reconciled) == ("created", True)
    assert second.post_id != first.post_id


@pytest.mark.requirement("writes.no-mistaken-identity")
@pytest.mark.parametrize("rival", ["open", "unknown", None])
async def test_without_account_ids_two_open_writes_of_one_text_are_kept_apart(world, rival: str | None) -> None:
    """If the API doesn't show accounts, the post may belong to another unresolved write of the same text."""
    world.faults.hidden = ("accountIds", "results")
    if rival:
        other = await world.ledger.begin_create(world.post(account="twitter"), tool="create_post")
        if rival == "unknown":
            await world.ledger.finish(other, "unknown")
    world.faults.script = ["lost after commit"]

    created = await world.writes.create(world.post(account="linkedin"), tool="create_post")

    assert created.outcome == ("unknown" if rival else "created")
    assert len(created.candidates) == (1 if rival else 0)


@pytest.mark.requirement("writes.no-mistaken-identity")
@pytest.mark.parametrize(("seconds", "is_ours"), [(-2.001, False), (-2, True), (92, True), (92.001, False)])
async def test_equal_post_that_was_created_long_after_the_attempt_is_not_taken_for_it(
    world, seconds: float, is_ours: bool
) -> None:
    """A write has its outcome within 90 seconds, and the API's clock is known to 2 seconds."""
    begun = world.time.clock.now()
    world.faults.script = ["lost before commit"]
    world.faults.reads_fail = True
    await world.writes.create(world.post(), tool="create_post")
    world.faults.reads_fail = False
    world.time.clock.move(100 - world.time.monotonic())
    late = await world.api.posts.create(world.post())
    with world.sandbox.store.writing() as db:
        db.execute("UPDATE posts SET created_at = ? WHERE id = ?", (to_ms(begun + timedelta(seconds=seconds)), late.id))

    if is_ours:
        assert (await world.writes.create(world.post(), tool="create_post")).post_id == late.id
    else:
        with pytest.raises(EarlierAttempt, match="may have created an equal post, but its response was lost"):
            await world.writes.create(world.post(), tool="create_post")


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_post_that_another_process_claimed_first_is_only_a_candidate(world) -> None:
    """Both processes found it; the first to claim it gets it."""
    world.faults.script = ["lost after commit"]
    world.faults.reads_fail = True
    await world.writes.create(world.post(), tool="create_post")
    world.faults.reads_fail = False
    prior = await world.ledger.find_prior_create(world.post())
    world.ledger = StaleLedger(world.state, scope_of(world.api.base_url, world.api.token, None), world.time.clock.now)

    first = await world.another().duplicates.recall(prior, world.post())
    second = await world.another().duplicates.recall(prior, world.post())

    assert (first.outcome, second.outcome) == ("already_created", "unknown")
    assert second.candidates == (first.post_id,)
