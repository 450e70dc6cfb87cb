"""Base models of tool inputs and outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo

DataT = TypeVar("DataT", bound="ToolOutput")
InputT = TypeVar("InputT", bound="ToolInput")


class ToolInput(BaseModel):
    """Arguments of a tool: flat, closed, each described. `also` maps the API's own spellings that differ by more than case."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    also: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Clients write null, an empty list or an empty object for an argument that the model left out."""
        return without_nulls(cls, values)


class ToolOutput(BaseModel):
    """Facts of an answer as structured content. A fact that is not known is left out rather than null."""

    model_config = ConfigDict(defer_build=True)


def without_nulls(model: type[BaseModel], values: Mapping[Any, Any]) -> dict[str, Any]:
    """The values of a model without the nulls and empty lists and objects, which stand for its defaults."""
    return {name: value for name, value in values.items() if not _means_default(model.model_fields.get(name), value)}


def _means_default(field: FieldInfo | None, value: object) -> bool:
    if field is None or field.is_required():
        return False
    return value is None or value in ([], {})


@dataclass(frozen=True, slots=True)
class Answer(Generic[DataT]):
    """What a tool returns: text that is complete for a model, and the same facts as data."""

    text: str
    data: DataT
