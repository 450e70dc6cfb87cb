"""Collect the problems of a post, so that all of them are reported at once."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ttp_mcp.errors import Refusal
from ttp_mcp.times import TimeProblem

T = TypeVar("T")


@dataclass(slots=True)
class Problems:
    """Problems of a post, without the words that begin and end an error."""

    failure: str
    texts: list[str] = field(default_factory=list[str])

    def collect(self, check: Callable[..., T], *args: Any) -> T | None:
        """Run a check and note its refusal."""
        try:
            return check(*args)
        except (Refusal, TimeProblem) as problem:
            text = str(problem).removeprefix(f"{self.failure}: ")
            text = re.sub(r"(; nothing was (sent|changed)| Nothing was (sent|changed))\.$", "", text)
            self.add(text if text.endswith(".") else f"{text}.")
            return None

    def add(self, text: str) -> None:
        """Note a problem once."""
        if text not in self.texts:
            self.texts.append(text)


def render_refusal(failure: str, problems: Sequence[str], most: int = 5) -> str:
    """Render the error that names one problem in its line, or several as a list."""
    if len(problems) == 1:
        return f"{failure}: {problems[0]} Nothing was sent."
    lines = [f"- {text}" for text in problems[:most]]
    if len(problems) > most:
        lines.append(f"- and {len(problems) - most} more.")
    return "\n".join([f"{failure}: {len(problems)} problems.", *lines, "Nothing was sent."])
