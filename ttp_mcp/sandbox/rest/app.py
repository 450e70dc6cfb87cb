"""The REST API as an application: authentication, request parsing, routing, and one shape for every error."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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
from ttp_mcp.sandbox.rest import activity, analytics, auth, integrations, media, organizations, posts, tokens
from ttp_mcp.sandbox.rest.faults import FaultMiddleware
from ttp_mcp.sandbox.rest.request import ApiRequest
from ttp_mcp.sandbox.rest.responses import JsonObject, Problem, respond_error
from ttp_mcp.sandbox.rest.vendor import has_vendor_endpoints
from ttp_mcp.sandbox.storage import MediaStorage
from ttp_mcp.sandbox.store import Store

Handler = Callable[[ApiRequest], Response]

BODY_BYTES = 1024 * 1024

NO_PATH = "There is nothing at this path."


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation: `path` is below /api; `vendor` marks what only the vendor's own client uses."""

    method: str
    path: str
    handler: Handler
    has_body: bool = False
    vendor: bool = False


ENDPOINTS = (
    Endpoint("GET", "/posts", posts.list_posts),
    Endpoint("POST", "/posts", posts.create_post, has_body=True),
    Endpoint("GET", "/posts/{post_id}", posts.get_post),
    Endpoint("DELETE", "/posts/{post_id}", posts.delete_post),
    Endpoint("POST", "/posts/{post_id}/publish", posts.publish_post, vendor=True),
    Endpoint("GET", "/integrations", integrations.list_integrations),
    Endpoint("GET", "/integrations/pinterest/boards", integrations.list_boards, vendor=True),
    Endpoint("GET", "/integrations/tiktok/creator-info", integrations.get_creator_info, vendor=True),
    Endpoint("GET", "/analytics/optimal-times", analytics.get_optimal_times),
    Endpoint("GET", "/analytics/optimal-times/by-account", analytics.get_times_by_account),
    Endpoint("GET", "/analytics/next-optimal-time", analytics.get_next_optimal_time),
    Endpoint("GET", "/analytics/weekly-schedule", analytics.get_weekly_schedule),
    Endpoint("GET", "/analytics/engagement-summary", analytics.get_engagement_summary),
    Endpoint("GET", "/analytics/metrics/{post_id}", analytics.get_post_metrics, vendor=True),
    Endpoint("POST", "/media/presign", media.presign_upload, has_body=True),
    Endpoint("GET", "/auth/me", auth.get_me, vendor=True),
)


def create_api(
    store: Store, clock: Clock, storage: MediaStorage, more: list[Route], *, faults_by_header: bool = False
) -> ASGIApp:
    """Create the application: the API below /api, and further routes beside it."""

    def serve_path(methods: dict[str, Endpoint]) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            endpoint = methods["GET" if request.method == "HEAD" else request.method]
            try:
                body = await _read_body(request) if endpoint.has_body else {}
            except Problem as problem:
                # Raised after authentication: without a token the answer is 401.
                body = problem
            except ClientDisconnect:
                body = Problem(400, "The request was interrupted.")
            return await anyio.to_thread.run_sync(_handle_request, store, clock, storage, request, endpoint, body)

        return serve

    # One route for each path, so that the 405 of a method lists all that are allowed there.
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    routes = [Route(f"/api{path}", serve_path(methods), methods=list(methods)) for path, methods in by_path.items()]
    app = Starlette(
        routes=[*routes, *more],
        exception_handlers={HTTPException: _respond_to_http_exception, Exception: _respond_to_failure},
    )
    # A path with a trailing slash is another path: no redirects.
    app.router.redirect_slashes = False
    return _DateMiddleware(FaultMiddleware(app, store, clock, storage, by_header=faults_by_header), clock)


def _handle_request(
    store: Store, clock: Clock, storage: MediaStorage, request: Request, endpoint: Endpoint, body: JsonObject | Problem
) -> Response:
    """Authenticate, choose the organization, handle and record a request. Runs in a worker thread, where SQLite may block."""
    caller: tokens.Caller | None = None
    organization: organizations.Organization | None = None
    try:
        if endpoint.vendor and not has_vendor_endpoints(store):
            raise Problem(404, NO_PATH)
        caller = _authenticate_request(store, clock, request)
        organization = organizations.find_organization(store, caller, request.headers.get("x-ttp-org"))
        if isinstance(body, Problem):
            raise body
        answer = endpoint.handler(
            ApiRequest(
                store=store,
                clock=clock,
                storage=storage,
                caller=caller,
                organization=organization,
                path=cast("dict[str, str]", request.path_params),
                query=_read_query(request),
                body=body,
            )
        )
    except Problem as problem:
        answer = respond_error(problem.status, problem.message, problem.headers)
    activity.record_request(
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


def _authenticate_request(store: Store, clock: Clock, request: Request) -> tokens.Caller:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    caller = tokens.verify_token(store, clock, token.strip()) if scheme.lower() == "bearer" else None
    if caller is None:
        raise Problem(401, "Missing or invalid API token.", {"WWW-Authenticate": "Bearer"})
    return caller


def _read_query(request: Request) -> dict[str, str]:
    pairs = request.query_params.multi_items()
    query = dict(pairs)
    if len(query) < len(pairs):
        raise Problem(400, "A query parameter is given twice.")
    return query


async def _read_body(request: Request) -> JsonObject:
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
        # 1e999 parses as infinity, which can't be written as JSON.
        json.dumps(body, allow_nan=False)
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise Problem(400, "The body must be a JSON object.")
    return cast("JsonObject", body)


def _respond_to_failure(_: Request, __: Exception) -> Response:
    """Respond to an unexpected exception, which the server logs."""
    # The server drops the connection after an exception; a client that reused it would lose its next request.
    return respond_error(500, "The sandbox failed; its log says why.", {"Connection": "close"})


def _respond_to_http_exception(_: Request, exception: Exception) -> Response:
    found = cast("HTTPException", exception)
    words = {404: NO_PATH, 405: "This path does not take this method."}
    return respond_error(found.status_code, words.get(found.status_code, found.detail), dict(found.headers or {}))


class _DateMiddleware:
    """Adds the sandbox's time to every response as `Date`."""

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
