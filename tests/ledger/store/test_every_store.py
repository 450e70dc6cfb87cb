"""Behaviour of every store, SQLite or PostgreSQL."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from tests.ledger.store.conftest import Open
from ttp_mcp.api import Post, PostCreate
from ttp_mcp.ledger.claims import claim_keys, content_digest
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.publications import PriorPublication
from ttp_mcp.ledger.records import PriorCreate, Write
from ttp_mcp.ledger.store.base import Delete, LedgerProblem, Put, RateCap, Store

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
HOUR = timedelta(hours=1)


def make_put(key: str, value: object = 0, *, expected: str | None = None, expires_at: datetime = LATER) -> Put:
    return Put("kind", key, {"value": value}, expires_at, expected=expected)


async def read_values(state: Store, scope: str, *keys: str, now: datetime = NOW) -> dict[str, object]:
    return {key: entry.value["value"] for key, entry in (await state.get(scope, "kind", keys, now)).items()}


async def read_version(state: Store, scope: str, key: str) -> str:
    return (await state.get(scope, "kind", [key], NOW))[key].version


@pytest.mark.requirement("state.atomic")
async def test_all_steps_happen_or_none(open_store: Open, scope: str) -> None:
    """One unmet expectation undoes the others."""
    state = open_store()
    assert await state.commit(scope, [make_put("a", 1, expected="")], NOW) == "done"
    first = await read_version(state, scope, "a")

    assert await state.commit(scope, [make_put("b", 2), make_put("a", 2, expected="")], NOW) == "changed"
    assert await state.commit(scope, [make_put("a", 2, expected=""), make_put("b", 2)], NOW) == "changed"
    assert await state.commit(scope, [make_put("b", 2), Delete("kind", "a", expected="other")], NOW) == "changed"
    assert await read_values(state, scope, "a", "b") == {"a": 1}
    assert await state.commit(scope, [make_put("b", 2), make_put("a", 3, expected=first)], NOW) == "done"
    assert await read_values(state, scope, "a", "b") == {"a": 3, "b": 2}
    assert await state.commit(scope, [make_put("a", 4, expected=first)], NOW) == "changed"
    assert await state.commit(scope, [Delete("kind", "a"), Delete("kind", "a", expected=None)], NOW) == "done"
    assert await state.commit(scope, [Delete("kind", "a", expected="")], NOW) == "done"
    assert await read_values(state, scope, "a", "b") == {"b": 2}
    assert await state.commit(scope, [], NOW) == "done"


@pytest.mark.requirement("state.atomic")
async def test_steps_run_in_order(open_store: Open, scope: str) -> None:
    """The last one for a document counts."""
    state = open_store()

    assert (
        await state.commit(scope, [make_put("a", 1), make_put("a", 2), make_put("b", 1), Delete("kind", "b")], NOW)
        == "done"
    )
    assert await read_values(state, scope, "a", "b") == {"a": 2}


@pytest.mark.requirement("state.atomic")
async def test_one_of_many_concurrent_puts_succeeds(open_store: Open, scope: str) -> None:
    """Four processes, forty attempts, and in each only the winner's second document is there."""
    states = [open_store() for _ in range(4)]
    results: list[str] = []

    async def want(number: int) -> None:
        steps = [make_put("wanted", number, expected=""), make_put(f"won by {number}", number)]
        results.append(await states[number % 4].commit(scope, steps, NOW))

    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(want, number)

    assert sorted(results) == ["changed"] * 39 + ["done"]
    winner = (await read_values(states[0], scope, "wanted"))["wanted"]
    names = [f"won by {number}" for number in range(40)]
    assert await read_values(states[1], scope, *names) == {f"won by {winner}": winner}


