"""Panels: HTML documents that clients with MCP Apps show beside a tool's answer.

Each is one file when served, joined from the parts in this folder. It has no other source: no library, no build step.
"""

from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from ttp_mcp import __version__

EXTENSION = "io.modelcontextprotocol/ui"
MIME_TYPE = "text/html;profile=mcp-app"

# Before the encoded URL of an image that no client can open, as those of the sandbox. It isn't listed: panels alone ask for it.
IMAGES = "ui://timetopost/images/"

# Before the encoded id of a post: its text in full, however long. It isn't listed either.
TEXTS = "ui://timetopost/texts/"

# Capability of a server with panels.
CAPABILITY = {"mimeTypes": [MIME_TYPE]}

_DOCUMENT = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body data-zone="{zone}" data-version="{version}">
<p id="said" class="hidden" role="status"></p>
<main></main>
<noscript>This panel needs scripts.</noscript>
<script>
"use strict";
(() => {{
{script}
}})();
</script>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel, and the files that it is made of, in order."""

    name: str
    title: str
    description: str
    styles: tuple[str, ...]
    scripts: tuple[str, ...]

    @property
    def uri(self) -> str:
        """The address of its resource."""
        return panel_uri(self.name)

    def render(self, zone: str) -> str:
        """Return the HTML document, for a server whose times are in `zone`."""
        return _DOCUMENT.format(
            title=escape(self.title),
            style="\n".join(map(_read_part, self.styles)),
            zone=escape(zone),
            version=escape(__version__),
            script="\n".join(map(_read_part, self.scripts)),
        )


_SHARED = ("host.js", "dom.js", "actions.js")

PANELS = (
    Panel(
        "calendar",
        "Calendar",
        "Weeks and months of posts: move, cancel and read them, and approve a plan.",
        ("base.css", "calendar.css"),
        (*_SHARED, "plan.js", "drag.js", "calendar.js"),
    ),
    Panel(
        "post",
        "Post preview",
        "A post as each platform shows it, with lengths, thread, media and problems: move, cancel and copy it.",
        ("base.css", "post.css"),
        (*_SHARED, "post.js"),
    ),
    Panel(
        "results",
        "Results",
        "The best times as a heat map, and charts of how posts did.",
        ("base.css", "results.css"),
        (*_SHARED, "results.js"),
    ),
)


def panel_uri(name: str) -> str:
    """Return the address of a panel's resource."""
    return f"ui://timetopost/{name}.html"


def describe_display(api_url: str) -> dict[str, Any]:
    """Return what a panel needs of its frame: pictures from the API's media host, and the clipboard. Nothing else from outside."""
    url = urlsplit(api_url)
    pictures = [f"https://media.{url.hostname}"] if url.scheme == "https" and url.hostname else []
    return {
        **({"csp": {"resourceDomains": pictures}} if pictures else {}),
        "permissions": {"clipboardWrite": {}},
        "prefersBorder": True,
    }


@cache
def _read_part(name: str) -> str:
    return files(__name__).joinpath(name).read_text("utf-8")
