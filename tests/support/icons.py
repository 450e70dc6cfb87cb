"""Icons as a client reads them."""

from base64 import b64decode

from mcp_types import Icon

from ttp_mcp.media.probe import facts_of, sniff_type


def image_facts(icon: Icon) -> tuple[str, int | None, int | None]:
    """Return type, width and height of an icon with an embedded image, and check that it declares this type."""
    head, _, data = icon.src.partition(",")
    image = b64decode(data, validate=True)
    kind = sniff_type(image)
    assert kind == icon.mime_type
    assert head == f"data:{kind};base64"
    facts = facts_of(lambda offset, size: image[offset : offset + size], len(image), kind)
    return kind, facts.width, facts.height
