"""Check a post against each platform's rules. The figures and their sources are in `rules.json`."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from ttp_mcp.platforms.lengths import UNITS
from ttp_mcp.platforms.x import find_links, invalid_characters

# The date of the data file; a test holds the two together, so that nothing has to be read for it.
VERSION = "2026-11-24"

Severity = Literal["error", "warning"]
MediaKind = Literal["image", "animation", "video", "unknown"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A post as one platform would get it.

    `media_kinds` are those of `media_urls`. `platform_data` is by platform key. In a post with a time (`scheduled`) a missing part is
    an error, in a draft a warning.
    """

    content: str
    platform: str
    media_urls: tuple[str, ...]
    media_kinds: tuple[MediaKind, ...]
    thread: tuple[str, ...]
    platform_data: dict[str, Any]
    accounts_on_platform: int
    scheduled: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem: an error stops the post, a warning does not. The text says what to do."""

    severity: Severity
    code: str
    platform: str
    text: str


@dataclass(frozen=True, slots=True)
class Length:
    """A text's length as a platform counts it; no limit where none is known. The unit is in words."""

    count: int
    limit: int | None
    unit: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A figure of a platform; `otherwise` is what a post that breaks it gets."""

    figure: str
    value: float | bool | str
    source: str
    confidence: str
    otherwise: Severity
    says: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """A key of a platform's block in `platform_data`: a choice, a switch (true or false), or a text."""

    name: str
    kind: str
    required: bool
    source: str
    confidence: str
    says: str
    choices: Sequence[str] = ()
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform's name, rules by figure, and fields by name."""

    key: str
    name: str
    rules: dict[str, Rule]
    fields: dict[str, Field]


def check_draft(draft: Draft) -> list[Finding]:
    """Return all problems of a post on one platform, errors first. An unknown platform yields a warning."""
    platform = find_platform(draft.platform)
    findings = [*_check_block_names(draft)] if draft.platform_data else []
    if platform is None or not platform.rules:
        name = platform.name if platform else f"The platform {draft.platform[:50]!r}"
        text = f"{name}: no limits are known here, so nothing of this platform was checked."
        findings.append(Finding("warning", "no_rules", draft.platform, text))
    if platform:
        findings += _check_text(draft, platform)
        if draft.thread:
            findings += _check_thread(draft, platform)
        if draft.media_urls or "media_least" in platform.rules:
            findings += _check_media(draft, platform)
        accounts = f"{platform.name} accounts targeted; pass one of them in account_ids"
        findings += _check_most(draft, platform, "accounts_most", draft.accounts_on_platform, accounts)
        if platform.fields:
            findings += _check_fields(draft, platform)
    return sorted(findings, key=lambda finding: finding.severity != "error")


def text_length(platform: str, text: str) -> Length:
    """A text's length as the platform counts it, in code points where its unit is not known."""
    found = find_platform(platform)
    rule = found.rules.get("text_most") if found else None
    unit = UNITS[rule.unit if rule else "characters"]
    return Length(unit.count(text), int(rule.value) if rule else None, unit.words)


def platform_keys() -> tuple[str, ...]:
    """Return the platform keys of the file."""
    return tuple(_read_rules()[0])


def platform_spellings() -> dict[str, str]:
    """Return the platform key of each known name: the keys themselves, then aliases."""
    platforms, aliases = _read_rules()
    return {**{key: key for key in platforms}, **aliases}


def media_kind(url: str) -> MediaKind:
    """Guess the kind of media from a URL's extension. The file can be something else."""
    extension = re.split("[?#]", url)[0].rpartition(".")[2].lower()
    if extension == "gif":
        return "animation"
    if extension in ("jpg", "jpeg", "png", "webp", "heic", "avif"):
        return "image"
    return "video" if extension in ("mp4", "mov", "m4v", "webm") else "unknown"


def render_field(field: Field) -> str:
    """Render a field of platform_data: its name, choices and meaning."""
    words = ", ".join(field.choices) or ("true or false" if field.kind == "switch" else "")
    choices = f" ({words})" if words else ""
    return f"{field.name}{choices}{', required' if field.required else ''}: {field.says}"


