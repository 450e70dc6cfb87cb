"""`ttp-mcp login` and `logout`: keep the API token for every later start, or remove it."""

import argparse
import getpass
import json
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import anyio

from ttp_mcp import config
from ttp_mcp.cli import token_traces
from ttp_mcp.cli.arguments import Subparsers, add_profile, read_environment
from ttp_mcp.cli.call import EXIT_CODES, FAILED, MISUSED
from ttp_mcp.config.login import Login, LoginProblem, remove_login, save_login
from ttp_mcp.config.readers import find_other_readers, how_to_make_private
from ttp_mcp.config.system_keyring import name_keyring
from ttp_mcp.config.token_source import decode_pasted
from ttp_mcp.credentials import Token, TokenProblem, parse_token

_PROMPT = "API token (dashboard: Settings → API; it isn't shown): "
_KEYCHAIN_NOTE = (
    "macOS asks once whether Python may use the entry, when a client first starts the server: choose Always Allow. After an "
    "update of Python it asks again."
)
# A pasted token with whatever was copied around it.
_INPUT_BYTES = 10_000


class LoginRefused(Exception):
    """Nothing was saved or removed. `str()` is the cause and the next step; `code` the exit code."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        """Keep both."""
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class LoginReport:
    """Outcome of a login, as `--json` prints it."""

    outcome: str
    profile: str
    api_url: str
    organization: str | None
    accounts: list[str]
    saved_in: str
    fingerprint: str
    notes: list[str]


def add_parsers(subparsers: Subparsers) -> None:
    """Add `login` and `logout` to the command line."""
    login = subparsers.add_parser(
        "login",
        help="save your API token for every later start",
        description="Ask for the API token without showing it (or read it from standard input), check it with one request, and "
        "save it: in the system's keyring, with the extra `keyring`, else in a file that only you can read.",
    )
    login.add_argument("--org", metavar="ID", help="organization to act in, if you belong to several (TTP_ORG_ID)")
    logout = subparsers.add_parser(
        "logout", help="remove the saved API token", description="Remove what `ttp-mcp login` saved."
    )
    for parser, run in ((login, run_login), (logout, run_logout)):
        add_profile(parser)
        parser.add_argument("--json", action="store_true", help="print one line of JSON")
        parser.set_defaults(run=run)


def run_login(args: argparse.Namespace) -> int:
    """Ask, check and save. 0: saved; otherwise the exit code of the failure as in `call`, and nothing is changed."""
    try:
        report = _login(args, read_environment(args))
    except (LoginRefused, LoginProblem, config.SettingProblem) as problem:
        return _report_refusal(args, problem, "Not logged in")
    print(json.dumps(asdict(report)) if args.json else _render_login(report))
    return 0


def run_logout(args: argparse.Namespace) -> int:
    """Remove the login and report where else a token is. 0: removed or not there; 1: it can't be removed; 2: a wrong setting."""
    try:
        environ = read_environment(args)
        removed = remove_login(environ)
    except (LoginProblem, config.SettingProblem) as problem:
        return _report_refusal(args, problem, "Not logged out")
    profile = config.read_profile(environ)
    traces = token_traces.find_traces(environ)
    if args.json:
        outcome = "removed" if removed else "absent"
        print(json.dumps({"outcome": outcome, "profile": profile or config.DEFAULT_PROFILE, "other_tokens": traces}))
        return 0
    print("The login is removed." if removed else "There was no login to remove.")
    for trace in traces:
        print(f"A token is still in {trace}")
    if removed:
        print("The token itself stays valid until you revoke it in the dashboard: Settings → API.")
    return 0


def _report_refusal(args: argparse.Namespace, problem: Exception, failure: str) -> int:
    text = str(problem)
    if args.json:
        print(json.dumps({"outcome": "refused", "problem": text}))
    else:
        print(text if text.startswith(failure) else f"{failure}: {text}", file=sys.stderr)
    if isinstance(problem, LoginRefused):
        return problem.code
    return MISUSED if isinstance(problem, config.SettingProblem) else FAILED


