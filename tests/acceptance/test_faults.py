"""Row B1: every fault with every client method gives one error class, within the deadline."""

import time

import anyio
import httpx2
import pytest

from tests.support.fault_server import FAULTS, FaultServer, send_bomb
from ttp_mcp.api import (
    ApiError,
    BadAnswer,
    EndpointMissing,
    Forbidden,
    Limits,
    NoAnswer,
    NotAuthenticated,
    NotFound,
    PostCreate,
    RateLimited,
    Redirected,
    Rejected,
    ServerError,
    ValidationFailed,
    responses,
)
from ttp_mcp.api import http as http_module
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import Clocks
from ttp_mcp.api.http import Http
from ttp_mcp.api.retry import classify_failure
from ttp_mcp.credentials import Token

pytestmark = [pytest.mark.acceptance, pytest.mark.requirement("acceptance.b1")]

TOKEN = Token("ttp_" + "0a" * 24)
TOTAL_SECONDS = 0.6
# The refusals and the bomb need their whole body read by a busy machine; what hangs or drips runs into the limits.
SLOW = {"drip"}
METHODS = {
    "posts.list": lambda api: api.posts.list(),
    "posts.get": lambda api: api.posts.get("p1"),
    "posts.create": lambda api: api.posts.create(PostCreate(content="a", platforms=("twitter",))),
    "posts.delete": lambda api: api.posts.delete("p1"),
    "integrations.list": lambda api: api.integrations.list(),
    "media.presign": lambda api: api.media.presign("a.jpg", "image/jpeg", 1),
    "analytics.optimal_times": lambda api: api.analytics.optimal_times(),
    "analytics.optimal_times_by_account": lambda api: api.analytics.optimal_times_by_account(),
    "analytics.next_optimal_time": lambda api: api.analytics.next_optimal_time(),
    "analytics.weekly_schedule": lambda api: api.analytics.weekly_schedule(),
    "analytics.engagement_summary": lambda api: api.analytics.engagement_summary(),
    **(
        OPTIONAL := {
            "posts.publish": lambda api: api.posts.publish("p1"),
            "integrations.boards": lambda api: api.integrations.boards(),
            "integrations.creator_info": lambda api: api.integrations.creator_info("a1"),
            "analytics.post_metrics": lambda api: api.analytics.post_metrics("p1"),
            "auth.me": lambda api: api.auth.me(),
        }
    ),
}
STATUSES = {400: ValidationFailed, 401: NotAuthenticated, 403: Forbidden, 404: NotFound, 500: ServerError}
STATUSES |= dict.fromkeys((409, 413, 422), ValidationFailed) | dict.fromkeys((502, 503, 504), ServerError)
EXPECTED = {
    **dict.fromkeys(
        (
            *(
                "silent",
                "silent-after-head",
                "silent-after-request",
                "stops-in-status",
                "stops-in-headers",
                "stops-in-body",
            ),
            *("reset-before-request", "reset-after-request", "closes-without-answer", "garbage", "huge-header", "drip"),
        ),
        NoAnswer,
    ),
    **dict.fromkeys(
        (
            *("reset-in-body", "short-body", "cut-chunks", "html", "html-404", "empty", "not-json", "cut-json"),
            *("deep-json", "nan", "bad-utf-8", "bad-gzip", "gzip-bomb"),
        ),
        BadAnswer,
    ),
    "success-false": Rejected,
    "too-many": RateLimited,
    **{f"redirect-{status}": Redirected for status in (301, 302, 303, 307, 308)},
    **{f"status-{status}": kind for status, kind in STATUSES.items()},
}
# An endpoint outside the API reference is missing then; of a write, 403 is about the token.
LACKING = {"status-403", "status-404", "html-404"}
# The post is looked for, and isn't there either.
NOT_LACKING = {
    ("status-403", "posts.publish"),
    ("status-404", "posts.publish"),
    ("status-404", "analytics.post_metrics"),
}


def expect_error(name, method):
    """Return the error kind that a method raises for a fault."""
    lacks = method in OPTIONAL and name in LACKING and (name, method) not in NOT_LACKING
    return EndpointMissing if lacks else EXPECTED[name]


