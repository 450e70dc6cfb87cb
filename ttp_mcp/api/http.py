"""One request: permissions, the token, the limits, the queue, the retries, and every failure turned into an `ApiError`.

Requests go straight to a transport, which leads to the API's origin alone.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import anyio
import httpx2
from starlette.types import ASGIApp

from ttp_mcp import __version__
from ttp_mcp.api import errors, network, responses, retry
from ttp_mcp.api.clock import ApiClock, Clocks
from ttp_mcp.api.parsing import JsonObject, as_object, parse_json
from ttp_mcp.api.rate_limit import RateLimitGate, RetryBudget, StillLimited
from ttp_mcp.api.responses import RequestInfo
from ttp_mcp.api.transport import Incoming, InProcess, Outgoing, Transport
from ttp_mcp.credentials import Token

MIB = 1024 * 1024
# The status of a refusal decides, so its message gets at most this much time and space.
REFUSAL_BYTES = 64 * 1024
REFUSAL_SECONDS = 2.0

_Read = TypeVar("_Read")

Effect = Literal["read", "draft", "publish", "remove"]
ALLOWED_EFFECTS: dict[str, frozenset[Effect]] = {
    "read": frozenset({"read"}),
    "draft": frozenset({"read", "draft"}),
    "full": frozenset({"read", "draft", "publish", "remove"}),
}


@dataclass(frozen=True, slots=True)
class Permissions:
    """`access` is read, draft or full. `endpoints` are the only ones allowed, such as `GET /posts`; None for all of them."""

    access: str = "full"
    endpoints: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a request. Times are seconds, sizes bytes."""

    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    write_seconds: float = 30.0
    total_seconds: float = 30.0
    list_bytes: int = 8 * MIB
    answer_bytes: int = 1 * MIB
    connections: int = 16


_HEADERS = [
    (b"Accept", b"application/json"),
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", f"ttp-mcp/{__version__}".encode()),
    (b"x-ttp-client", b"mcp"),
]


