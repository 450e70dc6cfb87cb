"""A real MCP client, the server and the sandbox in one process; the clock moves only when a test moves it."""

import json
import re
import shutil
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import mcp_types as types
import pytest
from mcp.client import Client
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests import asgi
from tests.asgi import discard_message
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import Clocks
from ttp_mcp.api.http import Http, Permissions
from ttp_mcp.config import Settings
from ttp_mcp.credentials import Token
from ttp_mcp.factory import Runtime, create_server, offered_tools
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.server.mcp_server import TtpServer
from ttp_mcp.toolkit.account_directory import AccountDirectory
from ttp_mcp.writes.outcomes import HourlyLimits
from ttp_mcp.writes.writer import Writer

NOW = datetime(2026, 11, 24, 8, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent that calls tools and reads answers. `questions` are the prompts its user saw."""

    client: Client
    runtime: Runtime
    sandbox: Sandbox
    questions: list[str]

    async def call(self, tool: str, /, **arguments: Any) -> types.CallToolResult:
        """Call a tool and return its result, also a failure."""
        return await self.client.call_tool(tool, arguments)

    async def expect_ok(self, tool: str, /, **arguments: Any) -> tuple[str, dict[str, Any]]:
        """Call a tool that is expected to succeed: its text and data."""
        result = await self.call(tool, **arguments)
        assert not result.is_error, read_text(result)
        return read_text(result), result.structured_content

    async def expect_error(self, tool: str, /, **arguments: Any) -> str:
        """Call a tool that is expected to refuse: its text."""
        result = await self.call(tool, **arguments)
        assert result.is_error, read_text(result)
        return read_text(result)

    def read_row(self, post_id: str) -> dict[str, Any] | None:
        """Return a post as the sandbox stores it, or None; times are milliseconds since 1970."""
        with self.sandbox.store.reading() as db:
            row = db.execute("SELECT * FROM posts WHERE id = ?", (post_id,)).fetchone()
        return dict(row) if row else None

    def list_posts(self) -> list[tuple[str, str]]:
        """Return text and status of every post in the sandbox, oldest first."""
        with self.sandbox.store.reading() as db:
            rows = db.execute(
                "SELECT content, status FROM posts WHERE organization_id = 'org_harbor_cafe' ORDER BY sequence"
            )
            return [(row["content"], row["status"]) for row in rows]

    def update_post(self, post_id: str, **columns: Any) -> None:
        """Change a post in the sandbox, as the scheduler or a user in the dashboard might."""
        with self.sandbox.store.writing() as db:
            for name, value in columns.items():
                db.execute(f"UPDATE posts SET {name} = ? WHERE id = ?", (value, post_id))

    def mask_ids(self, text: str) -> str:
        """A text with stable names for what is random: accounts, posts in the order of their mention, marks, codes."""
        with self.sandbox.store.reading() as db:
            known = {
                row["id"]: f"<{row['platform']}{row['handle'] or ''}>" for row in db.execute("SELECT * FROM accounts")
            }
        posts: dict[str, str] = {}

        def name(found: re.Match[str]) -> str:
            return known.get(found[0]) or posts.setdefault(found[0], f"<post {len(posts) + 1}>")

        text = re.sub(r"\bcm[a-z0-9]{23}\b", name, text)
        text = re.sub(r"(</?text) [\w-]{22}>", r"\1>", text)
        return re.sub(r"confirmation \S+ \(once", "confirmation <code> (once", text)

    def format_text(self, text: str) -> str:
        """As `mask_ids`, with long lines folded for readers; continuation lines are indented."""
        lines = [
            textwrap.fill(line, 110, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
            for line in self.mask_ids(text).splitlines()
        ]
        return "\n".join(lines)

    async def find_account(self, label: str) -> str:
        """Return the id of an account by `platform handle-or-name`."""
        _, data = await self.expect_ok("list_integrations")
        found = {f"{each['platform']} {each.get('handle') or each['name']}": each["id"] for each in data["accounts"]}
        return found[label]


def find_code(preview: str) -> str:
    """Return the confirmation code of a preview."""
    return re.findall(r"confirmation (\S+) \(once", preview)[0]


def read_text(result: types.CallToolResult) -> str:
    """Return the text blocks of an answer."""
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))


@pytest.fixture
def clock() -> ManualClock:
    """Tuesday, 24 November 2026, 09:02 in Paris."""
    return ManualClock(NOW)


@pytest.fixture
def settings(tmp_path) -> Settings:
    """The defaults, with Paris time and its own state folder."""
    return Settings(zone=ZoneInfo("Europe/Paris"), state_dir=tmp_path / "state")


class Waits:
    """A clock whose waits end at once."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def monotonic(self) -> float:
        """Return the seconds waited."""
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        """Advance without waiting."""
        self._seconds += seconds
        await anyio.sleep(0)


Through = Callable[[ASGIApp], ASGIApp]


@dataclass(slots=True)
class Fault:
    """Stands before the API and spoils requests from the `turn`-th on (from 0): one of them, or all that follow (`lasting`).

    `after` lets the request be done first. `how` is `lost` (the connection breaks), or a status that is answered.
    """

    app: ASGIApp
    turn: int | None = None
    after: bool = False
    how: str | int = "lost"
    lasting: bool = False
    methods: tuple[str, ...] = ("GET", "POST", "DELETE")
    count: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or fail."""
        mine = self.turn is not None and scope["method"] in self.methods
        self.count += mine
        if not mine or not (self.count - 1 == self.turn or (self.lasting and self.count > (self.turn or 0))):
            await self.app(scope, receive, send)
            return
        if self.after:
            await self.app(scope, receive, discard_message)
        if self.how == "lost":
            raise ConnectionResetError
        await send_reply(send, int(self.how), {"success": False, "message": "Something failed."})

    @property
    def reached(self) -> bool:
        """Check whether enough requests came for it to happen."""
        return self.turn is not None and self.count > self.turn


async def send_reply(send: Send, status: int, body: object, content_type: str = "application/json") -> None:
    """An answer of an API: JSON, or bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    await asgi.send_response(send, status, content, content_type)


def answer_reads(replies: dict[str, object], message: str = "Not here.") -> Through:
    """Answer the given paths below /api with these replies: JSON, or a status to refuse with that message."""

    def through(app: ASGIApp) -> ASGIApp:
        async def instead(scope: Scope, receive: Receive, send: Send) -> None:
            reply = replies.get(scope["path"].removeprefix("/api"))
            if reply is None or scope["method"] != "GET":
                await app(scope, receive, send)
            elif isinstance(reply, int):
                await send_reply(send, reply, {"success": False, "message": message})
            else:
                await send_reply(send, 200, reply)

        return instead

    return through


# What the reference promises of a post.
PROMISED = ("id", "content", "platforms", "status", "scheduledAt", "publishedAt", "mediaUrls")


def show_fields(is_shown: Callable[[str], bool], *, lists_only: bool = False) -> Through:
    """Keep only these fields of posts."""

    def bare(post: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in post.items() if is_shown(key)}

    def through(app: ASGIApp) -> ASGIApp:
        async def between(scope: Scope, receive: Receive, send: Send) -> None:
            async def cut(message: Message) -> None:
                if message["type"] == "http.response.start":
                    headers = [pair for pair in message["headers"] if pair[0].lower() != b"content-length"]
                    message = {**message, "headers": headers}
                elif message.get("body"):
                    reply = json.loads(message["body"])
                    if "posts" in reply:
                        reply["posts"] = [bare(post) for post in reply["posts"]]
                    if "post" in reply and not lists_only:
                        reply["post"] = bare(reply["post"])
                    message = {**message, "body": json.dumps(reply).encode()}
                await send(message)

            await app(scope, receive, cut if scope["path"].startswith("/api/posts") else send)

        return between

    return through


show_promised = show_fields(PROMISED.__contains__)


def remove_waits(runtime: Runtime, settings: Settings, sandbox: Sandbox, behind_seconds: float) -> Runtime:
    """The same sandbox without waits: retries and searches for a lost response come at once."""

    def now() -> datetime:
        return sandbox.clock.now() - timedelta(seconds=behind_seconds)

    waits, app = Waits(), runtime.app
    api = ApiClient(
        Http(
            base_url=sandbox.api_url,
            token=Token(sandbox.token),
            app=sandbox.app,
            clocks=Clocks(monotonic=waits.monotonic, sleep=waits.sleep, jitter=lambda: 0.5, now=now),
            permissions=Permissions(access=settings.access),
        ),
        storage_app=sandbox.storage_app,
    )
    limits = HourlyLimits.from_settings(settings)
    # Its records have the times of this machine.
    ledger = Ledger(runtime.state, "behind", now) if behind_seconds else app.ledger
    writes = Writer(api, ledger, limits=limits, monotonic=waits.monotonic, sleep=waits.sleep, now=now)
    accounts = AccountDirectory(api, waits.monotonic)
    own = replace(app, api=api, ledger=ledger, writer=writes, accounts=accounts, now=api.clock.now)
    server = TtpServer(offered_tools(settings), own, with_confirmation=settings.confirm == "required")
    return Runtime(own, server, runtime.state)


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo workspace as of `NOW`, to be copied."""
    folder = tmp_path_factory.mktemp("demo") / "sandbox"
    Sandbox(folder, clock=ManualClock(NOW)).close()
    return folder


@pytest.fixture
def open_sandbox(demo_folder: Path, clock: ManualClock, tmp_path: Path) -> Iterator[Callable[..., Sandbox]]:
    """Open sandboxes of the demo workspace; `demo_posts=False` keeps its history but not its posts."""
    opened: list[Sandbox] = []

    def one(*, demo_posts: bool = True) -> Sandbox:
        folder = tmp_path / f"sandbox-{len(opened)}"
        shutil.copytree(demo_folder, folder)
        sandbox = Sandbox(folder, clock=clock)
        opened.append(sandbox)
        if not demo_posts:
            with sandbox.store.writing() as db:
                db.execute("DELETE FROM posts")
        return sandbox

    yield one
    for sandbox in opened:
        sandbox.close()


Connect = Callable[..., AbstractAsyncContextManager[Agent]]


@pytest.fixture
def connect_agent(settings: Settings, open_sandbox: Callable[..., Sandbox]) -> Connect:
    """Opens an agent: `async with connect_agent(confirm="required") as agent`. Keywords are settings.

    `answer` is what the user answers (True, False, "cancel", or what a function gives); None makes a client that can't ask.
    `mode` is the protocol era: "auto" for 2026, "legacy" for 2025. `sandbox` shares one between agents.
    `demo_posts=False` begins without posts. `through` stands between the client and the API; no wait takes time then.
    `behind_seconds` is how far this machine's clock is behind the API's.
    """

    @asynccontextmanager
    async def open_agent(
        *,
        answer: bool | str | Callable[[], bool] | None = None,
        mode: str = "auto",
        sandbox: Sandbox | None = None,
        demo_posts: bool = True,
        through: Through | None = None,
        behind_seconds: float = 0,
        **changes: Any,
    ) -> AsyncIterator[Agent]:
        questions: list[str] = []

        async def asked(_: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
            questions.append(params.message)
            said = answer() if callable(answer) else answer
            if isinstance(said, bool):
                return types.ElicitResult(action="accept", content={"confirm": said})
            return types.ElicitResult(action="cancel")

        own = sandbox or open_sandbox(demo_posts=demo_posts)
        chosen = replace(settings, **changes)
        runtime = create_server(chosen, own)
        if through is not None:
            own.app = through(own.app)
        if through is not None or behind_seconds:
            runtime = remove_waits(runtime, chosen, own, behind_seconds)
        try:
            async with Client(
                runtime.server, mode=mode, elicitation_callback=None if answer is None else asked
            ) as client:
                yield Agent(client, runtime, own, questions)
        finally:
            await runtime.aclose()

    return open_agent


@pytest.fixture
async def agent(connect_agent: Connect) -> AsyncIterator[Agent]:
    """An agent over the demo workspace, whose client can't prompt."""
    async with connect_agent() as opened:
        yield opened


@pytest.fixture
async def empty_agent(connect_agent: Connect) -> AsyncIterator[Agent]:
    """The same without posts; accounts are instagram, two of twitter, linkedin, tiktok, pinterest."""
    async with connect_agent(demo_posts=False) as opened:
        yield opened