async def check_fault(name, fault=None, only=None):
    """Call each method against one fault and compare; returns the number of calls."""
    calls = 0
    for method, call in METHODS.items():
        if only and method != only:
            continue
        total = TOTAL_SECONDS if name in SLOW else 20.0
        async with FaultServer(fault or FAULTS[name]) as server:
            # A busy machine may pause longer than the limit that ends a silence.
            read = 0.05 if EXPECTED[name] is NoAnswer and name not in SLOW else 5.0
            limits = Limits(read_seconds=read, total_seconds=total)
            waits = _InstantWaits()
            api = ApiClient(
                Http(
                    base_url=f"{server.url}/api",
                    token=TOKEN,
                    limits=limits,
                    clocks=Clocks(monotonic=waits.monotonic, sleep=waits.sleep, jitter=lambda: 0.0),
                )
            )
            # The context of the first request is built before the clock of the call runs.
            api._http._open_transport()
            error = None
            with anyio.move_on_after(total + 2) as bound:
                try:
                    await call(api)
                except ApiError as caught:
                    error = caught
            await api.aclose()
            assert not bound.cancelled_caught, f"{name} × {method}: still waiting after the deadline"
            attempts = server.connections
        if name == "empty" and method == "posts.delete":
            assert error is None, "an empty answer to DELETE is an answer"
        else:
            assert type(error) is expect_error(name, method), f"{name} × {method}: {error!r}"
            _check_facts(name, method, error, attempts)
        calls += 1
    return calls


def _check_facts(name, method, error, attempts):
    changes = error.method != "GET"
    ambiguous = classify_failure(error) in ("ambiguous", "bad_answer")
    assert error.may_have_happened == (changes and ambiguous), f"{name} × {method}: {vars(error)}"
    if name == "gzip-bomb":
        assert error.reason == "too_large", f"{name} × {method}: read to its end, {error.reason}"
    if changes and ambiguous:
        assert attempts == 1, f"{name} × {method}: a write that may have arrived was sent {attempts} times"


class _InstantWaits:
    """A clock that advances at once when waited on."""

    def __init__(self):
        self._waited = 0.0

    def monotonic(self):
        return time.monotonic() + self._waited

    async def sleep(self, seconds):
        self._waited += seconds
        await anyio.sleep(0)


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in ("gzip-bomb", "too-many")])
async def test_every_method_maps_a_fault_to_its_error(name):
    calls = await check_fault(name)
    print(f"B1 {name} passed={calls} unclassified=0")  # noqa: T201 - the row prints its counts


async def test_every_method_maps_a_bomb_to_its_error():
    calls = await check_fault("gzip-bomb", send_bomb(16))
    print(f"B1 gzip-bomb passed={calls} unclassified=0")  # noqa: T201 - the row prints its counts


async def test_every_method_maps_a_rate_limit_to_its_error():
    calls = await check_fault("too-many", FAULTS["too-many"])
    print(f"B1 too-many passed={calls} unclassified=0")  # noqa: T201 - the row prints its counts


def test_every_fault_has_an_expected_error():
    assert EXPECTED.keys() == FAULTS.keys()


async def test_b1_fails_without_the_total_deadline(monkeypatch):
    """A dripping response would never end."""
    endless = anyio.CancelScope
    monkeypatch.setattr(http_module.anyio, "CancelScope", lambda deadline=None, **how: endless(**how))
    with pytest.raises(AssertionError, match="still waiting"):
        await check_fault("drip", only="posts.list")


async def test_b1_fails_when_a_sent_write_counts_as_not_sent(monkeypatch):
    """The write would be sent twice."""
    monkeypatch.setattr(responses, "NOT_SENT", (httpx2.TransportError,))
    with pytest.raises(AssertionError, match="NotReached"):
        await check_fault("reset-after-request", only="posts.create")


async def test_b1_fails_when_the_table_allows_retrying_writes(monkeypatch):
    monkeypatch.setitem(http_module.retry.ACTIONS, ("ambiguous", "write"), "retry")
    with pytest.raises(AssertionError, match="was sent 2 times"):
        await check_fault("status-503", only="posts.create")


async def test_b1_fails_without_the_body_limit(monkeypatch):
    """The bomb would be read to its end."""
    whole = http_module.Http._read_body

    async def unbounded(self, response, _):
        return await whole(self, response, 2**40)

    monkeypatch.setattr(http_module.Http, "_read_body", unbounded)
    with pytest.raises(AssertionError, match="read to its end"):
        await check_fault("gzip-bomb", send_bomb(2), only="posts.create")
