"""Health check of the container: asks `/healthz` when the server speaks HTTP; over stdio a living process is healthy."""

import sys
import urllib.error
import urllib.request
from pathlib import Path

DEFAULT_PORT = "8000"


def health_url(arguments: list[str]) -> str | None:
    """The address to ask for a server that was started with these arguments; None over stdio."""
    options = dict(zip(arguments, [*arguments[1:], ""], strict=True))
    options |= dict(each.split("=", 1) for each in arguments if each.startswith("--") and "=" in each)
    if options.get("--transport", "stdio") == "stdio":
        return None
    return f"http://127.0.0.1:{options.get('--port', DEFAULT_PORT)}/healthz"


def healthy(arguments: list[str]) -> bool:
    """Whether the server answers, within two seconds."""
    url = health_url(arguments)
    if url is None:
        return True
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback address
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(0 if healthy(Path("/proc/1/cmdline").read_text(encoding="utf-8").split("\0")) else 1)
