"""Classification of failures and the choice of an action: pure functions, with a test for each cell."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttp_mcp.api import errors, retry
from ttp_mcp.api.http import parse_response
from ttp_mcp.api.network import find_reason
from ttp_mcp.api.parsing import parse_json
from ttp_mcp.api.rate_limit import MOST_CALLS, RetryBudget
from ttp_mcp.api.responses import RequestInfo, bad_answer, connection_error, error_from_response
from ttp_mcp.api.retry import ACTIONS, choose_action, classify_failure, delay_seconds, parse_retry_after

pytestmark = pytest.mark.requirement("api.classification")

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
GET, POST, DELETE = RequestInfo("GET", "/posts"), RequestInfo("POST", "/posts"), RequestInfo("DELETE", "/posts/{id}")
FACTS = {"method": "GET", "path": "/posts"}


@pytest.mark.parametrize("failure", ["not_sent", "ambiguous", "rate_limited", "bad_answer", "permanent"])
@pytest.mark.parametrize("kind", ["read", "write"])
def test_each_class_and_kind_has_one_action(failure, kind):
    """Repeat the table independently."""
    expected = {
        "not_sent": {"read": "retry", "write": "retry"},
        "ambiguous": {"read": "retry", "write": "give_up"},
        "rate_limited": {"read": "wait", "write": "wait"},
        "bad_answer": {"read": "retry", "write": "give_up"},
        "permanent": {"read": "give_up", "write": "give_up"},
    }
    assert ACTIONS[failure, kind] == expected[failure][kind]


@pytest.mark.parametrize(
    ("error", "failure", "read_attempts", "write_attempts"),
    [
        (errors.NotReached(**FACTS), "not_sent", 3, 2),
        (errors.NoAnswer(**FACTS), "ambiguous", 3, 1),
        (errors.ServerError(**FACTS), "ambiguous", 3, 1),
        (errors.RateLimited(**FACTS), "rate_limited", 3, 2),
        (errors.BadAnswer(reason="html", **FACTS), "bad_answer", 2, 1),
        (errors.BadAnswer(reason="too_large", **FACTS), "bad_answer", 1, 1),
        (errors.ValidationFailed(**FACTS), "permanent", 1, 1),
        (errors.NotAuthenticated(**FACTS), "permanent", 1, 1),
        (errors.Forbidden(**FACTS), "permanent", 1, 1),
        (errors.NotFound(**FACTS), "permanent", 1, 1),
        (errors.Redirected(**FACTS), "permanent", 1, 1),
        (errors.Rejected(**FACTS), "permanent", 1, 1),
        (errors.TokenMissing(**FACTS), "permanent", 1, 1),
        (errors.AccessRefused(**FACTS), "permanent", 1, 1),
        (errors.NotReached(reason="tls", **FACTS), "permanent", 1, 1),
        (errors.EndpointMissing(feature="x", **FACTS), "permanent", 1, 1),
        (errors.EndpointMissing(feature="x", may_have_happened=True, **FACTS), "bad_answer", 3, 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, errors.ApiError) else None,
)
def test_each_error_has_a_class_and_a_number_of_attempts(error, failure, read_attempts, write_attempts):
    """Attempts are counted from 1; the last allowed one gives up."""
    assert classify_failure(error) == failure
    for kind, attempts in (("read", read_attempts), ("write", write_attempts)):
        assert [choose_action(error, kind, attempt) == "give_up" for attempt in (1, 2, 3)] == [
            attempt >= attempts for attempt in (1, 2, 3)
        ]


@pytest.mark.parametrize("asked", [GET, POST, DELETE], ids=lambda asked: asked.method)
@pytest.mark.parametrize(
    ("raised", "kind", "reason"),
    [
        (httpx2.ConnectError(""), errors.NotReached, None),
        (httpx2.ConnectTimeout(""), errors.NotReached, None),
        (httpx2.PoolTimeout(""), errors.NotReached, None),
        (httpx2.ProxyError(""), errors.NotReached, None),
        (httpx2.UnsupportedProtocol(""), errors.NotReached, None),
        (httpx2.WriteError(""), errors.NoAnswer, None),
        (httpx2.WriteTimeout(""), errors.NoAnswer, None),
        (httpx2.ReadTimeout(""), errors.NoAnswer, None),
        (httpx2.ReadError(""), errors.NoAnswer, None),
        (httpx2.RemoteProtocolError(""), errors.NoAnswer, None),
        (httpx2.LocalProtocolError(""), errors.NoAnswer, None),
        (httpx2.DecodingError(""), errors.BadAnswer, "encoding"),
        (TimeoutError(), errors.NoAnswer, None),
        (OSError(), errors.NoAnswer, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_each_connection_failure_has_its_error(asked, raised, kind, reason):
    """A write may have happened once a byte can have been sent; a read never has an effect."""
    error = connection_error(asked, raised, sent=True, after_seconds=15.0)
    assert type(error) is kind
    assert (error.method, error.path) == (asked.method, asked.route)
    assert (error.reason if kind is errors.BadAnswer else None) == reason
    assert error.may_have_happened == (kind is not errors.NotReached and asked is not GET)
    unsent = connection_error(asked, raised, sent=False, proxy="HTTPS_PROXY")
    assert type(unsent) is errors.NotReached
    assert (unsent.method, unsent.path, unsent.variable) == (asked.method, asked.route, "HTTPS_PROXY")
    assert unsent.reason == find_reason(raised)


def test_success_with_a_broken_off_body_is_a_bad_answer():
    """The API did respond, so this is neither a timeout nor an unreachable host."""
    error = connection_error(POST, httpx2.RemoteProtocolError(""), sent=True, status=201)
    assert (type(error), error.status, error.may_have_happened) == (errors.BadAnswer, 201, True)
    assert error.reason == "truncated"
    packed = connection_error(POST, httpx2.DecodingError(""), sent=True, status=201)
    assert (type(packed), packed.reason, packed.status) == (errors.BadAnswer, "encoding", 201)
    stalled = connection_error(POST, httpx2.ReadTimeout(""), sent=True, status=201, after_seconds=15.0)
    assert isinstance(stalled, errors.NoAnswer)
    assert stalled.after_seconds == 15.0


@pytest.mark.requirement("api.refusals")
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, errors.Redirected) for status in (300, 301, 302, 303, 304, 307, 308)),
        *((status, errors.ValidationFailed) for status in (400, 402, 405, 409, 410, 413, 415, 422, 499)),
        (401, errors.NotAuthenticated),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (408, errors.NoAnswer),
        (429, errors.RateLimited),
        *((status, errors.ServerError) for status in (500, 501, 502, 503, 504, 599)),
    ],
)
def test_each_status_has_its_error(status, kind):
    """A 5xx or 408 leaves open whether a write happened; no other status does."""
    for asked in (GET, POST, DELETE):
        error = error_from_response(asked, status, {"x-request-id": "r-1"}, b'{"success":false,"message":"No."}', NOW)
        assert type(error) is kind
        assert (error.status, error.request_id, error.path) == (status, "r-1", asked.route)
        assert error.message == (None if status < 400 else "No.")
        assert error.may_have_happened == ((status == 408 or status >= 500) and asked is not GET)


@pytest.mark.requirement("api.refusals")
@pytest.mark.parametrize(
    ("content", "content_type", "reason"),
    [
        (b"<!doctype html><title>Not found</title>", "text/html", "html"),
        (b"404 page not found", "text/plain", "json"),
        (b"", "", "json"),
        (b"[]", "application/json", "shape"),
        (b'{"success": false, "mess', "application/json", "truncated"),
        (None, "text/html", "truncated"),
        (None, "application/json; charset=utf-8", None),
        (b"{}", "application/json", None),
        (b"\xef\xbb\xbf{}", "", None),
    ],
)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.ValidationFailed),
        (401, errors.NotAuthenticated),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (407, errors.ValidationFailed),
        (451, errors.ValidationFailed),
    ],
)
def test_refusal_that_is_not_the_apis_json_is_a_bad_answer(content, content_type, reason, status, kind):
    """A proxy or gateway says nothing about plan, token or arguments, and leaves open whether a write happened."""
    for info in (GET, POST, DELETE):
        error = error_from_response(info, status, {"content-type": content_type}, content, NOW)
        assert type(error) is (errors.BadAnswer if reason else kind)
        assert (error.status, getattr(error, "reason", None)) == (status, reason)
        assert error.may_have_happened == (reason is not None and info is not GET)


@pytest.mark.requirement("api.refusals")
@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("https://evil.example/path?token=ttp_secret", "evil.example"),
        ("//user:password@evil.example:8443/", "evil.example"),
        ("/elsewhere", None),
        ("http://[broken", None),
        ("https://ev\u0456l.example/", None),
        (None, None),
    ],
)
def test_redirect_names_only_the_host(location, host):
    """Path, query and user can hold anything, so they are not kept."""
    error = error_from_response(GET, 302, {} if location is None else {"location": location}, b"", NOW)
    assert isinstance(error, errors.Redirected)
    assert error.target_host == host


@pytest.mark.requirement("api.refusals")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"message": "a"}', "a"),
        (b'{"error": "b"}', "b"),
        (b'{"error": {"message": "c"}}', "c"),
        (b'{"detail": "d"}', "d"),
        (b'{"details": "d"}', "d"),
        (b'{"message": 7}', "7"),
        (b'{"message": ["e"]}', "e"),
        (
            b'{"detail": [{"loc": ["body", "content"], "msg": "is required", "type": "missing"}]}',
            "body.content: is required",
        ),
        (b'{"message": "Invalid.", "errors": ["a", "b"]}', "Invalid.: a; b"),
        (
            b'{"errors": [{"field": "thread", "message": "too long"}, {"message": "no media"}]}',
            "thread: too long; no media",
        ),
        (b'{"errors": {"content": ["is too long", "is odd"], "code": 7}}', "content: is too long; is odd"),
        (b'{"error": {"details": [{"reason": "No."}]}}', "details: No."),
        (b'{"error": {"code": "E_PLAN"}}', "code: E_PLAN"),
        (b'{"message": "No.", "detail": "No."}', "No."),
        (b'{"detail": [1, null, "x", [], {}]}', "1; x"),
        (b'\xef\xbb\xbf{"message": "marked"}', "marked"),
        (b'{"detail": ' + b"[" * 150 + b"]" * 150 + b"}", None),
        (b"[1]", None),
        (b"<html>f</html>", None),
        (b"", None),
        (b"[" * 100_000, None),
    ],
)
def test_message_is_the_apis_own_or_none(content, message):
    """HTML is never repeated."""
    assert error_from_response(GET, 400, {}, content, NOW).message == message


@pytest.mark.requirement("api.refusals")
def test_malformed_request_id_is_dropped():
    """It may be logged, so it must be short and on one line."""
    for header in ("a b", "a\nb", "x" * 129, ""):
        assert error_from_response(GET, 400, {"x-request-id": header}, b"", NOW).request_id is None


@pytest.mark.requirement("api.answers")
@pytest.mark.parametrize(
    ("content", "content_type", "reason"),
    [
        (b"<!DOCTYPE html><p>", "text/html", "html"),
        (b"<!DOCTYPE html><p>", "", "html"),
        (b'[{"a": 1', "application/json", "truncated"),
        (b'[{"a": NaN}] \n', "application/json", "json"),
        (b"  <html>", "", "html"),
        (b"Sign in", "text/html; charset=utf-8", "html"),
        (b"", "application/json", "json"),
        (b"success", "application/json", "json"),
        (b'{"posts": [', "application/json", "truncated"),
        (b'{"a": NaN}', "application/json", "json"),
        (b"1" * 5000, "application/json", "json"),
        (b"[" * 300 + b"]" * 300, "application/json", "json"),
        (b'"\xff"', "application/json", "json"),
    ],
)
def test_unreadable_response_has_a_reason(content, content_type, reason):
    """A write may still have happened."""
    for asked in (GET, POST):
        with pytest.raises(errors.BadAnswer) as caught:
            parse_response(asked, 200, content_type, content)
        assert (caught.value.reason, caught.value.may_have_happened) == (reason, asked is POST)
        assert (caught.value.method, caught.value.path, caught.value.status) == (asked.method, asked.route, 200)


@pytest.mark.requirement("api.answers")
def test_response_is_parsed_or_rejected():
    """An empty response to a delete is valid; `success: false` isn't."""
    assert parse_response(DELETE, 204, "", b" ") == {}
    assert parse_response(GET, 200, "", b'{"success": true, "posts": []}') == {"success": True, "posts": []}
    assert parse_response(GET, 200, "", b"[1]") == [1]
    assert parse_response(GET, 200, "", b"\xef\xbb\xbf[1]") == [1]
    assert parse_response(DELETE, 200, "", b'{"success": true}') == {"success": True}
    with pytest.raises(errors.Rejected):
        parse_response(DELETE, 200, "", b'{"success": false, "message": "No."}')
    with pytest.raises(errors.BadAnswer):
        parse_response(DELETE, 200, "", b"<html>")
    with pytest.raises(errors.Rejected) as caught:
        parse_response(POST, 200, "", b'{"success": false, "message": "No."}')
    assert (caught.value.message, caught.value.status, caught.value.may_have_happened) == ("No.", 200, False)
    assert (caught.value.method, caught.value.path) == ("POST", "/posts")
    for asked in (GET, POST):
        error = bad_answer(asked, 201, "too_large")
        assert (error.reason, error.status, error.may_have_happened) == ("too_large", 201, asked is POST)
        assert (error.method, error.path) == (asked.method, asked.route)


