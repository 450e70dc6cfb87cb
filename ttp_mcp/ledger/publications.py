"""Requests to publish a post now: the last one of each post, so that none is sent while another may still arrive."""

from dataclasses import dataclass
from datetime import datetime

from ttp_mcp.ledger.records import KEEP_UNFINISHED, LONGEST_WRITE, Outcome, Write
from ttp_mcp.ledger.store.base import Delete, Put, ScopedStore, parse_time, reject_malformed

_KIND = "publication"


@dataclass(frozen=True, slots=True)
class PriorPublication:
    """The last request to publish a post; `state` is pending, unknown or queued."""

    state: str
    at: datetime
    version: str


@dataclass(frozen=True, slots=True)
class Publications:
    """The requests of one user."""

    store: ScopedStore

    async def find(self, post_id: str) -> PriorPublication | None:
        """Return the last request for a post, or None."""
        entry = await self.store.get_one(_KIND, post_id)
        if entry is None:
            return None
        with reject_malformed():
            return PriorPublication(entry.value["state"], parse_time(entry.value["at"]), entry.version)

    def is_recent(self, prior: PriorPublication) -> bool:
        """Check whether a request may still arrive. After that the status of the post has its effect."""
        return self.store.now() < prior.at + LONGEST_WRITE


def put_publication(write: Write, state: str, expected: str | None = None) -> Put:
    """Make the step that records a request."""
    value = {"state": state, "at": write.at.isoformat()}
    return Put(_KIND, write.post_id or "", value, write.at + KEEP_UNFINISHED, expected)


def settle_publication(write: Write, outcome: Outcome) -> Put | Delete:
    """Make the step that records the outcome of a request; one that had no effect is forgotten."""
    return Delete(_KIND, write.post_id or "") if outcome == "not_done" else put_publication(write, outcome)
