"""TTP_STATE_URL: which store it names, what is told when it can't be used, and that its password stays a secret."""

import ssl
import subprocess
import sys
import traceback
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.ledger.store.conftest import settings
from tests.ledger.store.servers import MISSING, Server, find
from ttp_mcp.config import SettingProblem
from ttp_mcp.ledger.store import open_store
from ttp_mcp.ledger.store.base import LedgerProblem, Put
from ttp_mcp.ledger.store.postgresql import PostgresqlStore
from ttp_mcp.ledger.store.redis import RedisStore

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
STEP = Put("kind", "a", {}, NOW + timedelta(days=1))


@pytest.mark.requirement("state.choice")
@pytest.mark.parametrize(
    ("url", "store"),
    [
        ("redis://host", RedisStore),
        ("REDIS://user:word@host:6380/3", RedisStore),
        ("rediss://:word@host:6380", RedisStore),
        ("postgresql://user:word@one,two/db?sslmode=verify-full&target_session_attrs=read-write", PostgresqlStore),
        ("postgres://host/db", PostgresqlStore),
    ],
)
async def test_scheme_names_the_store_and_nothing_is_opened(tmp_path: Path, url: str, store: type) -> None:
    """No such host is asked for, and no folder is made."""
    state = open_store(settings(tmp_path / "state", url))

    assert isinstance(state, store)
    assert "word" not in repr(state)
    await state.aclose()
    assert not (tmp_path / "state").exists()


@pytest.mark.requirement("state.url")
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memcached://user:word-of-honor@host", "must begin with redis://, rediss:// or postgresql://"),
        ("word-of-honor", "must begin with redis://, rediss:// or postgresql://"),
        ("redis://user:word-of-honor/1@host", "must be redis://user:password@host:port/number"),
        ("redis://user@host:word-of-honor", "must be redis://user:password@host:port/number"),
        ("redis://host?socket_timeout=word-of-honor", "must be redis://user:password@host:port/number"),
        ("postgresql://user:word-of-honor%zz@host/db", "must be postgresql://user:password@host:port/database"),
        ("postgresql://user@host/db?word-of-honor=1", "must be postgresql://user:password@host:port/database"),
    ],
)
def test_url_that_can_not_be_used_is_told_without_quoting_it(tmp_path: Path, url: str, words: str) -> None:
    """A password with a special character is the likeliest mistake, so no part of the URL is repeated, nor in a traceback."""
    with pytest.raises(SettingProblem) as refused:
        open_store(settings(tmp_path, url))

    assert words in str(refused.value)
    assert "word-of-honor" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.requirement("state.url")
@pytest.mark.parametrize(
    ("scheme", "client", "words"),
    [
        (
            "redis",
            "redis",
            "TTP_STATE_URL names Redis, whose client is not installed. Run: pip install 'ttp-mcp[redis]'",
        ),
        (
            "postgresql",
            "psycopg",
            "TTP_STATE_URL names PostgreSQL, whose client is not installed. Run: pip install 'ttp-mcp[postgresql]'",
        ),
    ],
)
def test_client_that_is_not_installed_is_told_with_the_line_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, client: str, words: str
) -> None:
    """The clients are extras."""
    monkeypatch.setitem(sys.modules, client, None)
    monkeypatch.delitem(sys.modules, f"ttp_mcp.ledger.store.{scheme}")

    with pytest.raises(SettingProblem) as refused:
        open_store(settings(tmp_path, f"{scheme}://host/0"))
    assert str(refused.value) == words


@pytest.mark.requirement("state.lazy")
def test_clients_are_loaded_only_where_they_are_configured() -> None:
    """A server with files starts without them."""
    code = (
        "import sys, pathlib; from ttp_mcp.config import Settings; from ttp_mcp.ledger.store import open_store; "
        "from ttp_mcp.times import zone_named; open_store(Settings(zone_named('UTC'), pathlib.Path('/nowhere'))); "
        "print([name for name in ('redis', 'psycopg') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key beside it."""
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


@pytest.fixture(params=["redis", "postgresql"])
def tls_server(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Server]:
    """A server that speaks TLS; Redis nothing else."""
    program = find(request.param)
    if program is None:
        pytest.skip(MISSING[request.param])
    server = Server(request.param, program)
    pem, key = server.give(certificate(tmp_path)), server.give(tmp_path / "key.pem")
    if request.param == "redis":
        server.options = {"tls-cert-file": pem, "tls-key-file": key, "tls-auth-clients": "no", "tls": "only"}
    else:
        server.options = {"ssl": "on", "ssl_cert_file": pem, "ssl_key_file": key}
    yield server.start()
    server.remove()


@pytest.mark.requirement("state.url")
async def test_tls_is_checked_and_its_parameters_are_in_the_url(tls_server: Server, tmp_path: Path) -> None:
    """A certificate that nobody vouches for is refused, and accepted where its issuer is named."""
    authority = tmp_path / "certificate.pem"
    assert ssl.create_default_context(cafile=str(authority)).get_ca_certs()
    if tls_server.kind == "redis":
        plain = tls_server.url.replace("redis://", "rediss://")
        trusting = f"{plain}?ssl_ca_certs={authority}"
    else:
        plain = f"{tls_server.url}?sslmode=verify-full"
        trusting = f"{plain}&sslrootcert={authority}"

    distrusting = open_store(settings(tmp_path, plain))
    with pytest.raises(LedgerProblem, match="can't be reached") as refused:
        await distrusting.apply("scope", [STEP], NOW)
    assert "word-of-honor" not in "".join(traceback.format_exception(refused.value))
    await distrusting.aclose()
    state = open_store(settings(tmp_path, trusting))
    assert await state.apply("scope", [STEP], NOW) == "done"
    assert set(await state.get("scope", "kind", ["a"], NOW)) == {"a"}
    await state.aclose()
