"""What the guards cost: CPU of a read, of a write and of a start, with them and without, in one run; and commits of a write.

    uv run python benchmarks/price.py [--rounds 9] [--calls 200]

Everything is CPU time of the server process in interleaved rounds, and what is quoted is the median of the rounds' ratios.
"Without" exists here alone: the same server, in which the ledger keeps nothing, writes are not shielded, requests go out
without queue, hold, deadline, budget and repeats, bodies are read without a limit, the clock is not
learned, and texts are neither cleaned nor redacted. What is not taken away: the checks of arguments, the stdio transport
(which is cheaper than the SDK's) and the fences.
"""

import argparse
import asyncio
import importlib
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import run as beside

HERE = Path(__file__)
SERVERS = {
    "with": [sys.executable, str(HERE), "--serve-with"],
    "without": [sys.executable, str(HERE), "--serve-without"],
}
# Servers started anew for each figure of a read, since two processes of one program differ by a few hundredths.
PAIRS = 4
# Nobody can be asked here, and the limits of an hour must not end a round.
# A replayed handshake would hide what a start costs.
ENVIRONMENT = {"TTP_CONFIRM": "off", "TTP_FAST_START": "off"}


def everywhere(original: Any, instead: Any) -> None:
    """Replace a function in every module of ours that has it by name."""
    for name, module in list(sys.modules.items()):
        if name.startswith("ttp_mcp"):
            for attribute, value in list(vars(module).items()):
                if value is original:
                    setattr(module, attribute, instead)


def remove_guards() -> None:
    """Take the guards out of this process."""
    import ttp_mcp.cli.serve
    import ttp_mcp.factory
    import ttp_mcp.logs
    import ttp_mcp.writes.startup_report
    from ttp_mcp import credentials, text
    from ttp_mcp.api import clock, http
    from ttp_mcp.ledger.store import sqlite
    from ttp_mcp.writes import in_flight

    def same(value: Any, *_: Any) -> Any:
        return value

    def nothing(*_: Any, **__: Any) -> None:
        return None

    def never(_: Any) -> bool:
        return False

    class Nowhere:
        """A store that keeps nothing."""

        def __init__(self, *_: Any, **__: Any) -> None:
            """Nothing to open."""

        async def get(self, *_: Any) -> dict[str, Any]:
            return {}

        async def list_recent(self, *_: Any) -> list[Any]:
            return []

        async def commit(self, *_: Any) -> str:
            return "done"

        async def aclose(self) -> None:
            """Nothing to close."""

    async def request(self: http.Http, method: str, path: str, route: str, *, body: Any = None, **_: Any) -> Any:
        return await self._exchange(self._build_request(method, path, route, self.token, body, big=True))

    async def whole(_: http.Http, response: Any, __: int) -> bytes:
        return b"".join([chunk async for chunk in response.body])

    async def at_once(_: in_flight.InFlight, write: Callable[[Any], Any]) -> Any:
        return await write(in_flight.Caller())

    async def no_report(*_: Any, **__: Any) -> None:
        return None

    sqlite.SqliteStore = Nowhere
    in_flight.InFlight.run_detached = at_once
    http.Http.request = request
    http.Http._read_body = whole
    clock.ApiClock.learn = nothing
    everywhere(credentials.redact, same)
    everywhere(credentials.redact_tokens, same)
    everywhere(credentials.may_hold_token, never)
    everywhere(text.clean_text, same)
    everywhere(ttp_mcp.writes.startup_report.report_unfinished_writes, no_report)
    ttp_mcp.process.forbid_core_dumps = nothing


def serve(*, with_guards: bool) -> int:
    """The server over stdio, as `ttp-mcp` runs it."""
    # What is taken away has to be loaded first, so it is loaded in both.
    importlib.import_module("ttp_mcp.cli.serve")
    importlib.import_module("ttp_mcp.ledger.store.sqlite")
    importlib.import_module("ttp_mcp.factory")
    if not with_guards:
        remove_guards()
    from ttp_mcp.cli import main

    sys.argv = ["ttp-mcp"]
    return main()


