"""Registry of tools. Each is a typed function with an input model and an effect; the rest is derived."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from ttp_mcp.api.http import ALLOWED_EFFECTS, Effect
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, DataT, InputT, ToolInput, ToolOutput

Run = Callable[[InputT, ToolContext], Awaitable[Answer[DataT]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """MCP tool annotations. All four are always set: a client reads an absent one as the dangerous case.

    Directories want each tool to be read-only or destructive. `why` justifies the choice in docs/tools.md.
    """

    read_only: bool
    idempotent: bool
    why: str
    # Every tool talks to a service on the internet.
    open_world: bool = True

    @property
    def destructive(self) -> bool:
        """The opposite of read-only."""
        return not self.read_only


HINTS: dict[Effect, Hints] = {
    "read": Hints(read_only=True, idempotent=True, why="It sends only requests that change nothing."),
    "draft": Hints(
        read_only=False,
        idempotent=False,
        why="A file leaves this machine for a public URL, and the API can't delete it.",
    ),
    "publish": Hints(read_only=False, idempotent=False, why="A post can reach the public, which can't be taken back."),
    "remove": Hints(
        read_only=False, idempotent=True, why="A post is deleted for good; deleting it again changes nothing."
    ),
}


@dataclass(frozen=True, slots=True)
class Tool:
    """A registered tool."""

    name: str
    title: str
    description: str
    effect: Effect
    failure: str
    toolset: str
    input: type[ToolInput]
    output: type[ToolOutput]
    run: Run[Any, Any]
    drafts: bool
    panel: str | None

    @property
    def hints(self) -> Hints:
        """Annotations of this tool's effect."""
        return HINTS[self.effect]

    def allowed(self, access: str) -> bool:
        """Check whether an access mode registers this tool. A tool that `drafts` is registered in `draft`, where it can't publish."""
        return self.effect in ALLOWED_EFFECTS[access] or (self.drafts and access == "draft")


@dataclass(slots=True)
class Toolset:
    """The tools of one endpoint group."""

    name: str
    tools: list[Tool] = field(default_factory=list[Tool])

    def tool(
        self, *, title: str, effect: Effect, failure: str, drafts: bool = False, panel: str | None = None
    ) -> Callable[[Run[InputT, DataT]], Run[InputT, DataT]]:
        """Register a function as a tool named after it; its docstring is what agents read.

        Args:
            title: For people.
            effect: Strongest effect of a call.
            failure: Start of every error text, for example `Post not created`.
            drafts: Register with `TTP_ACCESS=draft` too; the API client then refuses to publish.
            panel: Panel that clients may show beside the answer.
        """

        def register(function: Run[InputT, DataT]) -> Run[InputT, DataT]:
            hints = inspect.get_annotations(function, eval_str=True)
            self.tools.append(
                Tool(
                    name=function.__name__,
                    title=title,
                    description=inspect.cleandoc(function.__doc__ or ""),
                    effect=effect,
                    failure=failure,
                    toolset=self.name,
                    input=hints["args"],
                    output=get_args(hints["return"])[0],
                    run=cast("Run[Any, Any]", function),
                    drafts=drafts,
                    panel=panel,
                )
            )
            return function

        return register
