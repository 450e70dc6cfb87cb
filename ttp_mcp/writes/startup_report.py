"""What earlier processes left half done, said once in the log of the next one."""

import logging
from collections.abc import Awaitable, Callable

import anyio

from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.text import shorten_line
from ttp_mcp.times import to_wire

log = logging.getLogger(__name__)

# First not before the first answers are out. What was open at that moment is certainly over 90 s later, a replacement 270 s
# later (`LONGEST_WRITE`, `LONGEST_REPLACEMENT`).
WAITS_SECONDS = (1.0, 90.0, 180.0)


async def report_unfinished_writes(
    ledger: Ledger, *, whose: str = "", sleep: Callable[[float], Awaitable[None]] = anyio.sleep
) -> None:
    """Log one warning when writes have no outcome, or posts were half replaced; a later look only says what is new.

    `whose` begins the line where several users are served. Never fails: a ledger that can't be read is told by the first write.
    """
    said: set[str] = set()
    for seconds in WAITS_SECONDS:
        await sleep(seconds)
        try:
            found = [line for line in await _leftovers(ledger) if line not in said]
        except LedgerProblem:
            # It may be over by the next look: another program holds the file, or a store is away for a moment.
            continue
        if found:
            log.warning("%s%s: %s. check_setup says more.", whose, _count(len(found)), "; ".join(found[:10]))
        said.update(found)


async def _leftovers(ledger: Ledger) -> list[str]:
    lines = [
        f"a {write.kind} of {to_wire(write.at)} ({shorten_line(write.post_id or write.tool, 60)}) may have happened"
        for write in await ledger.unfinished()
    ]
    for each in await ledger.half_replaced():
        new = f"{shorten_line(each.new_id, 60)} was made for it" if each.new_id else "a replacement may have been made"
        lines.append(f"{shorten_line(each.old_id, 60)} was being replaced at {to_wire(each.at)}, {new}, both may stand")
    return lines


def _count(number: int) -> str:
    return "One thing was left half done" if number == 1 else f"{number} things were left half done"
