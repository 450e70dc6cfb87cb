"""The REST API, locally: SQLite, real media storage, a scheduler that publishes to simulated networks.

    with Sandbox() as sandbox:
        sandbox.app, sandbox.storage_app   # ASGI applications: API (and page), and storage, which is another origin
        sandbox.api_url, sandbox.token     # what a client needs
        sandbox.tick()                     # publish what is due

On ports it is served by `serve.serve_on_ports`; `workspace` writes and reads whole workspaces, `faults` lets requests fail on purpose.
It shares no code with the API client that is tested against it.
"""

from ttp_mcp.sandbox.clock import Clock, ManualClock, StoredClock
from ttp_mcp.sandbox.sandbox import Sandbox
from ttp_mcp.sandbox.store import StoreProblem

__all__ = ["Clock", "ManualClock", "Sandbox", "StoreProblem", "StoredClock"]
