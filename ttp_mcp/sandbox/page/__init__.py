"""Pages that show the sandbox in a browser."""
