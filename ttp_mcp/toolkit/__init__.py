"""Registration, schemas, arguments and context of tools; the tools themselves are in `tools`."""
