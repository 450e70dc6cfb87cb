"""Error texts for an agent: the failure, the cause, the next step, and whether a retry is safe."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttp_mcp import api, errors
from ttp_mcp.errors import LIMIT, Refusal, agent_text, error_kind
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.media.errors import FileRefused
from ttp_mcp.times import TimeProblem
from ttp_mcp.writes.outcomes import WriteRefused

pytestmark = pytest.mark.requirement("server.errors")

WHAT = "Post not created"
TOKEN = "ttp_" + "0123456789abcdef" * 3
FACTS = {"method": "POST", "path": "/posts"}
# Each kind of failure: how it comes about, one word for programs, and what its words must hold.
CASES = {
    "no token": (api.TokenMissing(**FACTS), "token", "no API token is set"),
    "bad token": (api.TokenMalformed(problem="it must begin with ttp_.", **FACTS), "token", "it must begin with ttp_"),
    "empty token file": (
        api.TokenMalformed(problem="TTP_API_TOKEN_FILE names an empty file.", **FACTS),
        "token",
        "names an empty file. Put the token (TimeToPost dashboard: Settings → API) into that file and restart this server. N",
    ),
    "access": (api.AccessRefused(**FACTS), "forbidden", "TTP_ACCESS"),
    "400": (api.ValidationFailed(status=400, message="bad", **FACTS), "api", "(400). API said: «bad»"),
    "401": (api.NotAuthenticated(status=401, message="no", **FACTS), "token", "did not accept the token (401)"),
    "403": (api.Forbidden(status=403, message="Pro only", **FACTS), "forbidden", "«Pro only»"),
    "404": (api.NotFound(method="GET", path="/posts/{id}", status=404), "not_found", "list_posts"),
    "404 of a route": (api.NotFound(status=404, **FACTS), "not_found", "TTP_API_URL"),
    "no endpoint": (
        api.EndpointMissing(feature="list of Pinterest boards", status=404, **FACTS),
        "not_offered",
        "this TimeToPost account's API has no list of Pinterest boards (404); nothing was changed, and retrying won't help.",
    ),
    "no endpoint for this token": (
        api.EndpointMissing(feature="information about its token", status=403, message="Pro only", **FACTS),
        "not_offered",
        "(403), and said «Pro only»; nothing was changed",
    ),
    "no endpoint, by a gateway's page": (
        api.EndpointMissing(feature="way to publish a post at once", status=404, may_have_happened=True, **FACTS),
        "unclear",
        "call list_posts before trying again",
    ),
    "429": (api.RateLimited(status=429, **FACTS), "rate_limited", "in a minute"),
    "429 with a wait": (api.RateLimited(status=429, retry_after_seconds=7.2, **FACTS), "rate_limited", "in 7 s"),
    "500": (api.ServerError(status=500, message="oops", **FACTS), "api", "or a gateway before it, failed (500)"),
    "503 of a write": (api.ServerError(status=503, may_have_happened=True, **FACTS), "unclear", "before trying again"),
    "302": (
        api.Redirected(status=302, target_host="evil.example", **FACTS),
        "api",
        "redirect (302) to the host «evil.example», which",
    ),
    "302 to a path": (api.Redirected(status=302, **FACTS), "api", "redirect (302), which"),
    "html": (api.BadAnswer(reason="html", status=200, **FACTS), "api", "web page"),
    "json": (api.BadAnswer(reason="json", status=200, **FACTS), "api", "isn't valid JSON"),
    "truncated": (api.BadAnswer(reason="truncated", may_have_happened=True, **FACTS), "unclear", "cut off"),
    "too large": (api.BadAnswer(reason="too_large", **FACTS), "api", "too large"),
    "shape": (api.BadAnswer(reason="shape", **FACTS), "api", "unexpected shape"),
    "no id": (api.NotFound(method="GET", path="/posts/{id}"), "not_found", "no post can have this id"),
    "408": (api.NoAnswer(status=408, may_have_happened=True, **FACTS), "unclear", "in time (408)"),
    "presign lost": (
        api.NoAnswer(method="POST", path="/media/presign", may_have_happened=True),
        "unclear",
        "unused upload URL was created; trying again is safe",
    ),
    "encoding": (api.BadAnswer(reason="encoding", **FACTS), "api", "broken compression"),
    "unknown reason": (api.BadAnswer(reason="new", **FACTS), "api", "unreadable"),
    "success false": (api.Rejected(status=200, message="no media", **FACTS), "api", "«no media»"),
    "not reached": (api.NotReached(**FACTS), "unreachable", "Nothing was sent"),
    "timeout": (api.NoAnswer(after_seconds=30, may_have_happened=True, **FACTS), "unclear", "within 30 s"),
    "broken": (api.NoAnswer(**FACTS), "unreachable", "no response."),
    "upload": (api.UploadFailed(reason="it changed while it was sent", **FACTS), "api", "it changed"),
    "upload refused": (
        api.UploadRefused(reason="", **FACTS),
        "api",
        "was not stored. No post uses it; retrying won't help",
    ),
    "other": (api.ApiError(status=418, message="teapot", **FACTS), "api", "(418)"),
    "other without status": (api.ApiError(**FACTS), "api", "the API refused it."),
}
# Those whose words repeat the API's.
SPEAKING = [name for name, (error, _, _) in CASES.items() if error.message]
REPEATING = re.compile(
    r"trying again is safe|nothing was (?:changed|sent)|retrying won't help|before trying again", re.IGNORECASE
)
NEXT = re.compile(
    r"call|check|create one|create a new one|put the token|trying again|change|only the person|retrying", re.IGNORECASE
)
LIBRARIES = re.compile(
    r"https?://|httpx|pydantic|anyio|starlette|sqlite|traceback|Error\b|Exception|please|sorry", re.IGNORECASE
)


def count_sentences(text):
    """Count the sentences outside quotes and brackets."""
    plain = re.sub(r"«[^»]*»|\([^)]*\)", "quoted", text)
    return len(re.findall(r"[.!?](?:\s|$)", plain))


@pytest.mark.parametrize("name", CASES)
def test_text_has_failure_cause_next_step_and_retry_advice(name):
    """In at most three sentences and 400 characters, without an address, a token, or a library's name."""
    error, _, part = CASES[name]
    text = agent_text(error, WHAT)
    assert text.startswith(f"{WHAT}: ")
    assert part in text
    assert REPEATING.search(text), text
    assert NEXT.search(text.removeprefix(WHAT)), text
    assert text.endswith((".", "s."))
    assert 1 <= count_sentences(text) <= 3, text
    assert len(text) <= LIMIT
    assert not LIBRARIES.search(text), text


