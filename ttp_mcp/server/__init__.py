"""The MCP surface: tools, prompts, resources, completions and questions to the user."""
