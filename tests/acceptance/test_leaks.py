"""Row A9: a search for the token and URL signatures in everything that leaves the process or could."""

import copy
import importlib
import inspect
import json
import logging
import os
import pickle
import random
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mcp.shared import _otel
from mcp.shared.exceptions import MCPError
from mcp_types import ResourceTemplateReference
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.responses import JSONResponse

from tests.server.conftest import read_text
from ttp_mcp import credentials, logs
from ttp_mcp.api.media import PresignedUpload
from ttp_mcp.config import load_settings
from ttp_mcp.credentials import Token

pytestmark = [pytest.mark.acceptance, pytest.mark.requirement("acceptance.a9")]

POINTS = 200
SEED = 20261124
# Modules whose functions are made to fail, wherever a call passes through them.
MODULES = (
    "api.responses",
    "api.http",
    "api.integrations",
    "api.media",
    "api.posts",
    "api.analytics",
    "api.upload",
    "ledger.ledger",
    "ledger.claims",
    "text",
    "times",
    "writes.writer",
    "writes.reconcile",
    "toolkit.account_directory",
    "tools.posts.prepare",
    "tools.posts.list",
    "tools.posts.get",
    "tools.posts.create",
    "tools.posts.rendering",
    "tools.media",
    "tools.plans.plan",
    "tools.plans.stored_plan",
)
CALLS = (
    ("list_integrations", {}),
    ("list_boards", {}),
    ("tiktok_options", {}),
    ("list_posts", {"limit": 3}),
    ("optimal_times", {}),
    ("engagement_summary", {}),
    ("post_results", {"limit": 2}),
    ("check_post", {"content": "A.", "account_ids": ["linkedin"], "scheduled_at": "2026-11-26T10:00:00Z"}),
    ("create_post", {"content": "B.", "account_ids": ["linkedin"], "scheduled_at": "2026-11-26T10:00:00Z"}),
    ("get_post", {"post_id": "nowhere"}),
    ("presign_media", {"filename": "a.gif", "content_type": "image/gif", "size_bytes": 14}),
    ("upload_media", {"source": "a.gif"}),
    ("plan_posts", {"posts": [{"content": "C.", "account_ids": ["linkedin"]}]}),
)
# What fails while a client is open comes in a group.
RED = pytest.RaisesGroup(AssertionError, flatten_subgroups=True, allow_unwrapped=True)
SIGNATURE = re.compile(r"(?:signature|sig|token)=([^&\s\"\\]{8,})", re.IGNORECASE)


def split_digits(token):
    """Return the token's digits, twelve at a time."""
    digits = token.removeprefix("ttp_")
    return {digits[at : at + 12] for at in range(len(digits) - 11)}


def check_clean(shown, secrets):
    """Check that no text contains a secret."""
    for where, text in shown:
        lowered = text.lower()
        assert not any(secret.lower() in lowered for secret in secrets), f"a secret is in {where}"


class Breaks:
    """Make the n-th call of one of our functions raise, with the token and a signature in its message."""

    def __init__(self, monkeypatch, token):
        self.count = 0
        self.at = 0
        self.raised = 0
        self.text = f"broke with Bearer {token} at https://media.example/k?X-Amz-Signature={'5ec7e7' * 8}&token={token}"
        for name in MODULES:
            module = importlib.import_module(f"ttp_mcp.{name}")
            for place in (module, *self.classes(module)):
                for own, function in list(vars(place).items()):
                    if self.can_break(own, function, module):
                        monkeypatch.setattr(place, own, self.wrapped(function))

    @staticmethod
    def classes(module):
        return [
            found for found in vars(module).values() if inspect.isclass(found) and found.__module__ == module.__name__
        ]

    @staticmethod
    def can_break(own, function, module):
        ours = inspect.isfunction(function) and function.__module__ == module.__name__
        return ours and not own.startswith("__") and not inspect.isasyncgenfunction(function)

    def wrapped(self, function):
        if inspect.iscoroutinefunction(function):

            async def later(*args, **more):
                self.step()
                return await function(*args, **more)

            return later

        def now(*args, **more):
            self.step()
            return function(*args, **more)

        return now

    def step(self):
        self.count += 1
        if self.count == self.at:
            self.raised += 1
            raise RuntimeError(self.text)


