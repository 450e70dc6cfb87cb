"""`ttp-mcp sandbox plan`: show or change the plan's limits."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ttp_mcp.sandbox.rest.organizations import Plan
from ttp_mcp.cli.sandbox.session import CommandOutput, Refused, SandboxSession


def plan(args: argparse.Namespace, opened: SandboxSession) -> CommandOutput:
    """Show the plans, or put an organization on one."""
    from ttp_mcp.sandbox.rest import organizations

    known = organizations.list_organizations(opened.store)
    chosen = next((entry for entry in known if args.org in (None, entry.id)), None)
    if chosen is None:
        raise Refused(
            f"the sandbox has no organization {(args.org or '')[:60]}. It has {', '.join(entry.id for entry in known)}."
        )
    if args.plan is not None:
        organizations.set_plan(opened.store, chosen.id, args.plan)
        limits = _limits(organizations.PLANS[args.plan])
        return {"organization": chosen.id, "plan": args.plan}, [
            f"{chosen.name} ({chosen.id}) is on the {args.plan} plan: {limits}."
        ]
    shown = [chosen] if args.org else known
    facts = {"organizations": [{"id": entry.id, "name": entry.name, "plan": entry.plan.name} for entry in shown]}
    words = [f"{entry.id}  {entry.plan.name}: {_limits(entry.plan)}" for entry in shown]
    return facts, [*words, "Next: `ttp-mcp sandbox plan small` puts the first one on the plan with limits."]


def _limits(plan: "Plan") -> str:
    if plan.posts_per_month is None:
        return "everything, without limits"
    return (
        f"{plan.posts_per_month} posts in 30 days, {plan.scheduled_at_once} scheduled at once, "
        f"{plan.accounts} accounts, no best times"
    )
