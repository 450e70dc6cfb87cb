"""MCP over HTTP: streamable HTTP and, for older clients, SSE. Loaded by nothing but the command that serves it."""
