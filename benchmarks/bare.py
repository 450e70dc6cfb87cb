"""A bare SDK server with the same eleven endpoints on the same HTTP client, as one would write it in an afternoon: the yardstick."""

import os
from typing import Any

import httpx2
from mcp.server.mcpserver import MCPServer

server = MCPServer("bare", log_level="WARNING")
_client: httpx2.AsyncClient | None = None


def client() -> httpx2.AsyncClient:
    """One client for all calls, made on the first."""
    global _client
    if _client is None:
        _client = httpx2.AsyncClient(headers={"Authorization": f"Bearer {os.environ['TTP_API_TOKEN']}"})
    return _client


async def get(path: str, **query: Any) -> dict[str, Any]:
    """A reply of the API, passed on."""
    answer = await client().get(os.environ["TTP_API_URL"] + path, params=query)
    answer.raise_for_status()
    return answer.json()


@server.tool()
async def list_posts() -> dict[str, Any]:
    """List all posts."""
    return await get("/posts")


@server.tool()
async def get_post(post_id: str) -> dict[str, Any]:
    """Get one post."""
    return await get(f"/posts/{post_id}")


@server.tool()
async def create_post(
    content: str,
    account_ids: list[str] | None = None,
    platforms: list[str] | None = None,
    media_urls: list[str] | None = None,
    thread: list[str] | None = None,
    scheduled_at: str | None = None,
) -> dict[str, Any]:
    """Create a post."""
    body = {"content": content, "accountIds": account_ids, "platforms": platforms, "mediaUrls": media_urls}
    body |= {"thread": thread, "scheduledAt": scheduled_at}
    answer = await client().post(os.environ["TTP_API_URL"] + "/posts", json={k: v for k, v in body.items() if v})
    return answer.json()


@server.tool()
async def delete_post(post_id: str) -> dict[str, Any]:
    """Delete a post."""
    return (await client().delete(f"{os.environ['TTP_API_URL']}/posts/{post_id}")).json()


@server.tool()
async def list_integrations() -> dict[str, Any]:
    """List the accounts."""
    return await get("/integrations")


@server.tool()
async def optimal_times(platform: str | None = None) -> dict[str, Any]:
    """Best times."""
    return await get("/analytics/optimal-times", **({"platform": platform} if platform else {}))


@server.tool()
async def optimal_times_by_account() -> dict[str, Any]:
    """Best times by account."""
    return await get("/analytics/optimal-times/by-account")


@server.tool()
async def next_optimal_time() -> dict[str, Any]:
    """Next best time."""
    return await get("/analytics/next-optimal-time")


@server.tool()
async def weekly_schedule() -> dict[str, Any]:
    """Weekly schedule."""
    return await get("/analytics/weekly-schedule")


@server.tool()
async def engagement_summary() -> dict[str, Any]:
    """Engagement."""
    return await get("/analytics/engagement-summary")


@server.tool()
async def presign_media(filename: str, content_type: str, size: int) -> dict[str, Any]:
    """Presign an upload."""
    body = {"filename": filename, "contentType": content_type, "size": size}
    return (await client().post(os.environ["TTP_API_URL"] + "/media/presign", json=body)).json()


if __name__ == "__main__":
    server.run("stdio")
