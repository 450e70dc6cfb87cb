"""What a process that a test starts inherits."""

import os

# Without the last three a process on Windows has no random numbers and no temporary files.
_KEPT = ("PATH", "SYSTEMROOT", "TEMP", "TMP")


def make_environment(*, HOME: str = "/nonexistent", **own: str) -> dict[str, str]:  # noqa: N803 - the name of a variable
    """Nothing of this machine but the way to programs, and what measures coverage; `own` comes on top."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("COVERAGE_")}
    # Windows looks for the home folder in the second.
    return {**kept, "HOME": HOME, "USERPROFILE": HOME, **own}