def _login(args: argparse.Namespace, environ: Mapping[str, str]) -> LoginReport:
    org = config.clean_value("--org", args.org) if args.org is not None else None
    settings = config.load_settings({**environ, **({"TTP_ORG_ID": org} if org else {})})
    token = _read_token()
    accounts, organization = anyio.run(_read_account, replace(settings, token=token))
    file = save_login(environ, Login(token, settings.api_url, settings.org_id))
    source = settings.token_source
    notes = [f"{source} is set here, and wins over the login wherever it is set."] if source else []
    return LoginReport(
        outcome="saved",
        profile=settings.profile or config.DEFAULT_PROFILE,
        api_url=settings.api_url,
        organization=organization or settings.org_id,
        accounts=accounts,
        saved_in=name_keyring() if file is None else str(file),
        fingerprint=token.fingerprint,
        notes=notes + _describe_place(file),
    )


def _read_token() -> Token:
    """Read the token from the terminal without echo, or from standard input."""
    if sys.stdin is None:
        raise LoginRefused("there is neither a terminal nor standard input to read the token from.", MISUSED)
    try:
        text = _prompt() if sys.stdin.isatty() else decode_pasted(sys.stdin.buffer.read(_INPUT_BYTES))
        if not text.strip():
            raise EOFError
        return parse_token(text)
    except EOFError:
        raise LoginRefused("no token was entered.", MISUSED) from None
    except getpass.GetPassWarning:
        raise LoginRefused(
            "this terminal would show the token. Pipe it instead: ttp-mcp login <token.txt.", MISUSED
        ) from None
    except TokenProblem as problem:
        raise LoginRefused(f"that isn't an API token: {problem} Copy it again and retry.", MISUSED) from None
    except ValueError:
        raise LoginRefused("standard input can't be read as text. Pass the token as UTF-8.", MISUSED) from None


def _prompt() -> str:
    with warnings.catch_warnings():
        # It warns before it would read with echo.
        warnings.simplefilter("error", getpass.GetPassWarning)
        return getpass.getpass(_PROMPT).replace("\0", "")


async def _read_account(settings: config.Settings) -> tuple[list[str], str | None]:
    """Return the connected accounts and the organization, which proves that the token works."""
    from ttp_mcp.api import ApiError, Http, Permissions
    from ttp_mcp.api.client import ApiClient
    from ttp_mcp.errors import agent_text, error_kind
    from ttp_mcp.text import quote_text
    from ttp_mcp.toolkit.account_directory import full_account_label

    http = Http(
        base_url=settings.api_url,
        token=settings.token,
        org_id=settings.org_id,
        permissions=Permissions(access="read"),
    )
    api = ApiClient(http)
    try:
        accounts = [full_account_label(account) for account in await api.integrations.list()]
        organization = None
        with suppress(ApiError):
            # An undocumented endpoint: without it the organization isn't shown.
            organization = (await api.auth.me()).organization
        return accounts, organization and quote_text(organization, 60)
    except ApiError as error:
        text = agent_text(error, "Not logged in") or "Not logged in."
        raise LoginRefused(text, EXIT_CODES.get(error_kind(error), FAILED)) from None
    finally:
        await api.aclose()


def _describe_place(file: Path | None) -> list[str]:
    """Return who else may read the token in this file, or without a file what the keyring asks."""
    if file is None:
        return [_KEYCHAIN_NOTE] if sys.platform == "darwin" else []
    if sys.platform != "win32":
        return []
    if readers := find_other_readers(file):
        return [f"The file can be read by {', '.join(readers)}. Run: {how_to_make_private(file)}"]
    return ["On Windows the file can be read by you, by administrators and by the system."]


def _render_login(report: LoginReport) -> str:
    is_default = report.profile == config.DEFAULT_PROFILE
    profile, flag = ("", "") if is_default else (f" as profile {report.profile}", f" --profile {report.profile}")
    organization = f", organization {report.organization}" if report.organization else ""
    count = len(report.accounts)
    return "\n".join(
        [
            f"Logged in{profile}: {report.api_url} accepted the token (fingerprint {report.fingerprint}){organization}.",
            f"{count or 'No'} connected account{'' if count == 1 else 's'}{':' if count else '.'}",
            *(f"- {account}" for account in report.accounts),
            f"Saved in {report.saved_in}",
            *(f"Warning: {note}" for note in report.notes),
            f"Next: ttp-mcp install CLIENT{flag}, then restart the client.",
        ]
    )
