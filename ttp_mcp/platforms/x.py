"""X's weighted length, by the rules X publishes: twitter-text, configuration version 3.

Limits: the names accepted at the end of a link without a protocol are the published list of 2021; an emoji joined from parts
that no vendor draws as one is counted as one emoji.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from ttp_mcp.platforms.graphemes import character_data, emoji_pattern

LIMIT = 280
LINK_LENGTH = 23
EMOJI_LENGTH = 2
MOST_LINK_CHARACTERS = 4096
MOST_LABEL_CHARACTERS = 63
MOST_SHORT_LINK_CHARACTERS = 40

# Weight 1: the ranges 0–4351, 8192–8205, 8208–8223 and 8242–8247. All else weighs 2.
_LIGHT = "[\u0000-\u10ff\u2000-\u200d\u2010-\u201f\u2032-\u2037]"
_INVALID = "\ufffe\ufeff\uffff"
_DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_SPACES = "\t-\r \x85\xa0\u1680\u180e\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# What can stand in a host name, with the dots, hyphens and underscores between.
_HOST = rf"[^!'#%&()*+,\\/:;<=>?@\[\]^{{|}}~${_SPACES}{_INVALID}{_DIRECTION}]+"
_NOT_BEFORE_LINK = f"[A-Za-z0-9@＠$#＃{_INVALID}]"
_ACCENTED = (
    "\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0253\u0254\u0256\u0257\u0259\u025b\u0263\u0268\u026f\u0272\u0289\u02bb"
    "\u0300-\u036f\u1e00-\u1eff"
)
_ASCII_LABELS = rf"(?:[A-Za-z0-9{_ACCENTED}-]+\.)+"
_IN_PATH = rf"[A-Za-z0-9\u0400-\u04ff{_ACCENTED}!*';:=+,.$/%#\[\]\-\u2013_~@|&]"
_IN_PARENTHESES = rf"\((?:{_IN_PATH}+|{_IN_PATH}*\({_IN_PATH}+\){_IN_PATH}*)\)"
_PATH = rf"/(?:(?:{_IN_PATH}|{_IN_PARENTHESES})*(?:[A-Za-z0-9\u0400-\u04ff{_ACCENTED}=_#/+\-]|{_IN_PARENTHESES}))?"
_QUERY = r"\?[A-Za-z0-9!?*'@();:&=+$/%#\[\]\-_.,~|]*[A-Za-z0-9\-_&=#/]"
_AFTER_HOST = rf"(?::[0-9]+)?(?:{_PATH})?(?:{_QUERY})?"
_ASCII_NAME = "[A-Za-z0-9]+"
_PUNYCODE = "[xX][nN]--[A-Za-z0-9-]+"
_SHORT_LINK = rf"(?i)https?://t\.co/([A-Za-z0-9]+)(?:{_QUERY})?"


# Compiled when first used: starting the server costs nothing of it.
_compiled = cache(re.compile)


def weighted_length(text: str) -> int:
    """The length X counts: a link is 23, an emoji 2, most letters of alphabets 1, all else 2."""
    text = unicodedata.normalize("NFC", text)
    total = position = 0
    for start, end in find_links(text):
        total += _plain_length(text[position:start]) + LINK_LENGTH
        position = end
    return total + _plain_length(text[position:])


def _plain_length(text: str) -> int:
    if text.isascii():
        # A keycap is the one emoji that begins with ASCII, and it ends beyond.
        return len(text)
    rest, emoji = emoji_pattern().subn("", text)
    return EMOJI_LENGTH * emoji + 2 * len(rest) - len(_compiled(_LIGHT).findall(rest))


def invalid_characters(text: str) -> list[str]:
    """Characters that X refuses, by name: `U+FFFE`."""
    return [f"U+{ord(character):04X}" for character in _INVALID if character in text]


def find_links(text: str) -> list[tuple[int, int]]:
    """Where X sees links: start and end of each, in order. The text is read as it is, not normalized."""
    found: list[tuple[int, int]] = []
    taken = 0
    for run in _compiled(_HOST).finditer(text):
        if "." in run[0] and run.end() > taken:
            for links, end in _links_in(_Host(text, run.start(), run.end()), taken):
                found.extend(links)
                taken = end
    return found


@dataclass(frozen=True, slots=True)
class _Label:
    """A part of a host between two dots; where its last underscore is, and where a top-level name at its start ends."""

    start: int
    end: int
    first_sound: bool
    last_sound: bool
    underscore: int
    suffix_end: int | None


class _Host:
    """A run of characters that can stand in a host, and how far a domain reaches from each of its labels.

    The reach is worked out once, from the right, so that a hostile text costs no more than its length.
    """

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text, self.start, self.end = text, start, end
        self.labels = list(_split_labels(text, start, end))
        self._reach: list[int | None] = [None] * len(self.labels)
        for index in range(len(self.labels) - 2, -1, -1):
            self._reach[index] = self.domain_end(self.labels[index].start, index)

    def domain_end(self, position: int, index: int) -> int | None:
        """Where the longest domain that begins at a position in a label ends."""
        label = self.labels[index]
        begins_sound = label.first_sound if position == label.start else self.text[position] not in "-_."
        if not begins_sound or not label.last_sound or index + 1 == len(self.labels):
            return None
        following = self.labels[index + 1]
        further = self._reach[index + 1]
        return further or (following.suffix_end if label.underscore < position else None)


def _split_labels(text: str, start: int, end: int) -> Iterator[_Label]:
    for part in text[start:end].split("."):
        yield _Label(
            start=start,
            end=start + len(part),
            first_sound=part[:1] not in ("", "-", "_"),
            last_sound=part[-1:] not in ("", "-", "_"),
            underscore=start + part.rfind("_") if "_" in part else -1,
            suffix_end=_suffix_end(text, start),
        )
        start += len(part) + 1


def _links_in(host: _Host, taken: int) -> Iterator[tuple[list[tuple[int, int]], int]]:
    """The links in a run, and up to where the text is used up by each find, which need not hold a link."""
    text, position, index = host.text, max(host.start, taken), 0
    protocol = _protocol_start(text, position, taken) if position == host.start else None
    if protocol is not None and (domain_end := host.domain_end(position, 0)):
        end = _link_end(text, domain_end)
        link = _full_link(text, protocol, position, domain_end, end)
        position = taken = link[1] if link else end
        yield [link] if link else [], taken
    while position < host.end:
        while host.labels[index].end < position:
            index += 1
        domain_end = host.domain_end(position, index) if _may_begin(text, position, taken) else None
        if domain_end is None:
            position += 1
            continue
        end = _link_end(text, domain_end)
        links = _bare_links(text, position, domain_end, end)
        position = taken = end
        yield links, taken


def _protocol_start(text: str, host_start: int, taken: int) -> int | None:
    """Where a protocol right before the host begins, if a link can begin there."""
    before = text[max(0, host_start - 8) : host_start].lower()
    for protocol in ("https://", "http://"):
        if before.endswith(protocol):
            start = host_start - len(protocol)
            return start if _may_begin(text, start, taken) else None
    return None


def _may_begin(text: str, start: int, taken: int) -> bool:
    return start == 0 or (start > taken and not _compiled(_NOT_BEFORE_LINK).match(text[start - 1]))


def _link_end(text: str, domain_end: int) -> int:
    rest = _compiled(_AFTER_HOST).match(text, domain_end)
    return rest.end() if rest else domain_end


def _full_link(text: str, start: int, host_start: int, domain_end: int, end: int) -> tuple[int, int] | None:
    """A link with its protocol; X's own short links end after their code."""
    if not _is_valid(text[start:end], text[host_start:domain_end], host_start - start):
        return None
    if short := _compiled(_SHORT_LINK).match(text, start, end):
        return (start, short.end()) if len(short[1]) <= MOST_SHORT_LINK_CHARACTERS else None
    return start, end


