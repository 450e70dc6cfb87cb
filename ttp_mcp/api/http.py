"""One request: the token, the limits, the queue, the retries, and every failure turned into an `ApiError`."""

import asyncio
import json
from contextlib import aclosing, suppress
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import anyio
import httpx2
from starlette.types import ASGIApp

from ttp_mcp import __version__
from ttp_mcp.api import errors, network, responses, retry
from ttp_mcp.api.clock import ApiClock, Clocks
from ttp_mcp.api.parsing import JsonObject
from ttp_mcp.api.permissions import Effect, Permissions
from ttp_mcp.api.rate_limit import RateLimitGate, StillLimited
from ttp_mcp.api.responses import RequestInfo
from ttp_mcp.credentials import Token

MIB = 1024 * 1024
# The status of a refusal decides; its message is worth this much and no more.
REFUSAL_BYTES = 64 * 1024
REFUSAL_SECONDS = 2.0


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


@dataclass(frozen=True, slots=True)
class _Call:
    """The parts of a request that are the same for each attempt. `deadline` is on the monotonic clock."""

    info: RequestInfo
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
        """Note that a byte can have been written; called by the connection before each step."""
        if event.endswith("send_request_headers.started"):
            self.sent = True


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
            limits: Bounds of time and size.
            clocks: Sources of time.
        """
        self.base_url = base_url.rstrip("/")
        self.token = token
        self.limits = limits or Limits()
        self.clocks = clocks or Clocks()
        self.clock = ApiClock(self.clocks.now)
        self._home = _origin_of(httpx2.URL(self.base_url))
        self._token_problem = token_problem
        self._org_id = org_id
        self._app = app
        self._permissions = permissions or Permissions()
        self._client: httpx2.AsyncClient | None = None
        self._proxy_variable: str | None = None
        self._budget = retry.RetryBudget()
        self._gate = RateLimitGate(self.clocks, self.limits.connections)

    async def request(
        self, method: str, path: str, route: str, *, need: Effect, body: JsonObject | None = None, big: bool = False
    ) -> Any:
        """Send a request and return its JSON.

        A `GET` is retried where that can help; anything else never, once it may have arrived.

        Args:
            method: HTTP method.
            path: Path and query below the base URL, already encoded.
            route: Template of the path, for errors and logs.
            need: Effect that the caller has to be allowed.
            body: Sent as JSON.
            big: Whether the larger limit on the response applies.

        Raises:
            ApiError: One of its kinds.
        """
        self._permissions.check(method, route, need)
        info, now = RequestInfo(method, route), self.clocks.monotonic()
        call = _Call(
            info=info,
            path=path,
            token=self._require_token(info),
            body=None if body is None else encode_body(body),
            most_bytes=self.limits.list_bytes if big else self.limits.answer_bytes,
            deadline=now + self.limits.total_seconds,
        )
        self._budget.add_call(now)
        attempt = 1
        while True:
            try:
                return await self._attempt(call)
            except errors.ApiError as error:
                await self._wait_before_retry(call, error, attempt)
                attempt += 1

    async def aclose(self) -> None:
        """Close the connections; a later request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _require_token(self, info: RequestInfo) -> Token:
        if self.token is not None:
            return self.token
        if self._token_problem is not None:
            raise errors.TokenMalformed(method=info.method, path=info.route, problem=self._token_problem)
        raise errors.TokenMissing(method=info.method, path=info.route)

    async def _wait_before_retry(self, call: _Call, error: errors.ApiError, attempt: int) -> None:
        """Return when the next attempt may start, or raise the error if there is none."""
        action = retry.choose_action(error, "write" if call.info.has_side_effects else "read", attempt)
        if action == "give_up":
            raise error
        now = self.clocks.monotonic()
        wait = self._gate.seconds_left() if action == "wait" else retry.delay_seconds(attempt, self.clocks.jitter())
        if wait > retry.LONGEST_WAIT_SECONDS or now + wait >= call.deadline:
            raise error
        if action == "retry":
            if not self._budget.take_retry(now):
                raise error
            await self.clocks.sleep(wait)

    async def _attempt(self, call: _Call) -> Any:
        progress = _Progress()
        deadline = asyncio.get_running_loop().time() + max(0.0, self._seconds_left(call))
        # Cheaper than anyio.fail_after. asyncio.timeout is cheaper still, but would cut off the closing of a connection.
        with anyio.CancelScope(deadline=deadline):
            return await self._send_in_turn(call, progress)
        if progress.refusal is not None:
            # The status arrived in time, only its message did not.
            raise progress.refusal
        after = self.limits.total_seconds
        raise responses.connection_error(call.info, TimeoutError(), sent=progress.sent, after_seconds=after)

    def _seconds_left(self, call: _Call) -> float:
        return call.deadline - self.clocks.monotonic()

    async def _send_in_turn(self, call: _Call, progress: _Progress) -> Any:
        try:
            async with self._gate.slot(lambda: min(self._seconds_left(call), retry.LONGEST_WAIT_SECONDS)):
                return await self._exchange(call, progress)
        except StillLimited:
            raise errors.RateLimited(
                method=call.info.method,
                path=call.info.route,
                status=429,
                retry_after_seconds=self._gate.seconds_left(),
            ) from None

    async def _exchange(self, call: _Call, progress: _Progress) -> Any:
        try:
            client = self._open_client()
            response = await client.send(self._build_request(client, call, progress), stream=True)
            try:
                return await self._read(response, call, progress)
            finally:
                await response.aclose()
        except network.UnusableSetting as problem:
            raise errors.NotReached(
                method=call.info.method, path=call.info.route, reason=problem.reason, variable=problem.variable
            ) from None
        except (httpx2.RequestError, OSError) as error:
            after = self.limits.write_seconds if isinstance(error, httpx2.WriteTimeout) else self.limits.read_seconds
            raise responses.connection_error(
                call.info,
                error,
                sent=progress.sent,
                status=progress.status,
                after_seconds=after,
                proxy=self._proxy_variable,
            ) from None

    async def _read(self, response: httpx2.Response, call: _Call, progress: _Progress) -> Any:
        self.clock.learn(response.headers)
        status = response.status_code
        if status >= 300:
            # The status counts, and the gate closes, even if the message never arrives.
            progress.refusal = self._error_from(call.info, response, None)
            if isinstance(progress.refusal, errors.RateLimited):
                self._gate.close(progress.refusal.retry_after_seconds)
            raise self._error_from(call.info, response, await self._read_refusal(response))
        progress.status = status
        content = await self._read_body(response, call.most_bytes)
        if content is None:
            raise responses.too_large_error(call.info, status)
        return responses.parse_response(call.info, status, response.headers.get("content-type", ""), content)

    def _build_request(self, client: httpx2.AsyncClient, call: _Call, progress: _Progress) -> httpx2.Request:
        # A read can always be retried, so only a write needs to know when its first byte leaves.
        progress.sent = not call.info.has_side_effects or self._app is not None
        headers = {} if call.body is None else {"Content-Type": "application/json"}
        if self._org_id:
            headers["x-ttp-org"] = self._org_id
        request = client.build_request(
            call.info.method,
            self.base_url + call.path,
            headers=headers,
            content=call.body,
            extensions={} if progress.sent else {"trace": progress.trace},
        )
        _check_origin(self._home, request.url)
        request.headers["Authorization"] = f"Bearer {call.token.reveal()}"
        return request

    def _open_client(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = self._create_client()
        return self._client

    def _create_client(self) -> httpx2.AsyncClient:
        limits = self.limits
        # Plain http is for this machine only: it needs no TLS context, and a proxy must not see its token.
        plain = self._home[0] == "http"
        proxy, self._proxy_variable = (None, None) if plain else network.find_proxy(self.base_url)
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self._app) if self._app else None,
            verify=False if plain else network.create_tls_context(),
            proxy=None if self._app else proxy,
            timeout=httpx2.Timeout(
                limits.read_seconds, connect=limits.connect_seconds, write=limits.write_seconds, pool=None
            ),
            limits=httpx2.Limits(max_connections=limits.connections, max_keepalive_connections=limits.connections),
            follow_redirects=False,
            trust_env=False,
            # A session of the API's website must not replace the token: no cookie is kept.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": f"ttp-mcp/{__version__}",
                "x-ttp-client": "mcp",
            },
        )

    async def _read_body(self, response: httpx2.Response, most_bytes: int) -> bytes | None:
        """Return the decoded body; None if it is larger, and then the rest isn't read."""
        chunks: list[bytes] = []
        size = 0
        async with aclosing(response.aiter_bytes()) as stream:
            async for chunk in stream:
                size += len(chunk)
                if size > most_bytes:
                    return None
                chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _read_refusal(self, response: httpx2.Response) -> bytes | None:
        """Return the body of a refusal; None if it is slow, large or cut off."""
        content: bytes | None = None
        with anyio.move_on_after(REFUSAL_SECONDS), suppress(httpx2.RequestError, OSError):
            content = await self._read_body(response, REFUSAL_BYTES)
        return content

    def _error_from(self, info: RequestInfo, response: httpx2.Response, content: bytes | None) -> errors.ApiError:
        return responses.error_from_response(info, response.status_code, response.headers, content, self.clock.now())


_Origin = tuple[str, bytes, int | None]


def _check_origin(home: _Origin, url: httpx2.URL) -> None:
    """Check, last before the token is added, that scheme, host and port are those of the base URL."""
    if _origin_of(url) != home:
        raise AssertionError("a request was about to leave for another host")


def _origin_of(url: httpx2.URL) -> _Origin:
    return url.scheme, url.raw_host, url.port or {"https": 443, "http": 80}.get(url.scheme)
