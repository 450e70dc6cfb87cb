"""Refusal of a media file, in words for the agent."""

import re

from ttp_mcp.text import quote_text

NAME_CHARACTERS = 100
# Cause and next step, for a name as for a mark of the system.
HIDDEN_PROBLEM = ("hidden files and folders are never read", "Pass a copy in a visible folder")


class FileRefused(Exception):
    """A media file was not sent. The text is complete and holds no folder of this computer."""


def refuse_file(name: str, cause: str, next_step: str, *, is_safe: bool = False) -> FileRefused:
    """Build the refusal of a file; only the last part of a path is shown. `is_safe`: the same call can work later."""
    retry = "nothing was sent, repeating is safe" if is_safe else "repeating the same call does not help"
    return FileRefused(f"Not uploaded: {quote_base_name(name)}: {cause}. {next_step}; {retry}.")


def quote_base_name(path: str) -> str:
    """Return the last part of a path for an error, or `it` if there is none."""
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    return quote_text(name, NAME_CHARACTERS) if name.strip() else "it"