@pytest.mark.requirement("state.atomic")
async def test_concurrent_updates_are_not_lost(open_store: Open, scope: str) -> None:
    """Twenty writers read, add one and write back if the version is unchanged."""
    states = [open_store() for _ in range(3)]
    await states[0].commit(scope, [make_put("sum", 0)], NOW)

    async def add(state: Store) -> None:
        while True:
            entry = (await state.get(scope, "kind", ["sum"], NOW))["sum"]
            if (
                await state.commit(scope, [make_put("sum", entry.value["value"] + 1, expected=entry.version)], NOW)
                == "done"
            ):
                return

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(add, states[number % 3])

    assert await read_values(states[0], scope, "sum") == {"sum": 20}


@pytest.mark.requirement("state.atomic")
async def test_at_most_counts_and_puts_in_one_step(open_store: Open, scope: str) -> None:
    """No more than allowed succeed concurrently; entries older than the window don't count."""
    states = [open_store() for _ in range(3)]
    results: list[str] = []

    async def add(number: int) -> None:
        results.append(
            await states[number % 3].commit(scope, [make_put(str(number))], NOW, RateCap("kind", NOW - HOUR, 3))
        )

    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(add, number)

    assert sorted(results) == ["done"] * 3 + ["full"] * 9
    two_hours_on = NOW + 2 * HOUR
    assert (
        await states[0].commit(scope, [make_put("new")], two_hours_on, RateCap("kind", two_hours_on - HOUR, 3))
        == "done"
    )
    assert await states[0].commit(scope, [make_put("none")], NOW, RateCap("other", NOW - HOUR, 0)) == "full"


@pytest.mark.requirement("state.atomic")
async def test_at_most_counts_existing_unexpired_documents(open_store: Open, scope: str) -> None:
    """Deleting or expiry makes room."""
    state = open_store()
    limit = RateCap("kind", NOW - HOUR, 2)
    soon = NOW + timedelta(minutes=1)
    await state.commit(scope, [make_put("a", expires_at=soon), make_put("b")], NOW)

    assert await state.commit(scope, [make_put("c")], NOW, limit) == "full"
    assert await state.commit(scope, [make_put("c")], soon, limit) == "done"
    assert await state.commit(scope, [make_put("d")], soon, limit) == "full"
    assert await state.commit(scope, [make_put("d")], soon, RateCap("kind", NOW, 3)) == "done"
    await state.commit(scope, [Delete("kind", "b"), Delete("kind", "c")], soon)
    assert await state.commit(scope, [make_put("e")], soon, limit) == "done"


@pytest.mark.requirement("state.atomic")
async def test_expectation_is_reported_before_the_limit(open_store: Open, scope: str) -> None:
    """A commit that is both outdated and over the limit is reported as outdated."""
    state = open_store()
    await state.commit(scope, [make_put("a")], NOW)

    assert await state.commit(scope, [make_put("a", expected="")], NOW, RateCap("kind", NOW - HOUR, 1)) == "changed"


@pytest.mark.requirement("state.repeated")
async def test_committed_steps_are_not_repeated(open_store: Open, scope: str) -> None:
    """Repeating the same steps after a lost response returns the first result, and undoes nothing that followed."""
    state = open_store()
    steps = [make_put("a", 1, expected=""), make_put("b", 1)]

    assert await state.commit(scope, steps, NOW, RateCap("kind", NOW - HOUR, 1)) == "done"
    await state.commit(scope, [make_put("b", 2)], NOW)
    assert await open_store().commit(scope, steps, NOW, RateCap("kind", NOW - HOUR, 1)) == "done"
    assert await read_values(state, scope, "a", "b") == {"a": 1, "b": 2}
    assert await state.commit(scope, [make_put("a", 1, expected="")], NOW) == "changed"
    assert len(await state.list_recent(scope, "kind", NOW - HOUR, NOW)) == 2


