"""TTP_STATE_URL: its store, errors if it can't be used, and the secrecy of its password."""

import logging
import ssl
import subprocess
import sys
import traceback
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import psycopg
import pytest

from tests.ledger.store.conftest import make_settings
from tests.ledger.store.servers import MISSING, Server, find_postgresql
from ttp_mcp.config import SettingProblem
from ttp_mcp.ledger.store import open_store
from ttp_mcp.ledger.store.base import LedgerProblem, Put
from ttp_mcp.ledger.store.postgresql import PostgresqlStore

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
INVALID_URL = (
    "TTP_STATE_URL must be postgresql://user:password@host:port/database, with special characters of the password "
    "percent-encoded."
)
STEP = Put("kind", "a", {}, NOW + timedelta(days=1))


@pytest.mark.requirement("state.choice")
@pytest.mark.parametrize(
    ("url", "store"),
    [
        ("postgresql://user:word@one,two/db?sslmode=verify-full&target_session_attrs=read-write", PostgresqlStore),
        ("postgres://host/db", PostgresqlStore),
    ],
)
async def test_scheme_selects_the_store_without_opening_it(tmp_path: Path, url: str, store: type) -> None:
    """No name is resolved, and no folder is created."""
    state = open_store(make_settings(tmp_path / "state", url))

    assert isinstance(state, store)
    assert "word" not in repr(state)
    await state.aclose()
    assert not (tmp_path / "state").exists()


@pytest.mark.requirement("state.url")
async def test_client_library_logs_errors_only(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Its warnings are about consequences of an error that we report. Other loggers keep their level."""
    caplog.set_level(logging.NOTSET, "psycopg")
    level = logging.getLogger().level
    open_store(make_settings(tmp_path, "postgresql://host/db"))
    assert (logging.getLogger("psycopg").level, logging.getLogger().level) == (logging.ERROR, level)


@pytest.mark.requirement("state.url")
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memcached://user:word-of-honor@host", "must begin with postgresql://"),
        ("word-of-honor", "must begin with postgresql://"),
        ("redis://user:word-of-honor@host", "names Redis, which isn't supported"),
        ("REDISS://:word-of-honor@host:6380", "Use postgresql://…, or remove TTP_STATE_URL"),
        (
            "postgresql://user:word-of-honor%zz@host/db",
            INVALID_URL,
        ),
        ("postgresql://user@host/db?word-of-honor=1", "must be postgresql://user:password@host:port/database"),
    ],
)
def test_invalid_url_is_reported_without_quoting_it(tmp_path: Path, url: str, words: str) -> None:
    """A special character in the password is the likeliest mistake, so no part of the URL is shown."""
    with pytest.raises(SettingProblem) as refused:
        open_store(make_settings(tmp_path, url))

    assert words in str(refused.value)
    assert "word-of-honor" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.requirement("state.url")
def test_missing_driver_is_reported_with_the_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is an optional extra."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "ttp_mcp.ledger.store.postgresql")

    with pytest.raises(SettingProblem) as refused:
        open_store(make_settings(tmp_path, "postgresql://host/0"))
    assert str(refused.value) == (
        'TTP_STATE_URL names PostgreSQL, whose client isn\'t installed. Run: pip install "ttp-mcp[postgresql]"'
    )


@pytest.mark.requirement("state.lazy")
def test_drivers_are_loaded_only_if_configured() -> None:
    """A server with SQLite starts without them."""
    code = (
        "import sys, pathlib; from ttp_mcp.config import Settings; from ttp_mcp.ledger.store import open_store; "
        "from ttp_mcp.times import find_zone; open_store(Settings(find_zone('UTC'), pathlib.Path('/nowhere'))); "
        "print([name for name in ('psycopg',) if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.requirement("state.url")
@pytest.mark.parametrize(("parameter", "connect_timeout"), [("", 3), ("?connect_timeout=7", "7")])
async def test_connections_and_calls_have_a_timeout(
    monkeypatch: pytest.MonkeyPatch, parameter: str, connect_timeout: int | str
) -> None:
    """A connection to each host, unless the URL has its own; a call takes at most twice as long as a statement."""
    found: list[tuple[object, float]] = []

    async def connect(**parameters: object) -> None:
        await anyio.lowlevel.checkpoint()
        left = anyio.current_effective_deadline() - anyio.current_time()
        found.append((parameters["connect_timeout"], left))
        raise psycopg.OperationalError

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", connect)
    with pytest.raises(LedgerProblem, match="can't be reached"):
        await PostgresqlStore(f"postgresql://host/db{parameter}", answer_seconds=5000).commit("scope", [STEP], NOW)
    [(given, left)] = found
    assert given == connect_timeout
    assert 9000 < left <= 10_000


def create_certificate(folder: Path) -> Path:
    """Create a self-signed certificate for 127.0.0.1, in one file with its key."""
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "certificate.pem"


@pytest.fixture
def tls_server(tmp_path: Path) -> Generator[Server]:
    """Serve TLS."""
    program = find_postgresql()
    if program is None:
        pytest.skip(MISSING)
    server = Server(program)
    pem, key = server.give(create_certificate(tmp_path)), server.give(tmp_path / "key.pem")
    server.options = {"ssl": "on", "ssl_cert_file": pem, "ssl_key_file": key}
    yield server.start()
    server.remove()


@pytest.mark.requirement("state.url")
async def test_tls_is_verified_with_the_parameters_of_the_url(tls_server: Server, tmp_path: Path) -> None:
    """A certificate of an unknown issuer is refused, and accepted if its issuer is named."""
    authority = tmp_path / "certificate.pem"
    assert ssl.create_default_context(cafile=str(authority)).get_ca_certs()
    plain = f"{tls_server.url}?sslmode=verify-full"
    trusting = f"{plain}&sslrootcert={authority}"

    distrusting = open_store(make_settings(tmp_path, plain))
    with pytest.raises(LedgerProblem, match="can't be reached") as refused:
        await distrusting.commit("scope", [STEP], NOW)
    assert "word-of-honor" not in "".join(traceback.format_exception(refused.value))
    await distrusting.aclose()
    state = open_store(make_settings(tmp_path, trusting))
    assert await state.commit("scope", [STEP], NOW) == "done"
    assert set(await state.get("scope", "kind", ["a"], NOW)) == {"a"}
    await state.aclose()