def _bare_links(text: str, start: int, domain_end: int, end: int) -> list[tuple[int, int]]:
    """Links without a protocol: only domains in Latin letters; the last of them takes the path."""
    if not _is_valid(text[start:end], text[start:domain_end], len("https://")):
        return []
    if start and text[start - 1] in "-_./":
        return []
    links: list[tuple[int, int]] = []
    for labels in _compiled(_ASCII_LABELS).finditer(text, start, domain_end):
        cut = labels.end()
        while cut > labels.start():
            if (suffix_end := _suffix_end(text, cut, domain_end)) is not None:
                links.append((labels.start(), suffix_end))
                break
            cut = text.rfind(".", labels.start(), cut - 1) + 1
    if links and end > domain_end:
        links[-1] = (links[-1][0], end)
    return links


def _is_valid(link: str, domain: str, protocol_characters: int) -> bool:
    """Check whether a domain is valid in DNS and its link within X's limit."""
    if domain[:4] == "xn--" and not domain.isascii():
        return False
    if any(_encoded_length(label) > MOST_LABEL_CHARACTERS for label in domain.split(".")):
        return False
    # The published rules count the protocol twice, and in UTF-16 units.
    return protocol_characters + len(link.encode("utf-16-le", "surrogatepass")) // 2 <= MOST_LINK_CHARACTERS


def _encoded_length(label: str) -> int:
    return len(label) if label.isascii() else len("xn--") + len(label.encode("punycode"))


def _suffix_end(text: str, start: int, text_end: int | None = None) -> int | None:
    """Return the end of the top-level domain at `start`, unless the following characters continue the word."""
    text_end = len(text) if text_end is None else text_end
    if punycode := _compiled(_PUNYCODE).match(text, start, text_end):
        return punycode.end()
    name = _compiled(_ASCII_NAME).match(text, start, text_end)
    if name and name[0].lower() in _read_suffixes() and _ends_word(text, name.end(), text_end):
        return name.end()
    for suffix in _other_suffixes().get(text[start : start + 1].lower(), ()):
        end = start + len(suffix)
        if end <= text_end and text.startswith(suffix, start) and _ends_word(text, end, text_end):
            return end
    return None


def _ends_word(text: str, end: int, text_end: int) -> bool:
    following = text[end : min(end + 1, text_end)]
    return not following or not following.isascii() or not (following.isalnum() or following in "@+-")


@cache
def _read_suffixes() -> frozenset[str]:
    return frozenset(character_data()["tlds"].split())


@cache
def _other_suffixes() -> dict[str, list[str]]:
    """Top-level names with letters beyond ASCII, by their first letter, longest first."""
    names: dict[str, list[str]] = {}
    for name in sorted(_read_suffixes(), key=lambda name: (-len(name), name)):
        if not name.isascii():
            names.setdefault(name[0], []).append(name)
    return names
