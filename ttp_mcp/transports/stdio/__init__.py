"""stdio: newline-delimited JSON-RPC over the process's pipes."""
