"""Tools when the ledger can't be used: reads work, writes are refused with a reason."""

import sqlite3
from contextlib import closing
from functools import partial

import anyio
import pytest

from tests.tools.conftest import read_text
from ttp_mcp.writes import startup_report

pytestmark = pytest.mark.requirement("tools.ledger-faults")

LATER = {"content": "Doors open at ten", "scheduled_at": "2026-11-26T10:00"}


async def test_reads_stay_fast_while_the_ledger_is_locked(connect_agent, settings):
    """Also several at once; only what the ledger alone knows is missing."""
    async with connect_agent() as agent:
        account = await agent.find_account("linkedin Harbor Café")
        await agent.expect_ok("create_post", account_ids=[account], **LATER)
    async with connect_agent() as agent:
        with closing(sqlite3.connect(settings.state_dir / "ledger.db", isolation_level=None)) as holder:
            holder.execute("PRAGMA locking_mode = EXCLUSIVE")
            holder.execute("BEGIN EXCLUSIVE")
            holder.execute("UPDATE entries SET value = value")
            # Waiting as writes do, they would take a minute and more.
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    for _ in range(12):
                        tasks.start_soon(partial(agent.call, "get_post", post_id="cmnot"))
                missing = await agent.call("get_post", post_id="cmnot")
                there = await agent.call("list_posts")
                setup = await agent.call("check_setup")
                resource = await agent.client.read_resource("ttp://recent-posts")
            holder.execute("ROLLBACK")
    assert read_text(missing).startswith("Post not read: not found (404)")
    assert not there.is_error
    assert "ledger: nothing can be published or deleted: the ledger (ledger.db in TTP_STATE_DIR)" in read_text(setup)
    assert resource.contents


@pytest.mark.parametrize("garbage", ["no JSON", "[]", "{}", '{"keys": 1, "by": {}}'])
async def test_foreign_rows_stop_writes_but_not_reads(connect_agent, settings, garbage):
    """An intact file with other content, as an editor or another program may leave it."""
    async with connect_agent() as agent:
        account = await agent.find_account("linkedin Harbor Café")
        _, old = await agent.expect_ok("create_post", account_ids=[account], **LATER)
        _, new = await agent.expect_ok("reschedule_post", post_id=old["post_id"], scheduled_at="2026-11-27T10:00")
        await agent.expect_ok("create_post", account_ids=[account], **LATER)
        await agent.runtime.app.ledger.begin_delete("cm1", None, tool="delete_post")
        with closing(sqlite3.connect(settings.state_dir / "ledger.db")) as db:
            db.execute("UPDATE entries SET value = ?, at = at - 200000", (garbage,))
            db.commit()
        standing = agent.list_posts()

        for tool, arguments in (
            ("list_posts", {}),
            ("get_post", {"post_id": new["post_id"]}),
            ("list_integrations", {}),
        ):
            await agent.expect_ok(tool, **arguments)
        assert "ledger: nothing can be published or deleted" in read_text(await agent.call("check_setup"))
        assert "mistake" not in read_text(await agent.call("get_post", post_id=old["post_id"]))
        for tool, arguments in (
            ("delete_post", {"post_id": old["post_id"]}),
            ("create_post", {"account_ids": [account], **LATER}),
        ):
            reported = await agent.call(tool, **arguments)
            assert reported.is_error
            assert "it is damaged, an entry can't be read. Nothing is sent without it" in read_text(reported)
        assert agent.list_posts() == standing
        await startup_report.report_unfinished_writes(agent.runtime.app.ledger, sleep=skip_wait)


async def skip_wait(_):
    """Advance time."""
