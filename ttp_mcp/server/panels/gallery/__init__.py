"""The panels with recorded data, to look at without a client. `ttp-mcp sandbox` serves them at /panels/."""

import json
from dataclasses import dataclass
from importlib.resources import files

from ttp_mcp.server.panels import PANELS

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Nothing from outside, as for a panel that declares no domain.
_PANEL_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "json": "application/json"}


@dataclass(frozen=True, slots=True)
class GalleryPage:
    """A file of the gallery, with its type and content security policy."""

    content: str
    media_type: str
    policy: str


def create_pages() -> dict[str, GalleryPage]:
    """Return the pages by their paths."""
    zone = json.loads(_read_file("recorded.json"))["zone"]
    views = {
        f"/panels/view/{panel.name}.html": GalleryPage(panel.render(zone), "text/html", _PANEL_POLICY)
        for panel in PANELS
    }
    names = ("gallery.css", "gallery.js", "recorded.json")
    return {"/panels/": _open_file("index.html"), **{f"/panels/{name}": _open_file(name) for name in names}, **views}


def _open_file(name: str) -> GalleryPage:
    return GalleryPage(_read_file(name), _TYPES[name.rpartition(".")[2]], _POLICY)


def _read_file(name: str) -> str:
    return files(__name__).joinpath(name).read_text("utf-8")
