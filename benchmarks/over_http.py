"""Calls over streamable HTTP beside plain SDK servers, in one run: calls per second and CPU of the server process per call.

    uv run --with httpx --with sniffio python benchmarks/over_http.py [--rounds 4] [--calls 200] [--clients 1 16 64] [--era 2026]

The plain servers are `benchmarks/bare.py` over the SDK's own streamable HTTP, stateless and with JSON answers: `httpx2` as it
stands there, and `httpx` with a shared client of that library, where it is installed. Rounds are interleaved; what counts is
the ratio within a round. Each client is a connection that sends its next call when it has its answer.
"""

import argparse
import asyncio
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from run import HERE, TOKEN, Server, api

HEADERS = {
    "2026": {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "get_post"},
    "2025": {"mcp-protocol-version": "2025-11-25"},
}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
}


def serve_bare(port: int, library: str) -> None:
    """Serve the plain server with a shared client of one of the two libraries."""
    import bare

    if library == "httpx":
        import httpx

        bare._client = httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"})
    bare.server.run("streamable-http", port=port, stateless_http=True, json_response=True)


def free_port() -> int:
    """A port that nobody listens to just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def running(name: str, url: str, state: str) -> Iterator[tuple[Server, int]]:
    """A server on a port that answers."""
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"TTP_API_TOKEN": TOKEN, "TTP_API_URL": url, "TTP_STATE_DIR": state, "TTP_TIMEZONE": "Europe/Paris"}
    ours = ["-m", "ttp_mcp", "--transport", "http", "--port", str(port)]
    arguments = ours if name == "ours" else [str(HERE / "over_http.py"), "--serve", name, str(port)]
    process = subprocess.Popen([sys.executable, *arguments], stderr=subprocess.DEVNULL, env=environment)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield Server(process), port
    finally:
        process.terminate()
        process.wait()


def request(port: int, era: str) -> bytes:
    """One call of a tool as bytes."""
    params = {"name": "get_post", "arguments": {"post_id": "cmb8x2k4p0031"}}
    params |= {"_meta": META} if era == "2026" else {}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    headers = {
        "host": f"127.0.0.1:{port}",
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **HEADERS[era],
    }
    return ("POST /mcp HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n").encode() + body


async def client(port: int, sent: bytes, left: list[int], times: list[float]) -> None:
    """Call until nothing is left, over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while left[0] > 0:
        left[0] -= 1
        began = time.perf_counter()
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(size)
        times.append(time.perf_counter() - began)
        if b" 200 " not in head[:20] or b'"isError":true' in body or b'"error"' in body:
            raise RuntimeError(body[:300])
    writer.close()


async def load(port: int, era: str, clients: int, calls: int) -> list[float]:
    """Make so many calls from so many clients; seconds of each."""
    sent, left, times = request(port, era), [calls], list[float]()
    await asyncio.gather(*(client(port, sent, left, times) for _ in range(clients)))
    return times


def measure(name: str, url: str, state: str, era: str, clients: int, calls: int) -> tuple[float, float, float]:
    """CPU ms of one call, calls per second, and the median time of a call in ms; after some to warm up."""
    with running(name, url, state) as (server, port):
        asyncio.run(load(port, era, clients, 2 * clients + 20))
        before, began = server.cpu_ms(), time.perf_counter()
        times = asyncio.run(load(port, era, clients, calls))
        seconds = time.perf_counter() - began
        return (server.cpu_ms() - before) / calls, calls / seconds, statistics.median(times) * 1000


def main() -> None:
    """Measure all servers with each number of clients."""
    parser = argparse.ArgumentParser(description="Measure this server over HTTP beside plain SDK servers.")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--era", choices=list(HEADERS), default="2026")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_bare(int(options.serve[1]), options.serve[0])
        return
    names = ["ours", "httpx2", *(["httpx"] if importlib.util.find_spec("httpx") else [])]
    print(
        "| clients | server | calls/s | ms a call, median | CPU ms a call | CPU, ours / this one |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as state, api(100) as url:
        for clients in options.clients:
            found = {name: list[tuple[float, float, float]]() for name in names}
            for _ in range(options.rounds):
                for name in names:
                    found[name].append(measure(name, url, state, options.era, clients, options.calls))
            for name in names:
                cpu, rate, wait = (statistics.median(values) for values in zip(*found[name], strict=True))
                ratios = [one[0] / other[0] for one, other in zip(found["ours"], found[name], strict=True)]
                spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}–{max(ratios):.2f}]"
                print(f"| {clients} | {name} | {rate:.0f} | {wait:.1f} | {cpu:.2f} | {spread} |", flush=True)
    print(
        f"\n{options.rounds} rounds of {options.calls} calls of get_post, protocol {options.era}; load {os.getloadavg()[0]:.1f}."
    )


if __name__ == "__main__":
    main()
