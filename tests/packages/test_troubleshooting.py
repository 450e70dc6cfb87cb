"""docs/troubleshooting.md quotes messages; each is compared with the program's output."""

import re
from datetime import UTC, datetime

import pytest

from tests.packages.conftest import read_text
from ttp_mcp.api import Forbidden, NoAnswer, NotAuthenticated
from ttp_mcp.cli import main
from ttp_mcp.errors import agent_text
from ttp_mcp.writes.outcomes import Created
from ttp_mcp.writes.writer import Writer

pytestmark = pytest.mark.requirement("packages.troubleshooting")

FACTS = {"method": "POST", "path": "/posts"}
WITHOUT_ACCOUNT = ["call", "list_posts"]
DRAFT = '{"content": "x", "account_ids": ["@nobody"]}'
ON_LINKEDIN = '{"content": "x", "platforms": ["linkedin"]}'
LATE = '{"content": "x", "account_ids": ["linkedin"], "scheduled_at": "2020-01-01T10:00"}'


def list_messages() -> list[str]:
    """Return the messages on the page."""
    return re.findall(r"```text\n(.*?)\n```", read_text("docs/troubleshooting.md"), re.DOTALL)


@pytest.fixture
def run_command(monkeypatch, tmp_path, capsys, logging_restored):
    """Run the command line with only these settings and return its output."""

    def run(*arguments: str, **settings: str) -> str:
        for name in (
            "TTP_API_TOKEN",
            "TIMETOPOST_API_TOKEN",
            "TTP_API_TOKEN_FILE",
            "TTP_MEDIA_DIRS",
            "TTP_SERVER_KEY",
            "TTP_ACCESS",
        ):
            monkeypatch.delenv(name, raising=False)
        # The discard port: nothing listens there.
        standard = {
            "TTP_STATE_DIR": str(tmp_path),
            "TTP_TIMEZONE": "Europe/Paris",
            "TTP_API_URL": "http://127.0.0.1:9/api",
        }
        for name, value in {**standard, **settings}.items():
            monkeypatch.setenv(name, value)
        assert main(arguments) != 0
        captured = capsys.readouterr()
        return captured.out + captured.err

    return run


def lose_create(run_command, monkeypatch, create):
    """Return what the user is shown for a create whose response is lost."""
    with monkeypatch.context() as ending:
        ending.setattr(Writer, "create", create)
        yield run_command("call", "--sandbox", "create_post", ON_LINKEDIN)


def test_every_quoted_message_is_produced(run_command, tmp_path, monkeypatch):
    """In the order of the page; numbers 6 and 7 end with parts that depend on the day."""

    async def unclear(*_, **__):
        lost = NoAnswer(**FACTS, after_seconds=30.0, may_have_happened=True)
        return Created("unknown", datetime(2026, 11, 24, tzinfo=UTC), cause=lost)

    empty = tmp_path / "token"
    empty.touch(mode=0o600)
    said = [
        run_command(*WITHOUT_ACCOUNT),
        run_command(*WITHOUT_ACCOUNT, TTP_API_TOKEN_FILE=str(empty)),
        run_command(*WITHOUT_ACCOUNT, TTP_API_TOKEN="wrong"),
        agent_text(NotAuthenticated(**FACTS, status=401), "Posts not listed"),
        run_command(*WITHOUT_ACCOUNT, TTP_API_TOKEN="ttp_" + "0" * 48),
        agent_text(Forbidden(**FACTS, status=403), "Post not created"),
        run_command("call", "--sandbox", "create_post", DRAFT),
        run_command("call", "--sandbox", "create_post", LATE),
        run_command("call", "--sandbox", "upload_media", '{"source": "/photos/cat.png"}'),
        run_command(*WITHOUT_ACCOUNT, TTP_ACCESS="all"),
        *lose_create(run_command, monkeypatch, unclear),
        run_command("--transport", "http", "--host", "0.0.0.0"),
    ]
    assert [text.startswith(message) for message, text in zip(list_messages(), said, strict=True)] == [True] * len(
        said
    ), said
