"""One request: the token, the limits, the repeats, and every failure turned into an `ApiError`."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import random
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

import anyio
import httpx2
from pydantic_core import from_json, to_json
from starlette.types import ASGIApp

from ttp_mcp import __version__
from ttp_mcp.api import errors, retry
from ttp_mcp.api.clock import ApiClock
from ttp_mcp.api.wire import JsonObject, an_object, first, text
from ttp_mcp.credentials import Token

MIB = 1024 * 1024

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


def utc_now() -> datetime:
    """The present of this machine."""
    return datetime.now(UTC)


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
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        jitter: Callable[[], float] = random,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """See `ApiClient`. Nothing is opened here."""
        self.base_url = base_url.rstrip("/")
        self.token = token
        self.clock = ApiClock(now)
        self._token_problem = token_problem
        self._org_id = org_id
        self._app = app
        self._allowed = _ALLOWED[access]
        self.limits = limits or Limits()
        self._monotonic = monotonic
        self.sleep = sleep
        self.jitter = jitter
        self._client: httpx2.AsyncClient | None = None
        self._budget = retry.Budget()
        self._hold_until = 0.0
        self._probe: anyio.Event | None = None

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
        token = self._usable_token(method, route, need)
        kind: retry.Kind = "read" if method == "GET" else "write"
        deadline = self._monotonic() + self.limits.total_seconds
        self._budget.called(self._monotonic())
        attempt = 1
        while True:
            try:
                return await self._attempt(method, path, route, token, body, big=big, deadline=deadline)
            except errors.ApiError as error:
                await self._before_repeat(error, kind, attempt, deadline)
                attempt += 1

    async def aclose(self) -> None:
        """Close the pool."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _usable_token(self, method: str, route: str, need: Need) -> Token:
        if need not in self._allowed:
            raise errors.AccessRefused(method=method, path=route)
        if self.token is not None:
            return self.token
        if self._token_problem is not None:
            raise errors.TokenMalformed(method=method, path=route, problem=self._token_problem)
        raise errors.TokenMissing(method=method, path=route)

    async def _before_repeat(self, error: errors.ApiError, kind: retry.Kind, attempt: int, deadline: float) -> None:
        """Wait as the failure asks for, or raise it when it is final."""
        chosen = retry.action(error, kind, attempt)
        now = self._monotonic()
        if chosen == "wait":
            wait = self._hold_until - now
        elif chosen == "retry" and self._budget.spend(now):
            wait = retry.delay_seconds(attempt, self.jitter())
        else:
            raise error
        if now + wait >= deadline:
            raise error
        if chosen == "retry":
            await self.sleep(wait)

    async def _attempt(
        self, method: str, path: str, route: str, token: Token, body: JsonObject | None, *, big: bool, deadline: float
    ) -> Any:
        probe = await self._pass_hold(method, route, deadline)
        try:
            left = max(0.0, deadline - self._monotonic())
            with anyio.fail_after(left):
                response, content = await self._exchange(method, path, route, token, body, big=big)
        except TimeoutError:
            raise errors.NoAnswer(
                method=method, path=route, may_have_happened=method != "GET", after_seconds=self.limits.total_seconds
            ) from None
        finally:
            if probe is not None:
                self._probe = None
                probe.set()
        self.clock.learn(response.headers.get("date"))
        return self._read(method, route, response, content)

    async def _pass_hold(self, method: str, route: str, deadline: float) -> anyio.Event | None:
        """Wait while the API asked us to; then let one request go first to see whether it is over."""
        while True:
            left = self._hold_until - self._monotonic()
            if left > 0:
                if self._monotonic() + left >= deadline:
                    raise errors.RateLimited(method=method, path=route, status=429, retry_after_seconds=left)
                await self.sleep(left)
            elif self._probe is not None:
                await self._probe.wait()
            elif self._hold_until:
                self._hold_until = 0.0
                self._probe = anyio.Event()
                return self._probe
            else:
                return None

    async def _exchange(
        self, method: str, path: str, route: str, token: Token, body: JsonObject | None, *, big: bool
    ) -> tuple[httpx2.Response, bytes]:
        client = self._pool()
        request = client.build_request(
            method,
            self.base_url + path,
            headers=self._headers(token, body),
            content=None if body is None else to_json(body),
        )
        self._only_our_host(request)
        changed = method != "GET"
        try:
            response = await client.send(request, stream=True)
            try:
                return response, await self._body(response, method, route, big=big)
            finally:
                await response.aclose()
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol):
            raise errors.NotReached(method=method, path=route) from None
        except httpx2.DecodingError:
            raise errors.BadAnswer(method=method, path=route, reason="truncated", may_have_happened=changed) from None
        except httpx2.TimeoutException:
            raise errors.NoAnswer(
                method=method, path=route, may_have_happened=changed, after_seconds=self.limits.read_seconds
            ) from None
        except (httpx2.TransportError, OSError):
            raise errors.NoAnswer(method=method, path=route, may_have_happened=changed) from None

    def _headers(self, token: Token, body: JsonObject | None) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {token.reveal()}"}
        if self._org_id:
            headers["x-ttp-org"] = self._org_id
        if body is not None:
            headers["Content-Type"] = "application/json"
        return headers

    def _only_our_host(self, request: httpx2.Request) -> None:
        base = urlsplit(self.base_url)
        if (request.url.scheme, request.url.host, request.url.port) != (base.scheme, base.hostname, base.port):
            raise AssertionError("a request was about to leave for another host")

    def _pool(self) -> httpx2.AsyncClient:
        if self._client is None:
            limits = self.limits
            https = self.base_url.startswith("https:")
            self._client = httpx2.AsyncClient(
                transport=httpx2.ASGITransport(self._app) if self._app else None,
                # Building a TLS context costs 40 ms; plain http is for this machine only and has none.
                verify=https,
                timeout=httpx2.Timeout(
                    limits.read_seconds, connect=limits.connect_seconds, write=limits.write_seconds, pool=None
                ),
                limits=httpx2.Limits(max_connections=limits.connections, max_keepalive_connections=limits.connections),
                follow_redirects=False,
                # A proxy from the environment must not see a token that is meant for this machine.
                trust_env=https,
                headers={
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                    "User-Agent": f"ttp-mcp/{__version__}",
                    "x-ttp-client": "mcp",
                },
            )
        return self._client

    async def _body(self, response: httpx2.Response, method: str, route: str, *, big: bool) -> bytes:
        """The decoded body, bounded: what is larger is not read."""
        most = self.limits.list_bytes if big else self.limits.answer_bytes
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > most:
                raise errors.BadAnswer(
                    method=method,
                    path=route,
                    status=response.status_code,
                    reason="too_large",
                    may_have_happened=method != "GET",
                )
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _read(self, method: str, route: str, response: httpx2.Response, content: bytes) -> Any:
        status = response.status_code
        changed = method != "GET"
        if status >= 300:
            self._raise_for(method, route, response, content)
        if not content.strip() and method == "DELETE":
            return {}
        try:
            reply = from_json(content, allow_inf_nan=False)
        except (ValueError, RecursionError):
            raise errors.BadAnswer(
                method=method,
                path=route,
                status=status,
                reason=_why_unreadable(response, content),
                may_have_happened=changed,
            ) from None
        if an_object(reply).get("success") is False:
            raise errors.Rejected(method=method, path=route, status=status, message=_message(content))
        return reply

    def _raise_for(self, method: str, route: str, response: httpx2.Response, content: bytes) -> NoReturn:
        status = response.status_code
        wait = None
        if status == 429:
            wait = retry.retry_after_seconds(response.headers.get("retry-after"), self.clock.now())
            held = min(1.0 if wait is None else wait, 3600.0)
            self._hold_until = max(self._hold_until, self._monotonic() + held)
        raise _kind(status)(
            method=method,
            path=route,
            status=status,
            message=_message(content),
            request_id=response.headers.get("x-request-id"),
            retry_after_seconds=wait,
            may_have_happened=status >= 500 and method != "GET",
        )


def _kind(status: int) -> type[errors.ApiError]:
    if status >= 500:
        return errors.ServerError
    if status < 400:
        return errors.Redirected
    return {401: errors.NotAuthenticated, 403: errors.Forbidden, 404: errors.NotFound, 429: errors.RateLimited}.get(
        status, errors.ValidationFailed
    )


def _message(content: bytes) -> str | None:
    """The API's own words in an error body; nothing of a body that is not JSON."""
    try:
        body = an_object(from_json(content[:65536]))
    except (ValueError, RecursionError):
        return None
    found = first(body, "message", "error", "detail")
    if isinstance(found, dict):
        found = first(an_object(found), "message", "detail")  # pyright: ignore[reportUnknownArgumentType] # raw JSON
    return text(found)


def _why_unreadable(response: httpx2.Response, content: bytes) -> str:
    start = content.lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html")) or "html" in response.headers.get("content-type", ""):
        return "html"
    if start[:1] in (b"{", b"[") and not content.rstrip().endswith((b"}", b"]")):
        return "truncated"
    return "json"
