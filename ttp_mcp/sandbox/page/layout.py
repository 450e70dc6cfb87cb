"""What every page has in common: the frame around it, and the small pieces that recur."""

from collections.abc import Sequence
from datetime import date, datetime

from ttp_mcp.sandbox.clock import from_ms
from ttp_mcp.sandbox.page.html import Child, Markup, document, element, is_address, join_children, user_text
from ttp_mcp.sandbox.page.queries import Card, File, Target, Visit
from ttp_mcp.sandbox.rest.platform_rules import NAMES

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#0b6e6e"/>'
    '<path d="M8 12h16M11 7v4M21 7v4M12 19l3 3 6-6" fill="none" stroke="#fff" stroke-width="2.5" stroke-linecap="round"/></svg>'
)

# Word and shape of each status; the colour is the stylesheet's. Shapes are drawn in a square of 16.
STATUSES = {
    "draft": ("Draft", "M8 2.2a5.8 5.8 0 1 1 0 11.6A5.8 5.8 0 0 1 8 2.2z"),
    "scheduled": ("Scheduled", "M8 2.2a5.8 5.8 0 1 1 0 11.6A5.8 5.8 0 0 1 8 2.2zM8 4.8V8l2.4 1.6"),
    "publishing": ("Publishing", "M8 13.5v-11M3.8 6.7 8 2.5l4.2 4.2"),
    "published": ("Published", "M2.8 8.6l3.6 3.6 6.8-8"),
    "partial": ("Partial", "M8 2.2 14.2 13.4H1.8zM8 6.4v3M8 11.4v.1"),
    "failed": ("Failed", "M3.6 3.6l8.8 8.8M12.4 3.6l-8.8 8.8"),
    "pending": ("Waiting", "M8 2.2a5.8 5.8 0 1 1 0 11.6A5.8 5.8 0 0 1 8 2.2zM8 4.8V8l2.4 1.6"),
}

# Two letters for each platform; the others take the first two of their key.
_MARKS = {"twitter": "X", "instagram": "Ig", "tiktok": "Tt", "linkedin": "in", "pinterest": "Pi"}

_PAGES = (
    ("Overview", ()),
    ("Week", ("week",)),
    ("Month", ("month",)),
    ("Drafts", ("drafts",)),
    ("Accounts", ("accounts",)),
    ("Media", ("media",)),
    ("Feeds", ("feeds",)),
    ("Best times", ("best-times",)),
    ("Activity", ("activity",)),
)


def framed(visit: Visit, title: str, *content: Child, here: str = "", style: str) -> str:
    """A page of an organization.

    Args:
        visit: Whose workspace.
        title: Of the page; its one first heading is in the content.
        content: What stands in the middle.
        here: Name of the entry in the navigation that the page belongs to.
        style: Path of the stylesheet.
    """
    local = visit.now.astimezone(visit.organization.zone)
    switch = element(
        "nav",
        element("p", "Workspace", class_="label"),
        element("ul", [_organization(visit, entry.id, entry.name) for entry in visit.organizations]),
        aria_label="Workspace",
        class_="workspaces",
    )
    pages = element(
        "nav",
        element("ul", [element("li", _entry(visit, name, parts, here)) for name, parts in _PAGES]),
        aria_label="Pages",
        class_="pages",
    )
    foot = element(
        "footer",
        f"Simulated present: {local:%A}, {day_name(local)} {local.year}, {local:%H:%M} in {visit.organization.zone.key}. "
        "Times on this page are in that zone. Everything here is local and invented: no network was told anything.",
    )
    return document(
        _head(f"{title} · {visit.organization.name}", style),
        element(
            "body",
            element("a", "Skip to the content", href="#content", class_="skip"),
            _banner(element("time", f"{local:%a} {day_name(local)}, {local:%H:%M}", datetime=stamp(visit.now))),
            element(
                "div",
                element("header", _brand(), switch, pages, class_="side"),
                element("main", *content, id="content", tabindex="-1"),
                class_="frame",
            ),
            foot,
        ),
    )


def bare(title: str, *content: Child, style: str) -> str:
    """A page that belongs to no organization: a refusal."""
    return document(
        _head(title, style),
        element(
            "body",
            _banner(None),
            element("div", element("main", element("h1", title), *content, id="content"), class_="frame single"),
        ),
    )


def _head(title: str, style: str) -> Markup:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="robots", content="noindex"),
        element("title", f"{title} · TimeToPost sandbox"),
        element("link", rel="icon", type="image/svg+xml", href="/page/icon.svg"),
        element("link", rel="stylesheet", href=style),
    )


def _banner(time: Markup | None) -> Markup:
    words = join_children(element("strong", "Sandbox"), " – nothing here is public")
    present = element("span", "Simulated time: ", time) if time else None
    return element("p", element("span", words), present, class_="banner")


def _brand() -> Markup:
    return element(
        "p", element("img", src="/page/icon.svg", alt="", width=28, height=28), "TimeToPost sandbox", class_="brand"
    )


def _organization(visit: Visit, organization_id: str, name: str) -> Markup:
    current = "true" if organization_id == visit.organization.id else None
    return element("li", element("a", user_text(name), href=f"/o/{organization_id}", aria_current=current))


def _entry(visit: Visit, name: str, parts: Sequence[str], here: str) -> Markup:
    return element("a", name, href=visit.path(*parts), aria_current="page" if name == here else None)


