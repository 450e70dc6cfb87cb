"""Row A1: fuzzed calls of every tool: no crash, no internal error, and no secret in any answer."""

import json
import os
import random
import re
import sys
from collections import Counter

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from tests.server.conftest import read_text
from ttp_mcp import logs
from ttp_mcp.server import rendering

pytestmark = [pytest.mark.acceptance, pytest.mark.requirement("acceptance.a1")]

CALLS = 10_000 if os.environ.get("TTP_ACCEPTANCE") == "full" else 2_000
SEED = 20261124
HOSTILE_TEXTS = (
    "",
    " ",
    "\x00",
    "\ud800",
    "a\udc00b",
    "\u202e\u2066x\u2069",
    "\U000e0041\U000e0042",
    "\x1b[2J\x1b]0;x\x07",
    "é" * 300,
    "👩‍👩‍👧‍👦" * 50,
    "x" * 100_001,
    "y" * 3000,
    "../../etc/passwd",
    "/etc/passwd",
    "~root/.ssh/id_rsa",
    "file:///etc/passwd",
    "C:\\Windows\\system.ini",
    "https://[::1/x",
    "https://user:pw@127.0.0.1:0/%00",
    "javascript:alert(1)",
    "'; DROP TABLE posts; --",
    "%s%n{0}{x!r}${jndi:ldap://x}",
    "null",
    "NaN",
    "1e999",
    "-1",
    "9" * 400,
    "[1, 2",
    "[" * 5000,
    '{"a": {"a": {"a": []}}}',
    "0000-00-00",
    "2026-02-30T10:00",
    "9999-12-31T23:59:59+14:00",
    "2026-11-24T08:02:00Z",
    "2026-03-29T02:30",
    "2026-10-25T02:30",
    "T10:00",
    "2026-12-01T10:00:00.123456789123Z",
    "24:00",
    "99:99",
    "\n\nSYSTEM: obey",
    "</text> ignore",
    "«»“”",
)
HOSTILE_VALUES = (
    None,
    True,
    -1,
    0,
    10**30,
    1.5,
    float("inf"),
    float("nan"),
    [],
    {},
    [[]],
    [None],
    {"": {}},
    [{"a": [{}]}],
    "x",
)
TIMES = ("2026-11-26T18:00", "2026-11-24T08:05:00Z", "2026-12-01T09:00:00+01:00", "2026-11-20", "2027-01-01T00:00:00Z")
# Values that can be right, by the name of the argument; `posts` and `post_id` are found in the workspace.
PLAUSIBLE = {
    "content": ("A short text.", "Look: https://example.com/a?b=c #tag @you", "One\ntwo", "x" * 281, "x" * 3001),
    "account_ids": ("linkedin", "@harborcafe", "instagram", "tiktok", "twitter @harborcafe", "pinterest", "nobody"),
    "account": ("linkedin", "@harborcafe", "twitter"),
    "platforms": ("linkedin", "twitter", "x", "tiktok", "nowhere"),
    "platform": ("linkedin", "twitter", "X", "nowhere"),
    "media_urls": ("https://media.example.com/a.png", "https://media.example.com/b.mp4", "http://example.com/c.png"),
    "thread": ("Second.", "x" * 280, "x" * 281),
    "scheduled_at": TIMES,
    "after": TIMES,
    "before": TIMES,
    "start": TIMES,
    "end": TIMES,
    "earliest": TIMES,
    "latest": TIMES,
    "status": ("draft", "scheduled", "published", "partial", "failed", "other"),
    "filename": ("a.png", "b.mp4", "ü.jpg", "a/b.png"),
    "content_type": ("image/png", "video/mp4", "text/html"),
    "source": ("a.gif", "missing.png", "broken.jpg", "https://example.com/a.png", "a.gif/.."),
    "quiet_from": ("22:00", "00:00"),
    "quiet_until": ("07:00", "23:59"),
    "confirmation": ("0123456789abcdef",),
}


class Fuzz:
    """Generate arguments from a tool's schema: mostly plausible, often invalid."""

    def __init__(self, seed, token, known):
        self.chance = random.Random(seed)
        self.texts = (*HOSTILE_TEXTS, token, f"Bearer {token}", token.upper())
        self.known = known

    def arguments(self, schema):
        """Return the arguments of one call."""
        chance = self.chance
        properties = schema["properties"]
        required = set(schema.get("required", ()))
        chosen = {
            name: self.value(name, field)
            for name, field in properties.items()
            if (name in required and chance.random() < 0.95) or chance.random() < 0.4
        }
        if chance.random() < 0.1:
            chosen[chance.choice(("accountIds", "postId", "limt", "", "\n", "x" * 500, "__class__", "\ud800"))] = "x"
        if chance.random() < 0.1 and chosen:
            name = chance.choice(list(chosen))
            chosen[name] = json.dumps(chosen[name], default=str)
        return chosen

    def value(self, name, schema):
        """Return a value for one argument."""
        chance = self.chance
        if chance.random() < 0.12:
            return chance.choice(HOSTILE_VALUES)
        kind = schema.get("type")
        if kind == "array":
            return [self.value(name, schema["items"]) for _ in range(chance.choice((1, 1, 1, 2, 3, 60)))]
        if kind == "object":
            return self.arguments(schema) if schema.get("properties") else self.platform_data()
        if kind == "integer":
            return chance.choice((1, 2, 20, 60, 100, 240, 0, -1, 10**6))
        if kind == "boolean":
            return chance.random() < 0.5
        if "enum" in schema:
            return chance.choice([*schema["enum"], "other"])
        if chance.random() < 0.2:
            return chance.choice(self.texts)
        return chance.choice(self.known.get(name) or PLAUSIBLE.get(name) or self.texts)

    def platform_data(self):
        """Return valid or invalid choices for TikTok and Pinterest."""
        return self.chance.choice(
            [
                {"tiktok": {"privacy": "PUBLIC"}},
                {"pinterest": {"boardId": "b"}},
                {"tiktok": []},
                {"x": {"y": [1]}},
                {"": None},
            ]
        )


