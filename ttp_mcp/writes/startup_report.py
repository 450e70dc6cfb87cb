"""Report in the log what earlier processes left unfinished."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

import anyio

from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import Unfinished
from ttp_mcp.ledger.replacements import PendingReplacement
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.text import shorten_line
from ttp_mcp.times import to_wire

log = logging.getLogger(__name__)

# The first report follows the first responses. A write that was open then has certainly ended 90 s later, a replacement 270 s
# later (`LONGEST_WRITE`, `LONGEST_REPLACEMENT`).
WAITS_SECONDS = (1.0, 90.0, 180.0)


async def report_unfinished_writes(
    ledger: Ledger, *, user: str = "", sleep: Callable[[float], Awaitable[None]] = anyio.sleep
) -> None:
    """Log one warning about writes without an outcome and replacements without an end; later checks log only new findings.

    Never fails: the next write reports a ledger that can't be read. Logged lines begin with `user` if there are several users.
    """
    started_at = ledger.now()
    reported: set[str] = set()
    for seconds in WAITS_SECONDS:
        await sleep(seconds)
        try:
            new = [line for line in await _list_unfinished(ledger, started_at) if line not in reported]
        except LedgerProblem:
            # The next check may succeed: another program holds the file, or a store is briefly unavailable.
            continue
        if new:
            count = "One write is unfinished" if len(new) == 1 else f"{len(new)} writes are unfinished"
            log.warning("%s%s: %s. check_setup says more.", user, count, "; ".join(new[:10]))
        reported.update(new)


async def _list_unfinished(ledger: Ledger, started_at: datetime) -> list[str]:
    """Describe what was begun before this process started."""
    writes = [_render_write(write) for write in await ledger.list_unfinished() if write.at < started_at]
    return writes + [_render_replacement(pending) for pending in await ledger.replacements.list_interrupted()]


def _render_write(write: Unfinished) -> str:
    name = f"a {write.kind} of {to_wire(write.at)} ({shorten_line(write.post_id or write.tool, 60)})"
    return f"{name} is still open" if write.is_open else f"{name} may have happened"


def _render_replacement(pending: PendingReplacement) -> str:
    new = (
        f"{shorten_line(pending.new_id, 60)} was created for it"
        if pending.new_id
        else "a replacement may have been created"
    )
    return f"{shorten_line(pending.old_id, 60)} was being replaced at {to_wire(pending.at)}, {new}, both may exist"
