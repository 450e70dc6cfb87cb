"""A file of the user's, opened only below a folder that they allowed."""


class FileRefused(Exception):
    """A local file was not sent. The text is complete, ours, and holds no path beyond what was typed."""
