"""Change one table of a TOML file and leave every other byte as it was.

Tables are found by their headers and edited as text; `tomllib` reads the result. What is written in another form (an
inline table, dotted keys) is refused rather than rewritten.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from ttp_mcp.client_config.jsonc import InvalidFile

# One of: comment, multi-line string, string, bracket, anything else. Order matters: """ before ".
_PIECE = re.compile(
    r'#[^\n]*|"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[\[\]{}]|\n|[^#"\'\[\]{}\n]+',
    re.DOTALL,
)
_HEADER = re.compile(r"[ \t]*\[[^\[]")
_ASSIGNMENT = re.compile(r'[ \t]*("(?:[^"\\]|\\.)*"|\'[^\']*\'|[A-Za-z0-9_-]+)[ \t]*=[ \t]*')


@dataclass(frozen=True, slots=True)
class _Line:
    """One logical line: a header, or a key with its value, which may span several lines."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Block:
    """A table from its header to its last assignment; comments and blank lines after that belong to what follows."""

    path: tuple[str, ...]
    start: int
    end: int
    assignments: tuple[_Line, ...]


def read(text: str) -> dict[str, object]:
    """What the file holds.

    Raises:
        InvalidFile: Not TOML; the text says the line.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        found = re.search(r"line \d+", str(problem))
        raise InvalidFile(f"{found[0] if found else 'the end'}: not valid TOML") from None


def put(text: str, path: tuple[str, ...], values: Mapping[str, object]) -> str:
    """The text with these keys of the table at `path` set; the table is added at the end where it is missing."""
    block = next((block for block in _blocks(text) if block.path == path), None)
    if block is None:
        return _append(text, path, values)
    current = _at(read(text), path)
    for key, value in values.items():
        if current.get(key) != value:
            text = _set(text, path, key, value)
    return text


def drop(text: str, path: tuple[str, ...]) -> str:
    """The text without the table at `path` and the tables below it."""
    for block in reversed([block for block in _blocks(text) if block.path[: len(path)] == path]):
        end = _line_break_end(text, block.end)
        start = block.start
        if end == len(text) or _line_break_before(text, start - _line_break_before(text, start)):
            start -= _line_break_before(text, start)
        text = text[:start] + text[end:]
    return text


def drop_key(text: str, path: tuple[str, ...], key: str) -> str:
    """The text without one key of the table at `path`."""
    for block in _blocks(text):
        for line in block.assignments if block.path == path else ():
            if _key(text, line) == key:
                return text[: line.start] + text[_line_break_end(text, line.end) :]
    return text


def has_table(text: str, path: tuple[str, ...]) -> bool:
    """Whether the table at `path` has a header of its own."""
    return any(block.path == path for block in _blocks(text))


def _set(text: str, path: tuple[str, ...], key: str, value: object) -> str:
    block = next(block for block in _blocks(text) if block.path == path)
    for line in block.assignments:
        if _key(text, line) == key:
            found = cast("re.Match[str]", _ASSIGNMENT.match(text, line.start))
            return text[: found.end()] + _render(value) + text[_value_end(text, found.end(), line.end) :]
    return text[: block.end] + _newline(text) + f"{key} = {_render(value)}" + text[block.end :]


def _append(text: str, path: tuple[str, ...], values: Mapping[str, object]) -> str:
    newline = _newline(text)
    lines = [f"[{'.'.join(_render_key(part) for part in path)}]"]
    lines += [f"{key} = {_render(value)}" for key, value in values.items()]
    # A file without a last line break gets one, a file with one gets a blank line: so taking the table out again knows
    # which of the two was there.
    return text + (newline if text else "") + newline.join(lines) + newline


def _blocks(text: str) -> list[_Block]:
    blocks: list[_Block] = []
    for line in _logical_lines(text):
        if _HEADER.match(text, line.start):
            path = _header_path(text[line.start : line.end])
            blocks.append(_Block(path, line.start, line.end, ()))
        elif text.startswith("[[", line.start + _spaces(text, line.start)):
            blocks.append(_Block((), line.start, line.end, ()))
        elif blocks and _ASSIGNMENT.match(text, line.start):
            last = blocks[-1]
            blocks[-1] = _Block(last.path, last.start, line.end, (*last.assignments, line))
    return blocks


def _logical_lines(text: str) -> list[_Line]:
    lines: list[_Line] = []
    start, depth = 0, 0
    for found in _PIECE.finditer(text):
        piece = found[0]
        if piece == "\n" and depth == 0:
            lines.append(_Line(start, found.start() - text.endswith("\r", start, found.start())))
            start = found.end()
        elif piece in "[{":
            depth += 1
        elif piece in "]}":
            depth -= 1
    return [*lines, _Line(start, len(text))]


def _header_path(header: str) -> tuple[str, ...]:
    path: list[str] = []
    table: object = tomllib.loads(header)
    while isinstance(table, dict) and table:
        key, table = next(iter(cast("dict[str, object]", table).items()))
        path.append(key)
    return tuple(path)


def _key(text: str, line: _Line) -> str | None:
    found = _ASSIGNMENT.match(text, line.start)
    return next(iter(tomllib.loads(f"{found[1]} = 0"))) if found else None


def _value_end(text: str, start: int, end: int) -> int:
    """Where a value ends: before the comment that may follow it on its line."""
    depth = 0
    for found in _PIECE.finditer(text, start, end):
        piece = found[0]
        if piece.startswith("#") and depth == 0:
            end = found.start()
            break
        depth += (piece in "[{") - (piece in "]}")
    return start + len(text[start:end].rstrip())


def _at(table: dict[str, object], path: tuple[str, ...]) -> dict[str, object]:
    for key in path:
        table = cast("dict[str, object]", table[key])
    return table


def _render(value: object) -> str:
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return "{ " + ", ".join(f"{_render_key(key)} = {_render(item)}" for key, item in pairs) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_render(item) for item in cast("list[object]", value)) + "]"
    # For text, whole numbers and booleans, JSON's form is TOML's form too, once DEL is escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _render_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _render(key)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _spaces(text: str, start: int) -> int:
    return len(text[start:]) - len(text[start:].lstrip(" \t"))


def _line_break_end(text: str, position: int) -> int:
    found = re.compile(r"[^\n]*\n?").match(text, position)
    return found.end() if found else position


def _line_break_before(text: str, position: int) -> int:
    if text.endswith("\r\n", 0, position):
        return 2
    return 1 if text.endswith("\n", 0, position) else 0