@pytest.mark.requirement("state.expiry")
async def test_expired_documents_count_as_absent(open_store: Open, scope: str) -> None:
    """They can't be read and don't block a new one. The caller's clock counts."""
    state = open_store()
    soon = NOW + timedelta(minutes=1)
    await state.commit(
        scope, [make_put("a", 1, expires_at=soon), make_put("b", 1, expires_at=soon), make_put("c", 1)], NOW
    )

    assert await read_values(state, scope, "a", now=soon - timedelta(milliseconds=1)) == {"a": 1}
    assert await read_values(state, scope, "a", now=soon) == {}
    assert [entry.key for entry in await state.list_recent(scope, "kind", NOW, soon)] == ["c"]
    assert await state.commit(scope, [make_put("a", 2, expected="")], soon) == "done"
    assert (await state.get(scope, "kind", ["a"], soon))["a"].at == soon
    assert await state.commit(scope, [Delete("kind", "b", expected="")], soon) == "done"
    assert await state.commit(scope, [make_put("b", 3, expires_at=soon - HOUR)], soon) == "done"
    assert await read_values(state, scope, "a", "b", "c", now=soon) == {"a": 2, "c": 1}


@pytest.mark.requirement("state.expiry")
async def test_every_200th_commit_removes_500_expired_documents(open_store: Open, scope: str) -> None:
    """Few enough to stay fast, and never one that expired less than a day ago."""
    state = open_store()
    past = datetime(2020, 1, 1, tzinfo=UTC)
    day = timedelta(days=1)
    await state.commit(scope, [make_put(f"old {number}", expires_at=past) for number in range(501)], past - day)
    await state.commit(scope, [make_put("young", expires_at=past + timedelta(milliseconds=1))], past - day)

    async def count() -> int:
        return len(await state.list_recent(scope, "kind", past - day, past - day))

    for _ in range(198):
        assert await state.commit(scope, [], past + day) == "done"
    assert await count() == 502
    await state.commit(scope, [], past + day)
    assert await count() == 2
    for _ in range(200):
        await state.commit(scope, [], past + day)
    assert await count() == 1


@pytest.mark.requirement("state.atomic")
async def test_recent_is_newest_first_and_keeps_the_time_of_the_first_put(open_store: Open, scope: str) -> None:
    """Replacing a document doesn't make it newer; ties are ordered by put, latest first."""
    state = open_store()
    await state.commit(scope, [make_put("a"), make_put("z")], NOW)
    await state.commit(scope, [make_put("b")], NOW + timedelta(seconds=1))
    await state.commit(scope, [make_put("a", 2)], NOW + timedelta(seconds=2))

    found = await state.list_recent(scope, "kind", NOW, NOW)
    assert [(each.key, each.value["value"]) for each in found] == [("b", 0), ("z", 0), ("a", 2)]
    assert [each.at for each in found] == [NOW + timedelta(seconds=1), NOW, NOW]
    assert [each.key for each in await state.list_recent(scope, "kind", NOW + timedelta(milliseconds=1), NOW)] == ["b"]
    assert await state.list_recent(scope, "kind", LATER, NOW) == []


@pytest.mark.requirement("state.atomic")
@pytest.mark.parametrize("year", [1970, 3001, 9998])
async def test_time_of_any_year_is_kept_to_the_millisecond(open_store: Open, scope: str, year: int) -> None:
    """A clock may be wrong, and Windows converts times from 1970 to 3000 only."""
    state, when = open_store(), datetime(year, 12, 31, 23, 59, 59, 999000, UTC)
    await state.commit(scope, [make_put("a", expires_at=when + HOUR)], when)
    assert (await state.get(scope, "kind", ["a"], when))["a"].at == when


@pytest.mark.requirement("state.atomic")
async def test_recent_returns_thousands_of_documents(open_store: Open, scope: str) -> None:
    """More than fit into one response of any store."""
    state = open_store()
    for start in range(0, 1200, 300):
        steps = [make_put(f"{number:04d}", number) for number in range(start, start + 300)]
        assert await state.commit(scope, steps, NOW + timedelta(seconds=start)) == "done"

    found = await state.list_recent(scope, "kind", NOW, NOW)
    assert [each.value["value"] for each in found] == list(range(1199, -1, -1))


