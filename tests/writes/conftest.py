"""Writes between a ledger and a sandbox with faults in between, all in one process and in virtual time."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import httpx2
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ttp_mcp.api import ApiClient, Post, PostCreate
from ttp_mcp.credentials import Token
from ttp_mcp.ledger import Ledger, scope_of
from ttp_mcp.sandbox import Sandbox
from ttp_mcp.sandbox.clock import ManualClock
from ttp_mcp.state.files import FileState
from ttp_mcp.writes import Writes, is_equal

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
DUE = START + timedelta(days=2)


class VirtualTime:
    """One time for the sandbox, the client and the writes; sleeping moves it, and what is planned happens on the way."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self._planned: list[tuple[float, Callable[[], Awaitable[None]]]] = []

    def monotonic(self) -> float:
        return (self.clock.now() - START).total_seconds()

    def plan(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        self._planned.append((self.monotonic() + seconds, action))

    async def sleep(self, seconds: float) -> None:
        end = self.monotonic() + seconds
        for at, action in sorted(self._planned, key=lambda each: each[0]):
            if at <= end:
                self._planned.remove((at, action))
                self.clock.move(at - self.monotonic())
                await action()
        self.clock.move(end - self.monotonic())
        await anyio.sleep(0)


class Faults:
    """Stands before the sandbox: `script` holds what happens to each write in turn, `hidden` what its answers leave out."""

    def __init__(self, app: ASGIApp, time: VirtualTime) -> None:
        self._app = app
        self._time = time
        self.script: list[str] = []
        self.reads_fail = False
        self.without_date = False
        self.hidden: tuple[str, ...] = ()
        self.writes: list[str] = []
        self.release = anyio.Event()
        self.held = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if method == "GET":
            if self.reads_fail:
                raise ConnectionResetError
            await self._app(scope, receive, self._tidied(send))
            return
        self.writes.append(method)
        fault = self.script.pop(0) if self.script else "none"
        message = await receive()
        body: list[Message] = [{"type": "http.request", "body": message.get("body", b""), "more_body": False}]

        async def commit() -> None:
            messages = list(body)

            async def again() -> Message:
                return messages.pop(0) if messages else {"type": "http.disconnect"}

            await self._app(scope, again, _nowhere)

        await self._fail(fault, commit, scope, receive, send, body)

    async def _fail(
        self,
        fault: str,
        commit: Callable[[], Awaitable[None]],
        scope: Scope,
        receive: Receive,
        send: Send,
        body: list[Message],
    ) -> None:
        match fault:
            case "none":

                async def first() -> Message:
                    return body.pop(0) if body else await receive()

                await self._app(scope, first, self._tidied(send))
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
                await _answer(send, 502, b"")
            case "page after commit":
                await commit()
                await _answer(send, 200, b"<html>")
            case "not connected":
                raise httpx2.ConnectError("")
            case "crash":
                raise RuntimeError("a bug")
            case "404":
                await _answer(send, 404, b"{}")
            case "409":
                await _answer(send, 409, b'{"success": false, "message": "busy"}')
            case "held, then committed":
                self.held.set()
                await self.release.wait()
                await commit()
                raise ConnectionResetError
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
            await send(message)

        return tidied

    def _without_hidden(self, body: bytes) -> bytes:
        def hide(value: object) -> object:
            if isinstance(value, dict):
                return {key: hide(inner) for key, inner in value.items() if key not in self.hidden}
            return [hide(inner) for inner in value] if isinstance(value, list) else value

        return json.dumps(hide(json.loads(body))).encode()


async def _nowhere(message: Message) -> None:
    pass


async def _answer(send: Send, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


@dataclass
class World:
    """A sandbox, the faults before it, and everything that stands on them."""

    time: VirtualTime
    sandbox: Sandbox
    faults: Faults
    api: ApiClient
    state: FileState
    ledger: Ledger
    writes: Writes
    accounts: dict[str, str] = field(default_factory=dict[str, str])

    def another(self, **options: object) -> Writes:
        """The writes of another process over the same state."""
        time = self.time
        return Writes(
            self.api,
            self.ledger,
            monotonic=time.monotonic,
            sleep=time.sleep,
            now=time.clock.now,
            **options,  # pyright: ignore[reportArgumentType] # options of a test
        )

    def client(self) -> ApiClient:
        """A client that has not heard anything from the API yet."""
        return _client(self.sandbox, self.faults, self.time)

    def post(
        self, content: str = "Doors open at ten", account: str = "linkedin", at: datetime | None = DUE
    ) -> PostCreate:
        return PostCreate(content, account_ids=(self.accounts[account],), scheduled_at=at)

    async def equal_posts(self, post: PostCreate) -> list[Post]:
        return [each for each in await self.api.posts.list() if is_equal(post, each)]

    async def outcomes(self) -> list[str | None]:
        return [record.outcome for record in await self.ledger.history(START - timedelta(days=1))]


def _client(sandbox: Sandbox, faults: Faults, time: VirtualTime) -> ApiClient:
    return ApiClient(
        base_url=sandbox.api_url,
        token=Token(sandbox.token),
        app=faults,
        monotonic=time.monotonic,
        sleep=time.sleep,
        jitter=lambda: 0.5,
        now=time.clock.now,
    )


@asynccontextmanager
async def _open(folder: Path) -> AsyncGenerator[World]:
    time = VirtualTime()
    with Sandbox(folder / "sandbox", clock=time.clock) as sandbox:
        faults = Faults(sandbox.app, time)
        api = _client(sandbox, faults, time)
        state = FileState(folder / "state")
        ledger = Ledger(state, scope_of(api.base_url, api.token, None), time.clock.now)
        writes = Writes(api, ledger, monotonic=time.monotonic, sleep=time.sleep, now=time.clock.now)
        found = World(time, sandbox, faults, api, state, ledger, writes)
        for account in await api.integrations.list():
            found.accounts.setdefault(account.platform, account.id)
        yield found
        await api.aclose()
        await state.aclose()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    """Everything in one process and in virtual time."""
    async with _open(tmp_path) as found:
        yield found


@pytest.fixture
def open_world() -> Callable[[Path], AbstractAsyncContextManager[World]]:
    """For tests that need many worlds: opens one in a folder."""
    return _open
