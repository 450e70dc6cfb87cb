"""Faults on request: scheduled with `ttp-mcp sandbox fault`, or requested by a test in a header.

A header is `x-sandbox-fault: delay;seconds=1` and is honoured only where the sandbox was opened for it. Faults hit the API
alone, never the page. What no application can do with a socket is in `fault_server`.
"""

import json
import math
import re
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import parse_qs, urlsplit

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ttp_mcp.sandbox.clock import Clock, to_ms
from ttp_mcp.sandbox.rest.responses import respond_error
from ttp_mcp.sandbox.storage import MediaStorage
from ttp_mcp.sandbox.store import Store

Kind = Literal[
    "delay", "429", "500", "503", "reset-before", "reset-after", "truncated", "html", "drip", "expired-presign"
]

# Effect of each kind, as the command line and the documentation describe it.
KINDS: dict[Kind, str] = {
    "delay": "wait for --seconds (2), then answer as usual",
    "429": "refuse with 429 and Retry-After: --seconds (2); nothing is done",
    "500": "answer 500; nothing is done",
    "503": "answer 503; nothing is done",
    "reset-before": "close the connection without an answer; nothing is done",
    "reset-after": "do it, then close the connection without an answer",
    "truncated": "do it, then close the connection in the middle of the answer",
    "html": "answer 200 with a web page, as a sign-in page of a network does; nothing is done",
    "drip": "do it, then send the answer one byte each --seconds (0.4)",
    "expired-presign": "issue an upload URL that is over already",
}
SECONDS: dict[Kind, float] = {"delay": 2.0, "429": 2.0, "drip": 0.4}
MOST_SECONDS, MOST_TIMES = 3600.0, 1_000_000
# More than the API accepts, so that it can still respond that a body is too large.
MOST_BODY_BYTES = 2 * 1024 * 1024
METHODS = ("GET", "POST", "DELETE", "HEAD")
# Extension of the server in serve.py: drops the connection without another byte.
ABORT = "ttp_mcp.abort"

_HEADER = b"x-sandbox-fault"
_PAGE = b"<!doctype html><title>Sign in</title><h1>Sign in to the guest network</h1>"


class FaultProblem(ValueError):
    """Raised when a fault can't be scheduled. `str()` says why."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault for one request."""

    kind: Kind
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PendingFault:
    """A fault that waits for requests; None as method or path means any. `path` is below /api."""

    id: int
    kind: Kind
    times: int
    seconds: float
    method: str | None
    path: str | None


def create_fault(kind: str, seconds: float | None = None) -> Fault:
    """Create a fault; `seconds` defaults to those of the kind.

    Raises:
        FaultProblem: The kind is unknown, takes no seconds, or they are out of range.
    """
    if kind not in KINDS:
        raise FaultProblem(f"Unknown fault: {kind[:40]!r}. Known are {', '.join(KINDS)}.")
    usual = SECONDS.get(kind)
    if seconds is None:
        return Fault(kind, usual or 0.0)
    if usual is None:
        raise FaultProblem(f"The fault {kind} takes no seconds; {', '.join(SECONDS)} do.")
    if not (math.isfinite(seconds) and 0 <= seconds <= MOST_SECONDS):
        raise FaultProblem(f"seconds must be a number from 0 to {MOST_SECONDS:.0f}.")
    return Fault(kind, seconds)


def schedule_fault(
    store: Store,
    kind: str,
    *,
    times: int = 1,
    seconds: float | None = None,
    method: str | None = None,
    path: str | None = None,
) -> PendingFault:
    """Schedule a fault for the next requests; each uses up one of `times`, in any process.

    Args:
        store: The data of the sandbox.
        kind: One of `KINDS`.
        times: How many requests it hits.
        seconds: For the kinds that wait.
        method: Only requests of this method.
        path: Only requests at this path below /api, or below it: `/posts`.

    Raises:
        FaultProblem: With what can be ordered.
    """
    chosen = create_fault(kind, seconds)
    if not 1 <= times <= MOST_TIMES:
        raise FaultProblem(f"times must be from 1 to {MOST_TIMES}.")
    method = None if method is None else method.upper()
    if method not in (None, *METHODS):
        raise FaultProblem(f"method must be one of {', '.join(METHODS)}.")
    path = None if path is None else _parse_path(path)
    if chosen.kind == "expired-presign":
        method, path = method or "POST", path or "/media/presign"
    with store.writing() as db:
        db.execute(
            "INSERT INTO faults (kind, method, path_prefix, remaining, seconds) VALUES (?, ?, ?, ?, ?)",
            (chosen.kind, method, path, times, chosen.seconds),
        )
        row = db.execute("SELECT * FROM faults WHERE id = last_insert_rowid()").fetchone()
    return _to_pending_fault(row)


