"""`ttp-mcp sandbox token`: create, list and revoke tokens."""

import argparse

from ttp_mcp.cli.sandbox.session import CommandOutput, Refused, SandboxSession


def token_create(args: argparse.Namespace, opened: SandboxSession) -> CommandOutput:
    """Create a token and show it, this once."""
    from ttp_mcp.sandbox.rest import tokens

    try:
        token = tokens.create_token(
            opened.store, opened.clock, label=args.label, expires_days=args.expires_days, capability=args.can
        )
    except ValueError as problem:
        raise Refused(str(problem)) from None
    caller = tokens.verify_token(opened.store, opened.clock, token)
    made = next(entry for entry in tokens.list_tokens(opened.store) if caller and entry["id"] == caller.token_id)
    words = (
        token,
        f"This is the only time it is shown. Its id is {made['id']}; it {_expiry(made['expires_at'])}.",
        "Next: set it as TTP_API_TOKEN, with TTP_API_URL as `ttp-mcp sandbox` prints it.",
    )
    return {"token": token, **made}, words


def token_list(_: argparse.Namespace, opened: SandboxSession) -> CommandOutput:
    """List the tokens without their secrets."""
    from ttp_mcp.sandbox.rest import tokens

    found = tokens.list_tokens(opened.store)
    words = [
        f"{entry['id']}  {_expiry(entry['expires_at']) if not entry['revoked_at'] else 'is revoked'}  {entry['label']}"
        for entry in found
    ]
    return {"tokens": found}, words or ["No tokens exist. Make one with `ttp-mcp sandbox token create`."]


def token_revoke(args: argparse.Namespace, opened: SandboxSession) -> CommandOutput:
    """Revoke a token permanently."""
    from ttp_mcp.sandbox.rest import tokens

    if not tokens.revoke_token(opened.store, opened.clock, args.id):
        raise Refused(f"token {args.id[:60]} doesn't exist. `ttp-mcp sandbox token list` shows their ids.")
    return {"id": args.id, "revoked": True}, [f"{args.id} is revoked: requests with it get 401 from now on."]


def _expiry(expires_at: str | None) -> str:
    return f"expires at {expires_at}" if expires_at else "never expires"
