"""Record tool answers of the demo workspace for the gallery of panels.

    python scripts/record_panels.py

Run it after a change of an answer that a panel shows, and look at the gallery (`ttp-mcp sandbox`, /panels/).
"""

import asyncio
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from mcp.client import Client

from ttp_mcp.config import Settings
from ttp_mcp.factory import create_server
from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.server.panels import IMAGES

FILE = Path(__file__).resolve().parents[1] / "ttp_mcp" / "server" / "panels" / "gallery" / "recorded.json"
NOW = datetime(2026, 11, 24, 8, 2, tzinfo=UTC)
ZONE = "Europe/Paris"
TEXT = "Our winter menu is here: pear tart, spiced buns and #cortado by @harbor.cafe. " * 4
POST = {"content": TEXT, "platforms": ["twitter", "linkedin", "instagram"], "scheduled_at": "2026-11-26T10:00"}
PLAN = [
    {"content": "Behind the bar: how we dial in a new roast.", "platforms": ["linkedin"], "scheduled_at": "2026-11-26T18:00"},
    {"content": "Advent opening hours, all in one picture.", "platforms": ["linkedin"], "scheduled_at": "2026-11-27T08:00"},
    {"content": "Saturday tasting: three filters, one table.", "platforms": ["linkedin"], "scheduled_at": "2026-11-28T10:00"},
]  # fmt: skip
FIGURES = ("impressions", "views", "likes", "comments", "shares", "saves", "clicks", "rate")
WINDOW = {"after": "2026-11-09", "before": "2026-12-20"}


async def record(client: Client) -> dict[str, Any]:
    """Call the tools, and return what the gallery needs."""

    async def call(tool: str, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool(tool, arguments)
        if result.is_error:
            raise SystemExit(f"{tool}: {result.content}")
        return result.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"meta"})

    found = await call("list_posts", **WINDOW, limit=100)
    # The text repeats the structured content, and panels read the latter.
    found["content"] = []
    posts = {each["id"]: await call("get_post", post_id=each["id"]) for each in found["structuredContent"]["posts"]}
    shown = next(
        each["id"] for each in found["structuredContent"]["posts"] if each["media"] and len(each["accounts"]) > 1
    )
    results = {name: await call("post_results", after="2026-10-01", limit=5, sort_by=name) for name in FIGURES}
    plan, check = await call("plan_posts", posts=PLAN), await call("check_post", **POST)
    proposed = {**POST, **check["structuredContent"]["proposed_thread"]}
    examples = [
        ("calendar", "Calendar", "calendar", "list_posts", {}, found),
        ("plan", "A plan", "calendar", "plan_posts", {"posts": PLAN}, plan),
        ("post", "A post", "post", "get_post", {"post_id": shown}, posts[shown]),
        ("check", "A check", "post", "check_post", POST, check),
        ("times", "Best times", "results", "optimal_times", {}, await call("optimal_times")),
        ("results", "Results", "results", "post_results", {"after": "2026-10-01", "limit": 5}, results["impressions"]),
        ("summary", "Engagement", "results", "engagement_summary", {}, await call("engagement_summary")),
    ]
    names = ("name", "title", "panel", "tool", "arguments", "result")
    return {
        "zone": ZONE,
        "examples": [dict(zip(names, each, strict=True)) for each in examples],
        "list": found,
        "posts": posts,
        "results": results,
        "calls": [
            {"tool": "check_post", "arguments": {"copy_of": shown}, "result": await call("check_post", copy_of=shown)},
            {"tool": "check_post", "arguments": proposed, "result": await call("check_post", **proposed)},
        ],
        "images": await record_images(client, posts),
    }


async def record_images(client: Client, posts: dict[str, Any]) -> dict[str, Any]:
    """Read the images of the posts, by the addresses under which panels ask for them."""
    urls = {url for post in posts.values() for url in post["structuredContent"]["media_urls"] if url.endswith(".png")}
    uris = [IMAGES + quote(url, safe="!'()*~-_.") for url in sorted(urls)]
    contents = {uri: (await client.read_resource(uri)).contents[0] for uri in uris}
    return {uri: each.model_dump(mode="json", by_alias=True, exclude_none=True) for uri, each in contents.items()}


async def main() -> None:
    """Record, and write the file."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(zone=ZoneInfo(ZONE), state_dir=Path(folder) / "state")
        with Sandbox(Path(folder) / "sandbox", clock=ManualClock(NOW)) as sandbox:
            runtime = create_server(settings, sandbox)
            async with Client(runtime.server) as client:
                recorded = await record(client)
            await runtime.aclose()
    FILE.write_text(json.dumps(recorded, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