@pytest.fixture
def spans(monkeypatch):
    """Everything that the SDK's instrumentation records."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(_otel, "_tracer", provider.get_tracer("mcp-python-sdk"))
    yield exporter
    provider.shutdown()


@pytest.fixture
def files(tmp_path):
    """A folder with a picture."""
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "a.gif").write_bytes(b"GIF89a\x01\0\x01\0\0\0\0;")
    return folder


async def break_calls(connect_client, sandbox, files, tmp_path, monkeypatch, spans, points):
    """Break calls at random points; returns how many broke and how many texts were searched."""
    chance = random.Random(SEED)
    breaks = Breaks(monkeypatch, sandbox.token)
    secrets = split_digits(sandbox.token) | {"5ec7e7" * 8}
    shown = []
    log_file = tmp_path / "debug.log"
    with log_file.open("wb") as file:
        restore = logs.configure_logging("DEBUG", fd=file.fileno())
        try:
            async with connect_client(confirm="off", media_dirs=(files,)) as connection:
                # Once whole: how many functions each call passes through, and that it works.
                passed = []
                for tool, arguments in CALLS:
                    breaks.count, breaks.at = 0, 0
                    shown.append((tool, await read_answer(connection, tool, arguments, secrets)))
                    passed.append(breaks.count)
                for number in range(points):
                    which = number % len(CALLS)
                    tool, arguments = CALLS[which]
                    if tool == "create_post":
                        arguments = {**arguments, "content": f"B {number}."}
                    breaks.count, breaks.at = 0, chance.randint(1, passed[which])
                    shown.append((tool, await read_answer(connection, tool, arguments, secrets)))
                breaks.at = 0
                shown += [(f"repr of {type(each).__name__}", repr(each)) for each in list_objects(connection)]
                shown += [("vars", list_representations(each)) for each in list_objects(connection)]
        finally:
            restore()
    finished = spans.get_finished_spans()
    shown += [("a span", span.to_json()) for span in finished]
    shown.append(("the log", log_file.read_text()))
    check_clean(shown, secrets)
    assert "RuntimeError" in shown[-1][1], "nothing was logged"
    assert finished, "no span was recorded"
    return breaks.raised, len(shown)


def list_objects(connection):
    """Return representations that code might print."""
    app = connection.runtime.app
    return (app, app.settings, app.api, app.api.token, app.ledger, app.writer, connection.runtime.server)


def list_representations(value):
    """Return the representations of an object's parts, as a debugger or error tracker shows them."""
    return repr(vars(value)) if hasattr(value, "__dict__") else repr(value)


async def read_answer(connection, tool, arguments, secrets):
    """Return the whole answer. The URL that presign_media returns is replaced, and is a secret from then on."""
    try:
        result = await connection.call(tool, **arguments)
    except MCPError as error:
        return f"{error} {error.error}"
    text = read_text(result) + json.dumps(result.structured_content, ensure_ascii=False)
    if tool == "presign_media":
        secrets |= set(SIGNATURE.findall(text))
        text = re.sub(r"https?://[^\s\"]+", "", text)
    return text


async def test_a9_no_failure_anywhere_shows_a_secret(
    connect_client, sandbox, files, tmp_path, monkeypatch, spans, capfd
):
    """Two hundred exceptions with the token and a signature; searched are answers, logs, spans, reprs and stderr."""
    raised, looked = await break_calls(connect_client, sandbox, files, tmp_path, monkeypatch, spans, POINTS)
    printed = capfd.readouterr()
    check_clean([("stdout", printed.out), ("stderr", printed.err)], split_digits(sandbox.token))
    # A few points lie on paths that a changed call no longer takes.
    assert raised > POINTS * 0.8
    with capfd.disabled():
        print(f"A9 (seed {SEED}): {raised} exceptions at {POINTS} points, {looked} texts: 0 secrets")  # noqa: T201


async def test_a9_fails_when_logs_are_not_redacted(connect_client, sandbox, files, tmp_path, monkeypatch, spans):
    """The traceback of a failure would contain the token."""
    monkeypatch.setattr(logs, "redact", lambda text: text)
    with pytest.raises(AssertionError, match="a secret is in the log"):
        await break_calls(connect_client, sandbox, files, tmp_path, monkeypatch, spans, 40)


