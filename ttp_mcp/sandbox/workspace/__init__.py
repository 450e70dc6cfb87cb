"""Contents of a sandbox: the demo workspace, and workspace files."""
