"""Renders the page's templates. Jinja2 escapes every value; here is decided what a page may show at all."""

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from ttp_mcp.sandbox.page import text
from ttp_mcp.sandbox.page.queries import Visit
from ttp_mcp.sandbox.rest.platform_rules import NAMES

if TYPE_CHECKING:
    from jinja2 import Environment

# Name in the navigation, and part of the path.
SECTIONS = (
    ("Overview", ""),
    ("Week", "week"),
    ("Month", "month"),
    ("Drafts", "drafts"),
    ("Accounts", "accounts"),
    ("Media", "media"),
    ("Feeds", "feeds"),
    ("Best times", "best-times"),
    ("Activity", "activity"),
)


@dataclass(frozen=True, slots=True)
class Page:
    """A template, the title of the page, and the values that the template names."""

    template: str
    title: str
    values: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Pager:
    """The place of a page in a long list; `last` is None where it is not counted."""

    number: int
    has_newer: bool
    has_older: bool
    last: int | None = None


def create_pager(number: int, size: int, count: int) -> Pager:
    """Return the place of page `number` in a list of `count` entries."""
    last = max(1, -(-count // size))
    return Pager(number, has_newer=number > 1, has_older=number < last, last=last)


def render_page(page: Page, visit: Visit, *, section: str, style: str) -> str:
    """Render a page of an organization.

    Args:
        page: What it shows.
        visit: Whose workspace.
        section: Entry of the navigation that it belongs to.
        style: Path of the stylesheet.
    """
    template = _get_environment().get_template(page.template)
    return template.render(
        **page.values, visit=visit, title=page.title, section=section, sections=SECTIONS, style=style
    )


def render_notice(page: Page, *, style: str) -> str:
    """Render a page that belongs to no organization."""
    return _get_environment().get_template(page.template).render(**page.values, title=page.title, style=style)


def platform_name(platform: str) -> str:
    """Return the name of a platform as people write it."""
    return NAMES.get(platform, platform.capitalize())


@cache
def _get_environment() -> "Environment":
    # Imported when the first page is served: the API does not need it.
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup, escape

    def finalize(value: object) -> object:
        return value if isinstance(value, Markup) else text.to_plain(str(value))

    def isolate(value: str) -> Markup:
        return escape(text.to_showable(value))

    environment = Environment(
        loader=PackageLoader("ttp_mcp.sandbox.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    # Jinja2 types these as the union of its own filters and tests.
    filters, tests = (cast("dict[str, Any]", each) for each in (environment.filters, environment.tests))
    filters.update(
        isolated=isolate,
        stamp=text.to_stamp,
        utc=text.to_utc,
        day_name=text.day_name,
        first_words=text.first_words,
        count_of=text.count_of,
        file_size=text.file_size,
        platform_name=platform_name,
    )
    tests["followable"] = text.is_followable
    return environment
