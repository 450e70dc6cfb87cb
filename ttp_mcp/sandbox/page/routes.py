"""The page of the sandbox: the workspace in a browser, read-only.

create_routes(store, clock, storage, origin, pages)   # beside the API, on its port
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import date
from importlib.resources import files
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from ttp_mcp.sandbox.clock import Clock
from ttp_mcp.sandbox.page import calendar, networks, views
from ttp_mcp.sandbox.page.calendar import FIRST_YEAR, LAST_YEAR
from ttp_mcp.sandbox.page.queries import Visit
from ttp_mcp.sandbox.page.rendering import Page, render_notice, render_page
from ttp_mcp.sandbox.rest import organizations
from ttp_mcp.sandbox.storage import MediaStorage
from ttp_mcp.sandbox.store import Store

# None if there is nothing at the address.
View = Callable[[Visit, Request], Page | None]

LAST_PAGE = 100_000
_YEAR_SECONDS = 365 * 24 * 3600
# An agent may write a token into a post, and screenshots of pages are shared.
_SECRETS = re.compile(r"(ttp_)[0-9a-f]{6,}|(signature=)[^&\s\"'<>]+", re.IGNORECASE)


class StaticPage(Protocol):
    """A page that others bring, with its own policy."""

    @property
    def content(self) -> str:
        """Text of the file."""
        ...

    @property
    def media_type(self) -> str:
        """Type of the file."""
        ...

    @property
    def policy(self) -> str:
        """Its content security policy."""
        ...


def create_routes(
    store: Store, clock: Clock, storage: MediaStorage, origin: str, pages: Mapping[str, StaticPage]
) -> list[Route]:
    """Return the routes of the page, which follow those of the API.

    Args:
        store: The data.
        clock: The sandbox's clock.
        storage: Where the pictures are.
        origin: Origin of the API; its host is the only one that is answered besides loopback names.
        pages: Further pages by their paths.
    """
    host = (urlsplit(origin).hostname or "").lower()
    style, icon = (
        files("ttp_mcp.sandbox.page").joinpath(name).read_text("utf-8") for name in ("style.css", "icon.svg")
    )
    page = _PageServer(store, clock, storage, host, style)

    def show_overview(visit: Visit, _: Request) -> Page:
        return views.show_overview(visit)

    return [
        Route("/", page.serve("Overview", show_overview)),
        Route("/page/style.css", page.serve_asset(style, "text/css")),
        Route("/page/icon.svg", page.serve_asset(icon, "image/svg+xml")),
        Route("/o/{organization}", page.serve("Overview", show_overview)),
        Route("/o/{organization}/week", page.serve("Week", _show_week)),
        Route("/o/{organization}/week/{day}", page.serve("Week", _show_week)),
        Route("/o/{organization}/month", page.serve("Month", _show_month)),
        Route("/o/{organization}/month/{month}", page.serve("Month", _show_month)),
        Route("/o/{organization}/day/{day}", page.serve("", _show_day)),
        Route(
            "/o/{organization}/drafts", page.serve("Drafts", lambda v, r: calendar.show_drafts(v, _get_page_number(r)))
        ),
        Route(
            "/o/{organization}/posts/{post}",
            page.serve("", lambda visit, request: calendar.show_post(visit, request.path_params["post"])),
        ),
        Route("/o/{organization}/accounts", page.serve("Accounts", lambda visit, _: views.show_accounts(visit))),
        # The page that answers name for reconnecting an account, as on the real site.
        Route("/dashboard/settings", page.serve("Accounts", lambda visit, _: views.show_accounts(visit))),
        Route("/o/{organization}/media", page.serve("Media", lambda v, r: views.show_media(v, _get_page_number(r)))),
        Route("/o/{organization}/feeds", page.serve("Feeds", _show_feed)),
        Route("/o/{organization}/feeds/{account}", page.serve("Feeds", _show_feed)),
        Route(
            "/o/{organization}/best-times",
            page.serve("Best times", lambda visit, _: networks.show_best_times(visit)),
        ),
        Route("/o/{organization}/activity", page.serve("Activity", lambda visit, _: views.show_activity(visit))),
        *(Route(path, page.serve_static(each)) for path, each in pages.items()),
        _OtherPaths("/{path:path}", page.serve_missing),
    ]


class _OtherPaths(Route):
    """All paths but those of the API, whose errors have their own shape."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path = str(scope.get("path", ""))
        return (Match.NONE, {}) if path == "/api" or path.startswith("/api/") else super().matches(scope)


