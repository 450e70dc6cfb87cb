"""`ttp-mcp sandbox fault`: schedule faults."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from ttp_mcp.cli.sandbox.session import CommandOutput, Refused, SandboxSession

if TYPE_CHECKING:
    from ttp_mcp.sandbox.rest import faults


def fault(args: argparse.Namespace, opened: SandboxSession) -> CommandOutput:
    """Schedule a fault, list pending ones, or clear them."""
    from ttp_mcp.sandbox.rest import faults

    flags = [f"--{name}" for name in ("times", "seconds", "method", "path") if getattr(args, name) is not None]
    if flags and args.kind in ("list", "clear"):
        raise Refused(f"{', '.join(flags)} needs a kind of fault. Name one, or leave the flag out.")
    if args.kind == "clear":
        count = faults.clear_faults(opened.store)
        return {"cleared": count}, [f"No faults are waiting any more ({count} cleared)."]
    if args.kind != "list":
        times_hit = 1 if args.times is None else args.times
        try:
            ordered = faults.schedule_fault(
                opened.store, args.kind, times=times_hit, seconds=args.seconds, method=args.method, path=args.path
            )
        except faults.FaultProblem as problem:
            raise Refused(str(problem)) from None
        return asdict(ordered), [
            f"{_order(ordered)}: {faults.KINDS[ordered.kind]}.",
            "`ttp-mcp sandbox fault list` shows what waits, `fault clear` calls it off.",
        ]
    found = faults.list_faults(opened.store)
    words = [_order(entry) for entry in found]
    kinds = (
        f"No faults are waiting. Kinds: {', '.join(faults.KINDS)}. Try: ttp-mcp sandbox fault reset-after --path /posts"
    )
    return {"faults": [asdict(entry) for entry in found], "kinds": faults.KINDS}, words or [kinds]


def _order(ordered: "faults.PendingFault") -> str:
    hits = "the next request" if ordered.times == 1 else f"the next {ordered.times} requests"
    method = f" {ordered.method}" if ordered.method else ""
    return (
        f"{ordered.kind} hits {hits}{' with' if method else ''}{method}{f' at {ordered.path}' if ordered.path else ''}"
    )
