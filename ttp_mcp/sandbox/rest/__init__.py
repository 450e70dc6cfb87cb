"""The REST API, served from the sandbox's database."""
