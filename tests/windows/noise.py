"""Log more than a pipe holds, then print a line to stdout."""

import logging

from ttp_mcp.logs import configure_logging

configure_logging("INFO")
for _ in range(2000):
    logging.getLogger("noise").info("x" * 100)
print("logged", flush=True)  # noqa: T201 - the smoke test waits for it
