"""Base models of tool inputs and outputs."""

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

DataT = TypeVar("DataT", bound="ToolOutput")
InputT = TypeVar("InputT", bound="ToolInput")


class ToolInput(BaseModel):
    """Arguments of a tool: closed, each described. `aliases` maps spellings of the API that differ by more than case."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    aliases: ClassVar[dict[str, str]] = {}


class NoArguments(ToolInput):
    """No arguments."""


class ToolOutput(BaseModel):
    """Facts of an answer as structured content. A fact that is not known is left out rather than null."""

    model_config = ConfigDict(defer_build=True)


@dataclass(frozen=True, slots=True)
class Answer(Generic[DataT]):
    """The answer of a tool: text that is complete for a model, and the same facts as data."""

    text: str
    data: DataT
