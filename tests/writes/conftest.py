"""Writes over a ledger and a sandbox with faults, all in one process and in virtual time."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import httpx2
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.asgi import discard_message, make_receive, send_response
from tests.support.workspaces import open_workspace
from tests.virtual_time import START, VirtualTime
from ttp_mcp.api import Post, PostCreate
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import Clocks
from ttp_mcp.api.http import Http
from ttp_mcp.credentials import Token
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import scope_of
from ttp_mcp.ledger.store.sqlite import SqliteStore
from ttp_mcp.sandbox import Sandbox
from ttp_mcp.writes.outcomes import Created
from ttp_mcp.writes.reconcile import is_equal
from ttp_mcp.writes.writer import Writer

DUE = START + timedelta(days=2)


def advance_loop_clock(seconds: float) -> None:
    """End timers of the event loop that are due within `seconds`, without waiting for them."""
    loop = asyncio.get_running_loop()
    clock = loop.time
    setattr(loop, "time", lambda: clock() + seconds)  # noqa: B010 - a method


class Faults:
    """Faults before the sandbox: `script` has the fault of each write in turn, `hidden` the fields that responses omit."""

    def __init__(self, app: ASGIApp, time: VirtualTime) -> None:
        self._app = app
        self._time = time
        self.script: list[str] = []
        self.reads_fail = False
        self.reads_hang = False
        self.read_seconds = 0.0
        self.lagging = False
        self.gateway_lost = False
        self.without_date = False
        self.whole_seconds = False
        self.hidden: tuple[str, ...] = ()
        self.writes: list[str] = []
        self.release = anyio.Event()
        self.held = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if method == "GET":
            if self.reads_fail:
                raise ConnectionResetError
            if self.reads_hang:
                advance_loop_clock(1.5)
                await anyio.sleep_forever()
            if self.read_seconds:
                asyncio.get_running_loop().call_soon(advance_loop_clock, self.read_seconds)
                await anyio.sleep(self.read_seconds)
            if self.gateway_lost:
                await send_response(send, 404, b"<html>", "text/html")
                return
            if self.lagging and not scope["path"].endswith("/posts"):
                await send_response(send, 404, b'{"success": false, "message": "Post not found."}')
                return
            await self._app(scope, receive, self._tidied(send))
            return
        self.writes.append(method)
        fault = self.script.pop(0) if self.script else "none"
        message = await receive()
        body: Message = {"type": "http.request", "body": message.get("body", b""), "more_body": False}

        async def commit(send: Send = discard_message) -> None:
            await self._app(scope, make_receive(body), send)

        await self._fail(fault, commit, send)

    async def _fail(self, fault: str, commit: Callable[..., Awaitable[None]], send: Send) -> None:
        match fault:
            case "none":
                await commit(self._tidied(send))
            case "lost before commit":
                raise ConnectionResetError
            case "lost after commit":
                await commit()
                raise ConnectionResetError
            case "commits late":
                self._time.plan(3, commit)
                raise ConnectionResetError
            case "502 after commit":
                await commit()
                await send_response(send, 502)
            case "page after commit":
                await commit()
                await send_response(send, 200, b"<html>")
            case "done without a post":
                await commit()
                await send_response(send, 200, b"{}", "application/json")
            case "done as p1":
                await commit()
                await send_response(send, 201, b'{"post": {"id": "p1"}}', "application/json")
            case "not connected":
                raise httpx2.ConnectError("")
            case "crash":
                raise RuntimeError("a bug")
            case "404 page":
                await send_response(send, 404, b"<html>", "text/html")
            case "404 page after commit":
                await commit()
                await send_response(send, 404, b"<html>", "text/html")
            case "404":
                await send_response(send, 404, b"{}")
            case "409":
                await send_response(send, 409, b'{"success": false, "message": "busy"}')
            case "held, then committed":
                self.held.set()
                await self.release.wait()
                await commit()
                raise ConnectionResetError
            case "held, then refused":
                self.held.set()
                await self.release.wait()
                await send_response(send, 409, b'{"success": false, "message": "busy"}')
            case _:
                raise AssertionError(fault)

    def _tidied(self, send: Send) -> Send:
        async def tidied(message: Message) -> None:
            if message["type"] == "http.response.start":
                left_out = {b"content-length"} | ({b"date"} if self.without_date else set())
                headers = [pair for pair in message["headers"] if pair[0].lower() not in left_out]
                message = {**message, "headers": headers}
            elif self.hidden and message.get("body"):
                message = {**message, "body": self._without_hidden(message["body"])}
            elif self.whole_seconds and message.get("body"):
                body = re.sub(rb'("createdAt": ?"[^".]*)\.\d+', rb"\1", message["body"])
                message = {**message, "body": body}
            await send(message)

        return tidied

    def _without_hidden(self, body: bytes) -> bytes:
        def hide(value: object) -> object:
            if isinstance(value, dict):
                return {key: hide(inner) for key, inner in value.items() if key not in self.hidden}
            return [hide(inner) for inner in value] if isinstance(value, list) else value

        return json.dumps(hide(json.loads(body))).encode()


@dataclass
class Harness:
    """A sandbox, its faults, and everything over them."""

    time: VirtualTime
    sandbox: Sandbox
    faults: Faults
    api: ApiClient
    state: SqliteStore
    ledger: Ledger
    writes: Writer
    accounts: dict[str, str] = field(default_factory=dict[str, str])

    def make_writer(self, **options: object) -> Writer:
        """Return the writer of another process over the same state."""
        time = self.time
        return Writer(
            self.api,
            self.ledger,
            monotonic=time.monotonic,
            sleep=time.sleep,
            now=time.clock.now,
            **options,  # pyright: ignore[reportArgumentType] # options of a test
        )

    @asynccontextmanager
    async def hold_create(self) -> AsyncGenerator[tuple[list[Created], anyio.CancelScope]]:
        """Start a create and hold its request; yield its eventual result and the scope that cancels its caller."""
        self.faults.script = ["held, then committed"]
        results: list[Created] = []

        async def create() -> None:
            results.append(await self.writes.create(self.post(), tool="create_post"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(create)
            await self.faults.held.wait()
            yield results, tasks.cancel_scope

    def client(self) -> ApiClient:
        """Create a client that has no response from the API yet."""
        return _make_client(self.sandbox, self.faults, self.time)

    def post(
        self, content: str = "Doors open at ten", account: str = "linkedin", at: datetime | None = DUE
    ) -> PostCreate:
        return PostCreate(content, account_ids=(self.accounts[account],), scheduled_at=at)

    async def equal_posts(self, post: PostCreate) -> list[Post]:
        return [each for each in await self.api.posts.list() if is_equal(post, each)]

    async def outcomes(self) -> list[str | None]:
        return [record.outcome for record in await self.ledger.read_history(START - timedelta(days=1))]


def _make_client(sandbox: Sandbox, faults: Faults, time: VirtualTime) -> ApiClient:
    return ApiClient(
        Http(
            base_url=sandbox.api_url,
            token=Token(sandbox.token),
            app=faults,
            clocks=Clocks(monotonic=time.monotonic, sleep=time.sleep, jitter=lambda: 0.5, now=time.clock.now),
        )
    )


@asynccontextmanager
async def _open_harness(folder: Path) -> AsyncGenerator[Harness]:
    time = VirtualTime()
    with open_workspace(folder / "sandbox", time.clock) as sandbox:
        faults = Faults(sandbox.app, time)
        api = _make_client(sandbox, faults, time)
        state = SqliteStore(folder / "state")
        ledger = Ledger(state, scope_of(api.base_url, api.token, None), time.clock.now)
        writes = Writer(api, ledger, monotonic=time.monotonic, sleep=time.sleep, now=time.clock.now)
        found = Harness(time, sandbox, faults, api, state, ledger, writes)
        for account in await api.integrations.list():
            found.accounts.setdefault(account.platform, account.id)
        yield found
        await api.aclose()
        await state.aclose()


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncGenerator[Harness]:
    """A world in one process and in virtual time."""
    async with _open_harness(tmp_path) as found:
        yield found


@pytest.fixture
def open_harness() -> Callable[[Path], AbstractAsyncContextManager[Harness]]:
    """Open a world in a folder, for tests that need many."""
    return _open_harness
