"""A small, fast stand-in for the API on a loopback port, so that what is measured is the MCP server and not the sandbox."""

import asyncio
import hashlib
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from email.utils import formatdate

ACCOUNTS = [
    {
        "id": f"acc_{number}",
        "platform": platform,
        "name": "Harbor Café",
        "handle": f"@harbor{number}",
        "status": "connected",
    }
    for number, platform in enumerate(("instagram", "twitter", "linkedin", "tiktok"))
]


def post_id(number: int) -> str:
    """25 letters and digits, as the reference's ids begin; nearly none looks like a piece of a token."""
    value = int.from_bytes(hashlib.sha256(str(number).encode()).digest())
    return "cmb8" + "".join("0123456789abcdefghijklmnopqrstuvwxyz"[value // 36**place % 36] for place in range(21))


def post(number: int) -> dict[str, object]:
    """One post of about 450 bytes of JSON."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=37 * number)
    instant = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    status = ("published", "scheduled", "draft", "failed")[number % 4]
    account = ACCOUNTS[number % len(ACCOUNTS)]
    return {
        "id": post_id(number),
        "content": f"Post {number}: a cup of coffee, a quiet table, and a thing or two that we learned while roasting.",
        "platforms": [account["platform"]],
        "accountIds": [account["id"]],
        "status": status,
        "scheduledAt": instant,
        "publishedAt": instant if status == "published" else None,
        "createdAt": instant,
        "mediaUrls": [f"https://media.example/{number}.jpg"],
    }


def replies(count: int) -> dict[str, bytes]:
    """Bodies by path."""
    found = {
        "/api/posts": {"success": True, "posts": [post(number) for number in reversed(range(count))]},
        "/api/integrations": {"success": True, "integrations": ACCOUNTS},
        "/api/analytics/engagement-summary": {
            "success": True,
            "summary": {"likes": 1, "comments": 2, "shares": 3, "views": 4},
        },
    }
    return {path: json.dumps(body).encode() for path, body in found.items()}


async def serve(count: int) -> None:
    """Answer until the process is ended; prints the port first."""
    bodies = replies(count)
    one = json.dumps({"success": True, "post": post(7)}).encode()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                method, path, _ = head.split(b" ", 2)
                body = bodies.get(path.decode(), one) if method == b"GET" else one
                date = formatdate(usegmt=True).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    % (date, len(body))
                    + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
