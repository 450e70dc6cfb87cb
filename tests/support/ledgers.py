"""What a ledger does that loses entries, in place of one of its methods."""

from ttp_mcp.ledger.store.base import LedgerProblem


async def record_nothing(*_, **__):
    """As if the process ended before the entry was written."""


async def fail_to_record(*_, **__):
    """As on a full disk."""
    raise LedgerProblem("the disk is full.")
