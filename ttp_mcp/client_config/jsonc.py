"""Change one member of a JSON file with comments and leave every other byte as it was.

A small scanner notes where each member of each object lies; an edit then replaces a slice of the text. Comments and
trailing commas are understood; a client that does not allow them is checked by `read_object(strict=True)`.
"""

import json
import re
from dataclasses import dataclass, field
from typing import cast

_TRIVIA = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_COMMENT_OR_SPACE = re.compile(r"(?P<space>[ \t\r\n]+)|//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_SCALAR = re.compile(r"-?\d[\d.eE+-]*|true|false|null")
# Deeper files are not settings; the bound keeps the recursion far from Python's own limit.
_MAX_DEPTH = 100


class InvalidFile(ValueError):
    """The file isn't valid in its format; the text says where, never what it contains."""


@dataclass(frozen=True, slots=True)
class _Node:
    start: int
    end: int
    value: object
    members: dict[str, "_Member"] = field(default_factory=dict[str, "_Member"])


@dataclass(frozen=True, slots=True)
class _Member:
    start: int
    node: _Node
    # Position after the comma that follows, or None where there is none.
    comma_end: int | None


class _Scanner:
    def __init__(self, text: str, *, strict: bool) -> None:
        self.text = text
        self.strict = strict
        self.at = 0

    def parse_document(self) -> _Node:
        self.skip_trivia()
        node = self.parse_value(0)
        self.skip_trivia()
        if self.at != len(self.text):
            raise self.build_problem("something follows the end of the document")
        return node

    def build_problem(self, what: str) -> InvalidFile:
        line = self.text.count("\n", 0, self.at) + 1
        return InvalidFile(f"line {line}: {what}")

    def skip_trivia(self) -> None:
        found = _TRIVIA.match(self.text, self.at)
        end = found.end() if found else self.at
        if self.strict and self.text[self.at : end].strip(" \t\r\n"):
            raise self.build_problem("a comment, which this client does not allow")
        self.at = end

    def take(self, character: str) -> bool:
        if self.text.startswith(character, self.at):
            self.at += 1
            return True
        return False

    def parse_value(self, depth: int) -> _Node:
        if depth > _MAX_DEPTH:
            raise self.build_problem("nested too deeply")
        start = self.at
        if self.take("{"):
            return self.parse_container(start, depth, "}")
        if self.take("["):
            return self.parse_container(start, depth, "]")
        found = _STRING.match(self.text, start) or _SCALAR.match(self.text, start)
        if not found:
            raise self.build_problem("a value is missing or misspelt")
        return _Node(start, found.end(), self.parse_scalar(found))

    def parse_scalar(self, found: re.Match[str]) -> object:
        try:
            value = cast("object", json.loads(found[0]))
        except ValueError:
            raise self.build_problem("a value is misspelt") from None
        self.at = found.end()
        return value

    def parse_container(self, start: int, depth: int, closing: str) -> _Node:
        """Parse an object or an array, whose items are members too, under their index."""
        members: dict[str, _Member] = {}
        while not self.is_closed(closing, _last(members) if members else None):
            member_start = self.at
            key = self.parse_key() if closing == "}" else str(len(members))
            node = self.parse_value(depth + 1)
            if key in members:
                raise self.build_problem("the same key is there twice")
            members[key] = _Member(member_start, node, self.skip_comma())
        values = {key: member.node.value for key, member in members.items()}
        return _Node(start, self.at, values if closing == "}" else list(values.values()), members)

    def parse_key(self) -> str:
        found = _STRING.match(self.text, self.at)
        if not found:
            raise self.build_problem("a key in double quotes is missing")
        key = cast("str", self.parse_scalar(found))
        self.skip_trivia()
        if not self.take(":"):
            raise self.build_problem("a colon is missing")
        self.skip_trivia()
        return key

    def skip_comma(self) -> int | None:
        before = self.at
        self.skip_trivia()
        if self.take(","):
            return self.at
        self.at = before
        return None

    def is_closed(self, bracket: str, last: _Member | None) -> bool:
        """Check whether the bracket closes here, after the last member."""
        self.skip_trivia()
        if not self.take(bracket):
            if last and last.comma_end is None:
                raise self.build_problem("a comma is missing")
            return False
        if last and last.comma_end is not None and self.strict:
            raise self.build_problem("a comma before a closing bracket, which this client does not allow")
        return True


def read_object(text: str, *, strict: bool = False) -> dict[str, object]:
    """Return the object that the file holds.

    Raises:
        InvalidFile: Not JSON, or its root is not an object; with `strict`, also comments and trailing commas.
    """
    return cast("dict[str, object]", _root(text, strict=strict).value)


def put_member(text: str, path: tuple[str, ...], value: object) -> str:
    """Return the text with the member at `path` set to `value`; objects on the way are made where they are missing.

    A list's items are members too, under their position: one past the end adds an item.
    """
    node = _root(text)
    for depth, key in enumerate(path, start=1):
        member = node.members.get(key)
        if member is None:
            for inner in reversed(path[depth:]):
                value = {inner: value}
            return _insert(text, node, key, value)
        if depth < len(path) and not isinstance(member.node.value, dict | list):
            raise InvalidFile(f"{'.'.join(path[:depth])} is neither an object nor a list")
        node = member.node
    if node.value == value:
        return text
    rendered = _render(value, text, _line_indent(text, node.start), on_lines="\n" in text)
    return text[: node.start] + rendered + text[node.end :]


def drop_member(text: str, path: tuple[str, ...]) -> str:
    """Return the text without the member at `path`; the same text where there is none."""
    found = _find_member(text, path)
    if found is None:
        return text
    node, member = found
    start = len(text[: member.start].rstrip(" \t\r\n"))
    if member.comma_end is not None:
        return text[:start] + text[member.comma_end :]
    previous = [other for other in node.members.values() if other.start < member.start]
    if previous:
        comma_end = cast("int", previous[-1].comma_end)
        return text[: comma_end - 1] + text[comma_end:start] + text[member.node.end :]
    left = text[node.start + 1 : start] + text[member.node.end : node.end - 1]
    return text[: node.start + 1] + (left if left.strip() else "") + text[node.end - 1 :]


def is_bare(text: str, path: tuple[str, ...]) -> bool:
    """Check whether the member at `path` is an object or list without content, comments included."""
    found = _find_member(text, path)
    return found is not None and not text[found[1].node.start : found[1].node.end].strip("[]{} \t\r\n")


def _root(text: str, *, strict: bool = False) -> _Node:
    node = _Scanner(text, strict=strict).parse_document()
    if not isinstance(node.value, dict):
        raise InvalidFile("line 1: the file does not hold an object in braces")
    return node


def _find_member(text: str, path: tuple[str, ...]) -> tuple[_Node, _Member] | None:
    """Return the member at `path` and the object or list that has it. None if there is none."""
    node = _root(text)
    for key in path[:-1]:
        if key not in node.members:
            return None
        node = node.members[key].node
    member = node.members.get(path[-1])
    return (node, member) if member else None


def _insert(text: str, node: _Node, key: str, value: object) -> str:
    if not node.members:
        return _insert_first(text, node, key, value)
    first, last = next(iter(node.members.values())), _last(node.members)
    on_lines = "\n" in text[node.start : first.start] or "\n" in text[last.node.end : node.end]
    indent = _line_indent(text, first.start) if on_lines else ""
    gap = find_line_break(text) + indent if on_lines else " "
    member = gap + _member_text(node, key, value, text, indent, on_lines=on_lines)
    spot = _comments_end(text, last.comma_end or last.node.end, node.end - 1)
    if last.comma_end is not None:
        return text[:spot] + member + "," + text[spot:]
    return text[: last.node.end] + "," + text[last.node.end : spot] + member + text[spot:]


def _insert_first(text: str, node: _Node, key: str, value: object) -> str:
    inner_start, inner_end = node.start + 1, node.end - 1
    spot = _comments_end(text, inner_start, inner_end)
    outer = _line_indent(text, node.start)
    newline, indent = find_line_break(text), outer + _unit(text)
    member = newline + indent + _member_text(node, key, value, text, indent, on_lines=True)
    rest = text[spot:inner_end]
    closing = rest if spot > inner_start and "\n" in rest else newline + outer
    return text[:spot] + member + closing + text[inner_end:]


def _member_text(node: _Node, key: str, value: object, text: str, indent: str, *, on_lines: bool) -> str:
    name = "" if isinstance(node.value, list) else json.dumps(key, ensure_ascii=False) + ": "
    return name + _render(value, text, indent, on_lines=on_lines)


def _render(value: object, text: str, indent: str, *, on_lines: bool) -> str:
    if not on_lines or not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    lines = json.dumps(value, ensure_ascii=False, indent=_unit(text)).split("\n")
    return (find_line_break(text) + indent).join(lines)


def _last(members: dict[str, _Member]) -> _Member:
    return next(reversed(members.values()))


def find_line_break(text: str) -> str:
    """Return the line break that a text uses."""
    return "\r\n" if "\r\n" in text else "\n"


def _unit(text: str) -> str:
    found = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
    return found[1] if found else "  "


def _line_indent(text: str, position: int) -> str:
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _comments_end(text: str, start: int, end: int) -> int:
    """Return where the last comment between two positions ends; `start` if there is none."""
    spot = start
    for found in _COMMENT_OR_SPACE.finditer(text, start, end):
        if found["space"] is None:
            spot = found.end()
    return spot
