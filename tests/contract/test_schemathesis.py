"""Generated requests, valid and invalid, for every operation of the contract, against the sandbox in this process.

300 cases or a few more by default; `TTP_CONTRACT_CASES=2000 pytest tests/contract/test_schemathesis.py -s` runs that many,
and `TTP_CONTRACT_SEED` chooses others.
"""

import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.sandbox.rest.app import ENDPOINTS

pytestmark = pytest.mark.requirement("contract.generated")

CONTRACT = Path(__file__).parents[2] / "contract" / "openapi.yaml"
CASES = int(os.environ.get("TTP_CONTRACT_CASES", "300"))
SEED = int(os.environ.get("TTP_CONTRACT_SEED", "20261124"))
NOW = datetime(2026, 6, 1, 9, tzinfo=UTC)
# 409: publishing a post that is already published.
STATUSES_OF_VALID = ["200", "201", "404", "409"]


def narrow_contract(contract: dict[str, Any], sandbox: Sandbox) -> dict[str, Any]:
    """Add to the contract what JSON Schema can't express: the existing accounts, posts and organizations.

    All targets are accounts on X, so a length is the only platform rule that applies.
    """
    with sandbox.store.reading() as db:
        accounts = [
            row["id"]
            for row in db.execute(
                "SELECT id FROM accounts WHERE organization_id = 'org_harbor_cafe' AND platform = 'twitter'"
            )
        ]
        posts = [row["id"] for row in db.execute("SELECT id FROM posts WHERE organization_id = 'org_harbor_cafe'")]
    contract["servers"] = [{"url": "/api"}]
    components = contract["components"]
    wanted = components["schemas"]["PostCreate"]["properties"]
    wanted["accountIds"]["items"] = {"enum": accounts}
    wanted["platforms"]["items"] = {"enum": ["twitter"]}
    wanted["content"]["maxLength"] = 280
    components["parameters"]["PostId"]["schema"] = {"enum": posts[:30]}
    components["parameters"]["Organization"]["schema"] = {"enum": ["org_harbor_cafe"]}
    return remove_examples(contract)


def remove_examples(node: Any) -> Any:
    """Remove the examples, whose accounts and posts don't exist in this workspace."""
    if isinstance(node, dict):
        return {key: remove_examples(value) for key, value in node.items() if key != "examples"}
    return [remove_examples(entry) for entry in node] if isinstance(node, list) else node


def make_config(sandbox: Sandbox, cases: int) -> SchemathesisConfig:
    """Every check and phase, with a fixed seed; a valid request must be accepted, unless it names a deleted post."""
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "headers": {"Authorization": f"Bearer {sandbox.token}"},
            "generation": {"max-examples": max(1, cases // len(ENDPOINTS)), "database": "none"},
            # Only the contract's own links: an inferred one would put accounts of other platforms into the narrowed body.
            "phases": {"stateful": {"inference": {"algorithms": []}}},
            "checks": {"positive_data_acceptance": {"expected-statuses": STATUSES_OF_VALID}},
            "workers": 1,
            "continue-on-failure": True,
        }
    )


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(clock=ManualClock(NOW)) as opened:
        yield opened


def test_generated_requests_get_responses_of_the_contract(sandbox: Sandbox) -> None:
    """No server error and no failed check, in every phase."""
    future = st.datetimes(min_value=datetime(2026, 6, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))
    schemathesis.openapi.format("date-time", future.map(datetime.isoformat))
    schema = schemathesis.openapi.from_dict(
        narrow_contract(yaml.safe_load(CONTRACT.read_text(encoding="utf-8")), sandbox),
        config=make_config(sandbox, CASES),
    )
    schema.app = sandbox.app
    phases, statuses, failures, errors = Counter[str](), Counter[int](), [], []
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            recorder = event.recorder
            answers = [each.response.status_code for each in recorder.interactions.values() if each.response]
            phases[event.phase.value] += len(answers)
            statuses.update(answers)
            failures += [
                f"{event.phase.value}, {check.name}: {check.failure_info.failure.message}\n{check.failure_info.code_sample}"
                for checks in recorder.checks.values()
                for check in checks
                if check.failure_info
            ]
        elif isinstance(event, events.NonFatalError | events.FatalError):
            errors.append(event)
    print(f"{statuses.total()} requests ({dict(phases)}), answers {dict(sorted(statuses.items()))}")  # noqa: T201 - the figures
    assert errors == []
    assert failures == []
    assert max(statuses) < 500
    assert statuses.total() >= CASES
