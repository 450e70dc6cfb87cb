"""What a process that a test starts inherits."""

import os


def environment(**own: str) -> dict[str, str]:
    """Nothing of this machine but the way to programs, and what measures coverage; `own` comes on top."""
    kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}
    return {**kept, "HOME": "/nonexistent", **own}
