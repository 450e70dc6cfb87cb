"""Local media files: which may be read, and what they contain."""
