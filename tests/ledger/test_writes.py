"""Writes in the ledger: complete records, limits an hour, and outcomes that are corrected later."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.ledger.conftest import START
from ttp_mcp.api import Post, PostCreate
from ttp_mcp.ledger.claims import content_digest
from ttp_mcp.ledger.ledger import Ledger, LimitUsedUp, PostTaken
from ttp_mcp.ledger.publications import PriorPublication
from ttp_mcp.ledger.records import Outcome, PriorCreate, Record, Unfinished, Write
from ttp_mcp.ledger.store.base import CommitResult, Delete, LedgerProblem, Put, RateCap, digest_of
from ttp_mcp.ledger.store.sqlite import SqliteStore
from ttp_mcp.sandbox.clock import ManualClock

POST = PostCreate("Doors open at ten", account_ids=("a", "b"), scheduled_at=START + timedelta(days=2))
OTHER = PostCreate("Doors close at six", platforms=("LinkedIn", "x"))


async def begin_create(ledger: Ledger, post: PostCreate = POST, **options: object) -> Write:
    write = await ledger.begin_create(post, tool="create_post", **options)  # pyright: ignore[reportArgumentType] - options of a test
    assert isinstance(write, Write)
    return write


@pytest.mark.requirement("ledger.history")
async def test_every_write_is_kept_in_full(ledger: Ledger, clock: ManualClock) -> None:
    """With the time of its beginning."""
    raw = {"id": "p3", "content": "Gone", "accountIds": ["c"]}
    writes = [
        await begin_create(ledger, POST, replaces="p0"),
        await begin_create(ledger, OTHER),
        await ledger.begin_delete("p3", Post(raw), tool="delete_post"),
        await ledger.begin_delete("p4", None, tool="undo_plan"),
        await ledger.begin_publish("p5", tool="publish_post"),
        await ledger.begin_upload(tool="upload_media"),
    ]
    ids = [write.id for write in writes if isinstance(write, Write)]
    digests = [write.digest for write in writes if isinstance(write, Write)]
    assert digests[:2] == [content_digest(POST), content_digest(OTHER)]
    assert digests[2:] == [*(digest_of(parts) for parts in (["p3"], ["p4"], ["publish", "p5"])), ""]
    assert all(len(bytes.fromhex(each)) == 8 for each in ids)
    assert len(set(ids)) == 6
    content = (POST.content, OTHER.content, None, None, None, None)
    kinds = ("create", "create", "delete", "delete", "publish", "upload")
    tools = ("create_post", "create_post", "delete_post", "undo_plan", "publish_post", "upload_media")
    posts = (None, None, "p3", "p4", "p5", None)
    expected = [
        Unfinished(*each, START, text, post, True)
        for *each, text, post in zip(kinds, tools, content, posts, strict=True)
    ]
    assert sorted(await ledger.list_unfinished(), key=repr) == sorted(expected, key=repr)

    clock.move(5)
    outcomes = ("created", "unknown", "deleted", "not_done", "queued", "uploaded")
    for write, outcome in zip(writes, outcomes, strict=True):
        assert isinstance(write, Write)
        await ledger.finish(write, outcome, Post({"id": "p1"}) if outcome == "created" else None)

    assert await ledger.list_unfinished() == []
    targets = (("a", "b"), ("linkedin", "x"), ("c",), (), (), ())
    assert sorted(await ledger.read_history(START), key=lambda record: ids.index(record.write_id)) == [
        Record(each, kind, tool, START, outcome, post, target, "p0" if post == "p1" else None)
        for each, kind, tool, outcome, post, target in zip(
            ids, kinds, tools, outcomes, ("p1", *posts[1:]), targets, strict=True
        )
    ]


@pytest.mark.requirement("writes.duplicates")
async def test_create_is_claimed_for_each_of_its_targets(ledger: Ledger) -> None:
    """A platform is claimed with its accounts, each of them once."""
    digest = content_digest(OTHER)
    write = await begin_create(ledger, OTHER, target_ids=("a", "b", "a"))

    names = ("account a", "account b", "platform linkedin", "platform x")
    assert write.keys == tuple(f"{digest} {name}" for name in names)
    prior = await ledger.begin_create(replace(OTHER, account_ids=("b",), platforms=()), tool="another")
    assert prior == PriorCreate(write.keys, write.id, "create_post", "pending", START, None)
    assert prior.digest == digest
    assert prior.as_sent(replace(OTHER, account_ids=("b",), platforms=())) == replace(
        OTHER, platforms=("linkedin", "x")
    )


@pytest.mark.requirement("writes.duplicates")
async def test_account_id_with_spaces_stays_whole(ledger: Ledger) -> None:
    post = replace(POST, account_ids=(" an  odd id",))
    await begin_create(ledger, post)
    prior = await ledger.find_prior_create(replace(POST, account_ids=(" an  odd id", " another  odd id")))

    assert prior is not None
    assert prior.as_sent(POST).account_ids == (" an  odd id",)
    assert prior.missing_accounts == (" another  odd id",)


@pytest.mark.requirement("ledger.history")
async def test_write_has_the_time_at_which_it_began(state: SqliteStore) -> None:
    """Not the later one of its commit."""
    seconds = itertools.count()
    ledger = Ledger(state, "one", lambda: START + timedelta(seconds=next(seconds)))
    write = await ledger.begin_upload(tool="upload_media")

    assert [each.at for each in await ledger.list_unfinished()] == [write.at]
    assert [each.at for each in await ledger.read_history(START)] == [write.at]


@pytest.mark.requirement("ledger.history")
async def test_accounts_that_a_response_names_are_recorded(ledger: Ledger) -> None:
    """A create by platform names none itself."""
    await ledger.finish(await begin_create(ledger, OTHER), "created", Post({"id": "p1", "accountIds": ["a", "b"]}))

    (record,) = await ledger.read_history(START)
    assert record.targets == ("a", "b")
    for post in (OTHER, replace(OTHER, account_ids=("b",), platforms=())):
        prior = await ledger.find_prior_create(post)
        assert prior is not None
        assert (prior.state, prior.post_id) == ("created", "p1")


@pytest.mark.requirement("ledger.history")
async def test_record_without_targets_is_read(ledger: Ledger, state: SqliteStore) -> None:
    value = {"kind": "upload", "tool": "upload_media", "outcome": "uploaded", "post_id": None}
    await state.commit("one", [Put("upload", "w", value, START + timedelta(days=1))], START)

    assert await ledger.read_history(START) == [Record("w", "upload", "upload_media", START, "uploaded", None)]


@pytest.mark.requirement("writes.limits")
@pytest.mark.parametrize("kind", ["create", "publish", "delete", "upload"])
async def test_write_that_did_not_happen_does_not_count(ledger: Ledger, kind: str) -> None:
    """Neither for the limit an hour, nor as the one that an equal write would repeat."""
    begin = {
        "create": lambda: ledger.begin_create(POST, tool="create_post", max_per_hour=1),
        "publish": lambda: ledger.begin_publish("p1", tool="publish_post", max_per_hour=1),
        "delete": lambda: ledger.begin_delete("p1", None, tool="delete_post", max_per_hour=1),
        "upload": lambda: ledger.begin_upload(tool="upload_media", max_per_hour=1),
    }[kind]
    for _ in range(3):
        write = await begin()
        assert isinstance(write, Write)
        await ledger.finish(write, "not_done")

    assert [each.outcome for each in await ledger.read_history(START)] == ["not_done"] * 3


@pytest.mark.requirement("writes.publish")
@pytest.mark.parametrize("outcome", ["queued", "unknown"])
async def test_outcome_of_a_publish_is_known_to_the_next_one(ledger: Ledger, outcome: Outcome) -> None:
    """A delete of the post says nothing about it."""
    deleted = await ledger.begin_delete("p1", None, tool="delete_post")
    await ledger.finish(deleted, "unknown")
    write = await ledger.begin_publish("p1", tool="publish_post")
    assert isinstance(write, Write)
    await ledger.finish(write, outcome)

    prior = await ledger.begin_publish("p1", tool="publish_post")
    assert isinstance(prior, PriorPublication)
    assert (prior.state, prior.at) == (outcome, START)


@pytest.mark.requirement("writes.limits")
@pytest.mark.parametrize("kind", ["create", "publish", "delete", "upload"])
async def test_limit_counts_the_writes_of_the_last_hour(ledger: Ledger, clock: ManualClock, kind: str) -> None:
    """Each kind has its own limit; a publish counts as a post."""
    counted = "create" if kind == "publish" else kind

    async def write(number: int, limit: int | None, kind: str = kind) -> object:
        match kind:
            case "create":
                return await ledger.begin_create(
                    replace(POST, content=str(number)), tool="create_post", max_per_hour=limit
                )
            case "publish":
                return await ledger.begin_publish(str(number), tool="publish_post", max_per_hour=limit)
            case "delete":
                return await ledger.begin_delete(str(number), None, tool="delete_post", max_per_hour=limit)
            case _:
                return await ledger.begin_upload(tool="upload_media", max_per_hour=limit)

    async def refuse(number: int, limit: int) -> datetime | None:
        """Return when the limit allows the next write."""
        with pytest.raises(LimitUsedUp) as raised:
            await write(number, limit)
        assert (raised.value.kind, raised.value.max_per_hour) == (counted, limit)
        return raised.value.allowed_at

    assert await refuse(0, 0) is None
    for number in range(3):
        assert isinstance(await write(number, 3), Write)
        clock.move(60)
    assert await refuse(3, 3) == START + timedelta(hours=1)
    assert isinstance(await write(4, None), Write)
    assert len(await ledger.read_history(START)) == 4
    assert await refuse(5, 4) == START + timedelta(hours=1)
    assert await refuse(5, 1) == START + timedelta(hours=1, minutes=3)
    assert await refuse(5, 0) is None
    for other in {"create", "delete", "upload"} - {counted}:
        assert isinstance(await write(5, 1, other), Write)
    clock.move(3600 - 180)
    assert await refuse(5, 4) == START + timedelta(hours=1)
    clock.move(0.001)
    assert isinstance(await write(6, 4), Write)


@pytest.mark.requirement("ledger.unfinished")
async def test_write_is_open_for_90_seconds_and_listed_for_seven_days(ledger: Ledger, clock: ManualClock) -> None:
    await begin_create(ledger)
    clock.move(90)
    assert [each.is_open for each in await ledger.list_unfinished()] == [True]
    clock.move(0.001)
    assert [each.is_open for each in await ledger.list_unfinished()] == [False]
    clock.move(7 * 86400 - 90.002)
    assert len(await ledger.list_unfinished()) == 1
    clock.move(0.001)
    assert await ledger.list_unfinished() == []


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_post_is_claimed_by_one_write(ledger: Ledger, state: SqliteStore, clock: ManualClock) -> None:
    """For as long as the history is kept."""
    first, second = await begin_create(ledger), await begin_create(ledger, OTHER)
    post = Post({"id": "p1"})

    assert await ledger.find_claimed_posts(["p1", "p2"]) == set()
    await ledger.finish(first, "created", post, claim=True)
    with pytest.raises(PostTaken):
        await ledger.finish(second, "created", post, claim=True)
    assert await ledger.find_claimed_posts(["p1", "p2"]) == {"p1"}
    assert [each.content for each in await ledger.list_unfinished()] == [OTHER.content]
    assert (await state.get("one", "post", ["p1"], START))["p1"].value == {"write": first.id}
    clock.move(timedelta(days=399).total_seconds())
    assert await ledger.find_claimed_posts(["p1"]) == {"p1"}


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_post_of_a_response_is_recorded_even_if_another_write_claimed_it(ledger: Ledger) -> None:
    """A response is certain, a search isn't. Also if a copy was sent in between, which changed the claims."""
    first, second = await begin_create(ledger), await begin_create(ledger, OTHER)
    await ledger.finish(first, "created", Post({"id": "p1"}), claim=True)
    copy = await begin_create(ledger, OTHER, allow_duplicate=True)
    await ledger.finish(second, "created", Post({"id": "p1"}))

    found = {each.write_id: each.post_id for each in await ledger.read_history(START)}
    assert found == {first.id: "p1", second.id: "p1", copy.id: None}


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_post_is_claimed_although_its_content_was_sent_again_in_between(ledger: Ledger) -> None:
    """The second create changed the entry of the first, and its post is free."""
    first = await begin_create(ledger)
    await begin_create(ledger, allow_duplicate=True)

    await ledger.finish(first, "created", Post({"id": "p1"}), claim=True)
    assert await ledger.find_claimed_posts(["p1"]) == {"p1"}


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_twin_is_another_create_of_the_same_content_without_a_known_outcome(
    ledger: Ledger, clock: ManualClock
) -> None:
    """For seven days. Created posts, other content and the write itself don't count."""
    digest = content_digest(POST)
    write = await begin_create(ledger)
    assert not await ledger.has_unresolved_twin(write.id, digest)
    assert await ledger.has_unresolved_twin("another", digest)
    assert not await ledger.has_unresolved_twin("another", content_digest(OTHER))
    await ledger.finish(write, "unknown")
    prior = await ledger.find_prior_create(POST)
    assert prior is not None
    assert prior.state == "unknown"
    assert await ledger.has_unresolved_twin("another", digest)
    clock.move(7 * 86400)
    assert await ledger.has_unresolved_twin("another", digest)
    clock.move(0.001)
    assert not await ledger.has_unresolved_twin("another", digest)
    created = await begin_create(ledger, allow_duplicate=True)
    await ledger.finish(created, "created", Post({"id": "p1"}))
    assert not await ledger.has_unresolved_twin("another", digest)