def list_faults(store: Store) -> list[PendingFault]:
    """Return the pending faults, in the order in which they apply."""
    with store.reading() as db:
        return [_to_pending_fault(row) for row in db.execute("SELECT * FROM faults WHERE remaining > 0 ORDER BY id")]


def clear_faults(store: Store) -> int:
    """Remove all pending faults. Returns their number."""
    with store.writing() as db:
        return db.execute("DELETE FROM faults").rowcount


_FITTING = (
    "SELECT id FROM faults WHERE remaining > 0 AND (method IS NULL OR method = :method) AND (path_prefix IS NULL "
    "OR path_prefix = :path OR substr(:path, 1, length(path_prefix) + 1) = path_prefix || '/') ORDER BY id LIMIT 1"
)


def take_fault(store: Store, method: str, path: str) -> Fault | None:
    """Take the fault for a request at `path` below /api, which uses it up once."""
    request = {"method": method, "path": path}
    with store.reading() as db:
        # Check without the write lock, because usually no fault is pending.
        if db.execute(_FITTING, request).fetchone() is None:
            return None
    with store.writing() as db:
        found = db.execute(
            f"UPDATE faults SET remaining = remaining - 1 WHERE id = ({_FITTING}) RETURNING kind, seconds",  # noqa: S608 - a constant
            request,
        ).fetchall()
        db.execute("DELETE FROM faults WHERE remaining <= 0")
    return next((Fault(row["kind"], row["seconds"]) for row in found), None)


