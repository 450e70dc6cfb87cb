"""A sandbox on a real port, run as a separate process: prints one line of JSON, then serves until stdin closes."""

import json
import socket
import sys
import threading
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Host

from ttp_mcp.sandbox import Sandbox


def main() -> None:
    """Serve the API at `localhost` and the storage at `127.0.0.1`, on one port."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    sandbox = Sandbox(
        Path(sys.argv[1]),
        empty=True,
        api_origin=f"http://localhost:{port}",
        storage_origin=f"http://127.0.0.1:{port}",
    )
    app = Starlette(routes=[Host("localhost", sandbox.app), Host("127.0.0.1", sandbox.storage_app)])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))

    def leave() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=leave, daemon=True).start()
    print(json.dumps({"api_url": sandbox.api_url, "token": sandbox.token}), flush=True)  # noqa: T201 - for the test
    server.run(sockets=[listener])
    sandbox.close()


if __name__ == "__main__":
    main()
