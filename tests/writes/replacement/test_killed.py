"""Processes killed during a job of several writes: nothing is lost or sent twice, and the job can be finished."""

import json
import sqlite3
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from tests.acceptance.web import serve_api
from tests.asgi import discard_message
from tests.cli.conftest import PROGRAM
from tests.processes import make_environment as inherited
from tests.support.windows import WINDOWS
from ttp_mcp.sandbox import Sandbox

# The exit code of a process that was killed.
KILLED = 1 if WINDOWS else -9
NEXT_WEEK = (datetime.now(UTC) + timedelta(days=7)).replace(hour=10, minute=0, second=0, microsecond=0)
LATER = NEXT_WEEK + timedelta(days=1)
MAY_STAND = "may have created an equal post"


class Killing:
    """An API that kills the calling process at the n-th request of a method, before or after that takes effect."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.victim = None
        self.method, self.turn, self.after = "", 0, False

    async def app(self, scope, receive, send):
        """Pass on every other request."""
        if scope["type"] == "http" and self.victim is not None and scope["method"] == self.method:
            self.turn -= 1
            if self.turn == 0:
                if self.after:
                    await self.sandbox.app(scope, receive, discard_message)
                self.victim.kill()
                await self.victim.wait()
                return
        await self.sandbox.app(scope, receive, send)


class Workspace:
    """A workspace without posts, and `ttp-mcp call` in processes of their own."""

    def __init__(self, api, environment):
        self._api, self._environment = api, environment

    async def call(self, tool, /, **arguments):
        """Call a tool; return the exit code and the result as data."""
        return await self.run("call", "--json", tool, json.dumps(arguments))

    async def run(self, *arguments):
        """Run a command; return its exit code and its JSON."""
        command = [*PROGRAM, *arguments]
        async with await anyio.open_process(command, env=self._environment) as process:
            self._api.victim = process
            out = b"".join([part async for part in process.stdout])
            await process.wait()
        self._api.victim = None
        return process.returncode, json.loads(out) if out else {}

    async def expect_ok(self, tool, /, **arguments):
        """Return the data of a call that must succeed."""
        code, data = await self.call(tool, **arguments)
        assert code == 0, data
        return data

    async def call_and_kill(self, method, turn, after, tool, /, **arguments):
        """Run a call that is killed at the n-th request of a method, then advance the clock by five minutes."""
        self._api.method, self._api.turn, self._api.after = method, turn, after
        code, _ = await self.call(tool, **arguments)
        assert code == KILLED
        self._api.method = ""
        with sqlite3.connect(Path(self._environment["TTP_STATE_DIR"]) / "ledger.db") as db:
            for row, at, text in db.execute("SELECT rowid, at, value FROM entries").fetchall():
                value = json.loads(text)
                for each in (value, *value.get("claims", ())):
                    if "at" in each:
                        each["at"] = (datetime.fromisoformat(each["at"]) - timedelta(minutes=5)).isoformat()
                db.execute(
                    "UPDATE entries SET at = ?, value = ? WHERE rowid = ?", (at - 300_000, json.dumps(value), row)
                )
        db.close()
        with self._api.sandbox.store.writing() as posts:
            posts.execute("UPDATE posts SET created_at = created_at - 300000")

    @property
    def posts(self):
        """Return text and time of every post in the sandbox."""
        with self._api.sandbox.store.reading() as db:
            rows = db.execute("SELECT content, scheduled_at FROM posts ORDER BY content, scheduled_at").fetchall()
        return [(row["content"], datetime.fromtimestamp(row["scheduled_at"] / 1000, UTC)) for row in rows]


@asynccontextmanager
async def open_workspace(folder):
    """Serve a world while the block runs."""
    with Sandbox(folder / "sandbox") as sandbox:
        with sandbox.store.writing() as db:
            db.execute("DELETE FROM posts")
        api = Killing(sandbox)
        async with serve_api(api) as settings:
            own = {"TTP_STATE_DIR": str(folder / "state"), "TTP_TIMEZONE": "UTC", "TTP_API_TOKEN": sandbox.token}
            yield Workspace(api, inherited(**{**settings, **own}))


@pytest.mark.requirement("history.shows")
@pytest.mark.parametrize("after", [False, True])
async def test_history_shows_a_write_whose_process_was_killed_as_unknown(tmp_path, after):
    """It is listed first, whether it happened or not, with its accounts and without its content."""
    async with open_workspace(tmp_path) as here:
        post = {"platforms": ["linkedin"], "scheduled_at": NEXT_WEEK.isoformat()}
        await here.call_and_kill("POST", 1, after, "create_post", content="Secret launch", **post)
        done = await here.expect_ok("create_post", content="Doors open at ten", **post)
        code, history = await here.run("history", "--json")
    assert code == 0
    assert (history["total"], history["unknown"]) == (2, 1)
    unknown, known = history["writes"]
    assert (unknown["action"], unknown["outcome"], unknown["post_id"]) == ("create", "unknown", None)
    assert (known["action"], known["outcome"], known["post_id"]) == ("create", "done", done["post_id"])
    assert unknown["accounts"] == known["accounts"] == ["linkedin «Harbor Café»"]
    assert "Secret launch" not in json.dumps(history)


OLD, NEW = ("Doors open at ten", NEXT_WEEK), ("Doors open at ten", LATER)


@pytest.mark.requirement("replacing.half-done")
@pytest.mark.parametrize(
    ("method", "after", "left"),
    [("POST", False, [OLD]), ("POST", True, [OLD, NEW]), ("DELETE", False, [OLD, NEW]), ("DELETE", True, [NEW])],
)
async def test_killed_reschedule_leaves_a_post_and_can_be_finished(tmp_path, method, after, left):
    """By the same call or, if it isn't known whether the replacement was created, by the steps in its refusal."""
    async with open_workspace(tmp_path) as here:
        post = {"content": OLD[0], "platforms": ["linkedin"]}
        old = (await here.expect_ok("create_post", **post, scheduled_at=OLD[1].isoformat()))["post_id"]
        wanted = {"post_id": old, "scheduled_at": LATER.isoformat()}

        await here.call_and_kill(method, 1, after, "reschedule_post", **wanted)
        assert here.posts == left
        items = {item["name"]: item["text"] for item in (await here.expect_ok("check_setup"))["items"]}
        assert old in items["unfinished" if left == [NEW] else "half replaced"]

        code, data = await here.call("reschedule_post", **wanted)
        if left == [OLD]:
            assert MAY_STAND in data["text"]
            await here.expect_ok("create_post", **post, scheduled_at=LATER.isoformat(), allow_duplicate=True)
            await here.expect_ok("delete_post", post_id=old)
        elif left == [NEW]:
            assert f"{old} is gone: " in data["text"]
        else:
            assert code == 0
        assert here.posts == [NEW]


@pytest.mark.requirement("tools.plans")
@pytest.mark.parametrize("after", [False, True])
async def test_plan_killed_while_it_is_applied_is_continued(tmp_path, after):
    """Killed at the second of three posts: that post is found, or the refusal has the next step. Each post is sent once."""
    async with open_workspace(tmp_path) as here:
        posts = [{"content": f"Soup of the day, {number}", "platforms": ["linkedin"]} for number in range(3)]
        plan = await here.expect_ok("plan_posts", posts=posts)
        times = {each["index"]: each["scheduled_at"] for each in plan["planned"]}

        await here.call_and_kill("POST", 2, after, "apply_plan", plan_id=plan["plan_id"])
        assert len(here.posts) == 1 + after

        code, done = await here.call("apply_plan", plan_id=plan["plan_id"])
        assert code == (0 if after else 8)
        if not after:
            (stopped,) = done["steps"]
            assert MAY_STAND in stopped["reason"]
            index = stopped["index"]
            await here.expect_ok("create_post", **posts[index - 1], scheduled_at=times[index], allow_duplicate=True)
            done = await here.expect_ok("apply_plan", plan_id=plan["plan_id"])
        assert done["complete"]
        assert [text for text, _ in here.posts] == [post["content"] for post in posts]