@pytest.mark.requirement("state.scopes")
async def test_scopes_and_kinds_are_separate(open_store: Open, scope: str) -> None:
    """Even if their names concatenate to the same text."""
    state = open_store()
    places = [
        (scope, "kind"),
        (scope, "kind:a"),
        (f"{scope}:kind", "a"),
        (f"{scope}}}", "kind"),
        (f"{{{scope}", "kind"),
        (f"{scope}%7D", "kind"),
        (f"{scope} é", "kind"),
    ]
    for number, (own, kind) in enumerate(places):
        assert await state.commit(own, [Put(kind, "a:b", {"value": number}, LATER, expected="")], NOW) == "done"
        assert await state.commit(own, [Put(kind, "x", {}, LATER)], NOW, RateCap(kind, NOW - HOUR, 2)) == "done"

    for number, (own, kind) in enumerate(places):
        assert (await state.get(own, kind, ["a:b"], NOW))["a:b"].value == {"value": number}
        assert {each.key for each in await state.list_recent(own, kind, NOW, NOW)} == {"a:b", "x"}


ODD = [
    "",
    " ",
    "a:b",
    "{a}",
    "a}b{c",
    "%",
    "\x00",
    "a\x00b",
    "\n",
    "é",
    "e\u0301",
    "🧭",
    "'; --",
    "\\",
    "ключ",
    "k" * 9000,
]


@pytest.mark.requirement("state.documents")
async def test_any_text_can_be_a_key_or_a_value(open_store: Open, scope: str) -> None:
    """NUL characters, other scripts and long texts; lookalikes are distinct."""
    state = open_store()
    assert await state.commit(scope, [make_put(key, key) for key in ODD], NOW) == "done"

    assert await read_values(open_store(), scope, *ODD) == {key: key for key in ODD}
    assert {each.key for each in await state.list_recent(scope, "kind", NOW, NOW)} == set(ODD)
    assert await state.commit(scope, [Delete("kind", key) for key in ODD[1:]], NOW) == "done"
    assert await read_values(state, scope, *ODD) == {"": ""}


@pytest.mark.requirement("state.documents")
async def test_unencodable_key_is_absent(open_store: Open, scope: str) -> None:
    """A lone surrogate from a model is an unknown key; values keep it."""
    state = open_store()
    await state.commit(scope, [make_put("a", "\ud800")], NOW)

    assert await read_values(state, scope, "a", "\ud800") == {"a": "\ud800"}
    assert await read_values(state, scope, "\ud800") == {}
    assert await read_values(state, scope) == {}


@pytest.mark.requirement("state.documents")
async def test_big_and_deep_documents_are_unchanged(open_store: Open, scope: str) -> None:
    """A plan of a thousand posts is 2 MB; null, numbers and order are kept."""
    state = open_store()
    big = {"steps": [{"text": "Tür 🚪 " * 120, "number": number, "at": None, "share": 0.1} for number in range(1000)]}
    assert len(json.dumps(big)) > 2_000_000
    await state.commit(scope, [make_put("big", big), make_put("other", {"b": 1, "a": [True, 2**60, -1.5e-9]})], NOW)

    found = await read_values(open_store(), scope, "big", "other")
    assert found["big"] == big
    assert json.dumps(found["other"]) == json.dumps({"b": 1, "a": [True, 2**60, -1.5e-9]})


@pytest.mark.requirement("state.replicas")
async def test_processes_share_a_store_and_reopen_it(open_store: Open, scope: str) -> None:
    """Nothing is kept in a process."""
    one, two = open_store(), open_store()
    await one.commit(scope, [make_put("a", 1)], NOW)
    await one.aclose()
    await one.aclose()

    assert await read_values(two, scope, "a") == {"a": 1}
    assert await two.commit(scope, [make_put("a", 2, expected=await read_version(one, scope, "a"))], NOW) == "done"
    assert await read_values(one, scope, "a") == {"a": 2}


