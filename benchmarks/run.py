"""Start, memory, calls, tool list and a long list, beside a bare SDK server and a TypeScript SDK server, in one run.

    npm install --prefix benchmarks/typescript
    uv run python benchmarks/run.py [--rounds 7] [--calls 200] [--beside FOLDER]

Without the first command the TypeScript server is left out; with `--beside` the `ttp_mcp` in FOLDER, such as another checkout, is the only
other server. Each round measures all servers one after the other. Compare the ratios within a round: CPU time (user + system) of the
server process is steady, wall time on a busy machine isn't.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOKEN = "ttp_" + "0123456789abcdef" * 3
TICKS = os.sysconf("SC_CLK_TCK")
NODE = HERE / "typescript" / "node_modules" / ".bin" / "node"
OURS = [sys.executable, "-m", "ttp_mcp"]
SERVERS = {
    "ours": OURS,
    "off": OURS,
    "bare": [sys.executable, str(HERE / "bare.py")],
    "typescript": [str(NODE), str(HERE / "typescript" / "server.mjs")],
}
# The same server without the record of the handshake.
VARIABLES = {"off": {"TTP_FAST_START": "off"}}
POST = {"post_id": "cmb8x2k4p0031"}
IN_FLIGHT = 32
# Highest ratio to another server, by figure.
AIMS = {
    ("start, CPU", "bare"): 0.15,
    ("start, CPU", "typescript"): 1.0,
    ("first start ever, CPU", "off"): 1.05,
    ("start and first call, wall", "off"): 1.05,
    ("get_post, CPU", "bare"): 0.6,
    ("engagement_summary, CPU", "bare"): 0.6,
    (f"get_post, {IN_FLIGHT} in flight, CPU", "bare"): 0.5,
    ("list_posts over 10,000 posts, CPU", "bare"): 0.4,
}
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

    def ask_many(self, count: int, in_flight: int, method: str, **params: Any) -> None:
        """Send `count` requests, each as soon as fewer than `in_flight` are unanswered."""
        for number in range(count + in_flight):
            if number >= in_flight:
                answer = json.loads(self.process.stdout.readline())
                if "result" not in answer or answer["result"].get("isError"):
                    raise RuntimeError(answer)
            if number < count:
                self.last_id += 1
                self.tell(method, self.last_id, **params)

    def memory_mib(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

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
    environment |= VARIABLES.get(name, {})
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
        # Node waits for its idle connections.
        process.terminate()
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


def measure_calls(server: Server, tool: str, count: int, **arguments: Any) -> float:
    """CPU of one call in ms, after two to warm up."""
    for _ in range(2):
        call(server, tool, **arguments)
    before = server.cpu_ms()
    for _ in range(count):
        call(server, tool, **arguments)
    return (server.cpu_ms() - before) / count


def measure_session(name: str, url: str, state: str, calls: int) -> Iterator[tuple[str, float]]:
    """Figures of one session: its start, its first call, then warm calls. CPU and wall are in ms, memory in MiB."""
    began = time.perf_counter()
    with running(name, url, state) as server:
        server.ask("tools/list")
        yield "start, CPU", server.cpu_ms()
        yield "start, wall", (time.perf_counter() - began) * 1000
        yield "idle, memory", server.memory_mib()
        began_call = time.perf_counter()
        call(server, "get_post", **POST)
        yield "start and first call, CPU", server.cpu_ms()
        yield "start and first call, wall", (time.perf_counter() - began) * 1000
        yield "first call, wall", (time.perf_counter() - began_call) * 1000
        if name == "off":
            return
        yield "engagement_summary, CPU", measure_calls(server, "engagement_summary", calls)
        yield "get_post, CPU", measure_calls(server, "get_post", calls, **POST)
        before = server.cpu_ms()
        server.ask_many(calls, IN_FLIGHT, "tools/call", name="get_post", arguments=POST)
        yield f"get_post, {IN_FLIGHT} in flight, CPU", (server.cpu_ms() - before) / calls


def measure_list(name: str, url: str, state: str) -> Iterator[tuple[str, float]]:
    """Figures of list_posts over 10,000 posts."""
    with running(name, url, state) as server:
        yield "list_posts over 10,000 posts, CPU", measure_calls(server, "list_posts", 5)
        yield "list_posts over 10,000 posts, bytes", call(server, "list_posts")


Figures = dict[str, dict[str, list[float]]]


def measure_round(figures: Figures, names: list[str], few: str, many: str, state: str, calls: int) -> None:
    """Measure every server once and add its figures, by their title and the server's name."""

    def add(name: str, found: Iterator[tuple[str, float]]) -> None:
        for title, figure in found:
            figures.setdefault(title, {}).setdefault(name, []).append(figure)

    for name in names:
        add(name, measure_session(name, few, state, calls))
        if name == "off":
            with tempfile.TemporaryDirectory() as empty:
                add("ours", iter([("first start ever, CPU", measure_start("ours", few, empty))]))
                add("off", iter([("first start ever, CPU", measure_start("off", few, empty))]))
        else:
            add(name, measure_list(name, many, state))


def report(figures: Figures, names: list[str]) -> None:
    """Print a table of medians, and of the ratios within a round with their range."""
    print(f"| figure | {' | '.join(names)} | {' | '.join(f'ours / {name}' for name in names[1:])} |")
    print("|---" * 2 * len(names) + "|")
    for title, by_name in figures.items():
        medians = [f"{statistics.median(by_name[name]):,.1f}" if name in by_name else "" for name in names]
        ratios = [compare(title, by_name["ours"], name, by_name.get(name)) for name in names[1:]]
        print(f"| {title} | {' | '.join(medians + ratios)} |")


def compare(title: str, ours: list[float], name: str, others: list[float] | None) -> str:
    """Describe the ratio to another server, and whether it meets its aim."""
    if others is None:
        return ""
    ratios = [one / other for one, other in zip(ours, others, strict=True)]
    median, aim = statistics.median(ratios), AIMS.get((title, name))
    verdict = "" if aim is None else f", aim ≤ {aim}: {'met' if median <= aim else 'missed'}"
    return f"{median:.2f} [{min(ratios):.2f}–{max(ratios):.2f}]{verdict}"


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
    """Measure everything and print the figures."""
    parser = argparse.ArgumentParser(description="Measure this server beside plain SDK servers.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="compare only with the ttp_mcp in this folder")
    parser.add_argument("--json", type=Path, help="also write the figures of all rounds to this file")
    options = parser.parse_args()
    names = [name for name in SERVERS if name != "typescript" or NODE.exists()]
    if options.beside:
        names = ["ours", "beside"]
        SERVERS["beside"] = SERVERS["ours"]
        for name, folder in zip(names, (HERE.parent, options.beside), strict=True):
            VARIABLES[name] = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(folder.resolve())}
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as state, api(100) as few, api(10_000) as many:
        found = sizes(few, state)
        for name in names:
            measure_start(name, few, state)
        for _ in range(options.rounds):
            measure_round(figures, names, few, many, state, options.calls)
    report(figures, names)
    print(f"\n{options.rounds} rounds of {options.calls} calls; load {os.getloadavg()[0]:.1f}.")
    if options.json:
        options.json.write_text(json.dumps({"figures": figures, "tool_list": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
