"""`ttp-mcp sandbox endpoints`: turn the endpoints off that are not in the API reference."""

import argparse

from ttp_mcp.cli.sandbox.session import CommandOutput, SandboxSession


def endpoints(args: argparse.Namespace, opened: SandboxSession) -> CommandOutput:
    """Show the endpoints of the vendor's own client, or turn them on or off."""
    from ttp_mcp.sandbox.rest import vendor
    from ttp_mcp.sandbox.rest.app import ENDPOINTS

    if args.state is not None:
        vendor.set_vendor_endpoints(opened.store, on=args.state == "on")
    is_on = vendor.has_vendor_endpoints(opened.store)
    names = [f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS if endpoint.vendor]
    answer = "answer as usual" if is_on else "answer 404"
    words = [f"Endpoints that are not in the API reference {answer}:", *(f"  {name}" for name in names)]
    following = f"Next: `ttp-mcp sandbox endpoints {'off' if is_on else 'on'}` turns them {'off' if is_on else 'on'}."
    return {"on": is_on, "endpoints": names}, [*words, following]