def encode_body(body: JsonObject) -> bytes:
    """Encode a body as JSON.

    Raises:
        ValueError: JSON can't express it: NaN, an infinite number, half a surrogate pair.
        RecursionError: It is nested too deeply.
    """
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class Http:
    """The connection to the API: one pool, opened by the first request, and the rules that hold for every request."""

    def __init__(
        self,
        *,
        base_url: str,
        token: Token | None,
        token_problem: str | None = None,
        org_id: str | None = None,
        app: ASGIApp | None = None,
        permissions: Permissions | None = None,
        limits: Limits | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        """Open nothing.

        Args:
            base_url: https, or http on this machine; checked where settings are read.
            token: The user's token; without one every call is refused.
            token_problem: Why the configured token can't be used.
            org_id: Sent as `x-ttp-org`.
            app: An application in this process that answers instead of the host (the sandbox).
            permissions: Requests that may be sent; all of them by default.
        """
        self.base_url = base_url.rstrip("/")
        self.token = token
        self.limits = limits or Limits()
        self.clocks = clocks or Clocks()
        self.clock = ApiClock(self.clocks.now)
        self._home = httpx2.URL(self.base_url)
        self._base_path = self._home.raw_path.rstrip(b"/")
        self._token_problem = token_problem
        self._headers = [(b"Host", self._home.netloc), *_HEADERS]
        if org_id:
            self._headers.append((b"x-ttp-org", org_id.encode()))
        self._app = app
        self._permissions = permissions or Permissions()
        self._transport: Transport | None = None
        self._proxy_variable: str | None = None
        self._budget = RetryBudget()
        self._gate = RateLimitGate(self.clocks, self.limits.connections)

    async def request(
        self, method: str, path: str, route: str, *, need: Effect, body: JsonObject | None = None, big: bool = False
    ) -> Any:
        """Send a request and return its JSON.

        A `GET` is retried where that can help; anything else never, once it may have arrived.

        Args:
            path: Path and query below the base URL, already encoded.
            route: Template of the path, for errors and logs.
            need: Effect that the caller has to be allowed.
            big: Whether the larger limit on the response applies.

        Raises:
            ApiError: One of its kinds.
        """
        self._check_permission(method, route, need)
        if self.token is None:
            if self._token_problem is not None:
                raise errors.TokenMalformed(method=method, path=route, problem=self._token_problem)
            raise errors.TokenMissing(method=method, path=route)
        request = self._build_request(method, path, route, self.token, body, big=big)
        self._budget.calls.append(self.clocks.monotonic())
        attempt = 1
        while True:
            try:
                return await self._attempt(request)
            except errors.ApiError as error:
                await self._wait_before_retry(request, error, attempt)
                attempt += 1

    async def aclose(self) -> None:
        """Close the connections; a later request opens new ones."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    def _check_permission(self, method: str, route: str, effect: Effect) -> None:
        """Refuse requests that the access mode excludes, or that no offered tool needs.

        Raises:
            AccessRefused: With the setting that excludes it.
        """
        endpoints = self._permissions.endpoints
        # An endpoint group is the first segment of the path.
        if endpoints is not None and f"{method} /{route.split('/')[1]}" not in endpoints:
            raise errors.AccessRefused(method=method, path=route, setting="TTP_TOOLSETS")
        if effect not in ALLOWED_EFFECTS[self._permissions.access]:
            raise errors.AccessRefused(method=method, path=route)

    def _build_request(
        self, method: str, path: str, route: str, token: Token, body: JsonObject | None, *, big: bool
    ) -> Outgoing:
        content = b"" if body is None else encode_body(body)
        headers = [*self._headers, (b"Authorization", f"Bearer {token.reveal()}".encode())]
        if body is not None:
            headers.append((b"Content-Type", b"application/json"))
        if method == "POST":
            headers.append((b"Content-Length", b"%d" % len(content)))
        return Outgoing(
            method,
            route,
            target=self._base_path + path.encode("ascii"),
            headers=headers,
            body=content,
            most_bytes=self.limits.list_bytes if big else self.limits.answer_bytes,
            deadline=self.clocks.monotonic() + self.limits.total_seconds,
        )

    async def _wait_before_retry(self, request: Outgoing, error: errors.ApiError, attempt: int) -> None:
        """Return when the next attempt may start, or raise the error if there is none."""
        action = retry.choose_action(error, "write" if request.has_side_effects else "read", attempt)
        if action == "give_up":
            raise error
        now = self.clocks.monotonic()
        wait = self._gate.seconds_left() if action == "wait" else retry.delay_seconds(attempt, self.clocks.jitter())
        if wait >= retry.LONGEST_WAIT_SECONDS or now + wait >= request.deadline:
            raise error
        if action == "retry":
            if not self._budget.take_retry(now):
                raise error
            await self.clocks.sleep(wait)

    async def _attempt(self, request: Outgoing) -> Any:
        """Send the request once, before its deadline."""
        request.is_sent, request.refusal = False, None
        left = request.deadline - self.clocks.monotonic()
        # Cheaper than anyio.fail_after. asyncio.timeout is cheaper still, but would cut off the closing of a connection.
        with anyio.CancelScope(deadline=asyncio.get_running_loop().time() + left):
            try:
                async with self._gate.slot(request.deadline):
                    return await self._exchange(request)
            except StillLimited:
                wait = self._gate.seconds_left()
                raise errors.RateLimited(
                    method=request.method, path=request.route, status=429, retry_after_seconds=wait
                ) from None
        after = self.limits.total_seconds
        raise request.refusal or responses.connection_error(
            request, TimeoutError(), sent=request.is_sent, after_seconds=after
        )

    async def _exchange(self, request: Outgoing) -> Any:
        """Send the request and read the response."""
        status: int | None = None
        try:
            transport = self._transport or self._open_transport()
            async with transport.open(request) as response:
                self.clock.learn(response.headers)
                if response.status >= 300:
                    raise await self._to_error(request, response)
                status = response.status
                content = await self._read_body(response, request.most_bytes)
        except network.UnusableSetting as problem:
            raise errors.NotReached(
                method=request.method, path=request.route, reason=problem.reason, variable=problem.variable
            ) from None
        except (httpx2.RequestError, OSError) as error:
            after = self.limits.write_seconds if isinstance(error, httpx2.WriteTimeout) else self.limits.read_seconds
            raise responses.connection_error(
                request, error, sent=request.is_sent, status=status, after_seconds=after, proxy=self._proxy_variable
            ) from None
        if content is None:
            raise responses.bad_answer(request, status, "too_large")
        return parse_response(request, status, response.headers.get("content-type", ""), content)

    def _open_transport(self) -> Transport:
        """Open the connection pool, or reach the application in this process."""
        # Plain http is for this machine only: it needs no TLS context, and a proxy must not see its token.
        plain = self._home.scheme == "http"
        proxy, self._proxy_variable = (None, None) if plain else network.find_proxy(self.base_url)
        if self._app is not None:
            self._transport = InProcess(self._home, self._app)
        else:
            # Loaded by the first request, since it takes a while.
            from ttp_mcp.api.connections import ConnectionPool

            self._transport = ConnectionPool(
                self._home,
                tls=None if plain else network.create_tls_context(),
                proxy=proxy,
                timeout={
                    "connect": self.limits.connect_seconds,
                    "read": self.limits.read_seconds,
                    "write": self.limits.write_seconds,
                },
            )
        return self._transport

    async def _read_body(self, response: Incoming, most_bytes: int) -> bytes | None:
        """Return the decoded body; None if it is larger, and then the rest isn't read."""
        chunks: list[bytes] = []
        size = 0
        body = response.body
        if "content-encoding" in response.headers:
            # HTTPX2 decodes through four generators; plain bytes don't need them.
            body = httpx2.Response(response.status, headers=response.headers, content=body).aiter_bytes()
        async with aclosing(cast("AsyncGenerator[bytes]", aiter(body))) as stream:
            async for chunk in stream:
                size += len(chunk)
                if size > most_bytes:
                    return None
                chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _to_error(self, request: Outgoing, response: Incoming) -> errors.ApiError:
        """Return the error of a status. It counts, and the gate closes, even if the message never arrives."""
        status, headers, now = response.status, response.headers, self.clock.now()
        request.refusal = responses.error_from_response(request, status, headers, None, now)
        if isinstance(request.refusal, errors.RateLimited):
            self._gate.close(request.refusal.retry_after_seconds)
        return responses.error_from_response(request, status, headers, await self._read_refusal(response), now)

    async def _read_refusal(self, response: Incoming) -> bytes | None:
        """Return the body of a refusal; None if it is slow, large or cut off."""
        content: bytes | None = None
        with anyio.move_on_after(REFUSAL_SECONDS), suppress(Exception):
            content = await self._read_body(response, REFUSAL_BYTES)
        return content


def parse_response(info: RequestInfo, status: int, content_type: str, content: bytes) -> Any:
    """Parse the JSON of a 2xx response; an empty response to `DELETE` is an empty object.

    Raises:
        BadAnswer: It isn't JSON.
        Rejected: It has `success: false`.
    """
    if info.method == "DELETE" and not content.strip():
        return {}
    try:
        reply = parse_json(content)
    except ValueError:
        raise responses.bad_answer(info, status, responses.classify_unreadable(content_type, content)) from None
    if as_object(reply).get("success") is False:
        raise errors.Rejected(
            method=info.method, path=info.route, status=status, message=responses.extract_message(content)
        )
    return reply


def require_shape(read: _Read | None, method: str, path: str, *, may_have_happened: bool = False) -> _Read:
    """Return what was read from a response.

    Raises:
        BadAnswer: It is None, since the response has another shape.
    """
    if read is None:
        raise errors.BadAnswer(method=method, path=path, reason="shape", may_have_happened=may_have_happened)
    return read
