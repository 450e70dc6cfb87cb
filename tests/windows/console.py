"""Starts a server in its own console and waits for Ctrl+C with a write in flight; runs on Windows.

Usage: python -m tests.windows.console TIME
"""

import signal
import sys

from tests.windows.client import Server, text_of

# The server gets Ctrl+C too; this process only has to survive it.
signal.signal(signal.SIGINT, lambda *_: None)
server = Server([sys.executable])
write = server.begin("create_post", content="At Ctrl+C.", account_ids=["linkedin"], scheduled_at=sys.argv[1])
print("ready", flush=True)  # noqa: T201 - the smoke test waits for it
answer = text_of(server.finish(write)).partition(":")[0]
# One short string: a console may cut and draw again what is written in parts.
print(f"answer {answer}, exit code {server.process.wait(60)}.", flush=True)  # noqa: T201 - the result
