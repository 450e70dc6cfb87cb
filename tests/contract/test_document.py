"""The contract as a document: valid, complete, and each entry with its source."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from ttp_mcp.sandbox.rest.app import ENDPOINTS

Json = dict[str, Any]
Operations = dict[str, tuple[str, str, Json]]
Resolve = Callable[[Json], Json]
Problems = Callable[[Json, object], list[str]]

SOURCES = {"reference", "vendor", "assumption"}

# Every endpoint of the API reference.
REFERENCE = {
    ("GET", "/posts"),
    ("POST", "/posts"),
    ("GET", "/posts/{postId}"),
    ("DELETE", "/posts/{postId}"),
    ("GET", "/integrations"),
    ("GET", "/analytics/optimal-times"),
    ("GET", "/analytics/optimal-times/by-account"),
    ("GET", "/analytics/next-optimal-time"),
    ("GET", "/analytics/weekly-schedule"),
    ("GET", "/analytics/engagement-summary"),
    ("POST", "/media/presign"),
}
# Endpoints that only the vendor's own client uses.
VENDOR = {
    ("POST", "/posts/{postId}/publish"),
    ("GET", "/integrations/pinterest/boards"),
    ("GET", "/integrations/tiktok/creator-info"),
    ("GET", "/analytics/metrics/{postId}"),
    ("GET", "/auth/me"),
}


def walk_nodes(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every node of the document with its path, except inside examples."""
    yield path, node
    if isinstance(node, dict):
        for key, value in node.items():
            if key != "value":
                yield from walk_nodes(value, f"{path}/{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from walk_nodes(value, f"{path}/{number}")


def list_sourced_nodes(contract: Json) -> Iterator[tuple[str, Json]]:
    """Yield everything that must name its source."""
    for path, node in walk_nodes(contract):
        if not isinstance(node, dict):
            continue
        if "operationId" in node and "responses" in node:
            yield path, node
        if {"name", "in", "schema"} <= set(node):
            yield path, node
        for holder in ("properties", "examples", "headers", "responses", "links"):
            if isinstance(node.get(holder), dict) and not path.endswith(("/properties", "/examples")):
                for key, value in node[holder].items():
                    if not (holder == "responses" and "$ref" in value):
                        yield f"{path}/{holder}/{key}", value


@pytest.mark.requirement("contract.document")
def test_contract_is_valid_openapi(contract: Json) -> None:
    """The document conforms to the schema of OpenAPI 3.1."""
    assert [str(error) for error in OPENAPI_31_VALIDATOR.iter_errors(contract)] == []


@pytest.mark.requirement("contract.document")
def test_every_reference_in_the_contract_has_a_target(contract: Json, resolve_reference: Resolve) -> None:
    """Each `$ref` has a component, and each component a `$ref`, unless it describes something outside of the operations."""
    pointed = {node["$ref"] for _, node in walk_nodes(contract) if isinstance(node, dict) and "$ref" in node}
    for reference in pointed:
        assert resolve_reference({"$ref": reference})
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "parameters", "responses")
        for name in contract["components"][kind]
    }
    outside = {"#/components/responses/PathNotFound", "#/components/responses/MethodNotAllowed"}
    assert there - outside == pointed


@pytest.mark.requirement("contract.document")
def test_requests_are_closed_and_responses_are_open(contract: Json) -> None:
    """Only schemas of requests refuse unknown fields."""
    closed = {
        path
        for path, node in walk_nodes(contract)
        if isinstance(node, dict) and node.get("additionalProperties") is False
    }
    assert closed == {"/components/schemas/PostCreate", "/components/schemas/PresignRequest"}


@pytest.mark.requirement("contract.sources")
def test_every_operation_field_and_example_has_a_source(contract: Json) -> None:
    """Each names its source, one of the known ones."""
    found = dict(list_sourced_nodes(contract))
    assert [path for path, node in found.items() if node.get("x-source") not in SOURCES] == []
    assert len(found) > 150