def status_mark(status: str) -> Markup:
    """A status as shape, word and colour."""
    word, shape = STATUSES.get(status, (status, STATUSES["draft"][1]))
    drawing = element("svg", element("path", d=shape), viewBox="0 0 16 16", aria_hidden="true", class_="shape")
    known = status if status in STATUSES else "draft"
    return element("span", drawing, word, class_=f"status s-{known}")


def platform_name(platform: str) -> str:
    """A platform as people call it."""
    return NAMES.get(platform, platform.capitalize())


def platform_mark(platform: str) -> Markup:
    """A platform as two letters, with its name for those who don't see them."""
    mark = _MARKS.get(platform, platform[:2].capitalize())
    return join_children(
        element("span", mark, class_=f"mark p-{platform if platform in _MARKS else 'other'}", aria_hidden="true"),
        element("span", f"{platform_name(platform)} ", class_="hidden"),
    )


def targets_line(targets: Sequence[Target], most: int = 4) -> Markup:
    """The accounts of a post in one line."""
    shown = [
        element("li", platform_mark(target.platform), user_text(target.name, class_="name"), class_="target")
        for target in targets[:most]
    ]
    more = element("li", f"and {len(targets) - most} more", class_="target") if len(targets) > most else None
    return element("ul", shown, more, class_="targets", aria_label="Accounts")


def card(visit: Visit, post: Card, *, level: str = "h3", dated: bool = False) -> Markup:
    """A post at a glance, which leads to its page."""
    when: Child = "No time yet"
    if post.at is not None:
        local = visit.local(post.at)
        text = f"{local:%a} {day_name(local)}, {local:%H:%M}" if dated else f"{local:%H:%M}"
        when = element("time", text, datetime=stamp(local))
    title = element("a", user_text(first_words(post.text)), href=visit.path("posts", post.id))
    return element(
        "article",
        element("p", element("span", when, class_="when"), status_mark(post.status), class_="cardhead"),
        element(
            "div",
            element(level, title, class_="words"),
            thumbnail(post.files),
            class_="cardbody",
        ),
        element("p", f"Thread of {post.parts + 1}", class_="note") if post.parts else None,
        targets_line(post.targets),
        class_=f"card c-{post.status if post.status in STATUSES else 'draft'}",
    )


def thumbnail(files: Sequence[File]) -> Markup | None:
    """The first picture of a post, small. The words beside it say what the post is, so it has no text of its own."""
    for file in files:
        if file.kind == "image":
            return element("img", src=file.url, alt="", width=56, height=56, loading="lazy", class_="thumb")
    return element("span", "video" if files[0].kind == "video" else "file", class_="thumb") if files else None


def gallery(files: Sequence[File]) -> Markup | None:
    """The files of a post, in full."""
    return element("ul", [element("li", figure(file)) for file in files], class_="gallery") if files else None


def figure(file: File, *extra: Child) -> Markup:
    """One file: what it looks like when it lies here, and its name with a link."""
    picture = element("span", "File elsewhere, not loaded", class_="tile")
    if file.kind == "image":
        picture = element("img", src=file.url, alt=file.name, width=240, height=240, loading="lazy", class_="tile")
    elif file.kind == "video":
        picture = element("video", src=file.url, controls=True, preload="metadata", class_="tile", aria_label=file.name)
    caption = element("figcaption", outward(file.url, file.name), *extra)
    return element("figure", picture, caption)


def outward(url: str, text: str) -> Markup:
    """A link that leaves the page, or only its text when the address is none to follow."""
    return element("a", user_text(text), href=url, rel="noopener noreferrer") if is_address(url) else user_text(text)


def time_of(visit: Visit, at: int) -> Markup:
    """An instant in the organization's zone, with its weekday."""
    local = visit.local(at)
    year = "" if local.year == visit.now.astimezone(visit.organization.zone).year else f" {local.year}"
    return element("time", f"{local:%a} {day_name(local)}{year}, {local:%H:%M}", datetime=stamp(local))


def stamp(instant: datetime) -> str:
    """An instant for machines."""
    return instant.isoformat(timespec="seconds")


def utc(at: int) -> str:
    """An instant in UTC, for people who compare it with an answer of the API."""
    return f"{from_ms(at):%Y-%m-%d %H:%M:%S} UTC"


def day_name(day: date) -> str:
    """24 Nov."""
    return f"{day.day} {day:%b}"


def first_words(text: str, most: int = 140) -> str:
    """The beginning of a text in one line."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most].rstrip()}…"


def count_of(number: int, one: str, many: str | None = None) -> str:
    """1 post, 2 posts, 1,200 posts."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def empty(title: str, *words: Child) -> Markup:
    """What stands where nothing is yet."""
    return element("div", element("p", title, class_="emptytitle"), element("p", *words), class_="empty")


def pager(path: str, number: int, size: int, count: int) -> Markup | None:
    """Links to the pages before and after, when one does not hold all."""
    last = max(1, -(-count // size))
    if number == last == 1:
        return None
    before = element("a", "Newer" if number > 1 else None, href=f"{path}?page={number - 1}") if number > 1 else None
    after = element("a", "Older", href=f"{path}?page={number + 1}") if number < last else None
    place = element("span", f"Page {number:,} of {last:,}")
    return element("nav", before, place, after, aria_label="More", class_="pager")
