"""The generated schemas, which the server reads at start instead of deriving them."""

import json

import pytest

from tests.packages.conftest import script, text_of
from ttp_mcp.toolkit.models import ToolInput, ToolOutput
from ttp_mcp.toolkit.schemas import derived_input_schema, derived_output_schema, input_schema, output_schema
from ttp_mcp.tools import every_tool

pytestmark = pytest.mark.requirement("packages.schemas")


@pytest.mark.parametrize("tool", every_tool(), ids=lambda tool: tool.name)
def test_generated_schemas_are_those_of_the_models(tool):
    """In the same order too, since clients see the bytes. Stale: `just docs`."""
    assert json.dumps(input_schema(tool.input)) == json.dumps(derived_input_schema(tool.input))
    assert json.dumps(output_schema(tool.output)) == json.dumps(derived_output_schema(tool.output))


def test_generated_file_has_no_schema_of_a_tool_that_is_gone():
    """It is what the script writes."""
    assert text_of("ttp_mcp/toolkit/schemas.json") == script("generate").schemas_json()


def test_schemas_of_a_new_model_are_derived():
    """A tool that is being written works before anything is generated."""

    class NewInput(ToolInput):
        word: str

    class NewOutput(ToolOutput):
        word: str

    properties = {"properties": {"word": {"type": "string"}}, "required": ["word"], "type": "object"}
    assert input_schema(NewInput) == {**properties, "additionalProperties": False}
    assert output_schema(NewOutput) == properties
