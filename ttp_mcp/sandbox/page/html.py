"""HTML elements that escape by construction: there is no way to put text into a page as markup.

    element("p", "Posted by ", foreign(name), class_="byline")

Text is escaped wherever it stands, an address must be http(s) or a path of this site, and what could run or style is refused.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Union

# Codes below space (but tab and newline), DEL, the C1 range, and halves of characters that UTF-8 can't carry.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Embeddings, overrides and isolates: they would reorder the words around them.
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")

_NAME = re.compile(r"[a-z][a-z0-9]*")
_ATTRIBUTE = re.compile(r"[a-z][a-zA-Z0-9-]*")
_REFUSED = frozenset({"script", "style", "iframe", "object", "embed", "base", "template", "noscript"})
_VOID = frozenset({"br", "hr", "img", "link", "meta", "wbr"})
_ADDRESSES = frozenset({"href", "src"})
_ADDRESS = re.compile(r"(?:https?://[^\s\\/?#][^\s\\]*|/(?![/\\])[^\s\\]*|#[^\s\\]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Markup:
    """Finished HTML. Only this module makes it."""

    html: str


Child = Union[str, Markup, None, Iterable["Child"]]  # noqa: UP007 - a recursive alias can't be written with | before 3.12
Value = str | int | bool | None


def element(name: str, /, *children: Child, **attributes: Value) -> Markup:
    """One element.

    Args:
        name: Its tag.
        children: Text, elements, lists of these; None is left out.
        attributes: `class_` stands for `class`, `aria_label` for `aria-label`. None and False leave an attribute out, True
            gives it no value. An address that is neither http(s) nor a path of this site is left out.

    Raises:
        ValueError: The tag or attribute is one that a page of ours never has: scripts, styles, event handlers.
    """
    if not _NAME.fullmatch(name) or name in _REFUSED:
        raise ValueError(f"no such element: {name}")
    written = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{_inner(children)}</{name}>")


def user_text(text: str, name: str = "bdi", /, **attributes: Value) -> Markup:
    """Text that others wrote, in an element of its own that takes its direction from the text.

    Whatever direction it sets, overrides or leaves open ends with the element.
    """
    opening = element(name, dir="auto", **attributes).html.removesuffix(f"</{name}>")
    return Markup(f"{opening}{escape(_UNSHOWABLE.sub('', text))}</{name}>")


def join_children(*children: Child) -> Markup:
    """Several pieces as one, without an element around them."""
    return Markup(_inner(children))


def document(*children: Child, lang: str = "en") -> str:
    """A whole page as text."""
    return f"<!doctype html>\n{element('html', *children, lang=lang).html}\n"


def plain(text: str) -> str:
    """Text for places that can't isolate a direction (titles, labels): nothing unshowable, nothing that reorders."""
    return _REORDERING.sub("", _UNSHOWABLE.sub("", text))


def is_address(text: str) -> bool:
    """Whether text may be followed as a link: http(s), or a path or fragment of this site."""
    return _ADDRESS.fullmatch(text) is not None


def _inner(children: Iterable[Child]) -> str:
    pieces: list[str] = []
    for child in children:
        if isinstance(child, Markup):
            pieces.append(child.html)
        elif isinstance(child, str):
            pieces.append(escape(plain(child)))
        elif child is not None:
            pieces.append(_inner(child))
    return "".join(pieces)


def _attribute(name: str, value: Value) -> str:
    if not _ATTRIBUTE.fullmatch(name) or name.startswith("on") or name in ("style", "srcdoc", "srcset"):
        raise ValueError(f"no such attribute: {name}")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    text = plain(str(value))
    if name in _ADDRESSES and not is_address(text):
        return ""
    return f' {name}="{escape(text)}"'