@pytest.mark.requirement("contract.sources")
def test_documented_fields_of_a_post_are_tagged_reference(contract: Json) -> None:
    """Exactly the seven fields in the reference are tagged so, and required."""
    post = contract["components"]["schemas"]["Post"]
    documented = {name for name, field in post["properties"].items() if field["x-source"] == "reference"}
    assert documented == set(post["required"])
    assert documented == {"id", "content", "platforms", "status", "scheduledAt", "publishedAt", "mediaUrls"}


@pytest.mark.requirement("contract.complete")
@pytest.mark.parametrize(("source", "expected"), [("reference", REFERENCE), ("vendor", VENDOR)])
def test_contract_and_sandbox_have_the_operations_of_their_source(
    operations: Operations, source: str, expected: set[tuple[str, str]]
) -> None:
    """No endpoint is missing or invented."""
    described = {(method, path) for method, path, found in operations.values() if found["x-source"] == source}
    served = {
        (endpoint.method, endpoint.path.replace("{post_id}", "{postId}"))
        for endpoint in ENDPOINTS
        if endpoint.vendor == (source == "vendor")
    }
    assert described == expected
    assert served == expected


@pytest.mark.requirement("contract.document")
def test_every_operation_has_an_example_request_response_and_error(
    operations: Operations, resolve_reference: Resolve
) -> None:
    """Each example conforms to the schema beside it."""
    for name, (method, _, operation) in operations.items():
        answers = {status: find_content(resolve_reference(answer)) for status, answer in operation["responses"].items()}
        assert all(answer["examples"] for answer in answers.values()), name
        assert {"200", "201"} & set(answers), name
        assert {"400", "401", "403"} <= set(answers), name
        assert ("requestBody" in operation) == (method == "POST" and name != "publishPost"), name


@pytest.mark.requirement("contract.document")
def test_examples_conform_to_the_schemas_beside_them(contract: Json, list_violations: Problems) -> None:
    """Requests, responses and errors."""
    checked = 0
    for path, node in walk_nodes(contract):
        if isinstance(node, dict) and "schema" in node and "examples" in node:
            for name, example in node["examples"].items():
                assert list_violations(node["schema"], example["value"]) == [], f"{path}: {name}"
                checked += 1
    assert checked > 30


@pytest.mark.requirement("contract.document")
def test_every_error_has_the_documented_shape(
    contract: Json, operations: Operations, resolve_reference: Resolve
) -> None:
    """Every 4xx is `success: false` with a message."""
    for name, (_, _, operation) in operations.items():
        for status, answer in operation["responses"].items():
            is_error = find_content(resolve_reference(answer))["schema"] == {"$ref": "#/components/schemas/Error"}
            assert is_error == (status >= "400"), f"{name} {status}"
    for name, answer in contract["components"]["responses"].items():
        assert find_content(answer)["schema"] == {"$ref": "#/components/schemas/Error"}, name


def find_content(holder: Json) -> Json:
    """Return the JSON content of a request or a response."""
    return holder["content"]["application/json"]


@pytest.mark.requirement("contract.document")
def test_schemas_refuse_invalid_values(list_violations: Problems) -> None:
    """The check behind these tests finds violations."""
    post = {"$ref": "#/components/schemas/PostCreate"}
    assert list_violations(post, {"content": "Hello", "accountIds": ["acc_1"]}) == []
    for broken in (
        {"content": "Hello"},
        {"content": "Hello", "accountIds": ["acc_1"], "platforms": ["twitter"]},
        {"content": " ", "accountIds": ["acc_1"]},
        {"content": "Hello", "accountIds": []},
        {"content": "Hello", "accountIds": ["acc_1"], "thread": ["x"] * 25},
        {"content": "Hello", "accountIds": ["acc_1"], "thread": ["x" * 281]},
        {"content": "Hello", "accountIds": ["acc_1"], "scheduledAt": "tomorrow"},
        {"content": "Hello", "accountIds": ["acc_1"], "mediaUrls": ["http://example.com/a.jpg"]},
        {"content": "Hello", "accountIds": ["acc_1"], "draft": True},
    ):
        assert list_violations(post, broken) != [], broken
