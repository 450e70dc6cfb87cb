"""The page of the sandbox: what is in the workspace, for the person at the machine. It only ever reads.

routes(store, clock, storage, origin)   # beside the API, on its port
"""

import hashlib
import re
from collections.abc import Callable
from datetime import date
from importlib.resources import files
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from ttp_mcp.sandbox.clock import Clock
from ttp_mcp.sandbox.page import calendar, networks, views
from ttp_mcp.sandbox.page.calendar import FIRST_YEAR, LAST_YEAR
from ttp_mcp.sandbox.page.html import Markup, element, user_text
from ttp_mcp.sandbox.page.layout import ICON, bare, framed
from ttp_mcp.sandbox.page.queries import Visit
from ttp_mcp.sandbox.rest import organizations
from ttp_mcp.sandbox.storage import MediaStorage
from ttp_mcp.sandbox.store import Store

# What a page shows and under which name of the navigation; None when there is no such thing.
View = Callable[[Visit, Request], tuple[str, Markup] | None]

LAST_PAGE = 100_000
_YEAR_SECONDS = 365 * 24 * 3600
# Nobody types a token into a post, but an agent once may. Pages are photographed and shared.
_SECRETS = re.compile(r"(ttp_)[0-9a-f]{6,}|(signature=)[^&\s\"'<>]+", re.IGNORECASE)


def routes(store: Store, clock: Clock, storage: MediaStorage, origin: str) -> list[Route]:
    """Routes of the page, to stand after those of the API.

    Args:
        store: The data.
        clock: The sandbox's present.
        storage: Where the pictures are.
        origin: Where the API is reachable; besides loopback names, its host is the only one that is answered.
    """
    host = (urlsplit(origin).hostname or "").lower()
    style = files("ttp_mcp.sandbox.page").joinpath("style.css").read_text(encoding="utf-8")
    page = _Page(store, clock, storage, host, style)

    def first(visit: Visit, _: Request) -> tuple[str, Markup]:
        return views.overview(visit)

    return [
        Route("/", page.serving("Overview", first)),
        Route("/page/style.css", page.asset(style, "text/css")),
        Route("/page/icon.svg", page.asset(ICON, "image/svg+xml")),
        Route("/o/{organization}", page.serving("Overview", first)),
        Route("/o/{organization}/week", page.serving("Week", _week)),
        Route("/o/{organization}/week/{day}", page.serving("Week", _week)),
        Route("/o/{organization}/month", page.serving("Month", _month)),
        Route("/o/{organization}/month/{month}", page.serving("Month", _month)),
        Route("/o/{organization}/day/{day}", page.serving("", _day)),
        Route("/o/{organization}/drafts", page.serving("Drafts", lambda v, r: calendar.drafts(v, _number(r)))),
        Route(
            "/o/{organization}/posts/{post}",
            page.serving("", lambda visit, request: calendar.post(visit, request.path_params["post"])),
        ),
        Route("/o/{organization}/accounts", page.serving("Accounts", lambda visit, _: views.accounts(visit))),
        Route("/o/{organization}/media", page.serving("Media", lambda v, r: views.media(v, _number(r)))),
        Route("/o/{organization}/feeds", page.serving("Feeds", _feed)),
        Route("/o/{organization}/feeds/{account}", page.serving("Feeds", _feed)),
        Route(
            "/o/{organization}/best-times",
            page.serving("Best times", lambda visit, _: networks.best_times(visit)),
        ),
        Route("/o/{organization}/activity", page.serving("Activity", lambda visit, _: views.activity(visit))),
        _Elsewhere("/{path:path}", page.missing),
    ]


