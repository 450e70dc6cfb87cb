"""Read icons as a client does."""

from base64 import b64decode

from mcp_types import Icon

from ttp_mcp.media.probe import facts_of, sniff_type


def image_facts(icon: Icon) -> tuple[str, int | None, int | None]:
    """Return type, width and height of an icon that holds its image; the type is also what the icon says."""
    head, _, data = icon.src.partition(",")
    image = b64decode(data, validate=True)
    kind = sniff_type(image)
    assert kind == icon.mime_type
    assert head == f"data:{kind};base64"
    facts = facts_of(lambda offset, size: image[offset : offset + size], len(image), kind)
    return kind, facts.width, facts.height
