"""Open the store that a URL or folder names."""

from ttp_mcp.config import SettingProblem, Settings
from ttp_mcp.ledger.store.base import Store


def open_store(settings: Settings) -> Store:
    """Return the configured store; a file by default. Nothing is opened yet.

    Raises:
        SettingProblem: `TTP_STATE_URL` can't be used, or its client isn't installed.
    """
    if settings.state_url is None:
        # With another store, SQLite is never loaded.
        from ttp_mcp.ledger.store.sqlite import SqliteStore

        return SqliteStore(settings.state_dir)
    scheme = settings.state_url.partition("://")[0].lower()
    if scheme in ("redis", "rediss"):
        raise SettingProblem(
            "TTP_STATE_URL names Redis, which isn't supported: it may confirm a write before it is durable. Use postgresql://…, or "
            "remove TTP_STATE_URL to keep state in TTP_STATE_DIR."
        )
    if scheme not in ("postgresql", "postgres"):
        raise SettingProblem("TTP_STATE_URL must begin with postgresql://. Remove it to keep state in TTP_STATE_DIR.")
    try:
        from ttp_mcp.ledger.store.postgresql import PostgresqlStore
    except ImportError:
        raise SettingProblem(
            'TTP_STATE_URL names PostgreSQL, whose client isn\'t installed. Run: pip install "ttp-mcp[postgresql]"'
        ) from None
    return PostgresqlStore(settings.state_url)
