"""Endpoints of the vendor's own client, which are not in the API reference: can be turned off to rehearse an API without them."""

from ttp_mcp.sandbox.store import Store

_KEY = "vendor_endpoints"


def has_vendor_endpoints(store: Store) -> bool:
    """Check whether the sandbox offers them, as it does unless they were turned off."""
    with store.reading() as db:
        row = db.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
    return row is None or row["value"] == "on"


def set_vendor_endpoints(store: Store, *, on: bool) -> None:
    """Turn them on or off, for every process that uses the data."""
    with store.writing() as db:
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_KEY, "on" if on else "off"))
