"""History of the writes through this server, from the ledger, without content."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ttp_mcp.ledger.records import KEEP_WRITES, LONGEST_WRITE, Record
from ttp_mcp.text import count_noun, shorten_line, show_id
from ttp_mcp.times import show_short, to_wire
from ttp_mcp.toolkit.context import ToolContext

LIMIT = 50

_OUTCOMES = {"not_done": "not done", "already_gone": "already gone", "unknown": "unknown"}
# What a user has to look at comes first.
_ORDER = ("unknown", "in progress")


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One write. `outcome` is done, not done, already gone, in progress or unknown."""

    at: str
    action: str
    tool: str
    outcome: str
    accounts: list[str]
    post_id: str | None
    replaces: str | None


@dataclass(frozen=True, slots=True)
class History:
    """Writes whose outcome is unknown, then the others, each latest first; `total` counts those left out too."""

    writes: list[HistoryEntry]
    total: int
    unknown: int


async def read_history(context: ToolContext, since: datetime | None = None, limit: int = LIMIT) -> History:
    """Read the history of the context's user.

    Raises:
        LedgerProblem: The ledger can't be read.
    """
    now = context.ledger.now()
    records = await context.ledger.read_history(since or now - KEEP_WRITES)
    labels = await _label_accounts(context, records)
    # A publish or delete may not know its accounts; the create of the same post does.
    known = {record.post_id: record.targets for record in records if record.targets}
    entries = [
        HistoryEntry(
            at=to_wire(record.at),
            action="change" if record.replaces and record.kind == "create" else record.kind,
            tool=shorten_line(record.tool, 40),
            outcome=_describe_outcome(record, now),
            accounts=[labels[target] for target in record.targets or known.get(record.post_id, ())],
            post_id=record.post_id,
            replaces=record.replaces,
        )
        for record in reversed(records)
    ]
    entries.sort(key=lambda entry: _ORDER.index(entry.outcome) if entry.outcome in _ORDER else len(_ORDER))
    return History(entries[:limit], len(entries), sum(entry.outcome == "unknown" for entry in entries))


def render_history(history: History, context: ToolContext) -> str:
    """Render the history, one line for each write."""
    if not history.writes:
        return "Nothing was created, changed, deleted or published through this server."
    shown = f", {len(history.writes)} of them shown" if len(history.writes) < history.total else ""
    lines = [f"{count_noun(history.total, 'write')}{shown}, latest first; times in {context.zone.key}."]
    if history.unknown:
        lines.append(
            f"{count_noun(history.unknown, 'write')} with an unknown outcome, listed first: they may have happened. "
            "list_posts shows it."
        )
    return "\n".join([*lines, *(_render_entry(entry, context) for entry in history.writes)])


def _render_entry(entry: HistoryEntry, context: ToolContext) -> str:
    when = show_short(datetime.fromisoformat(entry.at), context.zone)
    post = show_id(entry.post_id) if entry.post_id else "id not known"
    subject = "a file" if entry.action == "upload" else f"{post} for {', '.join(entry.accounts) or 'unknown accounts'}"
    replaced = f", in place of {show_id(entry.replaces)}" if entry.replaces else ""
    return f"{entry.outcome:12} {when}  {entry.action} {subject}{replaced} ({entry.tool})"


def _describe_outcome(record: Record, now: datetime) -> str:
    if record.outcome is None:
        return "in progress" if record.at >= now - LONGEST_WRITE else "unknown"
    return _OUTCOMES.get(record.outcome, "done")


async def _label_accounts(context: ToolContext, records: Sequence[Record]) -> dict[str, str]:
    """Return labels of accounts by id; the id itself where the account isn't connected or can't be read."""
    targets = {target for record in records for target in record.targets}
    accounts = await context.accounts.get_for_labels() if targets else None
    return {target: accounts.label_of(target) if accounts else target for target in targets}
