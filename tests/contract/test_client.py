"""The API client against the contract: the responses it reads and the requests it sends."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ttp_mcp.api import (
    ApiError,
    EndpointMissing,
    Forbidden,
    NotAuthenticated,
    NotFound,
    PostCreate,
    ValidationFailed,
)
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.http import Http
from ttp_mcp.credentials import Token

pytestmark = pytest.mark.requirement("contract.client")

Json = dict[str, Any]
Operations = dict[str, tuple[str, str, Json]]
Resolve = Callable[[Json], Json]
Problems = Callable[[Json, object], list[str]]

POST_ID = "cmb8x2k4p0001q8f3a7d9e2h5"
FULL = PostCreate(
    content="Launch day! 🚀",
    account_ids=("acc_1",),
    media_urls=("https://media.timetopost.co/uploads/launch.jpg",),
    thread=("The second part", "The third part"),
    scheduled_at=datetime(2026, 7, 1, 15, tzinfo=UTC),
    platform_data={"tiktok": {"privacy": "SELF_ONLY", "allowComments": True}},
)

# How the client calls each operation.
CALLS: dict[str, Callable[[ApiClient], Awaitable[Any]]] = {
    "listPosts": lambda api: api.posts.list(),
    "createPost": lambda api: api.posts.create(FULL),
    "getPost": lambda api: api.posts.get(POST_ID),
    "deletePost": lambda api: api.posts.delete(POST_ID),
    "listIntegrations": lambda api: api.integrations.list(),
    "optimalTimes": lambda api: api.analytics.optimal_times("instagram"),
    "optimalTimesByAccount": lambda api: api.analytics.optimal_times_by_account(),
    "nextOptimalTime": lambda api: api.analytics.next_optimal_time(),
    "weeklySchedule": lambda api: api.analytics.weekly_schedule(),
    "engagementSummary": lambda api: api.analytics.engagement_summary(),
    "publishPost": lambda api: api.posts.publish(POST_ID),
    "listPinterestBoards": lambda api: api.integrations.boards(),
    "getTiktokCreatorInfo": lambda api: api.integrations.creator_info("acc_1"),
    "getPostMetrics": lambda api: api.analytics.post_metrics(POST_ID),
    "getMe": lambda api: api.auth.me(),
    "presignMedia": lambda api: api.media.presign("launch.jpg", "image/jpeg", 482133),
}
KINDS: dict[str, type[ApiError]] = {
    "400": ValidationFailed,
    "401": NotAuthenticated,
    "403": Forbidden,
    "404": NotFound,
    "409": ValidationFailed,
    "413": ValidationFailed,
    "415": ValidationFailed,
}
# If the API refuses a read of one of these, this token has no such endpoint.
OPTIONAL_READS = ("listPinterestBoards", "getTiktokCreatorInfo", "getPostMetrics", "getMe")
QUERIES = {"optimalTimes": "platform=instagram", "getTiktokCreatorInfo": "accountId=acc_1"}


@dataclass
class Answering:
    """An API that always gives the same response and records its requests."""

    status: int
    body: Json
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def client(self) -> ApiClient:
        """Create a client of an API."""
        app = Starlette(routes=[Route("/{path:path}", self._serve, methods=["GET", "POST", "DELETE"])])
        return ApiClient(
            Http(base_url="http://api.localhost/api", token=Token("ttp_" + "0a" * 24), app=app, org_id="org_1")
        )

    async def _serve(self, request: Request) -> Response:
        self.asked.append((request.method, str(request.url), dict(request.headers), await request.body()))
        return JSONResponse(self.body, self.status)


def list_examples(operation: Json, resolve_reference: Resolve, *, good: bool) -> list[tuple[str, Json]]:
    """Return status and body of each example response."""
    return [
        (status, example["value"])
        for status, answer in operation["responses"].items()
        if (status < "400") is good
        for example in resolve_reference(answer)["content"]["application/json"]["examples"].values()
    ]


@pytest.mark.parametrize("name", CALLS)
async def test_client_reads_every_example_response(
    name: str, operations: Operations, resolve_reference: Resolve
) -> None:
    _, _, operation = operations[name]
    for status, body in list_examples(operation, resolve_reference, good=True):
        api = Answering(int(status), body).client()
        await CALLS[name](api)
        await api.aclose()


@pytest.mark.parametrize("name", CALLS)
async def test_client_turns_every_example_error_into_its_kind(
    name: str, operations: Operations, resolve_reference: Resolve
) -> None:
    """The kind follows from the status, and the message is complete."""
    _, _, operation = operations[name]
    for status, body in list_examples(operation, resolve_reference, good=False):
        api = Answering(int(status), body).client()
        with pytest.raises(ApiError) as raised:
            await CALLS[name](api)
        lacking = status == "403" and name in OPTIONAL_READS
        assert type(raised.value) is (EndpointMissing if lacking else KINDS[status])
        assert raised.value.status == int(status)
        assert raised.value.message == body["message"]
        await api.aclose()


@pytest.mark.parametrize("name", CALLS)
async def test_client_sends_only_requests_that_the_contract_allows(
    name: str, operations: Operations, resolve_reference: Resolve, list_violations: Problems
) -> None:
    """Method, path, query, headers and body conform to the operation."""
    method, path, operation = operations[name]
    status, body = list_examples(operation, resolve_reference, good=True)[0]
    answering = Answering(int(status), body)
    api = answering.client()
    await CALLS[name](api)
    await api.aclose()
    [(sent_method, url, headers, sent)] = answering.asked
    target, _, query = url.removeprefix("http://api.localhost/api").partition("?")
    assert (sent_method, target) == (method, path.replace("{postId}", POST_ID))
    assert query == QUERIES.get(name, "")
    assert headers["authorization"] == "Bearer ttp_" + "0a" * 24
    assert headers["x-ttp-org"] == "org_1"
    if "requestBody" in operation:
        assert headers["content-type"] == "application/json"
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert list_violations(schema, json.loads(sent)) == []
    else:
        assert sent == b""


def test_client_has_a_call_for_every_operation(operations: Operations) -> None:
    assert set(CALLS) == set(operations)


async def test_client_keeps_the_values_of_the_documented_examples(
    operations: Operations, resolve_reference: Resolve
) -> None:
    listed = Answering(200, list_examples(operations["listPosts"][2], resolve_reference, good=True)[0][1])
    api = listed.client()
    [post] = await api.posts.list()
    assert (post.id, post.content, post.platforms, post.status) == (POST_ID, "Launch day! 🚀", ["twitter"], "scheduled")
    assert post.scheduled_at == datetime(2026, 7, 1, 15, tzinfo=UTC)
    assert post.published_at is None
    assert post.media_urls == ["https://media.timetopost.co/uploads/launch.jpg"]
    await api.aclose()
    times = Answering(200, list_examples(operations["optimalTimes"][2], resolve_reference, good=True)[0][1])
    api = times.client()
    found = await api.analytics.optimal_times()
    assert found.best_hours == [(18, 0.92), (9, 0.81)]
    assert found.best_days == [("Tuesday", 0.88)]
    assert (found.data_points, found.message) == (64, "Based on 64 posts.")
    await api.aclose()