@pytest.mark.requirement("writes.delete")
@pytest.mark.parametrize(
    ("outcome", "known"),
    [(None, False), ("not_done", False), ("unknown", False), ("deleted", True), ("already_gone", True)],
)
async def test_post_counts_as_deleted_once_the_outcome_is_known(
    ledger: Ledger, clock: ManualClock, outcome: str | None, known: bool
) -> None:
    """It is kept with its content for 400 days; its create no longer blocks another one."""
    created = await begin_create(ledger)
    await ledger.finish(created, "created", Post({"id": "p1"}))
    raw = {"id": "p1", "content": POST.content}
    deleted = await ledger.begin_delete("p1", Post(raw), tool="delete_post")
    assert isinstance(deleted, Write)
    if outcome is not None:
        await ledger.finish(deleted, outcome)  # pyright: ignore[reportArgumentType] - one of the outcomes

    found = await ledger.find_deleted_post("p1")
    assert (found.raw if found else None) == (raw if known else None)
    prior = await ledger.find_prior_create(POST)
    assert (prior is None) is known
    clock.move(400 * 86400 - 0.001)
    assert (await ledger.find_deleted_post("p1") is not None) is known
    clock.move(0.001)
    assert await ledger.find_deleted_post("p1") is None


@pytest.mark.requirement("writes.delete")
async def test_content_of_a_post_is_kept_before_its_delete_is_sent(ledger: Ledger, state: SqliteStore) -> None:
    """A process that ends in between leaves it. Without content nothing is kept."""
    raw = {"id": "p1", "content": POST.content}
    write = await ledger.begin_delete("p1", Post(raw), tool="delete_post")
    unread = await ledger.begin_delete("p2", None, tool="delete_post")

    kept = await state.get("one", "removed", ["p1", "p2"], START)
    expected = {"post": raw, "outcome": "pending", "write": write.id}
    assert {key: entry.value for key, entry in kept.items()} == {"p1": expected}
    await ledger.finish(unread, "deleted")
    assert await ledger.find_deleted_post("p2") is None


