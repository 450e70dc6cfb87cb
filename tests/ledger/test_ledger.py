"""The ledger beside writes: replacements, plans, confirmations, and the separation of users."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import anyio
import pytest
from inline_snapshot import snapshot

from tests.ledger.conftest import START
from tests.support.windows import skip_on_windows
from ttp_mcp.api import Post, PostCreate
from ttp_mcp.credentials import Token
from ttp_mcp.ledger.claims import content_digest
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.plans import PlanRecord
from ttp_mcp.ledger.publications import PriorPublication
from ttp_mcp.ledger.records import PriorCreate, Write, scope_of
from ttp_mcp.ledger.replacements import PendingReplacement
from ttp_mcp.ledger.store.base import Delete, Entry, LedgerProblem, Put, digest_of
from ttp_mcp.ledger.store.sqlite import SqliteStore
from ttp_mcp.media.facts import MediaFacts
from ttp_mcp.sandbox.clock import ManualClock

POST = PostCreate("Doors open at ten", account_ids=("a", "b"), scheduled_at=START + timedelta(days=2))


class _Slow:
    """A store whose `get` yields to other tasks before it returns."""

    def __init__(self, state: SqliteStore) -> None:
        self._state = state
        self.commit = state.commit
        self.list_recent = state.list_recent
        self.aclose = state.aclose

    async def get(self, scope: str, kind: str, keys: Sequence[str], now: datetime) -> dict[str, Entry]:
        """Read, then let other tasks run."""
        found = await self._state.get(scope, kind, keys, now)
        for _ in range(20):
            await anyio.sleep(0)
        return found


@pytest.mark.requirement("ledger.scope")
def test_scope_separates_users_and_reveals_nothing_of_the_token() -> None:
    """Each token, address and organization has its own scope."""
    one, two = Token("ttp_" + "a" * 48), Token("ttp_" + "b" * 48)
    scopes = [
        scope_of("https://a.example/api", one, None),
        scope_of("https://a.example/api", two, None),
        scope_of("https://b.example/api", one, None),
        scope_of("https://a.example/api", one, "org_1"),
        scope_of("https://a.example/api", one, "org_2"),
        scope_of("https://a.example/api", None, None),
    ]

    assert len(set(scopes)) == 6
    assert scope_of("https://a.example/api", Token("ttp_" + "a" * 48), None) == scopes[0]
    assert all(len(scope) == 32 and "aaaaaa" not in scope for scope in scopes)


@pytest.mark.requirement("ledger.scope")
@pytest.mark.parametrize(
    ("token", "org_id", "scope"),
    [
        (Token("ttp_" + "a" * 48), None, "da7c8d9d80a137c07d587857b76d51a3"),
        (Token("ttp_" + "a" * 48), "org_1", "2e9cbafe5b95e420ea0ad78f8c032b98"),
        (None, None, "6adba6bef7b6071255845bb3da07623b"),
    ],
)
def test_scope_is_the_same_in_every_version(token: Token | None, org_id: str | None, scope: str) -> None:
    """Otherwise an upgrade would hide what was sent before."""
    assert scope_of("https://a.example/api", token, org_id) == scope


@pytest.mark.requirement("ledger.scope")
async def test_one_user_never_sees_another_users_entries(
    state: SqliteStore, ledger: Ledger, clock: ManualClock
) -> None:
    """Duplicates, plans, confirmations, replacements and unfinished writes are one user's own."""
    other = Ledger(state, "two", clock.now)
    await ledger.begin_create(POST, tool="create_post")
    await ledger.plans.save("p", {})
    await ledger.replacements.end("old", "new")
    offered = await ledger.confirmations.offer("digest", 60)
    clock.move(120)

    assert isinstance(await other.begin_create(POST, tool="create_post", max_per_hour=1), Write)
    assert await other.plans.load("p") is None
    assert await other.replacements.find_successor("old") is None
    assert not await other.confirmations.redeem(offered.code, "digest")
    assert [each.at for each in await other.list_unfinished()] == [clock.now()]