@pytest.mark.requirement("state.replicas")
async def test_store_works_after_cancelled_calls(open_store: Open, scope: str) -> None:
    """Cancelled at any moment; each call's effect is complete or absent."""
    state = open_store()

    async def write(number: int, scope_of_task: anyio.CancelScope) -> None:
        with scope_of_task:
            await state.commit(scope, [make_put(f"a{number}", number), make_put(f"b{number}", number)], NOW)

    async with anyio.create_task_group() as tasks:
        for number in range(30):
            cancelled = anyio.CancelScope()
            tasks.start_soon(write, number, cancelled)
            for _ in range(number % 7):
                await anyio.lowlevel.checkpoint()
            cancelled.cancel()

    found = {each.key for each in await state.list_recent(scope, "kind", NOW, NOW)}
    assert {f"b{key[1:]}" for key in found if key[0] == "a"} == {key for key in found if key[0] == "b"}
    assert await state.commit(scope, [make_put("last", 1)], NOW) == "done"
    assert await read_values(open_store(), scope, "last") == {"last": 1}


@pytest.mark.requirement("state.replicas")
async def test_confirmation_is_redeemed_once_across_processes(open_store: Open, scope: str) -> None:
    """Issued by one, redeemed by the first."""
    ledgers = [Ledger(open_store(), scope, lambda: NOW) for _ in range(3)]
    offered = await ledgers[0].confirmations.offer("digest", 60)
    redeemed: list[bool] = []

    async def redeem(ledger: Ledger) -> None:
        redeemed.append(await ledger.confirmations.redeem(offered.code, "digest"))

    assert not await ledgers[1].confirmations.redeem(offered.code, "another digest")
    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(redeem, ledgers[number % 3])

    assert sorted(redeemed) == [False] * 11 + [True]


@pytest.mark.requirement("state.replicas")
async def test_plan_steps_are_recorded_across_processes(open_store: Open, scope: str) -> None:
    """No process overwrites another's steps."""
    ledgers = [Ledger(open_store(), scope, lambda: NOW) for _ in range(3)]
    await ledgers[0].plans.save("plan", {"posts": 12})

    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(ledgers[number % 3].plans.note_step, "plan", str(number), {"post": number})

    plan = await ledgers[1].plans.load("plan")
    assert plan is not None
    assert plan.steps == {str(number): {"post": number} for number in range(12)}


@pytest.mark.requirement("history.shows")
async def test_history_names_the_accounts_of_each_write(open_store: Open, scope: str) -> None:
    """As sent, as the response named them, and as a deleted post had them."""
    ledger = Ledger(open_store(), scope, lambda: NOW)
    post = PostCreate("A", ("acc_1",), scheduled_at=LATER)
    created = await ledger.begin_create(post, tool="create_post", replaces="cm0")
    assert isinstance(created, Write)
    await ledger.finish(created, "created", Post({"id": "cm1", "accountIds": ["acc_1", "acc_2"]}))
    deleted = await ledger.begin_delete("cm2", Post({"id": "cm2", "accountIds": ["acc_3"]}), tool="delete_post")
    assert isinstance(deleted, Write)
    await ledger.finish(deleted, "deleted")
    unknown = await ledger.begin_create(PostCreate("B", platforms=("x",)), tool="create_post")
    assert isinstance(unknown, Write)

    history = {record.write_id: record for record in await Ledger(open_store(), scope, lambda: NOW).read_history(NOW)}
    assert history[created.id].targets == ("acc_1", "acc_2")
    assert history[created.id].replaces == "cm0"
    assert history[deleted.id].targets == ("acc_3",)
    assert (history[unknown.id].targets, history[unknown.id].outcome) == (("x",), None)