class _PageServer:
    """Serves pages: checks the host, renders, and adds the headers that restrict the browser."""

    def __init__(self, store: Store, clock: Clock, storage: MediaStorage, host: str, style: str) -> None:
        self._store = store
        self._clock = clock
        self._storage = storage
        self._host = host
        self._style = f"/page/style.css?v={hashlib.sha256(style.encode()).hexdigest()[:12]}"

    def serve(self, section: str, view: View) -> Callable[[Request], Response]:
        """Return an endpoint for a view. Starlette runs it in a thread, where SQLite may block."""

        def serve(request: Request) -> Response:
            return self._check_host(request) or self._show(request, section, view)

        return serve

    def serve_asset(self, content: str, media_type: str) -> Callable[[Request], Response]:
        """Return an endpoint for a file that never changes under its address."""

        def serve(request: Request) -> Response:
            headers = {"Cache-Control": f"public, max-age={_YEAR_SECONDS}, immutable", **self._headers()}
            return self._check_host(request) or Response(content, media_type=media_type, headers=headers)

        return serve

    def serve_static(self, page: StaticPage) -> Callable[[Request], Response]:
        """Return an endpoint for a page that others bring."""

        def serve(request: Request) -> Response:
            headers = {"Cache-Control": "no-store", **self._headers(), "Content-Security-Policy": page.policy}
            return self._check_host(request) or Response(page.content, media_type=page.media_type, headers=headers)

        return serve

    def serve_missing(self, request: Request) -> Response:
        """Respond that the page does not exist."""
        missing = Page("not_found.html", "Nothing is here")
        return self._check_host(request) or self._respond(404, render_notice(missing, style=self._style))

    def _show(self, request: Request, section: str, view: View) -> Response:
        known = organizations.list_organizations(self._store)
        wanted = request.path_params.get("organization")
        chosen = next((entry for entry in known if wanted in (None, entry.id)), None)
        if chosen is None:
            return self.serve_missing(request)
        with self._store.reading() as db:
            visit = Visit(db, self._storage, chosen, known, self._clock.now())
            page = view(visit, request)
        if page is None:
            return self.serve_missing(request)
        return self._respond(200, render_page(page, visit, section=section, style=self._style))

    def _check_host(self, request: Request) -> Response | None:
        """Refuse other host names: the page needs no token, so DNS rebinding must not reach it."""
        host = _get_host_name(request.headers.get("host", ""))
        if host == self._host or _is_loopback(host):
            return None
        page = Page("wrong_host.html", "Not under this name", {"host": host})
        return self._respond(421, render_notice(page, style=self._style))

    def _respond(self, status: int, html: str) -> Response:
        safe = _SECRETS.sub(r"\1\2…", html)
        return HTMLResponse(safe, status, {"Cache-Control": "no-store", **self._headers()})

    def _headers(self) -> dict[str, str]:
        origin = self._storage.origin
        policy = (
            f"default-src 'none'; img-src 'self' {origin}; media-src {origin}; style-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        }


def _show_week(visit: Visit, request: Request) -> Page | None:
    day = _parse_date(request.path_params["day"]) if "day" in request.path_params else calendar.get_today(visit)
    return calendar.show_week(visit, day) if day else None


def _show_day(visit: Visit, request: Request) -> Page | None:
    day = _parse_date(request.path_params["day"])
    return calendar.show_day(visit, day, _get_page_number(request)) if day else None


def _show_month(visit: Visit, request: Request) -> Page | None:
    now = calendar.get_today(visit)
    first = _parse_date(f"{request.path_params.get('month', f'{now:%Y-%m}')}-01")
    return calendar.show_month(visit, first.year, first.month) if first else None


def _show_feed(visit: Visit, request: Request) -> Page | None:
    return networks.show_feed(visit, request.path_params.get("account"), _get_page_number(request))


def _parse_date(text: str) -> date | None:
    try:
        found = date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None
    except ValueError:
        return None
    return found if found and FIRST_YEAR <= found.year <= LAST_YEAR else None


def _get_page_number(request: Request) -> int:
    """Return the page of a long list; anything but a number is the first."""
    text = request.query_params.get("page", "1")
    return min(max(int(text), 1), LAST_PAGE) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else 1


def _get_host_name(host: str) -> str:
    """Return the name in a Host header without its port, or an empty text."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