@pytest.mark.requirement("api.answers")
def test_lone_surrogate_does_not_make_a_list_unreadable():
    """A text truncated within an emoji ends in one. Pairs and escaped backslashes are unchanged."""
    assert parse_json(rb'["a\ud83d", "\ud83d\ude80", "\\ud83d", "\ude80b"]') == [
        "a\ufffd",
        "\U0001f680",
        "\\ud83d",
        "\ufffdb",
    ]
    with pytest.raises(ValueError, match="expected"):
        parse_json(rb'["\ud83d", NaN]')


@pytest.mark.requirement("api.hold")
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("1000000000000", 1e9),
        ("-1", None),
        ("1e9", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("1, 2", None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=900), usegmt=True), 0.0),
        ("Tue, 24 Nov 2026 12:00:10 -0000", 10.0),
        ("Tue, 24 Nov 2026 14:00:10 +0200", 10.0),
        ("Tue, 99 Nov 2026 12:00:00 GMT", None),
        ("Tue, 24 Nov 2026 12:00:00 +9999999999", None),
        ("Tue, 24 Nov 99999999999999999999 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_none(header, seconds):
    """Invalid values are ignored; a past date means now."""
    assert parse_retry_after(header, NOW) == seconds
    headers = {} if header is None else {"retry-after": header}
    assert error_from_response(GET, 429, headers, b"{}", NOW).retry_after_seconds == seconds


@pytest.mark.requirement("api.hold")
@given(st.text(max_size=60) | st.from_regex(r"\w{3}, \d{1,3} \w{3} \d{1,6} [\d:]{1,9} [+-]?\w{0,12}", fullmatch=True))
def test_retry_after_never_fails_and_is_never_negative(header):
    """Accept any header that a server may send."""
    found = parse_retry_after(header, NOW)
    assert found is None or 0 <= found < float("inf")


@pytest.mark.requirement("api.repeats")
@given(st.integers(1, 50), st.floats(0, 1))
def test_delay_is_a_random_part_of_a_doubling_limit(attempt, jitter):
    """0.25 s doubled for each attempt, at most 4 s."""
    assert delay_seconds(attempt, jitter) == jitter * min(4.0, 0.25 * 2**attempt)
    assert delay_seconds(attempt, 0) == 0


@pytest.mark.requirement("api.repeats")
@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=300))
def test_budget_allows_a_tenth_of_the_calls_of_a_minute_and_three(steps):
    """Compare with a plain count over the whole history."""
    budget, at = RetryBudget(), 0.0
    calls: list[float] = []
    repeats: list[float] = []
    for wait, is_call in steps:
        at += wait
        if is_call:
            budget.calls.append(at)
            calls.append(at)
            continue
        recent = sum(call > at - 60 for call in calls)
        allowed = sum(repeat > at - 60 for repeat in repeats) < max(3, recent // 10)
        assert budget.take_retry(at) == allowed
        if allowed:
            repeats.append(at)


@pytest.mark.requirement("api.repeats")
def test_budget_counts_the_calls_and_retries_of_the_last_minute():
    budget = RetryBudget()
    for _ in range(50):
        budget.calls.append(0.0)
    assert [budget.take_retry(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert budget.take_retry(59.9) is False
    # Without calls three are left.
    assert [budget.take_retry(60.0) for _ in range(4)] == [True] * 3 + [False]
    assert [budget.take_retry(119.9), budget.take_retry(120.0)] == [False, True]


@pytest.mark.requirement("api.repeats")
def test_budget_keeps_a_thousand_calls_and_no_more():
    """A thousand calls allow a hundred retries a minute."""
    budget = RetryBudget()
    for at in range(MOST_CALLS + 1):
        budget.calls.append(at / 100)
    assert (MOST_CALLS, len(budget.calls), budget.calls[0]) == (1000, 1000, 0.01)
    assert [budget.take_retry(10.0) for _ in range(101)] == [True] * 100 + [False]


def test_limits_match_the_documentation():
    assert (retry.READ_ATTEMPTS, retry.WRITE_ATTEMPTS, retry.LONGEST_WAIT_SECONDS) == (3, 2, 30.0)