def make_claims(write: str, state: str, post_id: str | None, *keys: str) -> dict[str, Any]:
    claim = {"write": write, "tool": "create_post", "state": state, "at": NOW.isoformat(), "post_id": post_id}
    return {"claims": [claim | {"keys": list(keys)}]}


def make_record(kind: str, outcome: str | None, post_id: str | None, *targets: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "tool": f"{kind}_post",
        "digest": "d",
        "post_id": post_id,
        "outcome": outcome,
        "targets": list(targets),
    }


@pytest.mark.requirement("state.replicas")
async def test_platform_data_in_another_order_are_the_same_post(open_store: Open, scope: str) -> None:
    """A model may repeat its call with them in another order."""
    first, second = (
        PostCreate("A", ("acc_1",), scheduled_at=LATER, platform_data={"tiktok": dict.fromkeys(names, True)})
        for names in (("allowDuet", "allowStitch"), ("allowStitch", "allowDuet"))
    )
    assert isinstance(await Ledger(open_store(), scope, lambda: NOW).begin_create(first, tool="create_post"), Write)
    prior = await Ledger(open_store(), scope, lambda: NOW).begin_create(second, tool="create_post")
    assert isinstance(prior, PriorCreate)


@pytest.mark.requirement("history.shows")
async def test_ledger_of_an_earlier_version_is_read(open_store: Open, scope: str) -> None:
    """Its documents, field by field, so that no post that it sent is sent again."""
    state = open_store()
    ledger = Ledger(state, scope, lambda: NOW + timedelta(minutes=5))
    posts = {text: PostCreate(text, ("acc_1",), scheduled_at=LATER) for text in ("created", "lost", "deleted", "open")}
    keys = {text: claim_keys(content_digest(post), post.account_ids)[0] for text, post in posts.items()}
    body = posts["open"].to_body()
    before = [
        Put("sent", keys["created"], make_claims("w1", "created", "p1", keys["created"]), LATER),
        Put("sent", keys["lost"], make_claims("w2", "unknown", None, keys["lost"]), LATER),
        Put("sent", keys["deleted"], make_claims("w3", "created", "p3", keys["deleted"]), LATER),
        Put("sent", keys["open"], make_claims("w4", "pending", None, keys["open"]), LATER),
        Put("create", "w1", make_record("create", "created", "p1", "acc_1") | {"replaces": "p0"}, LATER),
        Put("create", "w2", make_record("create", "unknown", None, "acc_1"), LATER),
        Put("create", "w4", make_record("create", None, None, "acc_1"), LATER),
        Put("open", "w4", make_record("create", None, None, "acc_1") | {"body": body}, LATER),
        Put("failed", "w5", make_record("create", "not_done", None, "x"), LATER),
        Put("create", "w6", make_record("publish", "queued", "p6"), LATER),
        Put("delete", "w7", make_record("delete", "deleted", "p3", "acc_1"), LATER),
        Put("removed", "p3", {"post": {"id": "p3"}, "outcome": "deleted", "write": "w7"}, LATER),
        Put("publication", "p6", {"state": "queued", "at": (NOW + timedelta(minutes=4)).isoformat()}, LATER),
    ]
    assert await state.commit(scope, before, NOW) == "done"

    history = {each.write_id: (each.at, each.outcome, each.targets) for each in await ledger.read_history(NOW)}
    assert history == {
        "w1": (NOW, "created", ("acc_1",)),
        "w2": (NOW, "unknown", ("acc_1",)),
        "w4": (NOW, None, ("acc_1",)),
        "w5": (NOW, "not_done", ("x",)),
        "w6": (NOW, "queued", ()),
        "w7": (NOW, "deleted", ("acc_1",)),
    }
    assert [(each.content, each.at, each.is_open) for each in await ledger.list_unfinished()] == [("open", NOW, False)]
    for text, state_of_claim in (("created", "created"), ("lost", "unknown"), ("open", "pending")):
        prior = await ledger.begin_create(posts[text], tool="create_post")
        assert isinstance(prior, PriorCreate)
        assert (prior.state, prior.at) == (state_of_claim, NOW)
    assert isinstance(await ledger.begin_create(posts["deleted"], tool="create_post"), Write)
    assert isinstance(await ledger.begin_publish("p6", tool="publish_post"), PriorPublication)
    lost = await ledger.find_prior_create(posts["lost"])
    assert lost is not None
    assert await ledger.resolve(lost, posts["lost"], Post({"id": "p2"}))
    found = await ledger.find_prior_create(posts["lost"])
    assert found is not None
    assert (found.state, found.post_id) == ("created", "p2")


