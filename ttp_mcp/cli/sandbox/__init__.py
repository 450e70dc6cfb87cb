"""`ttp-mcp sandbox` and its control commands."""
