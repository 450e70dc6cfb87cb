"""Prometheus metrics in text format: calls, their duration, and writes by outcome. They contain no arguments and no users."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, cast

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from starlette.types import ASGIApp, Receive, Scope, Send

from ttp_mcp.api import Post
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import Outcome, Write
from ttp_mcp.transports.http.responses import send_rejection

PATH = "/metrics"
METHODS = ("GET",)
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
# Seconds, from a call that only reads the ledger to the longest that a call may take.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters since the start of this process."""

    def __init__(self, tools: frozenset[str], monotonic: Callable[[], float] = time.perf_counter) -> None:
        """Count calls of these tools by name; any other name is `unknown`, so that clients can't invent labels."""
        self.in_flight = 0
        self._tools = tools
        self._monotonic = monotonic
        self._calls: Counter[tuple[str, str]] = Counter()
        self._writes: Counter[tuple[str, str]] = Counter()
        self._within: Counter[tuple[str, float]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    async def measure_call(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """MCP middleware that measures tool calls."""
        if ctx.method != "tools/call":
            return await call_next(ctx)
        name = (ctx.params or {}).get("name")
        tool = name if isinstance(name, str) and name in self._tools else "unknown"
        started = self._monotonic()
        self.in_flight += 1
        outcome = "cancelled"
        try:
            result = await call_next(ctx)
            outcome = _outcome_of(result)
        except MCPError:
            outcome = "rejected"
            raise
        finally:
            self.in_flight -= 1
            self._count_call(tool, outcome, self._monotonic() - started)
        return result

    def count_write(self, write: Write, outcome: Outcome) -> None:
        """Count a write by its outcome."""
        self._writes[write.kind, outcome] += 1

    def render(self) -> str:
        """Render everything in Prometheus' text format."""
        lines = ["# HELP ttp_mcp_calls_total Calls of tools.", "# TYPE ttp_mcp_calls_total counter"]
        for (tool, outcome), count in sorted(self._calls.items()):
            lines.append(f'ttp_mcp_calls_total{{tool="{tool}",outcome="{outcome}"}} {count}')
        lines += ["# HELP ttp_mcp_call_seconds Time that calls of tools took.", "# TYPE ttp_mcp_call_seconds histogram"]
        for tool in sorted(self._seconds):
            total = sum(count for (name, _), count in self._calls.items() if name == tool)
            lines += [
                f'ttp_mcp_call_seconds_bucket{{tool="{tool}",le="{bound}"}} {self._within[tool, bound]}'
                for bound in BUCKETS
            ]
            lines.append(f'ttp_mcp_call_seconds_bucket{{tool="{tool}",le="+Inf"}} {total}')
            lines.append(f'ttp_mcp_call_seconds_sum{{tool="{tool}"}} {self._seconds[tool]:.6f}')
            lines.append(f'ttp_mcp_call_seconds_count{{tool="{tool}"}} {total}')
        lines += ["# HELP ttp_mcp_calls_in_flight Calls of tools under way.", "# TYPE ttp_mcp_calls_in_flight gauge"]
        lines.append(f"ttp_mcp_calls_in_flight {self.in_flight}")
        lines += ["# HELP ttp_mcp_writes_total Writes by outcome.", "# TYPE ttp_mcp_writes_total counter"]
        for (kind, outcome), count in sorted(self._writes.items()):
            lines.append(f'ttp_mcp_writes_total{{kind="{kind}",outcome="{outcome}"}} {count}')
        return "\n".join(lines) + "\n"

    def serve_page(self, app: ASGIApp) -> ASGIApp:
        """ASGI middleware that serves the metrics at their path."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"] == PATH:
                await send_rejection(send, 200, CONTENT_TYPE, self.render().encode())
            else:
                await app(scope, receive, send)

        return serve

    def _count_call(self, tool: str, outcome: str, seconds: float) -> None:
        self._calls[tool, outcome] += 1
        self._seconds[tool] += seconds
        for bound in BUCKETS:
            self._within[tool, bound] += seconds <= bound


class CountedLedger(Ledger):
    """A ledger that reports the outcome of each write."""

    on_outcome: Callable[[Write, Outcome], None]

    async def finish(self, write: Write, outcome: Outcome, post: Post | None = None, *, claim: bool = False) -> None:
        """Record the outcome, then report it."""
        await super().finish(write, outcome, post, claim=claim)
        self.on_outcome(write, outcome)


def _outcome_of(result: HandlerResult) -> str:
    """Outcome of a call, from its result as sent to the client."""
    answer = cast("dict[str, Any]", result)
    if answer.get("resultType") == "input_required":
        return "asked"
    return "error" if answer.get("isError") else "ok"
