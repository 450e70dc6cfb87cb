"""An API for as many users as there are tokens: everything it answers carries a mark of the token that asked."""

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace

import anyio

from ttp_mcp.sandbox import ManualClock


def make_mark(token: str) -> str:
    """The mark that everything of one user carries."""
    return hashlib.sha256(token.encode()).hexdigest()[:20]


def make_token(number: int) -> str:
    """The token of a user."""
    return f"ttp_{number:048x}"


class Upstream:
    """Stands where the sandbox does. `asked` counts requests by token and `methods` by method, `before` is awaited by each of them."""

    def __init__(self, own_token: str = "ttp_" + "f" * 48, before=None, clock=None) -> None:
        self.token = own_token
        self.asked: Counter[str] = Counter()
        self.methods: Counter[str] = Counter()
        self.api_url = "http://api.localhost/api"
        self.clock = clock or ManualClock(datetime(2026, 11, 24, 8, 2, tzinfo=UTC))
        self.storage_app = None
        self.storage = SimpleNamespace(read_image=None)
        self._before = before or anyio.lowlevel.checkpoint

    async def app(self, scope, receive, send):
        """Answer lists with one entry, and everything else with one post."""
        token = dict(scope["headers"])[b"authorization"].decode().removeprefix("Bearer ")
        self.asked[token] += 1
        self.methods[scope["method"]] += 1
        await self._before()
        mark = make_mark(token)
        post = {
            "id": f"post-{mark}",
            "content": f"text of {mark}",
            "status": "scheduled",
            "platforms": ["twitter"],
            "scheduledAt": "2026-11-25T10:00:00Z",
        }
        path = scope["path"].removeprefix("/api")
        answer = {
            "/posts": [post],
            "/integrations": [{"id": f"acc-{mark}", "platform": "twitter", "name": f"name {mark}", "handle": mark}],
        }.get(path, post)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