class _Elsewhere(Route):
    """All paths but those of the API, which refuses in a shape of its own."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path = str(scope.get("path", ""))
        return (Match.NONE, {}) if path == "/api" or path.startswith("/api/") else super().matches(scope)


class _Page:
    """Answers requests for pages: who may ask, what is shown, and the headers that keep it harmless."""

    def __init__(self, store: Store, clock: Clock, storage: MediaStorage, host: str, style: str) -> None:
        self._store = store
        self._clock = clock
        self._storage = storage
        self._host = host
        self._style = f"/page/style.css?v={hashlib.sha256(style.encode()).hexdigest()[:12]}"

    def serving(self, here: str, view: View) -> Callable[[Request], Response]:
        """An endpoint for a view. Starlette runs it in a thread, where SQLite may block."""

        def serve(request: Request) -> Response:
            return self._refusal(request) or self._show(request, here, view)

        return serve

    def asset(self, content: str, media_type: str) -> Callable[[Request], Response]:
        """An endpoint for a file that never changes under its address."""

        def serve(request: Request) -> Response:
            headers = {"Cache-Control": f"public, max-age={_YEAR_SECONDS}, immutable", **self._headers()}
            return self._refusal(request) or Response(content, media_type=media_type, headers=headers)

        return serve

    def missing(self, request: Request) -> Response:
        """The answer where nothing is."""
        return self._refusal(request) or self._problem(
            404,
            "Nothing is here",
            element(
                "p", "This address shows no page: what it named may have been deleted, or is of another workspace."
            ),
            element("p", element("a", "To the overview", href="/")),
        )

    def _show(self, request: Request, here: str, view: View) -> Response:
        known = organizations.every(self._store)
        wanted = request.path_params.get("organization")
        chosen = next((entry for entry in known if wanted in (None, entry.id)), None)
        if chosen is None:
            return self.missing(request)
        with self._store.reading() as db:
            visit = Visit(db, self._storage, chosen, known, self._clock.now())
            shown = view(visit, request)
        if shown is None:
            return self.missing(request)
        title, content = shown
        return self._html(200, framed(visit, title, content, here=here, style=self._style))

    def _refusal(self, request: Request) -> Response | None:
        """A page needs no token, so a web site that points its own name at this machine must not get to read it."""
        name = _host_name(request.headers.get("host", ""))
        if name == self._host or _is_loopback(name):
            return None
        return self._problem(
            421,
            "Not under this name",
            element(
                "p",
                "The sandbox shows its page as ",
                element("code", "localhost"),
                " or under the address it was started with, not as ",
                user_text(name or "a nameless host", "code"),
                ".",
            ),
        )

    def _problem(self, status: int, title: str, *content: Markup) -> Response:
        return self._html(status, bare(title, *content, style=self._style))

    def _html(self, status: int, page: str) -> Response:
        safe = _SECRETS.sub(r"\1\2…", page)
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


def _week(visit: Visit, request: Request) -> tuple[str, Markup] | None:
    day = _date(request.path_params["day"]) if "day" in request.path_params else calendar.today(visit)
    return calendar.week(visit, day) if day else None


def _day(visit: Visit, request: Request) -> tuple[str, Markup] | None:
    day = _date(request.path_params["day"])
    return calendar.one_day(visit, day, _number(request)) if day else None


def _month(visit: Visit, request: Request) -> tuple[str, Markup] | None:
    now = calendar.today(visit)
    first = _date(f"{request.path_params.get('month', f'{now:%Y-%m}')}-01")
    return calendar.month(visit, first.year, first.month) if first else None


def _feed(visit: Visit, request: Request) -> tuple[str, Markup] | None:
    return networks.feed(visit, request.path_params.get("account"), _number(request))


def _date(text: str) -> date | None:
    try:
        found = date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None
    except ValueError:
        return None
    return found if found and FIRST_YEAR <= found.year <= LAST_YEAR else None


def _number(request: Request) -> int:
    """Which page of a long list; anything that is no number is the first."""
    text = request.query_params.get("page", "1")
    return min(max(int(text), 1), LAST_PAGE) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else 1


def _host_name(host: str) -> str:
    """The name in a Host header, without its port; empty when it is none."""
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
