"""The REST API as an application: who is calling, is the request well formed, which handler; and one shape for every refusal."""

import json
from collections.abc import Awaitable, Callable
from email.utils import format_datetime
from typing import Any, cast

import anyio
from pydantic_core import from_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ttp_mcp.sandbox.clock import Clock
from ttp_mcp.sandbox.rest import activity, analytics, integrations, media, organizations, posts, tokens
from ttp_mcp.sandbox.rest.faults import FaultMiddleware
from ttp_mcp.sandbox.rest.request import ApiRequest
from ttp_mcp.sandbox.rest.responses import JsonObject, Problem, refused
from ttp_mcp.sandbox.storage import MediaStorage
from ttp_mcp.sandbox.store import Store

Handler = Callable[[ApiRequest], Response]

BODY_BYTES = 1024 * 1024

# Method, path below /api, handler: the whole API reference.
ENDPOINTS: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/posts", posts.list_posts),
    ("POST", "/posts", posts.create_post),
    ("GET", "/posts/{post_id}", posts.get_post),
    ("DELETE", "/posts/{post_id}", posts.delete_post),
    ("GET", "/integrations", integrations.list_integrations),
    ("GET", "/analytics/optimal-times", analytics.optimal_times),
    ("GET", "/analytics/optimal-times/by-account", analytics.by_account),
    ("GET", "/analytics/next-optimal-time", analytics.next_optimal_time),
    ("GET", "/analytics/weekly-schedule", analytics.weekly_schedule),
    ("GET", "/analytics/engagement-summary", analytics.engagement_summary),
    ("POST", "/media/presign", media.presign),
)


def create_api(
    store: Store, clock: Clock, storage: MediaStorage, more: list[Route], *, faults_by_header: bool = False
) -> ASGIApp:
    """The application: the API below /api, and further routes beside it."""

    def endpoint(handlers: dict[str, Handler]) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            handler = handlers["GET" if request.method == "HEAD" else request.method]
            try:
                body = await _body(request) if request.method == "POST" else {}
            except Problem as problem:
                # Told only to a caller who may know: whoever has no token learns that first.
                body = problem
            except ClientDisconnect:
                body = Problem(400, "The request was broken off.")
            return await anyio.to_thread.run_sync(_answer, store, clock, storage, request, handler, body)

        return serve

    # One route for each path, so that a refused method is told all that are allowed there.
    by_path: dict[str, dict[str, Handler]] = {}
    for method, path, handler in ENDPOINTS:
        by_path.setdefault(path, {})[method] = handler
    routes = [Route(f"/api{path}", endpoint(handlers), methods=list(handlers)) for path, handlers in by_path.items()]
    app = Starlette(
        routes=[*routes, *more],
        exception_handlers={HTTPException: _on_http_exception, Exception: _on_failure},
    )
    # A path with a slash at its end is another path: no redirects.
    app.router.redirect_slashes = False
    return _Dated(FaultMiddleware(app, store, clock, storage, by_header=faults_by_header), clock)


def _answer(
    store: Store, clock: Clock, storage: MediaStorage, request: Request, handler: Handler, body: JsonObject | Problem
) -> Response:
    """Authenticate, choose the organization, handle, remember. Runs in a worker thread, where SQLite may block."""
    caller: tokens.Caller | None = None
    organization: organizations.Organization | None = None
    try:
        caller = _caller(store, clock, request)
        organization = organizations.of_caller(store, caller, request.headers.get("x-ttp-org"))
        if isinstance(body, Problem):
            raise body
        answer = handler(
            ApiRequest(
                store=store,
                clock=clock,
                storage=storage,
                organization=organization,
                path=cast("dict[str, str]", request.path_params),
                query=_query(request),
                body=body,
            )
        )
    except Problem as problem:
        answer = refused(problem.status, problem.message, problem.headers)
    activity.remember(
        store,
        clock,
        organization_id=organization.id if organization else None,
        token_label=caller.label if caller else None,
        method=request.method,
        path=request.url.path,
        answer=answer,
        body={} if isinstance(body, Problem) else body,
    )
    return answer


def _caller(store: Store, clock: Clock, request: Request) -> tokens.Caller:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    caller = tokens.verify(store, clock, token.strip()) if scheme.lower() == "bearer" else None
    if caller is None:
        raise Problem(401, "Missing or invalid API token.", {"WWW-Authenticate": "Bearer"})
    return caller


def _query(request: Request) -> dict[str, str]:
    pairs = request.query_params.multi_items()
    query = dict(pairs)
    if len(query) < len(pairs):
        raise Problem(400, "A query parameter is given twice.")
    return query


async def _body(request: Request) -> JsonObject:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > BODY_BYTES:
            raise Problem(413, f"The body has more than {BODY_BYTES} bytes.")
    if kind != "application/json":
        raise Problem(415, "Content-Type must be application/json.")
    try:
        body: Any = from_json(bytes(content), allow_inf_nan=False)
        # 1e999 is no number that JSON can be written with again.
        json.dumps(body, allow_nan=False)
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise Problem(400, "The body must be a JSON object.")
    return cast("JsonObject", body)


def _on_failure(_: Request, __: Exception) -> Response:
    """The answer to what should not happen: a bug, a full disk. The exception itself goes on to the server's log."""
    # A server drops the connection after an exception: a client that kept it would lose its next request.
    return refused(500, "The sandbox failed; its log says why.", {"Connection": "close"})


def _on_http_exception(_: Request, exception: Exception) -> Response:
    found = cast("HTTPException", exception)
    words = {404: "There is nothing at this path.", 405: "This path does not take this method."}
    return refused(found.status_code, words.get(found.status_code, found.detail), dict(found.headers or {}))


class _Dated:
    """Gives every answer the sandbox's own date, so that a client learns which time it is here."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                now = await anyio.to_thread.run_sync(self._clock.now)
                kept = [pair for pair in message["headers"] if pair[0].lower() != b"date"]
                message = {**message, "headers": [*kept, (b"date", format_datetime(now, usegmt=True).encode())]}
            await send(message)

        await self._app(scope, receive, dated)