async def test_a9_fails_when_failures_are_not_masked(connect_client, sandbox, files, tmp_path, monkeypatch, spans):
    """The message of an unexpected failure would reach the agent."""
    server = importlib.import_module("ttp_mcp.server.mcp_server")
    monkeypatch.setattr(server, "agent_text", lambda error, _: str(error))
    monkeypatch.setattr(importlib.import_module("ttp_mcp.server.rendering"), "redact_tokens", lambda text: text)
    with pytest.raises(AssertionError, match="a secret is in"):
        await break_calls(connect_client, sandbox, files, tmp_path, monkeypatch, spans, 40)


def make_repeating_api(token):
    """An API that repeats the token in every response: whole, truncated, encoded, in upper case."""
    encoded = token.replace("_", "%5f")

    async def app(scope, receive, send):
        path = scope["path"].removeprefix("/api")
        said = [token, token[:16], encoded, token.upper(), f"Token {token}, is not allowed", f"x{encoded[:30]}g"]
        post = {
            "id": token,
            "content": " ".join(said),
            "status": "failed",
            "accountIds": [token],
            "mediaUrls": [f"https://cdn.example/{encoded}.jpg"],
            "platformData": {each: {each: said} for each in said},
            "results": [{"platform": token[:20], "status": "failed", "error": each} for each in said],
        }
        replies = {
            "/posts": {"posts": [post]},
            "/posts/p": {"post": post},
            "/integrations": {"integrations": [{"id": token, "platform": "linkedin", "name": encoded}]},
            "/analytics/engagement-summary": dict.fromkeys(said, said),
        }
        refusal = {"success": False, "error": {"message": f"Token {token[:12]}… of {encoded} is not allowed."}}
        answer = JSONResponse(replies.get(path, refusal), 200 if path in replies else 403)
        await answer(scope, receive, send)

    return app


async def hunt_repeated_token(connect_client, sandbox, tmp_path):
    """Search every answer, error and log line of an API that repeats the token; return the number of texts."""
    token = sandbox.token
    sandbox.app = make_repeating_api(token)
    log_file = tmp_path / "repeated.log"
    with log_file.open("wb") as file:
        restore = logs.configure_logging("DEBUG", fd=file.fileno())
        try:
            async with connect_client() as connection:
                shown = [
                    (tool, (await connection.call(tool, **arguments)).model_dump_json())
                    for tool, arguments in (
                        ("list_posts", {}),
                        ("get_post", {"post_id": "p"}),
                        ("get_post", {"post_id": "refused"}),
                        ("list_integrations", {}),
                        ("engagement_summary", {}),
                        ("optimal_times", {}),
                        ("check_setup", {}),
                    )
                ]
                shown += [
                    (uri, (await connection.client.read_resource(uri)).model_dump_json())
                    for uri in ("ttp://posts/p", "ttp://accounts")
                ]
                posts = ResourceTemplateReference(type="ref/resource", uri="ttp://posts/{id}")
                offered = await connection.client.complete(posts, {"name": "id", "value": ""})
                shown.append(("completions", offered.model_dump_json()))
            logging.getLogger("any").error("was refused: %s", token)
        finally:
            restore()
    shown.append(("the log", log_file.read_text()))
    check_clean(shown, split_digits(token))
    assert all("[redacted]" in text for where, text in shown if where != "check_setup"), "the token did not arrive"
    return len(shown)


async def test_a9_token_repeated_by_the_api_is_redacted(connect_client, sandbox, tmp_path):
    """In values, keys, ids, names, URLs and errors."""
    looked = await hunt_repeated_token(connect_client, sandbox, tmp_path)
    print(f"A9: {looked} texts of an API that repeats the token: 0 leaks")  # noqa: T201


async def test_a9_fails_when_answers_are_not_redacted(connect_client, sandbox, tmp_path, monkeypatch):
    """Logs and errors are redacted separately."""
    monkeypatch.setattr(credentials, "_TOKEN_LIKE", re.compile("(?!)"))
    with RED:
        await hunt_repeated_token(connect_client, sandbox, tmp_path)