@pytest.mark.requirement("state.not-ours")
async def test_invalid_entry_is_reported_as_damage(open_store: Open, scope: str) -> None:
    """Only to readers of that entry."""
    state = open_store()
    no_document: Any = ["not", "an", "object"]
    await state.commit(scope, [Put("kind", "bad", no_document, LATER), make_put("good", 1)], NOW)

    with pytest.raises(LedgerProblem) as raised:
        await state.get(scope, "kind", ["bad"], NOW)
    assert str(raised.value) == (
        "the ledger can't be used: it is damaged, an entry can't be read. Nothing is sent without it; reading goes on. "
        "Stop every ttp-mcp server and move ledger.db out of TTP_STATE_DIR, or remove the entry from the store of TTP_STATE_URL."
    )
    with pytest.raises(LedgerProblem, match=r"it is damaged, an entry can't be read"):
        await state.list_recent(scope, "kind", NOW, NOW)
    assert await read_values(state, scope, "good") == {"good": 1}


@pytest.mark.requirement("state.not-ours")
async def test_document_without_our_fields_is_reported_as_damage(open_store: Open, scope: str) -> None:
    """In every part of the ledger."""
    state = open_store()
    ledger = Ledger(state, scope, lambda: NOW + HOUR)
    for kind in ("open", "create", "removed", "replacing", "replaced", "plan"):
        await state.commit(scope, [Put(kind, "x", {"replaces": "x"}, LATER)], NOW)
    for asking in (
        ledger.list_unfinished(),
        ledger.read_history(NOW),
        ledger.find_deleted_post("x"),
        ledger.replacements.find_pending("x"),
        ledger.replacements.list_interrupted(),
        ledger.plans.load("x"),
        ledger.plans.note_step("x", "0", None),
    ):
        with pytest.raises(LedgerProblem, match=r"an entry can't be read"):
            await asking
    assert await ledger.replacements.find_successor("x") is None


@pytest.mark.requirement("state.not-ours")
async def test_time_without_an_offset_is_reported_as_damage(open_store: Open, scope: str) -> None:
    """It is another instant on each machine, and may not be compared with others."""
    state = open_store()
    ledger = Ledger(state, scope, lambda: NOW)
    no_offset = {"at": "2026-11-24T10:00:00"}
    post = PostCreate("A", ("acc_1",), scheduled_at=LATER)
    key = claim_keys(content_digest(post), post.account_ids)[0]
    [claim] = make_claims("w1", "created", "p1", key)["claims"]
    before = [
        Put("failed", "w2", make_record("create", "not_done", None, "x") | no_offset, LATER),
        Put("publication", "p3", {"state": "queued"} | no_offset, LATER),
        Put("replacing", "p4", no_offset, LATER),
        Put("sent", key, {"claims": [claim | no_offset]}, LATER),
    ]
    assert await state.commit(scope, before, NOW) == "done"
    for asking in (
        ledger.read_history(NOW),
        ledger.begin_publish("p3", tool="publish_post"),
        ledger.replacements.find_pending("p4"),
        ledger.find_prior_create(post),
    ):
        with pytest.raises(LedgerProblem, match=r"an entry can't be read"):
            await asking