@pytest.mark.requirement("ledger.unfinished")
async def test_writes_without_an_outcome_are_open_at_first_and_listed_for_a_week(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Each kind with its facts; a write with an outcome isn't listed. After 90 s its process must have ended."""
    await ledger.begin_create(POST, tool="create_post")
    clock.move(1)
    await ledger.begin_delete("p1", None, tool="delete_post")
    clock.move(1)
    await ledger.begin_upload(tool="upload_media")
    finished = await ledger.begin_upload(tool="upload_media")
    assert isinstance(finished, Write)
    await ledger.finish(finished, "uploaded")

    assert [each.is_open for each in await ledger.list_unfinished()] == [True, True, True]
    clock.move(91)
    found = await ledger.list_unfinished()
    assert [each.is_open for each in found] == [False, False, False]
    assert [(each.kind, each.tool, each.content, each.post_id) for each in found] == [
        ("upload", "upload_media", None, None),
        ("delete", "delete_post", None, "p1"),
        ("create", "create_post", "Doors open at ten", None),
    ]
    assert found[2].at == START
    clock.move(8 * 86400)
    assert await ledger.list_unfinished() == []


@pytest.mark.requirement("ledger.history")
async def test_history_lists_every_write_in_order(ledger: Ledger, clock: ManualClock) -> None:
    """With its outcome, or none yet; for 400 days."""
    create = await ledger.begin_create(POST, tool="create_post")
    clock.move(1)
    upload = await ledger.begin_upload(tool="upload_media")
    assert isinstance(create, Write)
    assert isinstance(upload, Write)
    await ledger.finish(upload, "not_done")

    found = await ledger.read_history(START)
    assert [(each.write_id, each.kind, each.outcome) for each in found] == [
        (create.id, "create", None),
        (upload.id, "upload", "not_done"),
    ]
    clock.move(401 * 86400)
    assert await ledger.read_history(START) == []


@pytest.mark.requirement("writes.duplicates")
async def test_reservation_is_atomic_over_all_targets(ledger: Ledger) -> None:
    """Of many concurrent creates one succeeds; the others get that one."""
    results: list[object] = []

    async def try_it(account: str) -> None:
        post = PostCreate("Same", account_ids=("shared", account))
        results.append(await ledger.begin_create(post, tool="create_post"))

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(try_it, str(number))

    writes = [result for result in results if isinstance(result, Write)]
    earlier = [result for result in results if isinstance(result, PriorCreate)]
    assert (len(writes), len(earlier)) == (1, 7)
    assert {each.write_id for each in earlier} == {writes[0].id}


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("order", [("a", "b", "c"), ("b", "c", "a")])
@pytest.mark.parametrize("second", ["created", "unknown", None])
async def test_create_for_accounts_of_several_others_returns_the_known_ones(
    ledger: Ledger, second: Literal["created", "unknown"] | None, order: tuple[str, ...]
) -> None:
    """An account of a create without a known post counts as missing."""
    writes: dict[str, Write] = {}
    for name, outcome in (("a", "created"), ("b", second)):
        write = await ledger.begin_create(replace(POST, account_ids=(name,)), tool=f"tool for {name}")
        assert isinstance(write, Write)
        writes[name] = write
        if outcome is not None:
            await ledger.finish(write, outcome, Post({"id": f"post for {name}"}) if outcome == "created" else None)

    found = await ledger.begin_create(replace(POST, account_ids=order), tool="create_post")

    assert isinstance(found, PriorCreate)
    first = order[0] if second == "created" else "a"
    others = ["b" if first == "a" else "a"] if second == "created" else []
    assert [
        (each.tool, each.write_id, each.state, each.post_id, each.at) for each in (found, *found.other_creates)
    ] == [(f"tool for {name}", writes[name].id, "created", f"post for {name}", START) for name in (first, *others)]
    assert found.other_post_ids == tuple(f"post for {name}" for name in others)
    assert found.missing_accounts == tuple(name for name in order if name not in {first, *others})


@pytest.mark.requirement("writes.duplicates")
async def test_concurrent_allowed_duplicates_all_succeed(ledger: Ledger) -> None:
    """Each one's reservation conflicts with the one before, and is retried."""
    results: list[object] = []

    async def try_it() -> None:
        results.append(await ledger.begin_create(POST, tool="create_post", allow_duplicate=True))

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(try_it)

    assert len([result for result in results if isinstance(result, Write)]) == 6


@pytest.mark.requirement("writes.duplicates")
@skip_on_windows("a process of Windows can't change its time zone")
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_digest_of_a_post_is_independent_of_version_and_time_zone(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    """Otherwise duplicates of posts from an earlier version or another machine wouldn't be found."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert content_digest(POST) == snapshot("65afabb8b449c0e46456be9894626269dffae309e8db0ff92163c3777fa82bbe")
        assert content_digest(replace(POST, content="One\ntwo", scheduled_at=None)) == snapshot(
            "1c7fdf9839e936e9cee34aba1fe5a27be9008e42e360d24582a92dd7d25b34f8"
        )
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("invisible", ["\u200b", "\u2060", "\ufeff", "\u00ad"])
@pytest.mark.parametrize("space", ["\u00a0", "\u2007", "\u202f", " "])
def test_digest_ignores_invisible_differences(invisible: str, space: str) -> None:
    seen = replace(POST, content="Doors open at ten", thread=("At the pier",))
    sent = replace(POST, content=f"Doors{space}open at {invisible}ten", thread=(f"At{invisible} the{space}pier",))
    assert content_digest(sent) == content_digest(seen)
    assert content_digest(replace(sent, content="Doorsopen at ten")) != content_digest(seen)


class MovedOn(SqliteStore):
    """A store whose conflicting entry has disappeared by the next read."""

    times = 1

    async def get(self, scope: str, kind: str, keys: object, now: datetime) -> dict[str, object]:  # pyright: ignore[reportIncompatibleMethodOverride] # a stand-in
        if self.times:
            self.times -= 1
            await self.commit(scope, self.leaves, now)
            return {}
        return await super().get(scope, kind, keys, now)  # pyright: ignore # a stand-in

    leaves: tuple[object, ...] = ()


@pytest.mark.requirement("writes.duplicates")
async def test_reservation_that_was_just_withdrawn_is_free(tmp_path: Path, clock: ManualClock) -> None:
    """Between the conflict and the read, the other write was withdrawn."""
    state = MovedOn(tmp_path)
    ledger = Ledger(state, "one", clock.now)
    first = await ledger.begin_create(POST, tool="create_post")
    assert isinstance(first, Write)
    state.leaves = tuple(Delete("sent", f"{content_digest(POST)} account {name}") for name in ("a", "b"))

    second = await ledger.begin_create(POST, tool="create_post")

    assert isinstance(second, Write)
    await state.aclose()


@pytest.mark.requirement("writes.publish")
@pytest.mark.parametrize("earlier", [False, True])
async def test_one_of_several_concurrent_publishes_is_sent(
    state: SqliteStore, clock: ManualClock, earlier: bool
) -> None:
    """Also after an earlier request that each of them has read."""
    ledger = Ledger(_Slow(state), "one", clock.now)
    if earlier:
        await ledger.begin_publish("p1", tool="publish_post")
        clock.move(90)
    results: list[object] = []

    async def publish() -> None:
        results.append(await ledger.begin_publish("p1", tool="publish_post"))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(publish)

    (write,) = [result for result in results if isinstance(result, Write)]
    prior = [result for result in results if isinstance(result, PriorPublication)]
    assert [(each.state, each.at) for each in prior] == [("pending", write.at)] * 7


@pytest.mark.requirement("writes.publish")
@pytest.mark.parametrize(("seconds", "recent"), [(0, True), (89.999, True), (90, False)])
async def test_request_to_publish_may_still_arrive_for_90_seconds(
    ledger: Ledger, clock: ManualClock, seconds: float, recent: bool
) -> None:
    await ledger.begin_publish("p1", tool="publish_post")
    clock.move(seconds)

    assert isinstance(await ledger.begin_publish("p1", tool="publish_post"), PriorPublication) == recent
    assert isinstance(await ledger.begin_publish("p2", tool="publish_post"), Write)


@pytest.mark.requirement("ledger.replacements")
async def test_replacement_is_the_end_of_the_chain(ledger: Ledger) -> None:
    """The successor of a post that was rescheduled twice is the last one; a cycle ends."""
    await ledger.replacements.end("a", "b")
    await ledger.replacements.end("b", "c")
    await ledger.replacements.end("x", "y")
    await ledger.replacements.end("y", "x")
    await ledger.replacements.end("w", "x")
    # The replacement of a post that is gone was removed.
    await ledger.replacements.end("a", None)

    assert await ledger.replacements.find_successor("a") == "c"
    assert await ledger.replacements.find_successor("c") is None
    assert await ledger.replacements.find_successor("x") == "y"
    assert await ledger.replacements.find_successor("w") == "y"


@pytest.mark.requirement("ledger.half-replaced")
async def test_replacement_that_was_begun_is_known_until_it_ends(ledger: Ledger, clock: ManualClock) -> None:
    """The history has the post that was created for it and no other, so a crash at any point leaves both ids."""
    assert await ledger.replacements.begin("old", POST) is None
    assert await ledger.replacements.list_interrupted() == []
    found = await ledger.replacements.find_pending("old")
    assert found is not None
    assert (found.old_id, found.new_id, found.at) == ("old", None, START)

    for replaces in (None, "old", "another"):
        other = PostCreate(POST.content, account_ids=(f"for {replaces}",), scheduled_at=POST.scheduled_at)
        write = await ledger.begin_create(other, tool="reschedule_post", replaces=replaces)
        assert isinstance(write, Write)
        await ledger.finish(write, "created", Post({"id": f"for {replaces}"}))
    # A later one for it, which has no post.
    await ledger.begin_create(replace(POST, account_ids=("c",)), tool="reschedule_post", replaces="old")
    clock.move(271)

    assert [(each.old_id, each.new_id) for each in await ledger.replacements.list_interrupted()] == [("old", "for old")]
    await ledger.replacements.end("old", "new")
    assert await ledger.replacements.list_interrupted() == []
    assert await ledger.replacements.find_pending("old") is None
    assert await ledger.replacements.find_successor("old") == "new"


@pytest.mark.requirement("ledger.half-replaced")
@pytest.mark.parametrize("change", ["account", "platform", "content"])
async def test_post_has_one_pending_replacement_at_a_time(ledger: Ledger, change: str) -> None:
    """The same replacement may begin again, to finish it; a different one is refused with the pending one."""
    post = replace(POST, platforms=("x", "linkedin"))
    other = {
        "account": replace(post, account_ids=("a",)),
        "platform": replace(post, platforms=("x",)),
        "content": replace(post, content="Other"),
    }[change]
    reordered = replace(post, account_ids=post.account_ids[::-1], platforms=post.platforms[::-1])
    assert await ledger.replacements.begin("old", post) is None
    assert await ledger.replacements.begin("old", reordered) is None

    under_way = await ledger.replacements.begin("old", other)
    assert under_way is not None
    assert under_way.old_id == "old"
    await ledger.replacements.end("old", None)
    assert await ledger.replacements.find_successor("old") is None
    assert await ledger.replacements.begin("old", other) is None


@pytest.mark.requirement("ledger.half-replaced")
async def test_replacement_is_in_progress_for_four_and_a_half_minutes_and_known_for_a_week(
    ledger: Ledger, clock: ManualClock
) -> None:
    """A post that was created for it counts from the beginning of the replacement."""
    await ledger.replacements.begin("old", POST)
    write = await ledger.begin_create(POST, tool="reschedule_post", replaces="old")
    assert isinstance(write, Write)
    pending = PendingReplacement("old", START, None)
    assert await ledger.replacements.find_pending("old") == pending
    await ledger.finish(write, "created", Post({"id": "new"}))
    await ledger.replacements.end("new", "newer")

    pending = PendingReplacement("old", START, "newer", moved=True)
    clock.move(270)
    assert ledger.replacements.is_in_progress(pending)
    assert await ledger.replacements.list_interrupted() == []
    clock.move(0.001)
    assert not ledger.replacements.is_in_progress(pending)
    assert await ledger.replacements.list_interrupted() == [pending]
    clock.move(7 * 86400 - 270.002)
    assert await ledger.replacements.find_pending("old") == pending
    clock.move(0.001)
    assert await ledger.replacements.list_interrupted() == []
    assert await ledger.replacements.find_pending("old") is None


@pytest.mark.requirement("ledger.half-replaced")
async def test_one_of_two_concurrent_replacements_begins(state: SqliteStore, clock: ManualClock) -> None:
    """The second one conflicts with what the first committed between its read and its commit."""
    ledger = Ledger(_Slow(state), "one", clock.now)
    posts = [PostCreate(str(number), account_ids=("a",)) for number in range(5)]
    found: list[object] = []

    async def begin(post: PostCreate) -> None:
        found.append(await ledger.replacements.begin("old", post))

    async with anyio.create_task_group() as tasks:
        for post in posts:
            tasks.start_soon(begin, post)

    assert sum(each is None for each in found) == 1


@pytest.mark.requirement("ledger.reads-go-on")
async def test_reading_continues_without_a_ledger(tmp_path: Path, clock: ManualClock) -> None:
    """With a broken file only the hint is missing. Reading doesn't create a missing file."""
    (tmp_path / "ledger.db").write_bytes(b"no database at all, but long enough to be one" * 100)
    broken, missing = SqliteStore(tmp_path), SqliteStore(tmp_path / "nowhere")

    assert await Ledger(broken, "one", clock.now).replacements.find_successor("a") is None
    assert await Ledger(missing, "one", clock.now).replacements.find_successor("a") is None
    assert await Ledger(missing, "one", clock.now).list_unfinished() == []
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(LedgerProblem):
        await Ledger(broken, "one", clock.now).list_unfinished()
    await broken.aclose()


@pytest.mark.requirement("ledger.reads-go-on")
@pytest.mark.parametrize("value", [{}, {"by": 5}])
async def test_malformed_successor_is_unknown(ledger: Ledger, state: SqliteStore, value: dict[str, object]) -> None:
    await state.commit("one", [Put("replaced", "a", value, START + timedelta(days=1))], START)

    assert await ledger.replacements.find_successor("a") is None


@pytest.mark.requirement("ledger.plans")
async def test_plan_keeps_its_document_and_the_results_of_its_steps(ledger: Ledger, clock: ManualClock) -> None:
    """Saving it again changes nothing; results are recorded or removed one by one; it expires after 60 days."""
    await ledger.plans.save("p", {"posts": [1]})
    await ledger.plans.note_step("p", "0", {"post_id": "a"})
    await ledger.plans.note_step("p", "1", {"post_id": "b"})
    await ledger.plans.note_step("p", "0", None)
    await ledger.plans.note_step("p", "2", None)
    await ledger.plans.save("p", {"posts": [2]})
    await ledger.plans.note_step("other", "0", {})
    found = await ledger.plans.load("p")

    assert found is not None
    assert found == PlanRecord("p", {"posts": [1]}, START, {"1": {"post_id": "b"}})
    assert await ledger.plans.load("other") is None
    clock.move(60 * 86400 - 0.001)
    assert await ledger.plans.load("p") == found
    clock.move(0.001)
    assert await ledger.plans.load("p") is None


@pytest.mark.requirement("ledger.plans")
async def test_concurrent_results_of_steps_are_all_kept(ledger: Ledger) -> None:
    """Two processes that apply one plan don't overwrite each other's results."""
    await ledger.plans.save("p", {})
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(ledger.plans.note_step, "p", str(number), {"post_id": str(number)})

    found = await ledger.plans.load("p")
    assert found is not None
    assert sorted(found.steps) == [str(number) for number in range(8)]


@pytest.mark.requirement("tools.upload_media.facts")
async def test_facts_of_media_are_known_for_400_days(ledger: Ledger, clock: ManualClock) -> None:
    facts = MediaFacts("image/png", 2000, 300, 200)
    await ledger.media_facts.remember("https://example.com/a.png", facts)

    urls = ["https://example.com/b.png", "https://example.com/a.png"]
    assert await ledger.media_facts.find(urls) == {urls[1]: facts}
    clock.move(400 * 86400 - 0.001)
    assert await ledger.media_facts.find(urls) == {urls[1]: facts}
    clock.move(0.001)
    assert await ledger.media_facts.find(urls) == {}


@pytest.mark.requirement("ledger.reads-go-on")
async def test_facts_of_media_are_unknown_without_a_ledger(
    ledger: Ledger, state: SqliteStore, tmp_path: Path, clock: ManualClock
) -> None:
    """They are only for warnings."""
    url = "https://example.com/a.png"
    damaged = Put("media_facts", digest_of([url]), {"of another version": 1}, START + timedelta(days=1))
    await state.commit("one", [damaged], START)
    assert await ledger.media_facts.find([url]) == {}

    (tmp_path / "ledger.db").write_bytes(b"no database at all, but long enough to be one" * 100)
    broken = SqliteStore(tmp_path)
    facts = Ledger(broken, "one", clock.now).media_facts
    await facts.remember(url, MediaFacts("image/png", 2000, 300, 200))
    assert await facts.find([url]) == {}
    await broken.aclose()


@pytest.mark.requirement("ledger.confirmations")
async def test_confirmation_works_once_for_its_arguments_until_it_expires(ledger: Ledger, clock: ManualClock) -> None:
    """Other arguments, another code, a second use and an expired code are refused."""
    offered = await ledger.confirmations.offer("digest", 300)
    late = await ledger.confirmations.offer("digest", 300)

    assert offered.expires_at == START + timedelta(seconds=300)
    assert len(bytes.fromhex(offered.code)) == 16
    assert not await ledger.confirmations.redeem(offered.code, "other")
    assert not await ledger.confirmations.redeem("forged", "digest")
    assert await ledger.confirmations.redeem(offered.code, "digest")
    assert not await ledger.confirmations.redeem(offered.code, "digest")
    clock.move(301)
    assert not await ledger.confirmations.redeem(late.code, "digest")


@pytest.mark.requirement("ledger.confirmations")
async def test_one_of_many_concurrent_redeems_succeeds(ledger: Ledger) -> None:
    """The code is used up atomically."""
    offered = await ledger.confirmations.offer("digest", 300)
    results: list[bool] = []

    async def redeem() -> None:
        results.append(await ledger.confirmations.redeem(offered.code, "digest"))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(redeem)

    assert sorted(results) == [False] * 7 + [True]


@pytest.mark.requirement("ledger.half-replaced")
async def test_replacement_that_begins_again_is_in_progress_again(ledger: Ledger, clock: ManualClock) -> None:
    """Another one must not begin at the same time."""
    await ledger.replacements.begin("old", POST)
    clock.move(300)
    await ledger.replacements.begin("old", POST)

    found = await ledger.replacements.begin("old", replace(POST, content="Other"))
    assert found is not None
    assert ledger.replacements.is_in_progress(found)
    assert await ledger.replacements.list_interrupted() == []
