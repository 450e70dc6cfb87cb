"""ttp-mcp: an MCP server for the TimeToPost REST API, with a local sandbox of it."""

__version__ = "0.1.0"
