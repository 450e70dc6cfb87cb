"""What a process that a test starts inherits."""

import os

# Without the last four a process on Windows has no random numbers, no temporary files and no home.
_KEPT = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "USERPROFILE")


def environment(**own: str) -> dict[str, str]:
    """Nothing of this machine but the way to programs, and what measures coverage; `own` comes on top."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("COVERAGE_")}
    return {**kept, "HOME": "/nonexistent", **own}