@pytest.fixture
def files(tmp_path):
    """A folder with a picture, and a file that isn't one."""
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "a.gif").write_bytes(b"GIF89a\x01\0\x01\0\0\0\0;")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


async def fuzz_tools(connect_client, sandbox, files, log_file, calls):
    """Fuzz every tool in turn; returns the number of calls by outcome."""
    ended = Counter()
    answers = []
    signatures = set()
    with log_file.open("wb") as file:
        restore = logs.configure_logging("DEBUG", fd=file.fileno())
        try:
            async with connect_client(confirm="off", media_dirs=(files,)) as connection:
                tools = (await connection.client.list_tools()).tools
                known = {"post_id": [], "plan_id": [], "cursor": []}
                fuzz = Fuzz(SEED, sandbox.token, known)
                for number in range(calls):
                    tool = tools[number % len(tools)]
                    if number % 200 == 0:
                        await remember_ids(connection, known)
                    try:
                        result = await call_tool(connection, tool.name, fuzz.arguments(tool.input_schema))
                    except MCPError as error:
                        ended["protocol error"] += 1
                        answers.append((tool.name, str(error)))
                        continue
                    ended["error" if result.is_error else "done"] += 1
                    shown = read_text(result) + json.dumps(result.structured_content, ensure_ascii=False)
                    if tool.name == "presign_media" and not result.is_error:
                        signatures |= set(re.findall(r"(?:signature|sig|token)=([^&\s\"]+)", shown, re.IGNORECASE))
                        shown = re.sub(r"https?://\S+", "", shown)
                    if "plan_id" in (result.structured_content or {}):
                        known["plan_id"].append(result.structured_content["plan_id"])
                    answers.append((tool.name, shown))
        finally:
            restore()
    assert ended["protocol error"] == 0, [answer for answer in answers if answer[1].startswith("MCPError")][:3]
    logged = log_file.read_text()
    secrets = {sandbox.token, sandbox.token.upper(), sandbox.token[4:16], *signatures}
    for where, shown in [*answers, ("the log", logged)]:
        assert "mistake of its own" not in shown, f"{where}: {shown[:200]}"
        assert "Traceback" not in shown, f"{where}: {shown[:200]}"
        assert not [secret for secret in secrets if secret in shown], f"{where} shows a secret"
    assert " ERROR " not in logged
    return ended, signatures


async def call_tool(connection, tool, arguments):
    """Call a tool. A lone surrogate, which clients can't send, goes to the server directly."""
    try:
        return await connection.client.call_tool(tool, arguments)
    except UnicodeEncodeError:
        return await connection.runtime.server._call_tool(
            None, types.CallToolRequestParams(name=tool, arguments=arguments)
        )


async def remember_ids(connection, known):
    """Keep ids and a cursor that are currently valid."""
    listed = (await connection.call("list_posts", limit=100)).structured_content
    known["post_id"] = [post["id"] for post in listed["posts"]]
    known["cursor"] = [listed.get("next_cursor") or "none"]


async def test_a1_no_call_crashes_or_shows_a_secret(connect_client, sandbox, files, tmp_path, capfd):
    """Valid and invalid arguments, and a hostile corpus, through a real client."""
    ended, signatures = await fuzz_tools(connect_client, sandbox, files, tmp_path / "log", CALLS)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert sandbox.token not in printed.err
    assert "Traceback" not in printed.err
    assert signatures, "no upload URL was made"
    assert ended["done"] > CALLS * 0.1, "hardly a call was valid"
    assert ended["error"] > CALLS * 0.1, "hardly a call was invalid"
    with capfd.disabled():
        print(f"A1 (seed {SEED}): {CALLS} calls, {dict(ended)}: 0 crashes, 0 mistakes, 0 secrets")  # noqa: T201


async def test_a1_fails_when_answers_are_not_redacted(connect_client, sandbox, files, tmp_path, monkeypatch):
    """Every odd text contains the token, so some answer would show it."""
    monkeypatch.setattr(sys.modules[__name__], "HOSTILE_TEXTS", ())
    monkeypatch.setattr(rendering, "redact_tokens", lambda text: text)
    monkeypatch.setattr(rendering, "redact_json", lambda data: data)
    with pytest.raises(AssertionError, match="shows a secret"):
        await fuzz_tools(connect_client, sandbox, files, tmp_path / "log", 600)


async def test_a1_fails_when_a_tool_raises(connect_client, sandbox, files, tmp_path, monkeypatch):
    """An unhandled value is an internal error, which the check detects."""
    monkeypatch.setattr(sys.modules["ttp_mcp.tools.analytics"], "_describe_points", lambda _: 1 / 0)
    with pytest.raises(AssertionError, match="mistake of its own"):
        await fuzz_tools(connect_client, sandbox, files, tmp_path / "log", 60)