async def test_a9_fails_when_keys_are_not_redacted(connect_client, sandbox, tmp_path, monkeypatch):
    """Keys from the API are text too."""

    def values_only(value):
        if isinstance(value, dict):
            return {key: values_only(entry) for key, entry in value.items()}
        return [values_only(entry) for entry in value] if isinstance(value, list) else redact_any(value)

    def redact_any(value):
        return credentials.redact_tokens(value) if isinstance(value, str) else value

    monkeypatch.setattr(importlib.import_module("ttp_mcp.server.rendering"), "redact_json", values_only)
    with RED:
        await hunt_repeated_token(connect_client, sandbox, tmp_path)


def check_holder(token):
    """Check that no way of showing or copying the token's holder reveals it."""
    secrets = split_digits(token.reveal())
    holder = SimpleNamespace(token=token, settings=load_settings({"TTP_API_TOKEN": token.reveal()}))
    upload = PresignedUpload(
        key="k", upload_url=f"https://x/?sig={token.reveal()}", public_url="https://x", expires_in_seconds=1
    )
    ways = (repr, str, ascii, "{}".format, "{!r:>80}".format, list_representations)
    shown = [(way.__name__, way(each)) for way in ways for each in (token, holder, holder.settings, upload)]
    check_clean([*shown, ("hash", str(hash(token))), ("fingerprint", token.fingerprint)], secrets)
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="be copied or pickled"):
            way(token)
    with pytest.raises(TypeError):
        json.dumps(token)


def test_a9_holder_of_a_token_does_not_show_it():
    """repr, format, vars, pickle, copy and JSON."""
    check_holder(Token("ttp_" + "0123456789abcdef" * 3))


def test_a9_fails_when_the_holder_is_an_ordinary_class(monkeypatch):
    monkeypatch.setattr(Token, "__repr__", lambda self: f"Token({self._text})")
    with pytest.raises(AssertionError, match="a secret is in"):
        check_holder(Token("ttp_" + "0123456789abcdef" * 3))


CRASH = """
import logging, sys
import ttp_mcp.cli.serve as serve
from ttp_mcp import credentials, logs
{unguarded}
async def crash(settings, *_):
    logging.getLogger("httpx2").info("GET %s", settings.token.reveal())
    logging.getLogger("any").error("sent %s", settings.token.reveal())
    raise RuntimeError("crashed with " + settings.token.reveal())
serve._serve_stdio = crash
from ttp_mcp.cli import main
sys.exit(main({argv}))
"""


def run_crash(token, *argv, unguarded=""):
    """Return the output of a process that ends with an exception containing the token."""
    return subprocess.run(
        [sys.executable, "-c", CRASH.format(argv=list(argv), unguarded=unguarded)],
        env={**os.environ, "TTP_API_TOKEN": token, "TTP_LOG_LEVEL": "DEBUG"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a9_crash_does_not_show_the_token():
    """Neither in the traceback nor the log; the exit code reports the failure."""
    token = "ttp_" + "fedcba9876543210" * 3
    ended = run_crash(token)
    assert ended.returncode == 1
    assert "crashed with [redacted]" in ended.stderr
    check_clean([("stderr", ended.stderr), ("stdout", ended.stdout)], split_digits(token))


def test_a9_fails_when_python_prints_the_crash():
    """Without the hook and redaction, the traceback contains the token."""
    token = "ttp_" + "fedcba9876543210" * 3
    ended = run_crash(token, unguarded="logs.configure_logging = lambda level: None")
    with pytest.raises(AssertionError):
        check_clean([("stderr", ended.stderr)], split_digits(token))


def test_a9_token_on_the_command_line_is_refused_and_not_repeated():
    """Every program on the machine can read command lines."""
    token = "ttp_" + "fedcba9876543210" * 3
    ended = run_crash("", f"--log-level={token}")
    assert ended.returncode == 2
    assert "don't pass a token on the command line" in ended.stderr
    check_clean([("stderr", ended.stderr), ("stdout", ended.stdout)], split_digits(token))


async def test_a9_token_is_in_no_state_file(connect_client, sandbox, files):
    """The ledger identifies the user by a digest."""
    async with connect_client(confirm="off", media_dirs=(files,)) as connection:
        for tool, arguments in CALLS:
            await connection.call(tool, **arguments)
        state = connection.runtime.app.settings.state_dir
        contents = [(path.name, path.read_bytes().decode("latin-1")) for path in state.rglob("*") if path.is_file()]
    assert contents
    check_clean(contents, split_digits(sandbox.token))
