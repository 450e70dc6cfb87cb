"""The `platform_data` argument: its JSON schema, and its spelling in the API."""

from typing import Any, cast

JsonObject = dict[str, Any]

_TEXT, _SWITCH = {"type": "string"}, {"type": "boolean"}
_PRIVACY = ["PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "FOLLOWER_OF_CREATOR", "SELF_ONLY"]

# The API's spelling by ours.
_SPELLINGS = {
    "pinterest": {
        # A board by its name or id; the tools replace it by boardId.
        "board": "board",
        "board_id": "boardId",
        "title": "title",
        "link": "link",
        "alt_text": "altText",
        "dominant_color": "dominantColor",
    },
    "tiktok": {
        "privacy": "privacy",
        "allow_comments": "allowComments",
        "allow_duet": "allowDuet",
        "allow_stitch": "allowStitch",
        "your_brand": "yourBrand",
        "branded_content": "brandedContent",
    },
}


def _build_schema(blocks: dict[str, JsonObject]) -> JsonObject:
    return {
        "type": "object",
        "properties": {name: {"type": "object", "properties": each} for name, each in blocks.items()},
    }


# Written by hand: `platforms.rules` reads its file only when a post is checked. A test compares the two.
# `board` takes an id too, so `board_id` isn't listed.
PLATFORM_DATA_SCHEMA = _build_schema(
    {
        "pinterest": {name: _TEXT for name in _SPELLINGS["pinterest"] if name != "board_id"},
        "tiktok": dict.fromkeys(_SPELLINGS["tiktok"], _SWITCH) | {"privacy": {**_TEXT, "enum": _PRIVACY}},
    }
)
# For tools beside create_post: every agent pays for the characters, and some clients refuse objects without properties.
SHORT_PLATFORM_DATA_SCHEMA = _build_schema({"pinterest": {"board": _TEXT}, "tiktok": {"privacy": _TEXT}})


def parse_platform_data(value: object) -> object:
    """Return the choices in the API's spelling, without the empty ones that clients fill in for absent choices.

    Raises:
        ValueError: A choice is given in both spellings.
    """
    if not isinstance(value, dict):
        return value
    blocks = cast("JsonObject", value)
    parsed = {platform: _parse_block(platform, block) for platform, block in blocks.items()}
    return {platform: block for platform, block in parsed.items() if block not in (None, {})} or None


def _parse_block(platform: str, block: object) -> object:
    spellings = _SPELLINGS.get(platform)
    if spellings is None or not isinstance(block, dict):
        return block
    parsed: JsonObject = {}
    for name, choice in cast("JsonObject", block).items():
        spelling = spellings.get(name, name)
        if choice in (None, "", [], {}):
            continue
        if spelling in parsed or {"board", "boardId"} <= {spelling, *parsed}:
            raise ValueError(f"has {platform}.{spelling} twice")
        parsed[spelling] = choice
    return parsed


def to_argument_spelling(data: JsonObject) -> JsonObject:
    """Return choices as arguments spell them."""
    respelt: JsonObject = {}
    for platform, block in data.items():
        ours = {theirs: name for name, theirs in _SPELLINGS.get(platform, {}).items()}
        if isinstance(block, dict):
            block = {ours.get(name, name): choice for name, choice in cast("JsonObject", block).items()}
        respelt[platform] = block
    return respelt
