"""Endpoints outside the API reference: a missing one is requested only once."""

import json

import pytest

from ttp_mcp.api import EndpointMissing, Forbidden, NotFound
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.http import Http
from ttp_mcp.credentials import Token
from ttp_mcp.sandbox import Sandbox
from ttp_mcp.sandbox.rest.vendor import set_vendor_endpoints

pytestmark = pytest.mark.requirement("api.optional")

TOKEN = Token("ttp_" + "0a" * 24)
CALLS = {
    "publish": lambda api: api.posts.publish("p1"),
    "boards": lambda api: api.integrations.boards(),
    "creator_info": lambda api: api.integrations.creator_info("a1"),
    "post_metrics": lambda api: api.analytics.post_metrics("p1"),
    "me": lambda api: api.auth.me(),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


class Answers:
    """An API with a fixed response for each path, which counts its requests."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def client(self):
        """Create a client of an API."""
        return ApiClient(Http(base_url="http://api.localhost/api", token=TOKEN, app=self))

    async def __call__(self, scope, receive, send):
        line = f"{scope['method']} {scope['path'].removeprefix('/api')}"
        self.asked.append(line)
        status, body = self.answers.get(line) or self.answers["*"]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = b"text/html" if isinstance(body, bytes) else b"application/json"
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": content})


async def expect_failure(call, api):
    """Return the error of a call that must fail."""
    with pytest.raises((EndpointMissing, NotFound, Forbidden)) as caught:
        await call(api)
    return caught.value


@each_call
async def test_missing_endpoint_is_requested_once(call):
    with Sandbox() as sandbox:
        api = ApiClient(Http(base_url=sandbox.api_url, token=Token(sandbox.token), app=sandbox.app))
        set_vendor_endpoints(sandbox.store, on=False)
        assert type(await expect_failure(call, api)) is EndpointMissing
        set_vendor_endpoints(sandbox.store, on=True)
        assert type(await expect_failure(call, api)) is EndpointMissing
        await api.aclose()


@each_call
@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, "Route GET:/integrations/pinterest/boards not found"),
        (404, "Cannot POST /api/posts/p1/publish"),
        (404, "No such endpoint: /posts, /tiktok"),
        (405, "Method not allowed for this post"),
    ],
)
async def test_404_about_the_path_means_a_missing_endpoint(call, status, message):
    """Even if the path contains the name of a resource."""
    answers = Answers({"*": (status, {"success": False, "message": message})})
    api = answers.client()
    errors = [await expect_failure(call, api), await expect_failure(call, api)]
    assert [(type(error), error.status) for error in errors] == [(EndpointMissing, status)] * 2
    assert len(answers.asked) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("publish", "Post not found."),
        ("post_metrics", "No post with this id"),
        ("boards", "Pinterest is not connected."),
        ("creator_info", "No connected TikTok account has this id."),
    ],
)
async def test_404_about_a_resource_means_a_missing_resource(call, message):
    """It may exist by the next call."""
    answers = Answers({"*": (404, {"success": False, "message": message})})
    api = answers.client()
    errors = [await expect_failure(CALLS[call], api), await expect_failure(CALLS[call], api)]
    assert [(type(error), error.message) for error in errors] == [(NotFound, message)] * 2
    assert len(answers.asked) == 2


@pytest.mark.parametrize("call", ["publish", "post_metrics"])
async def test_ambiguous_404_is_settled_by_reading_the_post(call):
    """If the post exists, the endpoint is missing."""
    unknown = (404, {"success": False, "message": "Not found"})
    assert type(await expect_failure(CALLS[call], Answers({"*": unknown}).client())) is NotFound
    there = {"*": unknown, "GET /posts/p1": (200, {"post": {"id": "p1"}})}
    assert type(await expect_failure(CALLS[call], Answers(there).client())) is EndpointMissing


@each_call
async def test_forbidden_read_means_a_missing_endpoint(call):
    """For a write, 403 is about the token or the plan, and is reported each time."""
    answers = Answers({"*": (403, {"success": False, "message": "Not part of your plan"})})
    api = answers.client()
    errors = [await expect_failure(call, api), await expect_failure(call, api)]
    is_write = call is CALLS["publish"]
    assert {type(error) for error in errors} == {Forbidden if is_write else EndpointMissing}
    assert {error.message for error in errors} == {"Not part of your plan"}
    assert len(answers.asked) == (2 if is_write else 1)


@each_call
async def test_gateway_page_is_not_remembered(call):
    """It is temporary, and a write may still have arrived."""
    answers = Answers({"*": (404, b"<!doctype html><p>Cannot GET")})
    api = answers.client()
    errors = [await expect_failure(call, api), await expect_failure(call, api)]
    is_write = call is CALLS["publish"]
    assert {(type(error), error.may_have_happened) for error in errors} == {(EndpointMissing, is_write)}
    assert len(answers.asked) == (2 if is_write else 4)


async def test_missing_endpoint_does_not_affect_others_of_its_group():
    """Each endpoint is remembered separately, in each client."""
    missing = (404, {"success": False, "message": "There is nothing at this path."})
    answers = Answers({"*": missing, "GET /integrations/pinterest/boards": (200, {"boards": []})})
    api = answers.client()
    assert type(await expect_failure(CALLS["creator_info"], api)) is EndpointMissing
    assert await api.integrations.boards() == []
    assert type(await expect_failure(CALLS["creator_info"], answers.client())) is EndpointMissing
    assert len(answers.asked) == 3
