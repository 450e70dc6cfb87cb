"""JSON-RPC messages as clients really send them: with a byte order mark, with half an emoji, or as no message at all."""

import codecs
import json
import re
from typing import Any, cast

import mcp_types as types
from pydantic_core import from_json

# Each JSON escape whole, so that half of a surrogate pair differs from a pair and from an escaped backslash.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL
)
_HALF_BYTES = len(rb"\ud83d")


def repair_text(content: bytes) -> bytes:
    """Remove a byte order mark and replace halves of surrogate pairs, which JSON can escape and UTF-8 can't encode, by U+FFFD."""
    content = content.removeprefix(codecs.BOM_UTF8)
    return _ESCAPE.sub(_replace_half, content) if b"\\u" in content else content


def find_cut_arguments(content: bytes) -> list[str]:
    """Return the arguments of a tool call that hold half of a surrogate pair, as a text does that was cut within an emoji."""
    try:
        params = json.loads(content.removeprefix(codecs.BOM_UTF8))["params"]
        arguments = cast("dict[str, Any]", params["arguments"]).items()
        return [name for name, value in arguments if _has_half([name, value])]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return []


def refuse_cut_arguments(names: list[str]) -> dict[str, Any]:
    """Result of a tool call that is not made, so that the model sees why."""
    listed = ", ".join(name.encode("ascii", "replace").decode()[:40] for name in names[:5])
    text = (
        f"Tool not called: {listed} holds half of an emoji, so the text was cut within a character. "
        "Send the whole text again. Nothing was sent, so repeating is safe."
    )
    return {"content": [{"type": "text", "text": text}], "isError": True, "resultType": "complete"}


def describe_invalid(line: bytes) -> tuple[int, str, str | int | None]:
    """Return error code, text and id of the response to a line that isn't a valid message.

    Only a request's own id is repeated, so that no other call is answered by it.
    """
    try:
        value: Any = from_json(line)
    except ValueError:
        return types.PARSE_ERROR, "Parse error: the line is not valid JSON", _find_request_id(line)
    return types.INVALID_REQUEST, "Invalid request: not one JSON-RPC 2.0 message", _request_id(value)


def _find_request_id(line: bytes) -> str | int | None:
    """Read more leniently than JSON is defined: any encoding, and control characters within a text."""
    try:
        return _request_id(json.loads(line.decode("utf-8", "replace"), strict=False))
    except (ValueError, RecursionError):
        return None


def _request_id(value: object) -> str | int | None:
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    request_id = fields.get("id") if "method" in fields else None
    return request_id if isinstance(request_id, str | int) and not isinstance(request_id, bool) else None


def _has_half(value: object) -> bool:
    encoded = json.dumps(value).encode()
    return _ESCAPE.sub(_replace_half, encoded) != encoded


def _replace_half(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if len(escape[0]) == _HALF_BYTES else escape[0]
