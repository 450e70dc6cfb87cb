"""Plans, and the result of each of their steps."""

from dataclasses import dataclass
from datetime import datetime

from ttp_mcp.ledger.records import KEEP_PLANS
from ttp_mcp.ledger.store.base import (
    MAX_ATTEMPTS,
    CommitResult,
    Contention,
    JsonObject,
    Put,
    ScopedStore,
    reject_malformed,
)


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """A plan, and the result of each of its steps by the step's name."""

    id: str
    document: JsonObject
    at: datetime
    steps: dict[str, JsonObject]


@dataclass(frozen=True, slots=True)
class Plans:
    """The plans of one user."""

    store: ScopedStore

    async def save(self, plan_id: str, document: JsonObject) -> None:
        """Save a plan. One that exists already keeps its document and steps."""
        await self._put(plan_id, {"document": document, "steps": {}}, expected="")

    async def load(self, plan_id: str) -> PlanRecord | None:
        """Return a plan, or None."""
        entry = await self.store.get_one("plan", plan_id)
        with reject_malformed():
            return PlanRecord(plan_id, entry.value["document"], entry.at, dict(entry.value["steps"])) if entry else None

    async def note_step(self, plan_id: str, step: str, note: JsonObject | None) -> None:
        """Record the result of a step; None forgets it. Without effect if the plan doesn't exist."""
        for _ in range(MAX_ATTEMPTS):
            entry = await self.store.get_one("plan", plan_id)
            if entry is None:
                return
            with reject_malformed():
                steps = dict[str, JsonObject](entry.value["steps"])
            if note is None:
                steps.pop(step, None)
            else:
                steps[step] = note
            if await self._put(plan_id, {**entry.value, "steps": steps}, entry.version) == "done":
                return
        raise Contention

    async def _put(self, plan_id: str, value: JsonObject, expected: str) -> CommitResult:
        return await self.store.commit([Put("plan", plan_id, value, self.store.now() + KEEP_PLANS, expected)])