@pytest.mark.requirement("writes.duplicates")
async def test_create_of_a_post_that_is_gone_is_not_a_duplicate(ledger: Ledger) -> None:
    created = await begin_create(ledger)
    await ledger.finish(created, "created", Post({"id": "p1"}))

    assert await ledger.find_prior_create(POST, gone=["p2"]) is not None
    assert await ledger.find_prior_create(POST, gone=["p1"]) is None
    prior = await ledger.find_prior_create(POST)
    assert prior is not None
    assert await ledger.resolve(prior, POST, None) is True
    assert await ledger.find_prior_create(POST) is None


@pytest.mark.requirement("writes.unknown-blocks")
async def test_create_is_resolved_after_its_record_expired(ledger: Ledger, clock: ManualClock) -> None:
    """The claim of a post that is due in two years is kept longer than the history."""
    late = replace(POST, scheduled_at=START + timedelta(days=730))
    await begin_create(ledger, late)
    clock.move(timedelta(days=401).total_seconds())
    prior = await ledger.find_prior_create(late)

    assert prior is not None
    assert await ledger.resolve(prior, late, Post({"id": "p1"})) is True


class CrowdedStore(SqliteStore):
    """A store in which another process always changes the same entry first."""

    is_crowded = True

    async def commit(
        self, scope: str, steps: Sequence[Put | Delete], now: datetime, cap: RateCap | None = None
    ) -> CommitResult:
        """Refuse every commit."""
        return "changed" if self.is_crowded else await super().commit(scope, steps, now, cap)


