"""The rules of a platform as text for people and models."""

from ttp_mcp.platforms.rules import VERSION, Field, Rule, find_platform, platform_keys, render_field

_FIGURES = {
    "text": ("text_most", "bytes_most"),
    "links": ("links_most",),
    "hashtags": ("hashtags_most",),
    "thread": ("thread_part_most", "thread_entries_most", "thread_posts_most"),
    "media": (
        *("media_least", "media_most", "videos_most", "animations_most", "kinds_mixed"),
        *("image_ratio_least", "image_ratio_most", "image_width_least", "image_sides_most", "image_bytes_most"),
        "video_seconds_most",
    ),
    "accounts": ("accounts_most",),
    "account": ("account_kind",),
}
_HEADINGS = {figure: heading for heading, figures in _FIGURES.items() for figure in figures}


def render_rules(platform: str) -> str:
    """Return a platform's rules as compact text, each with its source."""
    found = find_platform(platform)
    if found is None:
        return f"No rules are known for the platform {platform[:50]!r}; its posts pass unchecked. Known: {', '.join(platform_keys())}."
    lines = [f"{found.name} (platform key {found.key}), rules of {VERSION}"]
    lines += [f"- {_HEADINGS[rule.figure]}: {rule.says} [{_source_of(rule)}]" for rule in found.rules.values()]
    lines = list(dict.fromkeys(lines))
    lines += [
        f"- platform_data.{found.key}.{render_field(each)} [{_source_of(each)}]" for each in found.fields.values()
    ]
    if found.key == "tiktok":
        lines.append(
            "The account's owner chooses each value of platform_data.tiktok for each post; none has a default."
        )
    if len(lines) == 1:
        lines.append("- no figure is stated by TimeToPost, or could be confirmed from the platform's own pages")
    return "\n".join(lines)


def _source_of(figure: Rule | Field) -> str:
    return figure.source if figure.confidence == "stated" else f"{figure.source}, {figure.confidence}"