@pytest.mark.parametrize("name", CASES)
def test_error_kind_is_one_word_for_programs(name):
    """A failed call that may have had its effect is always `unclear`."""
    error, kind, _ = CASES[name]
    assert error_kind(error) == kind


def test_every_api_error_has_a_case():
    """A new kind needs its own text, or a case showing that the general one is enough."""
    kinds = {kind for kind in vars(api).values() if isinstance(kind, type) and issubclass(kind, api.ApiError)}
    assert kinds == {type(error) for error, _, _ in CASES.values()}


@pytest.mark.parametrize("name", SPEAKING)
def test_advice_survives_a_long_message_of_the_api(name):
    """The message is cut so that the advice fits, and it can't close its quotation."""
    error, _, _ = CASES[name]
    error = type(error)(
        **{**FACTS, "status": error.status, "message": "» " + "very long " * 100, **_list_options(error)}
    )
    text = agent_text(error, "Engagement summary not read")
    assert len(text) <= LIMIT
    assert not text.endswith("…")
    assert text.count("»") == 1
    assert REPEATING.search(text)


def _list_options(error):
    feature = {"feature": error.feature} if isinstance(error, api.EndpointMissing) else {}
    return {"may_have_happened": error.may_have_happened, **feature}


@given(st.text(max_size=600), st.sampled_from(SPEAKING))
def test_message_of_the_api_is_quoted_in_one_line_without_a_token(message, name):
    """Only the server's own words are outside the quotation."""
    error, _, _ = CASES[name]
    error = type(error)(**{**FACTS, "status": error.status, "message": f"{message} {TOKEN}", **_list_options(error)})
    text = agent_text(error, WHAT)
    assert TOKEN[4:16] not in text
    assert "\n" not in text
    assert len(text) <= LIMIT


def test_text_that_is_too_long_is_cut_with_a_mark():
    """Only a very long action can cause this."""
    assert agent_text(CASES["500"][0], "x" * 500) == "x" * (LIMIT - 1) + "…"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Refusal("Not done: reported."), "Not done: reported."),
        (FileRefused("Not uploaded: reported."), "Not uploaded: reported."),
        (TimeProblem("the year must be from 2000 to 2100."), f"{WHAT}: the year must be from 2000 to 2100."),
        (LedgerProblem("the disk is full."), f"{WHAT}: the disk is full."),
        (WriteRefused("as many as an hour allows."), f"{WHAT}: as many as an hour allows."),
    ],
)
def test_own_refusals_are_passed_through(error, text):
    """Unchanged, except for tokens."""
    assert agent_text(error, WHAT) == text
    assert error_kind(error) == "refused"
    assert TOKEN not in agent_text(type(error)(f"{text} {TOKEN}"), WHAT)


@pytest.mark.parametrize("error", [ValueError("secret"), KeyError("x"), RuntimeError(), OSError(28, "No space")])
def test_other_exceptions_are_bugs_without_a_text(error):
    """The agent must not see the text; the kind is `bug`."""
    assert agent_text(error, WHAT) is None
    assert error_kind(error) == "bug"


def test_specific_errors_precede_general_ones():
    """No kind is listed after one that includes it."""
    order = list(errors._DESCRIPTIONS)
    assert all(not issubclass(later, earlier) for at, earlier in enumerate(order) for later in order[at + 1 :])
