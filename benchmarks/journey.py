"""Count what one warm call enters over stdio: files, functions and classes of ours, in the server's process.

    python benchmarks/journey.py [--list]

The API is a sandbox in a process of its own, so that none of its code counts. `--list` prints the functions in the order
in which each call first enters them.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = str(ROOT / "ttp_mcp") + os.sep


def serve_profiled(folder: Path) -> None:
    """Serve over stdio; at each SIGUSR1 write what was entered since the last one to the next file in `folder`."""
    import threading

    entered: dict[tuple[str, str], None] = {}
    numbers = iter(range(1000))

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            entered.setdefault((frame.f_code.co_filename[len(PACKAGE) :], frame.f_code.co_qualname))

    def dump(*_: Any) -> None:
        target = folder / f"{next(numbers)}.json"
        target.with_suffix(".part").write_text(json.dumps(list(entered)))
        target.with_suffix(".part").rename(target)
        entered.clear()

    signal.signal(signal.SIGUSR1, dump)
    threading.setprofile(note)
    sys.setprofile(note)
    sys.path.insert(0, str(ROOT))
    from ttp_mcp.cli import main

    code = main([])
    sys.setprofile(None)
    sys.exit(code)


class Client:
    """A client over pipes that asks for one call at a time."""

    def __init__(self, environ: dict[str, str], folder: Path) -> None:
        self._folder, self._dumps, self._ids = folder, iter(range(1000)), iter(range(1, 1000))
        pipe = subprocess.PIPE
        command = [sys.executable, __file__, "--serve", str(folder)]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environ)
        client = {"name": "journey", "version": "1"}
        self._ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=client)
        self._send({"method": "notifications/initialized"})

    def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool and return its result."""
        return self._ask("tools/call", name=tool, arguments=arguments)

    def take_entered(self) -> list[tuple[str, str]]:
        """Return what the server entered since the last time, as (file, function)."""
        path = self._folder / f"{next(self._dumps)}.json"
        self.process.send_signal(signal.SIGUSR1)
        while not path.exists():
            time.sleep(0.01)
        return [tuple(entry) for entry in json.loads(path.read_text())]

    def _ask(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        self._send({"id": number, "method": method, "params": params})
        while True:
            message = json.loads(self.process.stdout.readline())  # type: ignore[union-attr]
            if message.get("id") == number:
                return message["result"]

    def _send(self, message: dict[str, Any]) -> None:
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]


def count(entered: list[tuple[str, str]]) -> tuple[int, int, int]:
    """Count files, functions and classes; inner functions and comprehensions count as functions, a
    class when one of its methods is entered."""
    methods = {(file, name.split(".<locals>")[0]) for file, name in entered}
    classes = {(file, name.rpartition(".")[0]) for file, name in methods if "." in name}
    return len({file for file, _ in entered}), len(entered), len(classes)


def run(listed: bool) -> None:
    """Measure the three calls, each after two warm ones."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "dumps").mkdir()
        sandbox = subprocess.Popen(
            [sys.executable, "-m", "ttp_mcp", "sandbox", "--port", "0", "--json", "--data", str(folder / "data")],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        try:
            ready = json.loads(sandbox.stdout.readline())  # type: ignore[union-attr]
            environ = {
                **os.environ,
                "TTP_API_URL": ready["api_url"],
                "TTP_API_TOKEN": ready["token"],
                "TTP_STATE_DIR": str(folder / "state"),
                "TTP_CONFIRM": "off",
            }
            client = Client(environ, folder / "dumps")
            # Later than every post of the sandbox, so that none is close by.
            moment = datetime.now(UTC).replace(microsecond=0) + timedelta(days=60)
            calls = {
                "create_post": lambda number: {
                    "content": f"Number {number}",
                    "account_ids": ["linkedin"],
                    "scheduled_at": (moment + timedelta(hours=number)).isoformat(),
                },
                "list_posts": lambda _: {},
                "get_post": lambda number: {"post_id": f"missing{number}"},
            }
            print(f"{'call':28} {'files':>5} {'functions':>9} {'classes':>7}")
            for tool, arguments in calls.items():
                for number in range(2):
                    client.call(tool, **arguments(number))
                client.take_entered()
                result = client.call(tool, **arguments(2))
                assert bool(result.get("isError")) == (tool == "get_post"), result
                entered = client.take_entered()
                label = f"{tool}{' (fails)' if tool == 'get_post' else ''}"
                print(f"{label:28} {' '.join(f'{n:>{w}}' for n, w in zip(count(entered), (5, 9, 7), strict=True))}")
                if listed:
                    print(*(f"  {file}: {function}" for file, function in entered), sep="\n")
            client.process.stdin.close()  # type: ignore[union-attr]
            client.process.wait(20)
        finally:
            sandbox.terminate()
            sandbox.wait(20)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Count what one warm call enters.")
    parser.add_argument("--list", action="store_true", help="print the functions too")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve_profiled(args.serve)
    else:
        run(args.list)


if __name__ == "__main__":
    main()