def measure_reads(
    url: str, state: str, tool: str, count: int, rounds: int, arguments: dict[str, Any]
) -> list[tuple[float, float]]:
    """CPU of one call in ms, with and without, in turns of so many calls while both servers run."""

    def turn(server: beside.Server) -> float:
        before = server.cpu_ms()
        for _ in range(count):
            beside.call(server, tool, **arguments)
        return (server.cpu_ms() - before) / count

    with beside.running("with", url, state) as guarded, beside.running("without", url, state) as bare:
        turn(guarded), turn(bare)
        return [(turn(guarded), turn(bare)) for _ in range(rounds)]


def measure_writes(name: str, url: str, state: str, count: int) -> float:
    """CPU of one draft created in ms, each with a text of its own."""
    with beside.running(name, url, state) as server:
        for number in range(count + 2):
            if number == 2:
                before = server.cpu_ms()
            beside.call(server, "create_post", content=f"{os.urandom(8).hex()} {number}", account_ids=["acc_2"])
        return (server.cpu_ms() - before) / count


def report(title: str, rounds: list[tuple[float, float]], aim: float | None = None) -> None:
    """Print medians and the ratio."""
    guarded, bare = (statistics.median(values) for values in zip(*rounds, strict=True))
    ratios = [one / other for one, other in rounds]
    ratio = statistics.median(ratios)
    verdict = "" if aim is None else f", aim ≤ {aim}: {'met' if ratio <= aim else 'missed'}"
    print(
        f"{title:32} with {guarded:7.3f} ms  without {bare:7.3f} ms  more {guarded - bare:+7.3f} ms  "
        f"ratio {ratio:.3f} [{min(ratios):.2f}–{max(ratios):.2f}]{verdict}"
    )


async def order_of_commits() -> None:
    """What SQLite is told and what the API is sent, in order, for a create and a delete."""
    from ttp_mcp.api import PostCreate
    from ttp_mcp.api.client import ApiClient
    from ttp_mcp.api.http import Http
    from ttp_mcp.credentials import Token
    from ttp_mcp.ledger.ledger import Ledger
    from ttp_mcp.ledger.store.sqlite import SqliteStore
    from ttp_mcp.sandbox import Sandbox
    from ttp_mcp.writes.writer import Writer

    order: list[str] = []
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            if scope["method"] != "GET":
                order.append(scope["method"])
            await sandbox.app(scope, receive, send)

        state = SqliteStore(Path(folder))
        api = ApiClient(Http(base_url=sandbox.api_url, token=Token(sandbox.token), app=watched))
        await state.aclose()
        account = (await api.integrations.list())[0].id
        writes = Writer(api, Ledger(state, "price"))
        await writes.create(PostCreate("first", account_ids=(account,)), tool="price")
        state._open["write"].set_trace_callback(
            lambda statement: order.append("commit") if statement.startswith("COMMIT") else None
        )
        order.clear()
        created = await writes.create(PostCreate("second", account_ids=(account,)), tool="price")
        order.append("|")
        await writes.delete(created.post_id or "", tool="price", post=created.post)
        await api.aclose()
        await state.aclose()
    print("durable commits, in order:", " ".join(order))


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description="Measure what the guards cost.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=200)
    options = parser.parse_args()
    beside.SERVERS = SERVERS
    os.environ |= ENVIRONMENT
    asyncio.run(order_of_commits())
    with tempfile.TemporaryDirectory() as state, beside.api(100) as few, beside.api(2_000) as many:

        def rounds(measure: Callable[[str], float]) -> list[tuple[float, float]]:
            measure("with"), measure("without")
            return [(measure("with"), measure("without")) for _ in range(options.rounds)]

        report("start to tools/list", rounds(lambda name: beside.measure_start(name, few, state)))
        for title, tool, url, count, arguments in (
            ("one get_post", "get_post", few, options.calls, {"post_id": "cmb8x2k4p0031"}),
            ("one engagement_summary", "engagement_summary", few, options.calls, {}),
            ("one list_posts of 100", "list_posts", few, options.calls // 2, {}),
            ("one list_posts of 2,000", "list_posts", many, 20, {}),
        ):
            pairs = [
                pair for _ in range(PAIRS) for pair in measure_reads(url, state, tool, count, options.rounds, arguments)
            ]
            report(title, pairs, 1.05)
        report("one create_post of a draft", rounds(lambda name: measure_writes(name, few, state, options.calls)))


if __name__ == "__main__":
    if sys.argv[1:2] in (["--serve-with"], ["--serve-without"]):
        sys.exit(serve(with_guards=sys.argv[1] == "--serve-with"))
    main()
