"""Characters as a reader sees them: emoji sequences, and extended grapheme clusters by the rules of UAX #29.

Limits: marks and letters are those of the running Python's Unicode version. An emoji joined from parts that no vendor draws
as one is still counted once.
"""

import json
import re
import unicodedata
from functools import cache
from pathlib import Path

MODIFIERS = "\U0001f3fb-\U0001f3ff"
_CONTROLS = (
    "\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\U000e0000-\U000e001f\U000e0080-\U000e00ff"
)


@cache
def character_data() -> dict[str, str]:
    """The character tables, read once, when they are first needed."""
    text = Path(__file__).with_name("unicode.json").read_text("utf-8")
    return {name: value for name, value in json.loads(text).items() if isinstance(value, str)}


def character_class(name: str) -> str:
    """A table of code points as the inside of a regular expression's `[…]`."""
    edges = (part.split("-") for part in character_data()[name].split())
    return "".join(f"{chr(int(edge[0], 16))}-{chr(int(edge[-1], 16))}" for edge in edges)


@cache
def emoji_pattern() -> re.Pattern[str]:
    """Matches one emoji sequence: keycap, flag, or pictographs with their modifiers and joiners."""
    pictographs, bases = character_class("pictographic"), character_class("modifier_bases")
    regions = character_data()["flags"].split()
    flags = "|".join("".join(chr(0x1F1E6 + ord(letter) - ord("A")) for letter in region) for region in regions)
    one = f"(?:[{bases}][{MODIFIERS}]|[{pictographs}](?!\ufe0e)\ufe0f?)"
    return re.compile(
        "[0-9#*]\ufe0f?\u20e3"
        f"|{flags}"
        "|\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]{4,6}\U000e007f"
        "|[\u00a9\u00ae]\ufe0f"
        f"|{one}(?:\u200d{one})*"
    )


def count_graphemes(text: str) -> int:
    """How many characters a reader sees; `\\r\\n` is one, an emoji sequence is one."""
    if text.isascii():
        return len(text) - text.count("\r\n")
    return sum(1 for _ in _cluster_pattern().finditer(text))


@cache
def _cluster_pattern() -> re.Pattern[str]:
    """Matches one cluster: what precedes, a core, and all that extends it."""
    spacing, nonspacing = _mark_classes()
    extending = nonspacing + character_class("extending") + MODIFIERS
    pictographs = "\u00a9\u00ae" + character_class("pictographic")
    consonants, linkers = character_class("conjunct_consonants"), character_class("conjunct_linkers")
    core = "|".join(
        [
            f"[{consonants}](?:(?=[{extending}\u200d]*[{linkers}])[{extending}\u200d]+[{consonants}])+",
            f"[{pictographs}](?:[{extending}]*\u200d[{pictographs}])*",
            "[\U0001f1e6-\U0001f1ff]{2}",
            _hangul_pattern(),
            "[^\r\n]",
        ]
    )
    return re.compile(
        f"\r\n|[{_CONTROLS}]|[{character_class('prepended')}]*(?![{_CONTROLS}])(?:{core})[{extending}{spacing}\u200d]*|.",
        re.DOTALL,
    )


def _hangul_pattern() -> str:
    """Syllables, whole or spelt in parts: leading consonants, vowels, final consonants."""
    leading, vowels = "[\u1100-\u115f\ua960-\ua97c]", "[\u1160-\u11a7\ud7b0-\ud7c6]"
    finals = "[\u11a8-\u11ff\ud7cb-\ud7fb]"
    # In the block of whole syllables, each 28th has no final consonant and can take another vowel.
    unfinished = "".join(chr(code) for code in range(0xAC00, 0xD7A4, 28))
    syllable = f"(?:[{unfinished}]{vowels}*|[\uac00-\ud7a3]|{vowels}+)"
    return f"{leading}*{syllable}{finals}*|{leading}+|{finals}+"


def _mark_classes() -> tuple[str, str]:
    """Spacing and non-spacing marks of this Python's Unicode version, as the insides of `[…]`."""
    standing = re.compile(f"[{character_class('standing_marks')}]")
    # Thai and Lao AM are letters, and yet stay with what is before them.
    spacing = ["\u0e33\u0eb3"]
    nonspacing: list[str] = []
    for code in (*range(0x300, 0x1F000), *range(0xE0100, 0xE01F0)):
        category = unicodedata.category(chr(code))
        if category == "Mc" and not standing.match(chr(code)):
            spacing.append(chr(code))
        elif category in ("Mn", "Me"):
            nonspacing.append(chr(code))
    return "".join(spacing), "".join(nonspacing)