@pytest.mark.requirement("ledger.unfinished")
@pytest.mark.parametrize("step", ["create", "publish", "finish", "replace", "plan"])
async def test_write_is_refused_or_left_unfinished_while_its_entry_keeps_changing(
    tmp_path: Path, clock: ManualClock, step: str
) -> None:
    state = CrowdedStore(tmp_path)
    ledger = Ledger(state, "one", clock.now)
    state.is_crowded = False
    write = await begin_create(ledger, OTHER)
    await ledger.plans.save("p", {})
    state.is_crowded = True
    attempt = {
        "create": lambda: ledger.begin_create(POST, tool="create_post"),
        "publish": lambda: ledger.begin_publish("p1", tool="publish_post"),
        "finish": lambda: ledger.finish(write, "unknown"),
        "replace": lambda: ledger.replacements.begin("old", POST),
        "plan": lambda: ledger.plans.note_step("p", "0", {}),
    }[step]

    with pytest.raises(LedgerProblem, match="other processes keep changing the same entry"):
        await attempt()
    assert [each.content for each in await ledger.list_unfinished()] == [OTHER.content]
    await state.aclose()


@pytest.mark.requirement("ledger.unfinished")
@pytest.mark.parametrize("reader", range(7))
async def test_malformed_entry_is_reported_as_damage(ledger: Ledger, state: SqliteStore, reader: int) -> None:
    kind, read = (
        ("open", ledger.list_unfinished),
        ("create", lambda: ledger.read_history(START)),
        ("removed", lambda: ledger.find_deleted_post("p1")),
        ("publication", lambda: ledger.begin_publish("p1", tool="publish_post")),
        ("replacing", lambda: ledger.replacements.find_pending("p1")),
        ("plan", lambda: ledger.plans.load("p1")),
        ("plan", lambda: ledger.plans.note_step("p1", "0", {})),
    )[reader]
    await state.commit("one", [Put(kind, "p1", {}, START + timedelta(days=1))], START)

    with pytest.raises(LedgerProblem, match="it is damaged, an entry can't be read"):
        await read()


