"""Open the store that a URL or folder names."""

from collections.abc import Generator
from contextlib import contextmanager

from ttp_mcp.config import SettingProblem, Settings
from ttp_mcp.ledger.store.base import Store


def open_store(settings: Settings) -> Store:
    """The store that is configured; files by default. Nothing is opened.

    Raises:
        SettingProblem: `TTP_STATE_URL` can't be used, or what it takes is not installed.
    """
    if settings.state_url is None:
        # Here, so that a server whose state is elsewhere never loads SQLite.
        from ttp_mcp.ledger.store.sqlite import SqliteStore

        return SqliteStore(settings.state_dir)
    scheme = settings.state_url.partition("://")[0].lower()
    if scheme in ("redis", "rediss"):
        with _installed("Redis", "redis"):
            from ttp_mcp.ledger.store.redis import RedisStore

        return RedisStore(settings.state_url)
    if scheme in ("postgresql", "postgres"):
        with _installed("PostgreSQL", "postgresql"):
            from ttp_mcp.ledger.store.postgresql import PostgresqlStore

        return PostgresqlStore(settings.state_url)
    raise SettingProblem(
        "TTP_STATE_URL must begin with redis://, rediss:// or postgresql://. Remove it to keep state in TTP_STATE_DIR."
    )


@contextmanager
def _installed(store: str, extra: str) -> Generator[None]:
    try:
        yield
    except ImportError:
        raise SettingProblem(
            f"TTP_STATE_URL names {store}, whose client is not installed. Run: pip install 'ttp-mcp[{extra}]'"
        ) from None
