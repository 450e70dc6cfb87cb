"""An upload beside curl, over plain HTTP to a sink on this machine: speed, CPU, memory and how late the event loop is.

uv run python benchmarks/upload.py [--mib 1024] [--rounds 3]

Rounds are interleaved. Compare the ratios: the sink shares the machine, so GiB/s is the machine's.
"""

import argparse
import json
import os
import resource
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio
import psutil
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.http import Http
from ttp_mcp.credentials import Token
from ttp_mcp.media.files import open_below

MIB = 1024 * 1024
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def sink() -> None:
    """Read uploads and forget them, as fast as Python can; the port is the first line of output."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    buffer = bytearray(4 * MIB)
    while True:
        connection, _ = listener.accept()
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            head, _, body = head.partition(b"\r\n\r\n")
            left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]) - len(body)
            while left > 0 and (count := connection.recv_into(buffer)):
                left -= count
            connection.sendall(ANSWER)


async def ours(port: int, folder: Path) -> dict[str, float]:
    """One upload through the API client, in this process, which does nothing else."""

    async def presign(_):
        return JSONResponse(
            {
                "key": "k",
                "uploadUrl": f"http://127.0.0.1:{port}/k",
                "publicUrl": "https://m.example/k",
                "expiresIn": 300,
            }
        )

    async def progress(done: int, total: int) -> None:
        pass

    late: list[float] = []
    rss = [psutil.Process().memory_info().rss]

    async def watch() -> None:
        process = psutil.Process()
        while True:
            before = time.monotonic()
            await anyio.sleep(0.005)
            late.append(time.monotonic() - before - 0.005)
            rss.append(process.memory_info().rss)

    app = Starlette(routes=[Route("/api/media/presign", presign, methods=["POST"])])
    client = ApiClient(Http(base_url="http://api.localhost/api", token=Token("ttp_" + "0a" * 24), app=app))
    with open_below("film.mp4", [folder]) as file:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            await anyio.sleep(0.05)
            before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
            await client.media.upload("film.mp4", "video/mp4", file, progress)
            seconds = time.monotonic() - began
            after = resource.getrusage(resource.RUSAGE_SELF)
            tasks.cancel_scope.cancel()
        late.sort()
        return {
            "seconds": seconds,
            "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "grown": (max(rss) - rss[0]) / MIB,
            "late_p99": late[int(len(late) * 0.99)] * 1000,
            "late_max": late[-1] * 1000,
        }


def curl(port: int, path: Path) -> dict[str, float]:
    """The same with curl; its CPU holds its start too, which is a hundredth of it."""
    options = ["-sS", "-T", str(path), "-H", "Expect:", "-H", "Content-Type: video/mp4", "-o", os.devnull]
    shown = ["-w", "%{time_total} %{http_code}"]
    process = subprocess.Popen(
        ["curl", *options, *shown, f"http://127.0.0.1:{port}/k"],
        stdout=subprocess.PIPE,
    )
    told = process.stdout.read().split()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if told[1] != b"200":
        raise SystemExit("curl failed")
    return {"seconds": float(told[0]), "cpu": usage.ru_utime + usage.ru_stime}


def in_a_process_of_its_own(port: int, folder: Path) -> dict[str, float]:
    """So that memory and CPU are the upload's alone."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", str(port), str(folder)], stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def spread(values: list[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):6.2f} [{min(values):.2f}-{max(values):.2f}]"


def measure(size: int, rounds: int) -> None:
    """Interleaved rounds, then the table."""
    sinking = subprocess.Popen([sys.executable, __file__, "--sink"], stdout=subprocess.PIPE)
    port = int(sinking.stdout.readline())
    try:
        with tempfile.TemporaryDirectory(prefix="upload-") as name:
            path = Path(name) / "film.mp4"
            with path.open("wb") as file:
                file.write(struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0))
                file.truncate(size)
            in_a_process_of_its_own(port, path.parent), curl(port, path)
            pairs = [(in_a_process_of_its_own(port, path.parent), curl(port, path)) for _ in range(rounds)]
    finally:
        sinking.terminate()
        sinking.wait()
    gib = size / 1024**3
    mine, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    print(f"{size // MIB} MiB over plain HTTP, {rounds} rounds, load {os.getloadavg()[0]:.1f}: median [least-most]")
    for label, runs in (("upload_media", mine), ("curl", theirs)):
        speed = spread([gib / run["seconds"] for run in runs])
        print(f"  {label:13} {speed} GiB/s  {spread([run['cpu'] / gib for run in runs])} CPU s/GiB")
    print(f"  speed / curl  {spread([b['seconds'] / a['seconds'] for a, b in pairs])}")
    print(f"  CPU / curl    {spread([a['cpu'] / b['cpu'] for a, b in pairs])}")
    print(f"  memory grown  {spread([run['grown'] for run in mine])} MiB")
    print(
        f"  loop late     {spread([run['late_p99'] for run in mine])} ms p99, {spread([run['late_max'] for run in mine])} ms most"
    )


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    if sys.argv[1:2] == ["--sink"]:
        sink()
    elif sys.argv[1:2] == ["--one"]:
        print(json.dumps(anyio.run(ours, int(sys.argv[2]), Path(sys.argv[3]))))
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--mib", type=int, default=1024)
        parser.add_argument("--rounds", type=int, default=3)
        asked = parser.parse_args()
        measure(asked.mib * MIB, asked.rounds)


if __name__ == "__main__":
    main()