@pytest.mark.requirement("writes.unknown-blocks")
async def test_unknown_create_is_resolved_once(ledger: Ledger, state: SqliteStore) -> None:
    """The history has its post from then on, and no other write can claim it."""
    write = await begin_create(ledger)
    prior = await ledger.find_prior_create(POST)
    assert prior is not None
    assert await ledger.resolve(prior, POST, Post({"id": "p1"})) is True
    assert await ledger.resolve(prior, POST, Post({"id": "p2"})) is True

    other = await begin_create(ledger, OTHER)
    prior_of_other = await ledger.find_prior_create(OTHER)
    assert prior_of_other is not None
    assert await ledger.resolve(prior_of_other, OTHER, Post({"id": "p1"})) is False

    assert await ledger.find_claimed_posts(["p1"]) == {"p1"}
    history = {each.write_id: (each.outcome, each.post_id) for each in await ledger.read_history(START)}
    assert history == {write.id: ("created", "p2"), other.id: (None, None)}
    found = await ledger.find_prior_create(POST)
    assert found is not None
    assert (found.state, found.post_id, found.write_id, found.tool) == ("created", "p2", write.id, "create_post")
    assert [each.content for each in await ledger.list_unfinished()] == [OTHER.content]
    assert (await state.get("one", "post", ["p2"], START))["p2"].value == {"write": write.id}