def _check_text(draft: Draft, platform: Platform) -> Iterator[Finding]:
    if not draft.content.strip() and not draft.media_urls:
        words = f"{platform.name}: the post has no text and no media; add content."
        yield _report_missing(draft, "nothing_to_post", words)
    if rule := platform.rules.get("text_most"):
        yield from _check_length(draft, platform, rule, "content", draft.content)
    size = len(draft.content.encode("utf-8", "surrogatepass"))
    yield from _check_most(draft, platform, "bytes_most", size, "bytes in content; shorten it")
    if "links_most" in platform.rules:
        links = {draft.content[start:end] for start, end in find_links(draft.content)}
        yield from _check_most(draft, platform, "links_most", len(links), "different links in content; leave some out")
    hashtags = re.findall(r"(?<![\w&])#\w+", draft.content)
    yield from _check_most(draft, platform, "hashtags_most", len(hashtags), "hashtags; leave some out")


def _check_length(draft: Draft, platform: Platform, rule: Rule, part: str, text: str) -> Iterator[Finding]:
    most, unit = int(rule.value), UNITS[rule.unit]
    length = unit.count(text)
    if length > most:
        words = f"{platform.name}: {part} has {length} of {most} {unit.words}; shorten it by {length - most}."
        yield Finding(rule.otherwise, "text_too_long", draft.platform, words)
    elif rule.unit == "characters" and (units := len(text.encode("utf-16-le", "surrogatepass")) // 2) > most:
        words = (
            f"{platform.name}: {part} has {length} of {most} characters, but {units} if an emoji counts 2, as on some "
            f"platforms; shorten it by {units - most} to be safe."
        )
        yield Finding("warning", "text_may_be_too_long", draft.platform, words)
    if rule.unit == "x_weighted" and (refused := invalid_characters(text)):
        words = f"{platform.name}: {part} holds {', '.join(refused)}, which X refuses; remove it."
        yield Finding("error", "invalid_character", draft.platform, words)


def _check_thread(draft: Draft, platform: Platform) -> Iterator[Finding]:
    rule = platform.rules.get("thread_part_most")
    if rule is None:
        words = f"{platform.name}: threads are for X only; this platform gets content without the thread."
        yield Finding("warning", "thread_left_out", draft.platform, words)
        return
    for number, part in enumerate(draft.thread, 1):
        if not part.strip():
            words = f"{platform.name}: part {number} of thread is empty; remove it or write it."
            yield Finding("error", "thread_part_empty", draft.platform, words)
        yield from _check_length(draft, platform, rule, f"part {number} of thread", part)
        if UNITS[rule.unit].count(part) <= int(rule.value) < len(part):
            words = (
                f"{platform.name}: part {number} of thread has {len(part)} characters and fits only as X counts them; the API may "
                f"count plain characters and refuse it. Shorten it to {rule.value} to be safe."
            )
            yield Finding("warning", "thread_part_may_be_too_long", draft.platform, words)
    entries, posts = len(draft.thread), len(draft.thread) + 1
    over = [*_check_most(draft, platform, "thread_entries_most", entries, "parts in thread; post the rest separately")]
    yield from over
    safe = platform.rules.get("thread_posts_most")
    if safe and not over and posts > int(safe.value):
        words = (
            f"{platform.name}: the thread has {posts} posts with content, which the reference allows and the vendor's own tools "
            f"do not; leave out {posts - int(safe.value)} to be safe."
        )
        yield Finding(safe.otherwise, "too_many_thread_posts", draft.platform, words)


def _check_media(draft: Draft, platform: Platform) -> Iterator[Finding]:
    rules, count = platform.rules, len(draft.media_urls)
    least, most = rules.get("media_least"), rules.get("media_most")
    exactly = least and most and least.value == most.value
    if least and count < int(least.value):
        yield _report_missing(draft, "media_missing", f"{platform.name} needs {least.says}: add media_urls.")
    what = "media in media_urls; keep exactly that many" if exactly else "media in media_urls; leave some out"
    yield from _check_most(draft, platform, "media_most", count, what)
    for kind, noun in (("video", "videos"), ("animation", "GIFs")):
        what = f"{noun}, judged by their file extensions"
        yield from _check_most(draft, platform, f"{kind}s_most", draft.media_kinds.count(kind), what)
    mixed = rules.get("kinds_mixed")
    if mixed and len({*draft.media_kinds} - {"unknown"}) > 1:
        words = f"{platform.name} takes {mixed.says}; by their file extensions, media_urls mixes them."
        yield Finding(mixed.otherwise, "media_mixed", draft.platform, words)


def _check_most(draft: Draft, platform: Platform, figure: str, count: int, what: str) -> Iterator[Finding]:
    """Yield an error if `count` exceeds a figure."""
    rule = platform.rules.get(figure)
    if rule and count > int(rule.value):
        words = f"{platform.name}: {rule.says}; there are {count} {what}."
        yield Finding(rule.otherwise, f"too_many_{figure.removesuffix('_most')}", draft.platform, words)


def _report_missing(draft: Draft, code: str, text: str) -> Finding:
    """Report missing data: an error for a scheduled post, a warning for a draft."""
    return Finding("error" if draft.scheduled else "warning", code, draft.platform, text)


def _check_block_names(draft: Draft) -> Iterator[Finding]:
    """Blocks for platforms without documented keys. The same for every platform of a post, so that it can be said once."""
    known = [platform.key for platform in _read_rules()[0].values() if platform.fields]
    for name in draft.platform_data:
        if name not in known:
            words = f"platform_data.{name[:50]} is not documented and is sent as it is; documented: {', '.join(known)}."
            yield Finding("warning", "unknown_block", name, words)


def _check_fields(draft: Draft, platform: Platform) -> Iterator[Finding]:
    place = f"platform_data.{platform.key}"
    raw: object = draft.platform_data.get(platform.key, {})
    if not isinstance(raw, dict):
        words = f"{platform.name}: {place} must be an object with {', '.join(platform.fields)}."
        yield Finding("error", "field_invalid", draft.platform, words)
        return
    block = cast("dict[str, object]", raw)
    yield from _check_required(draft, platform, block)
    for name, value in block.items():
        field = platform.fields.get(name)
        if field is None:
            words = f"{platform.name}: {place}.{name[:50]} is not documented and is sent as it is."
            yield Finding("warning", "unknown_field", draft.platform, words)
        elif value is not None and (problem := _find_field_problem(field, value)):
            yield Finding("error", "field_invalid", draft.platform, f"{platform.name}: {place}.{name} {problem}.")
    if platform.key == "tiktok":
        yield from _check_tiktok(draft, block)


def _check_required(draft: Draft, platform: Platform, block: dict[str, object]) -> Iterator[Finding]:
    missing = [field for field in platform.fields.values() if field.required and is_missing(block.get(field.name))]
    if missing:
        names = ", ".join(render_field(field).partition(", required")[0] for field in missing)
        whose = "; the account's owner chooses each for this post, so ask" if platform.key == "tiktok" else ""
        words = f"{platform.name}: platform_data.{platform.key} needs {names}{whose}."
        yield _report_missing(draft, "field_missing", words)


def is_missing(value: object) -> bool:
    """Check whether a choice was left open: it isn't there, or is a text without a character."""
    return value is None or (isinstance(value, str) and not value.strip())


def _find_field_problem(field: Field, value: object) -> str | None:
    if field.kind == "switch":
        return None if isinstance(value, bool) else "must be true or false"
    if not isinstance(value, str):
        return "must be text"
    if field.choices and value and value not in field.choices:
        return f"must be one of {', '.join(field.choices)}"
    if field.most is not None and len(value) > field.most:
        return f"has {len(value)} of {field.most} characters; shorten it by {len(value) - field.most}"
    return None


def _check_tiktok(draft: Draft, block: dict[str, object]) -> Iterator[Finding]:
    if block.get("brandedContent") is True and block.get("privacy") == "SELF_ONLY":
        words = "TikTok: branded content can't have the privacy SELF_ONLY; ask the account's owner which of the two to change."
        yield Finding("error", "branded_content_private", draft.platform, words)
    if draft.media_kinds and {*draft.media_kinds} <= {"image", "animation"}:
        switches = [name for name in ("allowDuet", "allowStitch") if block.get(name) is True]
        if switches:
            words = f"TikTok: photos, judged by their file extensions, need {' and '.join(switches)} to be false."
            yield Finding("warning", "photo_switches", draft.platform, words)


def find_platform(key: str) -> Platform | None:
    """Return a platform by its key or another name, or None."""
    platforms, aliases = _read_rules()
    key = key.strip().lower()
    return platforms.get(aliases.get(key, key))


@cache
def _read_rules() -> tuple[dict[str, Platform], dict[str, str]]:
    """Return the platforms by key, and keys by alias. The file is read on first use."""
    raw = json.loads(Path(__file__).with_name("rules.json").read_text("utf-8"))
    platforms: dict[str, Platform] = {}
    for key, each in raw["platforms"].items():
        rules = {rule["figure"]: Rule(**rule) for rule in each["rules"]}
        platforms[key] = Platform(key, each["name"], rules, {field["name"]: Field(**field) for field in each["fields"]})
    return platforms, raw["aliases"]
