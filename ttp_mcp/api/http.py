"""One request: the token, the limits, the queue, the repeats, and every failure turned into an `ApiError`."""

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from random import random
from typing import Any, Literal

import anyio
import httpx2
from starlette.types import ASGIApp

from ttp_mcp import __version__
from ttp_mcp.api import errors, responses, retry
from ttp_mcp.api.clock import ApiClock
from ttp_mcp.api.parsing import JsonObject
from ttp_mcp.api.pools import GROUP, Pools
from ttp_mcp.api.rate_limit import RateLimitGate
from ttp_mcp.api.responses import RequestInfo
from ttp_mcp.credentials import Token

MIB = 1024 * 1024
# The status of a refusal decides; its words are worth this much and no more.
REFUSAL_BYTES = 64 * 1024
REFUSAL_SECONDS = 2.0

Need = Literal["read", "draft", "publish", "remove"]
_ALLOWED: dict[str, frozenset[Need]] = {
    "read": frozenset({"read"}),
    "draft": frozenset({"read", "draft"}),
    "full": frozenset({"read", "draft", "publish", "remove"}),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a request. Times are seconds, sizes bytes."""

    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    write_seconds: float = 30.0
    total_seconds: float = 30.0
    list_bytes: int = 8 * MIB
    answer_bytes: int = 1 * MIB
    connections: int = 64


@dataclass(frozen=True, slots=True)
class _Call:
    """One request with everything that is the same for each of its attempts. `deadline` is monotonic seconds."""

    asked: RequestInfo
    path: str
    token: Token
    body: bytes | None
    most_bytes: int
    deadline: float


@dataclass(slots=True)
class _Progress:
    """How far one attempt came."""

    sent: bool = False
    status: int | None = None
    refusal: errors.ApiError | None = None

    async def trace(self, event: str, _: object) -> None:
        """Called by the connection before each step: from here on a byte can have been written."""
        if event.endswith("send_request_headers.started"):
            self.sent = True


def utc_now() -> datetime:
    """The present of this machine."""
    return datetime.now(UTC)


def encoded(body: JsonObject) -> bytes:
    """A body as it is sent.

    Raises:
        ValueError: It holds what JSON can't: NaN, an infinite number, half of a character.
        RecursionError: It is nested too deeply.
    """
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class Http:
    """The connection to the API: one pool, made on the first request, and the rules that hold for every request."""

    def __init__(
        self,
        *,
        base_url: str,
        token: Token | None,
        token_problem: str | None = None,
        org_id: str | None = None,
        app: ASGIApp | None = None,
        access: str = "full",
        endpoints: frozenset[str] | None = None,
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        jitter: Callable[[], float] = random,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """See `ApiClient`. Nothing is opened here."""
        self.base_url = base_url.rstrip("/")
        self._home = _origin(httpx2.URL(self.base_url))
        self.token = token
        self.clock = ApiClock(now)
        self._token_problem = token_problem
        self._org_id = org_id
        self._app = app
        self._allowed = _ALLOWED[access]
        self._endpoints = endpoints
        self.limits = limits or Limits()
        self._monotonic = monotonic
        self.sleep = sleep
        self.jitter = jitter
        self._pools = Pools(self._new_client)
        self._context: ssl.SSLContext | None = None
        self._budget = retry.Budget()
        self._hold = RateLimitGate(monotonic, sleep)
        # Our own queue before the pool: a call that waits in it can still be told to hold, and was certainly not sent.
        self._places = anyio.Semaphore(self.limits.connections, fast_acquire=True)

    async def request(
        self, method: str, path: str, route: str, *, need: Need, body: JsonObject | None = None, big: bool = False
    ) -> Any:
        """Send a request and return its JSON.

        A `GET` is repeated where that can help; anything else never, once it may have arrived.

        Args:
            method: HTTP method.
            path: Path and query below the base URL, already encoded.
            route: Template of the path, for errors and logs.
            need: What the caller has to be allowed.
            body: Sent as JSON.
            big: Whether the larger limit on the answer applies.

        Raises:
            ApiError: One of its kinds.
        """
        asked = RequestInfo(method, route)
        _only_of(self._endpoints, asked)
        now = self._monotonic()
        call = _Call(
            asked=asked,
            path=path,
            token=self._usable_token(asked, need),
            body=None if body is None else encoded(body),
            most_bytes=self.limits.list_bytes if big else self.limits.answer_bytes,
            deadline=now + self.limits.total_seconds,
        )
        self._budget.called(now)
        attempt = 1
        while True:
            try:
                return await self._attempt(call)
            except errors.ApiError as error:
                await self._before_repeat(call, error, attempt)
                attempt += 1

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pools.aclose()

    def _usable_token(self, asked: RequestInfo, need: Need) -> Token:
        if need not in self._allowed:
            raise errors.AccessRefused(method=asked.method, path=asked.route)
        if self.token is not None:
            return self.token
        if self._token_problem is not None:
            raise errors.TokenMalformed(method=asked.method, path=asked.route, problem=self._token_problem)
        raise errors.TokenMissing(method=asked.method, path=asked.route)

    async def _before_repeat(self, call: _Call, error: errors.ApiError, attempt: int) -> None:
        """Return when the next attempt may begin, or raise the failure when it is final."""
        chosen = retry.action(error, "write" if call.asked.changes else "read", attempt)
        if chosen == "give_up":
            raise error
        now = self._monotonic()
        wait = self._hold.seconds_left() if chosen == "wait" else retry.delay_seconds(attempt, self.jitter())
        if wait > retry.LONGEST_WAIT_SECONDS or now + wait >= call.deadline:
            raise error
        if chosen == "retry":
            if not self._budget.spend(now):
                raise error
            await self.sleep(wait)

    async def _attempt(self, call: _Call) -> Any:
        progress = _Progress()
        deadline = asyncio.get_running_loop().time() + max(0.0, self._seconds_left(call))
        # As anyio.fail_after, for less. Not asyncio.timeout, for still less: it would cut off the closing of a connection.
        with anyio.CancelScope(deadline=deadline):
            return await self._in_turn(call, progress)
        if progress.refusal is not None:
            # It is known; only its words did not come in time.
            raise progress.refusal
        after = self.limits.total_seconds
        raise responses.connection_error(call.asked, TimeoutError(), sent=progress.sent, after_seconds=after)

    def _seconds_left(self, call: _Call) -> float:
        return call.deadline - self._monotonic()

    async def _in_turn(self, call: _Call, progress: _Progress) -> Any:
        """Wait for the hold and for a place in the queue, then send."""
        while True:
            probe = await self._pass_hold(call) if self._hold.active else None
            try:
                try:
                    self._places.acquire_nowait()
                except anyio.WouldBlock:
                    await self._places.acquire()
                try:
                    # The hold may have begun while this call was queueing.
                    if probe is None and self._hold.active:
                        continue
                    return await self._exchange(call, progress)
                finally:
                    self._places.release()
            finally:
                self._hold.probed(probe)

    async def _pass_hold(self, call: _Call) -> anyio.Event | None:
        try:
            return await self._hold.passed(lambda: min(self._seconds_left(call), retry.LONGEST_WAIT_SECONDS))
        except TimeoutError:
            raise errors.RateLimited(
                method=call.asked.method,
                path=call.asked.route,
                status=429,
                retry_after_seconds=self._hold.seconds_left(),
            ) from None

    async def _exchange(self, call: _Call, progress: _Progress) -> Any:
        asked = call.asked
        try:
            with self._pools.take() as client:
                response = await client.send(self._request(client, call, progress), stream=True)
                try:
                    self.clock.learn(response.headers)
                    status = response.status_code
                    if status >= 300:
                        # The status is told, and the hold begins, whatever becomes of the words.
                        progress.refusal = self._refused(asked, response, b"")
                        if isinstance(progress.refusal, errors.RateLimited):
                            self._hold.begin(progress.refusal.retry_after_seconds)
                        raise self._refused(asked, response, await self._refusal(response))
                    progress.status = status
                    content = await self._body(response, call.most_bytes)
                finally:
                    await response.aclose()
        except (httpx2.RequestError, OSError) as error:
            after = self.limits.write_seconds if isinstance(error, httpx2.WriteTimeout) else self.limits.read_seconds
            raise responses.connection_error(
                asked, error, sent=progress.sent, status=progress.status, after_seconds=after
            ) from None
        if content is None:
            raise responses.too_large(asked, status)
        return responses.parse_response(asked, status, response.headers.get("content-type", ""), content)

    def _request(self, client: httpx2.AsyncClient, call: _Call, progress: _Progress) -> httpx2.Request:
        # A read may be repeated in any case, so only for a write it is worth knowing when its first byte leaves.
        progress.sent = not call.asked.changes or self._app is not None
        headers = {} if call.body is None else {"Content-Type": "application/json"}
        if self._org_id:
            headers["x-ttp-org"] = self._org_id
        request = client.build_request(
            call.asked.method,
            self.base_url + call.path,
            headers=headers,
            content=call.body,
            extensions={} if progress.sent else {"trace": progress.trace},
        )
        _only_to(self._home, request.url)
        request.headers["Authorization"] = f"Bearer {call.token.reveal()}"
        return request

    def _new_client(self) -> httpx2.AsyncClient:
        limits = self.limits
        plain = self._home[0] == "http"
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self._app) if self._app else None,
            # Building a TLS context costs 40 ms; plain http is for this machine only and has none.
            verify=False if plain else self._tls(),
            timeout=httpx2.Timeout(
                limits.read_seconds, connect=limits.connect_seconds, write=limits.write_seconds, pool=None
            ),
            limits=httpx2.Limits(max_connections=GROUP, max_keepalive_connections=GROUP),
            follow_redirects=False,
            # A proxy from the environment must not see a token that is meant for this machine.
            trust_env=not plain,
            # A session of the API's website must not stand in for the token: no cookie is kept.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": f"ttp-mcp/{__version__}",
                "x-ttp-client": "mcp",
            },
        )

    def _tls(self) -> ssl.SSLContext:
        """One context for all groups of connections."""
        if self._context is None:
            self._context = httpx2.create_ssl_context()
        return self._context

    async def _body(self, response: httpx2.Response, most_bytes: int) -> bytes | None:
        """The decoded body; None when it is larger, and then the rest is not read."""
        chunks: list[bytes] = []
        size = 0
        async with aclosing(response.aiter_bytes()) as stream:
            async for chunk in stream:
                size += len(chunk)
                if size > most_bytes:
                    return None
                chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _refusal(self, response: httpx2.Response) -> bytes:
        """The body of a refusal, as far as it comes whole, soon and small."""
        content: bytes | None = None
        with anyio.move_on_after(REFUSAL_SECONDS), suppress(httpx2.RequestError, OSError):
            content = await self._body(response, REFUSAL_BYTES)
        return content or b""

    def _refused(self, asked: RequestInfo, response: httpx2.Response, content: bytes) -> errors.ApiError:
        return responses.error_from_response(asked, response.status_code, response.headers, content, self.clock.now())


def _only_of(endpoints: frozenset[str] | None, asked: RequestInfo) -> None:
    """Refuse what no offered tool needs, by its method and the first segment of its path."""
    if endpoints is not None and f"{asked.method} /{asked.route.split('/')[1]}" not in endpoints:
        raise errors.AccessRefused(method=asked.method, path=asked.route, setting="TTP_TOOLSETS")


_Origin = tuple[str, bytes, int | None]


def _only_to(home: _Origin, url: httpx2.URL) -> None:
    """The last look before the token is added: scheme, host and port are those of the base URL."""
    if _origin(url) != home:
        raise AssertionError("a request was about to leave for another host")


def _origin(url: httpx2.URL) -> _Origin:
    return url.scheme, url.raw_host, url.port or {"https": 443, "http": 80}.get(url.scheme)