@pytest.mark.requirement("writes.retry")
async def test_retry_is_identified_by_the_post_and_the_account(ledger: Ledger) -> None:
    """Content and time don't matter."""
    first = await begin_create(ledger, retries="p1")
    assert first.digest == digest_of(["retry", "p1"])
    later = replace(POST, content="Edited", scheduled_at=None)
    assert isinstance(await ledger.begin_create(later, tool="create_post", retries="p1"), PriorCreate)
    await begin_create(ledger, later, retries="p2")
    await begin_create(ledger, replace(later, account_ids=("c",)), retries="p1")
    await begin_create(ledger, POST)


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("missing", ["write", "tool", "state", "at", "post_id", "keys"])
async def test_malformed_claim_is_reported_as_damage(ledger: Ledger, state: SqliteStore, missing: str) -> None:
    """Nothing is sent, since it may hide an equal post."""
    write = await begin_create(ledger)
    (key, *_) = write.keys
    claim = {"write": "w", "tool": "create_post", "state": "created", "at": START.isoformat(), "post_id": "p1"}
    claims = [{name: value for name, value in {**claim, "keys": [key]}.items() if name != missing}]
    await state.commit("one", [Put("sent", key, {"claims": claims}, START + timedelta(days=1))], START)

    with pytest.raises(LedgerProblem, match="it is damaged, an entry can't be read"):
        await begin_create(ledger)
    with pytest.raises(LedgerProblem, match="it is damaged, an entry can't be read"):
        await ledger.find_prior_create(POST)


@pytest.mark.requirement("writes.duplicates")
async def test_twenty_copies_of_a_post_are_remembered(ledger: Ledger, state: SqliteStore) -> None:
    """The newest; an entry that grew with each copy would slow every commit."""
    writes = [await begin_create(ledger, allow_duplicate=True) for _ in range(22)]
    key = writes[0].keys[0]

    entry = (await state.get("one", "sent", [key], START))[key]
    assert [claim["write"] for claim in entry.value["claims"]] == [write.id for write in reversed(writes[2:])]


@pytest.mark.requirement("writes.duplicates")
async def test_post_that_is_due_soon_is_known_for_a_day(ledger: Ledger, clock: ManualClock) -> None:
    """A retry of it has another time, and would reach the same accounts again."""
    soon = replace(POST, scheduled_at=START + timedelta(hours=1))
    await ledger.finish(await begin_create(ledger, soon, retries="p0"), "created", Post({"id": "p1"}))
    clock.move(timedelta(hours=23).total_seconds())

    later = replace(POST, scheduled_at=START + timedelta(hours=25))
    assert isinstance(await ledger.begin_create(later, tool="publish_post", retries="p0"), PriorCreate)