async def wait_for_disconnect(receive: Receive) -> None:
    """Wait until the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass


@dataclass(frozen=True, slots=True)
class _Exchange:
    """A request that a fault handles."""

    fault: Fault
    app: ASGIApp
    storage: MediaStorage
    clock: Clock
    scope: Scope
    receive: Receive
    send: Send

    async def receive_request(self) -> list[Message]:
        """Receive the request body, as far as the API would read it."""
        messages: list[Message] = []
        size, more = 0, True
        while more and size <= MOST_BODY_BYTES:
            messages.append(await self.receive())
            size += len(messages[-1].get("body", b""))
            more = messages[-1].get("more_body", False)
        return messages

    async def handle(self) -> tuple[Message, bytes]:
        """Handle the request. Returns the start and the body of the response without sending them."""
        kept: list[Message] = []

        async def keep(message: Message) -> None:
            kept.append(message)

        await self.app(self.scope, self.receive, keep)
        return kept[0], b"".join(message.get("body", b"") for message in kept[1:])

    async def refuse(self, status: int, headers: dict[str, str] | None = None) -> None:
        """Send an error in the documented shape."""
        words = {429: "Too many requests.", 503: "The service is not available for a moment."}
        response = respond_error(status, words.get(status, "Something went wrong."), headers)
        await response(self.scope, self.receive, self.send)

    async def send_start(self, message: Message, length: int) -> None:
        """Send the head of a response with a body of `length` bytes."""
        kept = [pair for pair in message["headers"] if pair[0].lower() != b"content-length"]
        await self.send({**message, "headers": [*kept, (b"content-length", str(length).encode())]})

    async def send_body(self, part: bytes, *, more: bool) -> None:
        """Send a part of a body."""
        await self.send({"type": "http.response.body", "body": part, "more_body": more})

    async def drop_connection(self) -> None:
        """Drop the connection. In one process there is none, so raise what a dropped connection raises."""
        abort: Callable[[], None] | None = self.scope.get("extensions", {}).get(ABORT)
        if abort is None:
            raise ConnectionResetError("The sandbox closed the connection because of a fault.")
        abort()
        await wait_for_disconnect(self.receive)


async def _delay_handling(exchange: _Exchange) -> None:
    """Handle the request after a delay, even if the client has disconnected: a late commit."""
    arrived = await exchange.receive_request()
    await anyio.sleep(exchange.fault.seconds)

    async def receive() -> Message:
        return arrived.pop(0) if arrived else await exchange.receive()

    await exchange.app(exchange.scope, receive, exchange.send)


async def _refuse_with_429(exchange: _Exchange) -> None:
    await exchange.refuse(429, {"Retry-After": str(math.ceil(exchange.fault.seconds))})


async def _refuse_with_error(exchange: _Exchange) -> None:
    await exchange.refuse(int(exchange.fault.kind))


async def _drop_before_handling(exchange: _Exchange) -> None:
    await exchange.drop_connection()


async def _drop_after_handling(exchange: _Exchange) -> None:
    await exchange.handle()
    await exchange.drop_connection()


async def _truncate_response(exchange: _Exchange) -> None:
    start, content = await exchange.handle()
    await exchange.send_start(start, len(content))
    await exchange.send_body(content[: len(content) // 2], more=True)
    await exchange.drop_connection()


async def _respond_with_html(exchange: _Exchange) -> None:
    headers = [(b"content-type", b"text/html; charset=utf-8")]
    await exchange.send_start({"type": "http.response.start", "status": 200, "headers": headers}, len(_PAGE))
    await exchange.send_body(_PAGE, more=False)


async def _drip_response(exchange: _Exchange) -> None:
    start, content = await exchange.handle()
    await exchange.send_start(start, len(content))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_on_disconnect, exchange, tasks.cancel_scope)
        for position in range(len(content)):
            await exchange.send_body(content[position : position + 1], more=position + 1 < len(content))
            await anyio.sleep(exchange.fault.seconds)
        tasks.cancel_scope.cancel()


async def _cancel_on_disconnect(exchange: _Exchange, scope: anyio.CancelScope) -> None:
    await wait_for_disconnect(exchange.receive)
    scope.cancel()


async def _expire_upload_url(exchange: _Exchange) -> None:
    start, content = await exchange.handle()
    if start["status"] == 200:
        found: dict[str, Any] = json.loads(content)
        query = parse_qs(urlsplit(cast("str", found["uploadUrl"])).query)
        now = await anyio.to_thread.run_sync(exchange.clock.now)
        found["uploadUrl"] = exchange.storage.upload_url(
            found["key"], query["type"][0], int(query["size"][0]), to_ms(now) - 1000
        )
        content = json.dumps(found).encode()
    await exchange.send_start(start, len(content))
    await exchange.send_body(content, more=False)


_HANDLERS: dict[Kind, Callable[[_Exchange], Awaitable[None]]] = {
    "delay": _delay_handling,
    "429": _refuse_with_429,
    "500": _refuse_with_error,
    "503": _refuse_with_error,
    "reset-before": _drop_before_handling,
    "reset-after": _drop_after_handling,
    "truncated": _truncate_response,
    "html": _respond_with_html,
    "drip": _drip_response,
    "expired-presign": _expire_upload_url,
}


class FaultMiddleware:
    """The API with its faults."""

    def __init__(self, app: ASGIApp, store: Store, clock: Clock, storage: MediaStorage, *, by_header: bool) -> None:
        """Wrap `app`; `by_header` lets requests ask for a fault themselves."""
        self._app = app
        self._store = store
        self._clock = clock
        self._storage = storage
        self._by_header = by_header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = cast("str", scope.get("path", ""))
        if not path.startswith("/api/"):
            await self._app(scope, receive, send)
            return
        try:
            found = self._read_header(scope) or await anyio.to_thread.run_sync(
                take_fault, self._store, scope["method"], path.removeprefix("/api")
            )
        except FaultProblem as problem:
            await respond_error(400, str(problem))(scope, receive, send)
            return
        if found is None:
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(found, self._app, self._storage, self._clock, scope, receive, send)
        await _HANDLERS[found.kind](exchange)

    def _read_header(self, scope: Scope) -> Fault | None:
        if not self._by_header:
            return None
        value = next((value for name, value in scope["headers"] if name == _HEADER), None)
        return None if value is None else _parse_header(value.decode("latin-1"))


def _parse_header(header: str) -> Fault:
    """Parse `kind` or `kind;seconds=1`."""
    kind, *options = (part.strip() for part in header.split(";"))
    seconds = None
    for option in options:
        found = re.fullmatch(r"seconds=(\d{1,6}(?:\.\d{1,6})?)", option, re.ASCII)
        if found is None:
            raise FaultProblem(f"x-sandbox-fault knows the option seconds=NUMBER, not {option[:40]!r}.")
        seconds = float(found[1])
    return create_fault(kind, seconds)


def _parse_path(path: str) -> str:
    found = "/" + path.strip().strip("/").removeprefix("api/")
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", found):
        raise FaultProblem("path must be one below /api, for example /posts.")
    return found


def _to_pending_fault(row: sqlite3.Row) -> PendingFault:
    return PendingFault(row["id"], row["kind"], row["remaining"], row["seconds"], row["method"], row["path_prefix"])
