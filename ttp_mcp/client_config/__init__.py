"""Settings files of MCP clients: where they are, and how an entry is merged into them."""
