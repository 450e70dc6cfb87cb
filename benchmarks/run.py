"""Start, calls, tool list and a long list, side by side with a bare SDK server, in one run.

    uv run python benchmarks/run.py [--rounds 7] [--calls 200]

Everything is CPU time of the server process (user + system), in interleaved rounds: each round measures both servers, and what is
quoted is the median of the rounds' ratios. Wall time on a busy machine says nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOKEN = "ttp_" + "0123456789abcdef" * 3
TICKS = os.sysconf("SC_CLK_TCK")
SERVERS = {"ours": [sys.executable, "-m", "ttp_mcp"], "bare": [sys.executable, str(HERE / "bare.py")]}
ENDPOINT_TOOLS = (
    "list_posts",
    "get_post",
    "create_post",
    "delete_post",
    "list_integrations",
    "optimal_times",
    "optimal_times_by_account",
    "next_optimal_time",
    "weekly_schedule",
    "engagement_summary",
    "presign_media",
)


@dataclass
class Server:
    """A running server, spoken to in JSON lines."""

    process: subprocess.Popen[bytes]
    last_id: int = 0

    def ask(self, method: str, **params: Any) -> tuple[dict[str, Any], int]:
        """A request: its result, and how many bytes the answer had."""
        self.last_id += 1
        self.tell(method, self.last_id, **params)
        while True:
            line = self.process.stdout.readline()
            answer = json.loads(line)
            if answer.get("id") == self.last_id:
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer["result"], len(line)

    def tell(self, method: str, request_id: int | None = None, /, **params: Any) -> None:
        """A notification, or a request when it has an id."""
        message = {"jsonrpc": "2.0", "method": method, "params": params} | ({"id": request_id} if request_id else {})
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def cpu_ms(self) -> float:
        """CPU time so far, from the scheduler's own count where there is one (nanoseconds), else in clock ticks."""
        schedstat = Path(f"/proc/{self.process.pid}/schedstat")
        tasks = Path(f"/proc/{self.process.pid}/task")
        if schedstat.exists():
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e6
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / TICKS


@contextmanager
def api(count: int) -> Iterator[str]:
    """The stand-in for the API with so many posts; its base URL."""
    process = subprocess.Popen([sys.executable, str(HERE / "api.py"), str(count)], stdout=subprocess.PIPE)
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/api"
    finally:
        process.kill()
        process.wait()


@contextmanager
def running(name: str, url: str, state: str) -> Iterator[Server]:
    """A server that has answered initialize."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"TTP_API_TOKEN": TOKEN, "TTP_API_URL": url, "TTP_STATE_DIR": state, "TTP_TIMEZONE": "Europe/Paris"}
    process = subprocess.Popen(
        SERVERS[name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    server = Server(process)
    try:
        server.ask(
            "initialize",
            protocolVersion="2025-11-25",
            capabilities={},
            clientInfo={"name": "benchmark", "version": "1"},
        )
        server.tell("notifications/initialized")
        yield server
    finally:
        process.stdin.close()
        process.wait()


def call(server: Server, tool: str, **arguments: Any) -> int:
    """Call a tool; bytes of the answer."""
    result, size = server.ask("tools/call", name=tool, arguments=arguments)
    if result.get("isError"):
        raise RuntimeError(result)
    return size


def measure_start(name: str, url: str, state: str) -> float:
    """CPU from start to the answer of tools/list, in ms."""
    with running(name, url, state) as server:
        server.ask("tools/list")
        return server.cpu_ms()


def measure_calls(name: str, url: str, state: str, tool: str, count: int, **arguments: Any) -> tuple[float, int]:
    """CPU of one call in ms, after two to warm up; bytes of an answer."""
    with running(name, url, state) as server:
        for _ in range(2):
            size = call(server, tool, **arguments)
        before = server.cpu_ms()
        for _ in range(count):
            call(server, tool, **arguments)
        return (server.cpu_ms() - before) / count, size


def report(title: str, rounds: list[tuple[float, float]], aim: float | None) -> dict[str, Any]:
    """Print medians and the ratio, and return them."""
    ours, bare = (statistics.median(values) for values in zip(*rounds, strict=True))
    ratios = [one / other for one, other in rounds]
    ratio = statistics.median(ratios)
    verdict = "" if aim is None else f", aim ≤ {aim}: {'met' if ratio <= aim else 'missed'}"
    print(
        f"{title:44} ours {ours:8.2f} ms  bare {bare:8.2f} ms  ratio {ratio:.2f} [{min(ratios):.2f}–{max(ratios):.2f}]{verdict}"
    )
    return {"title": title, "ours_ms": ours, "bare_ms": bare, "ratio": ratio, "aim": aim}


def sizes(url: str, state: str) -> dict[str, Any]:
    """Characters of the tool list: what a model reads, and all of it."""
    with running("ours", url, state) as server:
        tools = server.ask("tools/list")[0]["tools"]

    def characters(chosen: list[dict[str, Any]], keys: tuple[str, ...] | None) -> int:
        return sum(
            len(
                json.dumps(
                    {k: v for k, v in tool.items() if keys is None or k in keys},
                    ensure_ascii=False,
                    separators=(",", ":"),
                )
            )
            for tool in chosen
        )

    read = ("name", "title", "description", "inputSchema")
    eleven = [tool for tool in tools if tool["name"] in ENDPOINT_TOOLS]
    found = {
        "eleven_read": characters(eleven, read),
        "eleven_all": characters(eleven, None),
        "all_read": characters(tools, read),
        "all": characters(tools, None),
        "tools": len(tools),
    }
    print(
        f"tool list: eleven endpoint tools {found['eleven_read']} characters read (≤ 9,000), {found['eleven_all']} whole (≤ 18,000); "
        f"all {found['tools']} tools {found['all_read']} (≤ 14,000), {found['all']} (≤ 28,000)"
    )
    return found


def main() -> None:
    """Measure everything and keep the figures."""
    parser = argparse.ArgumentParser(description="Measure this server beside a bare SDK server.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as state, api(100) as few, api(10_000) as many:
        found = sizes(few, state)
        measure_start("ours", few, state), measure_start("bare", few, state)
        starts = [(measure_start("ours", few, state), measure_start("bare", few, state)) for _ in range(options.rounds)]
        results.append(report("start to tools/list", starts, 1.05))
        for tool, arguments in (("engagement_summary", {}), ("get_post", {"post_id": "cmb8x2k4p0031"})):
            rounds = [
                (
                    measure_calls("ours", few, state, tool, options.calls, **arguments)[0],
                    measure_calls("bare", few, state, tool, options.calls, **arguments)[0],
                )
                for _ in range(options.rounds)
            ]
            results.append(report(f"one {tool}", rounds, 0.85))
        lists: list[tuple[float, float]] = []
        for _ in range(options.rounds):
            ours, size = measure_calls("ours", many, state, "list_posts", 5)
            bare, bare_size = measure_calls("bare", many, state, "list_posts", 5)
            lists.append((ours, bare))
        results.append(report("list_posts over 10,000 posts", lists, 0.4))
        print(f"list_posts over 10,000 posts answers {size:,} bytes (≤ 25,000), bare {bare_size:,}")
    if options.json:
        options.json.write_text(
            json.dumps({"results": results, "tool_list": found, "list_bytes": size}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
